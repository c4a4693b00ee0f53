import { expect, test } from "bun:test";
import { parseExtraHost } from "./extra-host.ts";

test("parseExtraHost() takes v4, v6 and host-gateway", () => {
  expect(parseExtraHost("a:1.2.3.4")).toEqual(["a", "1.2.3.4"]);
  expect(parseExtraHost("a:[::1]")).toEqual(["a", "::1"]);
  expect(parseExtraHost("a=::1")).toEqual(["a", "::1"]);
  expect(parseExtraHost("a:host-gateway")).toEqual(["a", "host-gateway"]);
  for (const bad of ["a", "a:", ":1.2.3.4", "a:b c", "a:b", "a:1.2.3", "a\nb:1.2.3.4"]) {
    expect(() => parseExtraHost(bad)).toThrow();
  }
});
