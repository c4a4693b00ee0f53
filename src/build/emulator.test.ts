import { expect, test } from "bun:test";
import { hostPlatform, parsePlatform } from "../oci/mod.ts";
import { foreignFailure } from "./emulator.ts";

test("foreignFailure() names what is missing, and nothing for the host's own platform", () => {
  expect(foreignFailure(hostPlatform())).toBeUndefined();
  const failure = foreignFailure(parsePlatform("linux/s390x"))!;
  expect(failure.code).toBe("unsupported");
  expect(failure.message).toContain("Cannot run a command of linux/s390x on linux/");
  expect(failure.message).toContain("qemu-s390x");
  expect(failure.hint).toContain("FROM --platform=$BUILDPLATFORM");
});
