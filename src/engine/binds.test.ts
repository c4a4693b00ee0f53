import { describe, expect, test } from "bun:test";
import { parseBind, parseMode, parseVolumesFrom } from "./binds.ts";
import { parseMountRequest, parseTmpfs } from "./mount-request.ts";

describe("parseBind()", () => {
  const good: [string, object][] = [
    ["/data", { kind: "volume", name: "", target: "/data", mode: "", copy: true }],
    [
      "/a:/b",
      { kind: "bind", source: "/a", target: "/b", readOnly: false, propagation: "rprivate" },
    ],
    ["/a/../c:/b/", { kind: "bind", source: "/c", target: "/b" }],
    ["/a:/b:ro", { kind: "bind", readOnly: true, readOnlyRecursive: true, mode: "ro" }],
    ["/a:/b:ro,Z,rshared", { kind: "bind", readOnly: true, propagation: "rshared" }],
    ["v1:/b", { kind: "volume", name: "v1", target: "/b", mode: "z" }],
    ["/a:/b:idmap,ro", { kind: "bind", readOnly: true, idMap: "user" }],
    ["v1:/b:idmap", { kind: "volume", idMap: "user" }],
    ["v1:/b:nocopy,ro", { kind: "volume", name: "v1", copy: false, readOnly: true }],
  ];
  for (const [raw, wanted] of good) {
    test(`takes ${raw}`, () => expect(parseBind(raw)).toMatchObject(wanted));
  }
  const bad: [string, string][] = [
    ["", "invalid volume specification: ''"],
    ["/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"],
    ["/data:ro", "invalid volume specification: '/data:ro'"],
    [":/b", "invalid volume specification: ':/b'"],
    ["/a:/b:ro,rw", "invalid mode: ro,rw"],
    ["/a:/b:fast", "invalid mode: fast"],
    ["/a:/b:nocopy", "invalid mode: nocopy"],
    ["v1:/b:rshared", "invalid mode: rshared"],
    ["/a:b", "invalid mount path: 'b' mount path must be absolute"],
    ["/a:/", "destination can't be '/'"],
    ["/a:/x/..", "destination can't be '/'"],
    ["./a:/b", '"./a" includes invalid characters for a local volume name'],
    ["../x:/b", "If you intended to pass a host directory, use absolute path"],
  ];
  for (const [raw, words] of bad) {
    test(`refuses "${raw}"`, () => expect(() => parseBind(raw)).toThrow(words));
  }
});

test("parseMode() takes each subject once", () => {
  expect(parseMode("ro,z,nocopy,cached")).toEqual(["ro", "z", "nocopy", "cached"]);
  expect(parseMode("z,Z")).toBeUndefined();
});

test("parseVolumesFrom() wants a container, and at most a mode", () => {
  expect(parseVolumesFrom("web:ro")).toEqual({ container: "web", mode: "ro" });
  expect(() => parseVolumesFrom("")).toThrow("cannot be an empty string");
  expect(() => parseVolumesFrom("web:nocopy")).toThrow("invalid mode: nocopy");
});

describe("parseMountRequest()", () => {
  test("makes a bind of what is there", async () => {
    const draft = await parseMountRequest({ Type: "bind", Source: "/etc", Target: "/x" });
    expect(draft).toMatchObject({ kind: "bind", source: "/etc", target: "/x", readOnly: false });
  });
  test("gives a tmpfs its options over the safe defaults", async () => {
    const TmpfsOptions = { Options: [["exec"]] };
    const draft = await parseMountRequest({ Type: "tmpfs", Target: "/x", TmpfsOptions });
    expect(draft).toMatchObject({ options: ["nosuid", "nodev", "exec", "rw"] });
  });
  const bad: [Parameters<typeof parseMountRequest>[0], string][] = [
    [
      { Type: "bind", Source: "/no/such", Target: "/x" },
      "bind source path does not exist: /no/such",
    ],
    [{ Type: "bind", Source: "etc", Target: "/x" }, "'etc' mount path must be absolute"],
    [{ Type: "bind", Source: "", Target: "/x" }, "field Source must not be empty"],
    [{ Type: "bind", Source: "/etc", Target: "" }, "field Target must not be empty"],
    [{ Type: "tmpfs", Source: "/etc", Target: "/x" }, "field Source must not be specified"],
    [{ Type: "tmpfs", Target: "/x", BindOptions: {} }, "field BindOptions must not be specified"],
    [
      { Type: "volume", Source: "v", Target: "/x", VolumeOptions: { Subpath: "../y" } },
      "subpath must be a relative path",
    ],
    [
      { Type: "tmpfs", Target: "/x", TmpfsOptions: { Options: [["suid"]] } },
      "invalid option: suid",
    ],
    [
      { Type: "tmpfs", Target: "/x", TmpfsOptions: { Options: [["exec", "1"]] } },
      "invalid option array length",
    ],
    [{ Type: "tmpfs", Target: "/x", IdMap: "user" }, "field IdMap must not be specified"],
    [
      { Type: "volume", Target: "/x", ReadOnly: true },
      "must not set ReadOnly mode when using anonymous volumes",
    ],
    [{ Type: "npipe", Source: "x", Target: "/x" }, "mount type unknown"],
  ];
  for (const [request, words] of bad) {
    test(`refuses ${JSON.stringify(request)}`, async () => {
      await expect(parseMountRequest(request)).rejects.toThrow(words);
    });
  }
});

test("parseTmpfs() keeps the safe defaults that are not contradicted", () => {
  const draft = parseTmpfs("/run", "exec,size=64k");
  expect(draft).toEqual({
    kind: "tmpfs",
    target: "/run",
    options: ["nosuid", "nodev", "exec", "size=64k"],
  });
  expect(() => parseTmpfs("/run", "lowerdir=/etc")).toThrow("invalid tmpfs option");
});
