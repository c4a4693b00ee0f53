import { describe, expect, test } from "bun:test";
import {
  familiarName,
  familiarReference,
  fullReference,
  idPrefixOf,
  parseReference,
  withDefaultTag,
} from "./reference.ts";

const hex = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";
const digest = `sha256:${hex}`;
const longDigest = `sha512:${hex}${hex}`;

describe("parseReference() normalises", () => {
  test.each([
    ["busybox", "docker.io/library/busybox", "busybox"],
    ["busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"],
    ["library/busybox", "docker.io/library/busybox", "busybox"],
    ["docker.io/busybox", "docker.io/library/busybox", "busybox"],
    ["index.docker.io/busybox", "docker.io/library/busybox", "busybox"],
    ["docker.io/library/busybox:x", "docker.io/library/busybox:x", "busybox:x"],
    ["team/app", "docker.io/team/app", "team/app"],
    ["library/a/b", "docker.io/library/a/b", "library/a/b"],
    ["localhost/app", "localhost/app", "localhost/app"],
    ["localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"],
    ["example.com/a/b/c", "example.com/a/b/c", "example.com/a/b/c"],
    ["[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"],
    ["Registry/app", "Registry/app", "Registry/app"],
    ["a__b/c--d.e", "docker.io/a__b/c--d.e", "a__b/c--d.e"],
    ["app:Tag_1.2-x", "docker.io/library/app:Tag_1.2-x", "app:Tag_1.2-x"],
    [`app@${digest}`, `docker.io/library/app@${digest}`, `app@${digest}`],
    [`h:1/app:t@${digest}`, `h:1/app:t@${digest}`, `h:1/app:t@${digest}`],
    [`h:1/app@${longDigest}`, `h:1/app@${longDigest}`, `h:1/app@${longDigest}`],
    ["test:5000", "docker.io/library/test:5000", "test:5000"],
    [`${hex.slice(1)}`, `docker.io/library/${hex.slice(1)}`, hex.slice(1)],
  ])("%s", (text, full, familiar) => {
    const found = parseReference(text);
    expect(fullReference(found)).toBe(full);
    expect(familiarReference(found)).toBe(familiar);
    expect(parseReference(full)).toEqual(found);
    expect(parseReference(familiar)).toEqual(found);
  });
});

describe("parseReference() refuses", () => {
  test.each([
    ["", "invalid reference format"],
    [":tag", "invalid reference format"],
    ["app:", "invalid reference format"],
    ["app@", "invalid reference format"],
    ["app@sha256:1234", "invalid reference format"],
    [`app@sha256:${hex}0`, "unsupported digest algorithm"],
    [`app@sha512:${hex}`, "unsupported digest algorithm"],
    [`app@sha384:${hex}`, "unsupported digest algorithm"],
    ["-app", "invalid reference format"],
    ["app-", "invalid reference format"],
    ["a..b", "invalid reference format"],
    ["a___b", "invalid reference format"],
    ["a//b", "invalid reference format"],
    ["/a", "invalid reference format"],
    ["a/", "invalid reference format"],
    ["http://host/app", "invalid reference format"],
    ["app name", "invalid reference format"],
    ["app:ta g", "invalid reference format"],
    ["app\n", "invalid reference format"],
    [`app:${"t".repeat(129)}`, "invalid reference format"],
    ["App", "repository name (library/App) must be lowercase"],
    ["team/App:x", "repository name (team/App) must be lowercase"],
    ["localhost/APP", "must be lowercase"],
    [hex, "cannot specify 64-byte hexadecimal strings"],
    [`a/${"x".repeat(250)}`, "must not be more than 255 characters"],
    ["a".repeat(100_000), "invalid reference format"],
    [`${"a-".repeat(500)}!`, "invalid reference format"],
  ])("%p", (text, message) => {
    expect(() => parseReference(text)).toThrow(message);
  });
});

test("withDefaultTag() adds latest where nothing is said", () => {
  expect(familiarReference(withDefaultTag(parseReference("a")))).toBe("a:latest");
  expect(familiarReference(withDefaultTag(parseReference("a:b")))).toBe("a:b");
  expect(familiarReference(withDefaultTag(parseReference(`a@${digest}`)))).toBe(`a@${digest}`);
  expect(familiarName(parseReference("docker.io/library/a:b"))).toBe("a");
});

test("idPrefixOf() knows what may be an ID", () => {
  expect(idPrefixOf(digest)).toBe(hex);
  expect(idPrefixOf("7cc4")).toBe("7cc4");
  for (const text of ["", "sha256:", "xyz", "7CC4", `${hex}0`, "a:b"]) {
    expect(idPrefixOf(text)).toBeUndefined();
  }
});
