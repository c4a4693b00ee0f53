import { describe, expect, test } from "bun:test";
import { parseImageConfig } from "./config.ts";
import { digestOf } from "./digest.ts";
import { formatManifest, parseIndex, parseManifest, parseManifestOrIndex } from "./manifest.ts";
import { mediaTypes } from "./media-types.ts";

const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));
const digest = digestOf("x");
const config = { mediaType: mediaTypes.ociConfig, digest, size: 1 };
const layer = { mediaType: mediaTypes.ociLayerGzip, digest, size: 1 };
const manifest = { schemaVersion: 2, config, layers: [layer] };
const index = { schemaVersion: 2, manifests: [{ ...config, mediaType: mediaTypes.ociManifest }] };

test("parseManifest() reads OCI's and Docker's manifests and leaves out what it does not know", () => {
  const mediaType = mediaTypes.dockerManifest;
  expect(parseManifest(bytesOf({ ...manifest, mediaType, evil: [1] }))).toEqual({
    ...manifest,
    mediaType,
  } as ReturnType<typeof parseManifest>);
  expect(parseManifest(bytesOf({ ...manifest, annotations: null })).annotations).toBeUndefined();
});

test("parseManifestOrIndex() tells one from the other", () => {
  expect(parseManifestOrIndex(bytesOf(manifest))).toHaveProperty("manifest");
  expect(parseManifestOrIndex(bytesOf(index))).toHaveProperty("index");
  expect(
    parseManifestOrIndex(bytesOf({ ...index, mediaType: mediaTypes.dockerList })),
  ).toHaveProperty("index");
});

test("formatManifest() gives bytes that parseManifest() reads", () => {
  const bytes = formatManifest({ ...config, annotations: { a: "b" } }, [layer]);
  expect(parseManifest(bytes)).toEqual({ ...manifest, mediaType: mediaTypes.ociManifest } as never);
});

describe("parseManifest() refuses", () => {
  test.each<[string, unknown, string]>([
    ["schema 1", { schemaVersion: 1, fsLayers: [] }, "schema 1"],
    ["no version", { config, layers: [] }, "schemaVersion is not 2"],
    ["no config", { schemaVersion: 2, layers: [] }, "manifest.config"],
    ["layers that are no list", { ...manifest, layers: {} }, "manifest.layers: it is not a list"],
    [
      "a bad digest",
      { ...manifest, layers: [{ ...layer, digest: "sha256:../x" }] },
      "layers[0].digest",
    ],
    ["a negative size", { ...manifest, config: { ...config, size: -1 } }, "negative"],
    ["a fractional size", { ...manifest, config: { ...config, size: 1.5 } }, "whole number"],
    ["a huge size", { ...manifest, config: { ...config, size: 1e300 } }, "whole number"],
    ["too many layers", { ...manifest, layers: Array(501).fill(layer) }, "more than 500"],
    ["an index in one", { ...manifest, manifests: [] }, "as only an index has"],
    ["another media type", { ...manifest, mediaType: "text/html" }, "media type"],
    ["a list", [], "it is not an object"],
    ["null", null, "it is not an object"],
  ])("%s", (_, value, message) => {
    expect(() => parseManifest(bytesOf(value))).toThrow(message);
  });
  test("what is no JSON, also when it is nested without end", () => {
    expect(() => parseManifest(Buffer.from("{"))).toThrow("not JSON");
    expect(() => parseManifest(Buffer.from("[".repeat(1_000_000)))).toThrow("not JSON");
    expect(() => parseManifest(Buffer.alloc(5 << 20, " "))).toThrow("bound");
  });
});

test("parseIndex() refuses a manifest", () => {
  expect(() => parseIndex(bytesOf({ ...index, layers: [] }))).toThrow("as only a manifest has");
});

describe("parseImageConfig()", () => {
  const rootfs = { type: "layers", diff_ids: [digest] };
  test("reads Docker's config with its nulls and single texts", () => {
    const found = parseImageConfig(
      bytesOf({
        architecture: "amd64",
        os: "linux",
        rootfs,
        container_config: { Cmd: 1 },
        config: { Cmd: "sh", Entrypoint: null, Env: ["A=b"], Volumes: { "/v": {} }, OnBuild: null },
        history: [{ created_by: "x", empty_layer: true }],
      }),
    );
    expect(found).toEqual({
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [digest] },
      config: { Cmd: ["sh"], Env: ["A=b"], Volumes: { "/v": {} } },
      history: [{ created_by: "x", empty_layer: true }],
    });
  });
  test.each<[unknown, string]>([
    [{}, "no rootfs"],
    [{ rootfs: { type: "foreign", diff_ids: [] } }, 'not "layers"'],
    [{ rootfs: { type: "layers", diff_ids: ["x"] } }, "not a digest"],
    [{ rootfs: { type: "layers", diff_ids: Array(501).fill(digest) } }, "more than 500"],
    [{ rootfs, config: { Env: "x" } }, "config.Env"],
    [{ rootfs, config: { Cmd: [1] } }, "config.Cmd[0]"],
    [{ rootfs, config: { Labels: { a: 1 } } }, "config.Labels.a"],
    [{ rootfs, history: {} }, "history: it is not a list"],
  ])("refuses %j", (value, message) => {
    expect(() => parseImageConfig(bytesOf(value))).toThrow(message);
  });
});
