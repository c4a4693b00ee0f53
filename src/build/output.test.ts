import { describe, expect, test } from "bun:test";
import { parseOutput } from "./output.ts";

const image = { names: [], packing: undefined, annotations: [], ociTypes: true };

describe("parseOutput()", () => {
  const cases: [type: string, given: Record<string, string>, expected: object][] = [
    ["image", {}, { kind: "image", push: false, byDigest: false, store: true, ...image }],
    ["docker", {}, { kind: "image", push: false, byDigest: false, store: true, ...image }],
    ["docker", { dest: "-" }, { kind: "archive", form: "docker", ...image }],
    ["oci", {}, { kind: "archive", form: "oci", ...image }],
    ["local", {}, { kind: "files", split: undefined }],
    ["tar", { "platform-split": "true" }, { kind: "files", split: true }],
    ["cacheonly", {}, { kind: "nothing" }],
  ];
  for (const [type, given, expected] of cases) {
    test(`reads ${type} ${JSON.stringify(given)}`, () => {
      expect(parseOutput(type, given, [])).toEqual(expected as never);
    });
  }

  test("takes names from the output, else from the tags", () => {
    const named = parseOutput("registry", { name: "a,b.example/c:1" }, ["tag"]);
    const expected = ["docker.io/library/a:latest", "b.example/c:1"];
    expect(named).toMatchObject({ push: true, names: expected });
    const tagged = parseOutput("image", {}, ["tag"]);
    expect(tagged).toMatchObject({ names: ["docker.io/library/tag:latest"] });
  });

  test("reads packing and annotations", () => {
    const given = {
      compression: "zstd",
      "compression-level": "9",
      "force-compression": "true",
      "annotation.a.b": "c",
      "annotation-index.d": "e",
      "annotation-manifest-descriptor[linux/amd64].f": "g",
    };
    expect(parseOutput("oci", given, [])).toMatchObject({
      packing: { how: "zstd", level: 9, force: true },
      annotations: [
        { on: "manifest", platform: undefined, key: "a.b", value: "c" },
        { on: "index", platform: undefined, key: "d", value: "e" },
        { on: "manifest-descriptor", platform: "linux/amd64", key: "f", value: "g" },
      ],
    });
  });

  const refused: [type: string, given: Record<string, string>, why: string][] = [
    ["oic", {}, 'unsupported output type "oic"'],
    ["local", { name: "x" }, 'output local has no key "name"'],
    ["oci", { compresion: "gzip" }, 'output oci has no key "compresion"'],
    ["oci", { compression: "lzma" }, "unsupported layer compression type"],
    ["oci", { compression: "estargz" }, "Cannot compress layers as eStargz"],
    ["oci", { "compression-level": "10" }, "invalid compression-level"],
    ["oci", { "force-compression": "maybe" }, "invalid value for force-compression"],
    ["oci", { "annotation-layer.x": "y" }, "invalid annotation"],
    [
      "oci",
      { "annotation-index[linux/amd64].x": "y" },
      "Cannot annotate the index of one platform",
    ],
    ["image", { push: "true" }, "it has no name"],
    ["image", { name: "A" }, "invalid reference"],
    ["image", { "oci-mediatypes": "false", "annotation.a": "b" }, "no annotations"],
    ["image", { "oci-mediatypes": "false", compression: "zstd" }, "none for zstd"],
  ];
  for (const [type, given, why] of refused) {
    test(`refuses ${type} ${JSON.stringify(given)}`, () => {
      expect(() => parseOutput(type, given, [])).toThrow(why);
    });
  }
});
