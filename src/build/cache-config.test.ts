import { expect, test } from "bun:test";
import { parseCachePlace } from "./cache-config.ts";

test("parseCachePlace() reads what a cache is made of", () => {
  const given = { mode: "max", compression: "zstd", "compression-level": "7", dest: "d" };
  const more = { mounts: "true", "ignore-error": "1", "oci-mediatypes": "true" };
  expect(parseCachePlace("local", { ...given, ...more })).toEqual({
    type: "local",
    ref: "",
    mode: "max",
    how: "zstd",
    level: 7,
    mounts: true,
    ignoreError: true,
  });
  expect(parseCachePlace("registry", { ref: "a/b" })).toMatchObject({
    mode: "min",
    how: "gzip",
    mounts: false,
    ignoreError: false,
  });
});

test.each([
  ["gha", {}, "unsupported", 'a cache of type "gha"'],
  ["local", { wrong: "1" }, "invalid", 'unknown attribute "wrong"'],
  ["local", { mode: "most" }, "invalid", "mode is min or max"],
  ["local", { compression: "estargz" }, "invalid", "compression is gzip, zstd or uncompressed"],
  ["local", { "compression-level": "high" }, "invalid", "is no number"],
  ["local", { "ignore-error": "perhaps" }, "invalid", "invalid value for ignore-error"],
  ["local", { mounts: "perhaps" }, "invalid", "invalid value for mounts"],
  ["local", { "oci-mediatypes": "false" }, "unsupported", "with oci-mediatypes=false"],
  ["registry", { ref: "a", "image-manifest": "0" }, "unsupported", "with image-manifest=false"],
  ["registry", {}, "invalid", "needs ref=NAME"],
] as const)("parseCachePlace() refuses type=%s with %p", (type, attributes, code, message) => {
  let failure: { code?: string; message?: string } = {};
  try {
    parseCachePlace(type, attributes);
  } catch (error) {
    failure = error as typeof failure;
  }
  expect(failure.code).toBe(code);
  expect(failure.message).toContain(message);
});
