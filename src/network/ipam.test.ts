import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { formatAddress, parseAddress } from "./address.ts";
import { plansOf } from "./define.ts";
import { Ipam } from "./ipam.ts";
import { Records } from "./records.ts";

const plans = plansOf({
  subnets: [{ subnet: "10.0.0.0/29", gateway: "10.0.0.1", auxAddresses: { printer: "10.0.0.3" } }],
});
const open = (database = new Database(":memory:")) => new Ipam(new Records(database));
const take = (ipam: Ipam, wanted?: string) =>
  formatAddress(ipam.take("n", plans, "c", wanted ? parseAddress(wanted) : undefined).address);

test("take() gives the lowest free address, and none of the fixed ones", () => {
  const ipam = open();
  const given = [take(ipam), take(ipam), take(ipam), take(ipam)];
  expect(given).toEqual(["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
  expect(() => take(ipam)).toThrow("no available IPv4 addresses");
  ipam.release("n", "10.0.0.5");
  expect(take(ipam)).toBe("10.0.0.5");
});

test("take() gives the address that is wanted, once", () => {
  const ipam = open();
  expect(take(ipam, "10.0.0.6")).toBe("10.0.0.6");
  for (const taken of ["10.0.0.6", "10.0.0.1", "10.0.0.3", "10.0.0.7", "10.0.0.0"]) {
    expect(() => take(ipam, taken)).toThrow("Address already in use");
  }
  expect(() => take(ipam, "10.0.1.2")).toThrow("no configured subnet contains IP address 10.0.1.2");
});

test("what take() gave is given after a restart too", () => {
  const database = new Database(":memory:");
  take(open(database));
  const again = open(database);
  expect(again.ownerOf("n", "10.0.0.2")).toBe("c");
  expect(take(again)).toBe("10.0.0.4");
});

test("the table itself refuses to give an address twice", () => {
  const records = new Records(new Database(":memory:"));
  records.addAddress("n", "10.0.0.2", "one");
  expect(() => records.addAddress("n", "10.0.0.2", "two")).toThrow("UNIQUE");
});

test("take() of an IPv6 subnet ends soon", () => {
  const wide = plansOf({ subnets: [{ subnet: "fd00::/64", gateway: "fd00::1" }] });
  const ipam = open();
  const owned = [1, 2, 3].map(() => formatAddress(ipam.take("n", wide, "c").address));
  expect(owned).toEqual(["fd00::2", "fd00::3", "fd00::4"]);
});
