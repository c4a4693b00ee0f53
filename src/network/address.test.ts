import { expect, test } from "bun:test";
import {
  contains,
  formatAddress,
  formatCidr,
  fromBytes,
  lastOf,
  macOf,
  overlaps,
  parseAddress,
  parseCidr,
  readAddress,
  toBytes,
} from "./address.ts";

test.each([
  ["172.17.0.2", "172.17.0.2"],
  ["0.0.0.0", "0.0.0.0"],
  ["::", "::"],
  ["::1", "::1"],
  ["FD00:0:0:1::0010", "fd00:0:0:1::10"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
  ["1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"],
  ["::ffff:10.0.0.1", "::ffff:a00:1"],
  ["1::", "1::"],
])("parseAddress() reads %s, and formatAddress() writes %s", (text, expected) => {
  const address = parseAddress(text);
  expect(formatAddress(address)).toBe(expected);
  expect(fromBytes(toBytes(address))).toEqual(address);
});

test.each([
  "",
  "1.2.3",
  "1.2.3.256",
  "01.2.3.4",
  "::1%eth0",
  ":::",
  "1:2",
  "host",
  "1.2.3.4/8",
])("readAddress() refuses %p", (text) => {
  expect(readAddress(text)).toBeUndefined();
});

test.each([
  ["172.17.5.9/16", "172.17.0.0/16"],
  ["10.0.0.1/32", "10.0.0.1/32"],
  ["1.2.3.4/0", "0.0.0.0/0"],
  ["fd00::5/64", "fd00::/64"],
])("parseCidr() clears the bits behind the prefix of %s", (text, expected) => {
  expect(formatCidr(parseCidr(text))).toBe(expected);
});

test.each([
  "10.0.0.0",
  "10.0.0.0/33",
  "10.0.0.0/-1",
  "10.0.0.0/8/8",
  "fd00::/129",
  "x/8",
  "1.2.3.4/",
])("parseCidr() refuses %p", (text) => {
  expect(() => parseCidr(text)).toThrow(`invalid CIDR address: ${text}`);
});

test("contains() and overlaps() keep families apart", () => {
  const subnet = parseCidr("10.1.0.0/16");
  expect(contains(subnet, parseAddress("10.1.255.255"))).toBe(true);
  expect(contains(subnet, parseAddress("10.2.0.0"))).toBe(false);
  expect(contains(subnet, { family: 6, value: subnet.base.value })).toBe(false);
  expect(overlaps(subnet, parseCidr("10.0.0.0/8"))).toBe(true);
  expect(overlaps(parseCidr("10.0.0.0/8"), subnet)).toBe(true);
  expect(overlaps(subnet, parseCidr("10.2.0.0/16"))).toBe(false);
  expect(lastOf(subnet)).toBe(parseAddress("10.1.255.255").value);
});

test("macOf() gives an address always the same MAC", () => {
  expect(macOf(parseAddress("172.17.0.2"))).toBe("02:42:ac:11:00:02");
  expect(macOf(parseAddress("fd00::1:2"))).toBe("02:42:00:01:00:02");
});
