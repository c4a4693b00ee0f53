import { expect, test } from "bun:test";
import { digestOf, mediaTypes } from "../oci/mod.ts";
import { codeOf, imageOf, onEachStorage, openLaboratory } from "./laboratory.ts";

onEachStorage(
  "an image is pushed by tag and read by tag and digest, byte for byte",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const { answer, digest, size } = await lab.push.image("a/b", "v1", "one", "two");
    expect(answer.headers.get("Location")).toBe(`/v2/a/b/manifests/${digest}`);
    expect(answer.headers.get("Docker-Content-Digest")).toBe(digest);
    for (const reference of ["v1", digest, digest.replace(":", "%3A")]) {
      const got = await lab.call("GET", `/v2/a/b/manifests/${reference}`);
      expect(got.headers.get("Docker-Content-Digest")).toBe(digest);
      expect(got.headers.get("Content-Type")).toBe(mediaTypes.ociManifest);
      expect(digestOf(await got.bytes())).toBe(digest);
      const head = await lab.call("HEAD", `/v2/a/b/manifests/${reference}`);
      expect(head.headers.get("Content-Length")).toBe(String(size));
    }
    const etag = { "If-None-Match": `"${digest}"` };
    expect((await lab.call("GET", "/v2/a/b/manifests/v1", { headers: etag })).status).toBe(304);
  },
);

onEachStorage(
  "a manifest whose parts are not in the repository is refused, with their digests",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    await lab.push.blob("elsewhere", "layer"); // one copy of bytes, but not of rights
    await lab.push.blob("a", "{}");
    const { answer } = await lab.push.manifest("a", "v1", imageOf("{}", ["layer"]));
    const { errors } = (await answer.json()) as { errors: unknown };
    expect(answer.status).toBe(400);
    expect(errors).toEqual([
      expect.objectContaining({
        code: "MANIFEST_BLOB_UNKNOWN",
        detail: [{ digest: digestOf("layer") }],
      }),
    ]);
    const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [part("{}")] };
    const pushed = await lab.push.manifest("a", "v1", index);
    expect(await codeOf(pushed.answer)).toBe("400 MANIFEST_BLOB_UNKNOWN");
  },
);

const part = (text: string, more: object = {}) => ({
  mediaType: mediaTypes.ociManifest,
  digest: digestOf(text),
  size: text.length,
  ...more,
});

const empty = { config: part("{}"), layers: [] };
for (const [name, body, type, code] of [
  ["no JSON", "{", mediaTypes.ociManifest, "400 MANIFEST_INVALID"],
  ["another version", `{"schemaVersion":1}`, mediaTypes.ociManifest, "400 MANIFEST_INVALID"],
  ["an unknown type", "{}", "application/octet-stream", "415 MANIFEST_INVALID"],
  [
    "a type that is not the manifest's own",
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.dockerManifest, ...empty }),
    mediaTypes.ociManifest,
    "400 MANIFEST_INVALID",
  ],
  [
    "an index and a manifest in one",
    JSON.stringify({ schemaVersion: 2, ...empty, manifests: [] }),
    mediaTypes.ociManifest,
    "400 MANIFEST_INVALID",
  ],
  [
    "a wrong size of a part",
    JSON.stringify({ schemaVersion: 2, config: part("{}", { size: 3 }), layers: [] }),
    mediaTypes.ociManifest,
    "400 MANIFEST_INVALID",
  ],
  ["over 4 MiB", " ".repeat((4 << 20) + 1), mediaTypes.ociManifest, "413 SIZE_INVALID"],
  [
    "ten thousand layers",
    JSON.stringify({ schemaVersion: 2, ...empty, layers: Array(10_000).fill(part("{}")) }),
    mediaTypes.ociManifest,
    "400 MANIFEST_INVALID",
  ],
  [
    "no list of layers",
    JSON.stringify({ schemaVersion: 2, config: part("{}"), layers: 7 }),
    "",
    "400 MANIFEST_INVALID",
  ],
] as const) {
  test(`a manifest with ${name} is ${code}`, async () => {
    await using lab = await openLaboratory();
    await lab.push.blob("a", "{}");
    const headers = { "Content-Type": type };
    const answer = await lab.call("PUT", "/v2/a/manifests/v1", { body, headers });
    expect(await codeOf(answer)).toBe(code);
    expect((await lab.call("GET", "/v2/a/manifests/v1")).status).toBe(404);
  });
}

onEachStorage("a manifest put by digest must hash to it", async (openLaboratory) => {
  await using lab = await openLaboratory();
  await lab.push.blob("a", "{}");
  const wrong = await lab.push.manifest("a", digestOf("x"), imageOf("{}", []));
  expect(await codeOf(wrong.answer)).toBe("400 DIGEST_INVALID");
  expect((await lab.push.manifest("a", "", imageOf("{}", []))).answer.status).toBe(201);
});

onEachStorage(
  "a tag is deleted without its manifest; a manifest with its tags",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const { digest } = await lab.push.image("a", "v1", "one");
    await lab.push.image("a", "v2", "one");
    const status = (method: string, reference: string) =>
      lab.call(method, `/v2/a/manifests/${reference}`).then((answer) => answer.status);
    expect(await status("DELETE", "v1")).toBe(202);
    expect([await status("GET", "v1"), await status("GET", "v2")]).toEqual([404, 200]);
    expect(await status("GET", digest)).toBe(200);
    expect(await status("DELETE", digest)).toBe(202);
    expect([await status("GET", "v2"), await status("GET", digest)]).toEqual([404, 404]);
    expect([await status("DELETE", digest), await status("DELETE", "v2")]).toEqual([404, 404]);
    expect((await lab.push.image("a", "v1", "one")).answer.status).toBe(201);
    expect(await status("GET", digest)).toBe(200);
  },
);

onEachStorage(
  "a manifest that an index needs, and a blob that a manifest needs, are not deleted",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const { digest, size, mediaType } = await lab.push.image("a", "", "one");
    const manifests = [{ digest, size, mediaType }];
    const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
    const pushed = await lab.push.manifest("a", "all", index);
    expect(pushed.answer.status).toBe(201);
    expect((await lab.call("DELETE", `/v2/a/manifests/${digest}`)).status).toBe(405);
    expect((await lab.call("DELETE", `/v2/a/blobs/${digestOf("one")}`)).status).toBe(405);
    expect((await lab.call("DELETE", `/v2/a/manifests/${pushed.digest}`)).status).toBe(202);
    expect((await lab.call("DELETE", `/v2/a/manifests/${digest}`)).status).toBe(202);
    expect((await lab.call("DELETE", `/v2/a/blobs/${digestOf("one")}`)).status).toBe(202);
    expect((await lab.call("GET", `/v2/a/blobs/${digestOf("one")}`)).status).toBe(404);
  },
);

onEachStorage(
  "a push that has seen a blob succeeds though it was deleted meanwhile",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    for (const text of ["{}", "layer"]) await lab.push.blob("a", text);
    expect((await lab.call("HEAD", `/v2/a/blobs/${digestOf("layer")}`)).status).toBe(200);
    expect((await lab.call("DELETE", `/v2/a/blobs/${digestOf("layer")}`)).status).toBe(202);
    const { answer } = await lab.push.manifest("a", "v1", imageOf("{}", ["layer"]));
    expect(answer.status).toBe(201);
    const blob = await lab.call("GET", `/v2/a/blobs/${digestOf("layer")}`);
    expect(await blob.text()).toBe("layer");
  },
);

onEachStorage(
  "referrers are listed by subject and type, also of a subject that is not here",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const image = await lab.push.image("a", "v1", "one");
    const absent = digestOf("absent");
    await lab.push.blob("a", "{}");
    const attach = (subject: string, artifactType: string) =>
      lab.push.manifest(
        "a",
        "",
        imageOf("{}", [], {
          artifactType,
          subject: { mediaType: image.mediaType, digest: subject, size: image.size },
          annotations: { of: artifactType },
        }),
      );
    const sbom = await attach(image.digest, "x/sbom");
    expect(sbom.answer.headers.get("OCI-Subject")).toBe(image.digest);
    await attach(image.digest, "x/signature");
    expect((await attach(absent, "x/sbom")).answer.status).toBe(201);
    const list = async (subject: string, query = "") => {
      const answer = await lab.call("GET", `/v2/a/referrers/${subject}${query}`);
      expect(answer.headers.get("Content-Type")).toBe(mediaTypes.ociIndex);
      return { answer, ...((await answer.json()) as { manifests: { digest: string }[] }) };
    };
    expect((await list(image.digest)).manifests.length).toBe(2);
    expect((await list(absent)).manifests.length).toBe(1);
    expect((await list(digestOf("none"))).manifests).toEqual([]);
    const found = await list(image.digest, "?artifactType=x/sbom");
    expect(found.answer.headers.get("OCI-Filters-Applied")).toBe("artifactType");
    expect(found.manifests).toEqual([
      expect.objectContaining({
        digest: sbom.digest,
        size: sbom.size,
        artifactType: "x/sbom",
        annotations: { of: "x/sbom" },
      }),
    ]);
    const first = await list(image.digest, "?n=1");
    const next = /<([^>]+)>; rel="next"/.exec(first.answer.headers.get("Link")!)![1]!;
    const second = (await (await lab.call("GET", next)).json()) as { manifests: unknown[] };
    expect(second.manifests.length).toBe(1);
    expect(second.manifests).not.toEqual(first.manifests);
    expect((await lab.call("GET", "/v2/a/referrers/sha256:x")).status).toBe(400);
  },
);

onEachStorage("a blob is given whole, in parts, and by HEAD", async (openLaboratory) => {
  await using lab = await openLaboratory();
  const digest = await lab.push.blob("a", "0123456789");
  const get = async (range?: string) => {
    const headers: Record<string, string> = range === undefined ? {} : { Range: range };
    const answer = await lab.call("GET", `/v2/a/blobs/${digest}`, { headers });
    return [answer.status, answer.headers.get("Content-Range"), await answer.text()];
  };
  expect(await get()).toEqual([200, null, "0123456789"]);
  expect(await get("bytes=2-4")).toEqual([206, "bytes 2-4/10", "234"]);
  expect(await get("bytes=7-")).toEqual([206, "bytes 7-9/10", "789"]);
  expect(await get("bytes=-2")).toEqual([206, "bytes 8-9/10", "89"]);
  expect(await get("bytes=8-99")).toEqual([206, "bytes 8-9/10", "89"]);
  expect(await get("bytes=1-2,4-5")).toEqual([200, null, "0123456789"]);
  expect((await get("bytes=10-"))[0]).toBe(416);
  expect((await get("bytes=-0"))[0]).toBe(416);
  const head = await lab.call("HEAD", `/v2/a/blobs/${digest}`);
  expect(head.headers.get("Content-Length")).toBe("10");
  expect(head.headers.get("Docker-Content-Digest")).toBe(digest);
  expect((await lab.call("HEAD", `/v2/b/blobs/${digest}`)).status).toBe(404);
});

onEachStorage("an immutable tag is set once", async (openLaboratory) => {
  const policy = { blobBytesMax: () => 1e9, isImmutable: (_: string, tag: string) => tag === "v1" };
  await using lab = await openLaboratory({ parts: { policy } });
  const { digest } = await lab.push.image("a", "v1", "one");
  await lab.push.image("a", "v1", "one");
  await lab.push.blob("a", "{}");
  const moved = await lab.push.manifest("a", "v1", imageOf("{}", ["one"]));
  expect(await codeOf(moved.answer)).toBe("403 DENIED");
  expect((await lab.call("DELETE", "/v2/a/manifests/v1")).status).toBe(403);
  expect((await lab.call("DELETE", `/v2/a/manifests/${digest}`)).status).toBe(403);
});
