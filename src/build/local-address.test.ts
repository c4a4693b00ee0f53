import { expect, test } from "bun:test";
import { isLocalAddress } from "./local-address.ts";

test("isLocalAddress() knows loopback, link-local and private addresses, and no others", () => {
  const locals =
    "127.0.0.1 127.9.9.9 0.0.0.0 10.1.2.3 172.31.0.1 192.168.0.1 169.254.169.254 ::1 :: \
fe80::1 fd00::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 100.64.0.1".split(/\s+/);
  const open =
    "8.8.8.8 172.32.0.1 192.169.0.1 2001:db8::1 ::ffff:8.8.8.8 100.128.0.1 example".split(" ");
  expect(locals.filter((address) => !isLocalAddress(address))).toEqual([]);
  expect(open.filter(isLocalAddress)).toEqual([]);
});
