/**
 * What the OCI's own suite asks of a registry, in its order: every way to push a blob by both algorithms,
 * each kind of manifest pushed, listed, read and deleted, and what must be refused.
 * Spec: https://github.com/opencontainers/distribution-spec/tree/v1.1.1/conformance
 */
import { expect } from "bun:test";
import { randomBytes } from "node:crypto";
import { type Digest, type DigestAlgorithm, digestBy, mediaTypes } from "../oci/mod.ts";
import { codeOf, type Laboratory, onEachStorage } from "./laboratory.ts";

const repository = "conformance/one";
const other = "conformance/two";
const uploads = `/v2/${repository}/blobs/uploads/`;
const blobType = { "Content-Type": "application/octet-stream" };
const artifactTypes = ["application/vnd.example.a.v1", "application/vnd.example.b.v1"] as const;
const bytes = (size: number) => new Uint8Array(randomBytes(size));
const blobAt = (digest: Digest, name = repository) => `/v2/${name}/blobs/${digest}`;
const manifestAt = (reference: string) => `/v2/${repository}/manifests/${reference}`;
const withDigest = (at: string, digest: Digest) =>
  `${at}${at.includes("?") ? "&" : "?"}digest=${digest}`;

/** One blob on its way, with the requests that the suite sends. */
function pusher({ call }: Laboratory, body: Uint8Array<ArrayBuffer>, digest: Digest) {
  const begin = async (query = "") => {
    const answer = await call("POST", `${uploads}${query}`, { headers: { "Content-Length": "0" } });
    expect(answer.status).toBe(202);
    return answer.headers.get("Location")!;
  };
  const chunk = (start: number, end: number): RequestInit => ({
    body: body.subarray(start, end),
    headers: { ...blobType, "Content-Range": `${start}-${end - 1}` },
  });
  const third = Math.ceil(body.length / 3);
  /** In three chunks, `misplaced` before each of them; the last may come with the PUT. */
  const chunked = async ({ withLast = false, misplaced = false }) => {
    let at = await begin();
    for (let start = 0; start < body.length; start += third) {
      const end = Math.min(start + third, body.length);
      const isClosing = withLast && end === body.length;
      if (misplaced) {
        const wrong = end < body.length ? end : 0;
        const target = isClosing ? withDigest(at, digest) : at;
        const sent = chunk(wrong, Math.min(wrong + third, body.length));
        expect((await call(isClosing ? "PUT" : "PATCH", target, sent)).status).toBe(416);
        const where = await call("GET", at);
        expect(where.status).toBe(204);
        expect(where.headers.get("Range")).toBe(`0-${Math.max(0, start - 1)}`);
        at = where.headers.get("Location")!;
      }
      if (isClosing) return await call("PUT", withDigest(at, digest), chunk(start, end));
      const taken = await call("PATCH", at, chunk(start, end));
      expect([taken.status, taken.headers.get("Range")]).toEqual([202, `0-${end - 1}`]);
      at = taken.headers.get("Location")!;
    }
    return await call("PUT", withDigest(at, digest), { headers: blobType });
  };
  return {
    begin,
    post: () => call("POST", withDigest(uploads, digest), { body, headers: blobType }),
    put: async () => call("PUT", withDigest(await begin(), digest), { body, headers: blobType }),
    chunked,
    async stream() {
      const sent = await call("PATCH", await begin(), { body, headers: blobType });
      expect(sent.status).toBe(202);
      return await call("PUT", withDigest(sent.headers.get("Location")!, digest));
    },
  };
}

const ways = {
  post: (push: ReturnType<typeof pusher>) => push.post(),
  put: (push: ReturnType<typeof pusher>) => push.put(),
  stream: (push: ReturnType<typeof pusher>) => push.stream(),
  chunked: (push: ReturnType<typeof pusher>) => push.chunked({}),
  "chunked, the last with PUT": (push: ReturnType<typeof pusher>) =>
    push.chunked({ withLast: true }),
  "out of order": (push: ReturnType<typeof pusher>) => push.chunked({ misplaced: true }),
  "out of order, the last with PUT": (push: ReturnType<typeof pusher>) =>
    push.chunked({ withLast: true, misplaced: true }),
} as const;

async function expectBlob({ call }: Laboratory, at: string, body: Uint8Array): Promise<void> {
  const digest = at.split("/").at(-1)!;
  for (const method of ["HEAD", "GET"]) {
    const answer = await call(method, at);
    const { headers, status } = answer;
    const told = [status, headers.get("Content-Length"), headers.get("Docker-Content-Digest")];
    told[1] ??= String(body.length); // from a bucket a body comes in chunks, without it
    expect(told).toEqual([200, String(body.length), digest]);
    if (method === "GET") expect(Buffer.from(await answer.arrayBuffer()).equals(body)).toBe(true);
  }
}

async function expectGone({ call }: Laboratory, at: string): Promise<void> {
  expect((await call("DELETE", at)).status).toBe(202);
  for (const method of ["HEAD", "GET"]) expect((await call(method, at)).status).toBe(404);
}

for (const algorithm of ["sha256", "sha512"] as const) {
  onEachStorage(`conformance: blobs by ${algorithm}`, async (openLaboratory) => {
    await using lab = await openLaboratory();
    const { call } = lab;
    const make = (body: Uint8Array<ArrayBuffer>) => ({ body, digest: digestBy(algorithm, body) });
    expect(await codeOf(await call("GET", blobAt(make(bytes(9)).digest)))).toStartWith("404 ");
    for (const [name, way] of Object.entries(ways)) {
      const { body, digest } = make(bytes(1_000));
      const pushed = await way(pusher(lab, body, digest));
      expect([name, pushed.status]).toEqual([name, 201]);
      await expectBlob(lab, pushed.headers.get("Location")!, body);
      await expectGone(lab, blobAt(digest));
      const wrong = await way(pusher(lab, body, make(bytes(9)).digest));
      expect([name, await codeOf(wrong)]).toEqual([name, "400 DIGEST_INVALID"]);
    }
    for (const body of [new Uint8Array(), new Uint8Array(Buffer.from("{}"))]) {
      const { digest } = make(body);
      expect((await pusher(lab, body, digest).put()).status).toBe(201);
      await expectBlob(lab, blobAt(digest), body);
    }
    const { body, digest } = make(bytes(100));
    const push = pusher(lab, body, digest);
    const missing = await call("POST", `${uploads}?mount=${digest}&from=${other}`);
    expect(missing.status).toBe(202);
    const begun = await push.begin();
    expect((await call("DELETE", begun)).status).toBe(204);
    expect(await codeOf(await call("GET", begun))).toBe("404 BLOB_UPLOAD_UNKNOWN");
    expect((await call("HEAD", blobAt(digest))).status).toBe(404);
    const there = `/v2/${other}/blobs/uploads/`;
    expect((await call("POST", withDigest(there, digest), { body })).status).toBe(201);
    const mounted = await call("POST", `${uploads}?mount=${digest}&from=${other}`);
    expect(mounted.status).toBe(201);
    await expectBlob(lab, mounted.headers.get("Location")!, body);
    await expectGone(lab, blobAt(digest));
    await expectBlob(lab, blobAt(digest, other), body);
  });
}

onEachStorage("conformance: ranges of a blob", async (openLaboratory) => {
  await using lab = await openLaboratory();
  const body = bytes(2_048);
  const digest = await lab.push.blob(repository, body);
  for (const [range, start, end] of [
    ["500-1499", 500, 1_500],
    ["500-", 500, 2_048],
    ["-500", 1_548, 2_048],
    ["2000-5000", 2_000, 2_048],
    ["500-0"],
    ["5000-10000"],
  ] as const) {
    const answer = await lab.call("GET", blobAt(digest), { headers: { Range: `bytes=${range}` } });
    expect([range, answer.status]).toEqual([range, start === undefined ? 416 : 206]);
    if (start === undefined) continue;
    expect(answer.headers.get("Content-Range")).toBe(`bytes ${start}-${end - 1}/2048`);
    const part = body.subarray(start, end);
    expect(Buffer.from(await answer.arrayBuffer()).equals(part)).toBe(true);
  }
});

/** A manifest as bytes with what descriptors say of it. */
interface Made {
  readonly digest: Digest;
  readonly body: string;
  readonly descriptor: { mediaType: string; digest: Digest; size: number; data?: string };
  readonly subject: Digest | undefined;
}

/** Makes manifests whose blobs are pushed already. */
function maker(lab: Laboratory, algorithm: DigestAlgorithm = "sha256") {
  const blob = async (mediaType: string, body: Uint8Array<ArrayBuffer>) => {
    const digest = digestBy(algorithm, body);
    await pusher(lab, body, digest).post();
    return { mediaType, digest, size: body.length };
  };
  const made = (value: {
    mediaType: string;
    subject?: { digest: Digest };
    [key: string]: unknown;
  }) => {
    const body = JSON.stringify(value);
    const digest = digestBy(algorithm, body);
    const descriptor = { mediaType: value.mediaType, digest, size: body.length };
    return { digest, body, descriptor, subject: value.subject?.digest } satisfies Made;
  };
  const image = async (more: object = {}) =>
    made({
      ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest },
      config: await blob(mediaTypes.ociConfig, new Uint8Array(Buffer.from("{}"))),
      layers: [await blob(mediaTypes.ociLayer, bytes(64))],
      ...more,
    });
  const index = (parts: readonly Made[], more: object = {}) => {
    const manifests = parts.map(({ descriptor }) => descriptor);
    return made({ ...{ schemaVersion: 2, mediaType: mediaTypes.ociIndex }, manifests, ...more });
  };
  const artifact = async (type: string, more: object = {}) => {
    const empty = new Uint8Array(Buffer.from("{}"));
    const config = await blob("application/vnd.oci.empty.v1+json", empty);
    const annotations = { of: type, id: crypto.randomUUID() };
    const layers = [await blob(type, bytes(32))];
    return await image({ artifactType: type, config, layers, annotations, ...more });
  };
  return { blob, image, index, artifact };
}

type Kind = (make: ReturnType<typeof maker>) => Promise<readonly Made[]>;

/** The suite's kinds of content: manifests in the order they are pushed, the last with a tag. */
const kinds: Readonly<Record<string, Kind>> = {
  image: async ({ image }) => [await image()],
  "image with a large manifest": async ({ image }) => {
    const long = Array.from({ length: 390 }, (_, at) => [`large-${at}`, "A".repeat(10_000)]);
    return [await image({ annotations: Object.fromEntries(long) })];
  },
  "image without layers": async ({ image }) => [await image({ layers: [] })],
  "image with a field that nobody knows": async ({ image }) => [await image({ "org.x": [1] })],
  "image with layers that are elsewhere": async ({ image }) => {
    const mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    const digest = digestBy("sha256", bytes(8));
    const urls = [`https://store.example/${digest}`];
    return [await image({ layers: [{ mediaType, digest, size: 123_456, urls }] })];
  },
  "image with data in its descriptors": async ({ image, blob }) => {
    const config = await blob(mediaTypes.ociConfig, new Uint8Array(Buffer.from("{}")));
    return [await image({ config: { ...config, data: "e30=" } })];
  },
  index: async ({ image, index }) => {
    const parts = [await image(), await image()];
    return [...parts, index(parts)];
  },
  "index of indexes": async ({ image, index }) => {
    const part = await image();
    const inner = index([part]);
    return [part, inner, index([inner])];
  },
  "empty index": async ({ index }) => [index([])],
  artifact: async ({ artifact }) => [await artifact(artifactTypes[0])],
  "index of artifacts": async ({ artifact, index }) => {
    const part = await artifact(artifactTypes[0]);
    return [part, index([part], { artifactType: artifactTypes[0] })];
  },
  "artifacts of an image": async ({ image, artifact }) => {
    const subject = await image();
    const of = { subject: subject.descriptor };
    const types = [artifactTypes[0], artifactTypes[1]];
    return [subject, await image(of), ...(await Promise.all(types.map((t) => artifact(t, of))))];
  },
  "index of artifacts of an index": async ({ image, index }) => {
    const part = await image();
    const subject = index([part]);
    const more = { artifactType: artifactTypes[0], subject: subject.descriptor };
    return [part, subject, index([part], more)];
  },
  "artifact of what is not here": async ({ artifact }) => {
    const digest = digestBy("sha256", bytes(8));
    const subject = { mediaType: mediaTypes.ociManifest, digest, size: 123 };
    return [await artifact(artifactTypes[0], { subject })];
  },
};

for (const algorithm of ["sha256", "sha512"] as const) {
  onEachStorage(`conformance: manifests by ${algorithm}`, async (openLaboratory) => {
    await using lab = await openLaboratory();
    for (const [kind, make] of Object.entries(kinds)) {
      const all = await make(maker(lab, algorithm));
      const tag = kind.replaceAll(" ", "-");
      for (const each of all) await putManifest(lab, each, each === all.at(-1) ? tag : undefined);
      const listed = await lab.call("GET", `/v2/${repository}/tags/list`);
      expect(((await listed.json()) as { tags: string[] }).tags).toContain(tag);
      for (const each of all) await expectManifest(lab, manifestAt(each.digest), each);
      await expectManifest(lab, manifestAt(tag), all.at(-1)!);
      for (const subject of new Set(all.flatMap((each) => each.subject ?? []))) {
        await expectReferrers(lab, subject, all);
      }
      await expectGone(lab, manifestAt(tag));
      for (const each of all.toReversed()) await expectGone(lab, manifestAt(each.digest));
    }
  });
}

/** By its digest, with the tag as a parameter where there is one. */
async function putManifest(
  { call }: Laboratory,
  { body, descriptor, digest, subject }: Made,
  tag: string | undefined,
): Promise<void> {
  const headers = { "Content-Type": descriptor.mediaType };
  const put = await call("PUT", manifestAt(tag ? `${digest}?tag=${tag}` : digest), {
    body,
    headers,
  });
  expect(put.status).toBe(201);
  expect(put.headers.get("Docker-Content-Digest")).toBe(digest);
  expect(put.headers.get("OCI-Subject")).toBe(subject ?? null);
  expect(put.headers.get("OCI-Tag")).toBe(tag ?? null);
  expect(await (await call("GET", put.headers.get("Location")!)).text()).toBe(body);
}

async function expectManifest({ call }: Laboratory, at: string, made: Made): Promise<void> {
  for (const method of ["HEAD", "GET"]) {
    const answer = await call(method, at, { headers: { Accept: made.descriptor.mediaType } });
    const { headers, status } = answer;
    const { mediaType, digest, size } = made.descriptor;
    const named = ["Content-Type", "Content-Length", "Docker-Content-Digest"];
    expect([status, ...named.map((name) => headers.get(name))]).toEqual([
      ...[200, mediaType, String(size), digest],
    ]);
    if (method === "GET") expect(await answer.text()).toBe(made.body);
  }
}

async function expectReferrers(
  { call }: Laboratory,
  subject: Digest,
  all: readonly Made[],
): Promise<void> {
  const list = async (query: string) => {
    const answer = await call("GET", `/v2/${repository}/referrers/${subject}${query}`);
    const index = (await answer.json()) as { schemaVersion: number; manifests: object[] };
    expect([answer.status, index.schemaVersion]).toEqual([200, 2]);
    expect(answer.headers.get("Content-Type")).toBe(mediaTypes.ociIndex);
    return { filters: answer.headers.get("OCI-Filters-Applied"), manifests: index.manifests };
  };
  const expected = all
    .filter((each) => each.subject === subject)
    .map(({ body, descriptor }) => {
      const { artifactType, config, annotations } = JSON.parse(body);
      const type = artifactType ?? config.mediaType;
      return { ...descriptor, artifactType: type, ...(annotations ? { annotations } : {}) };
    });
  const { manifests } = await list("");
  expect(manifests).toHaveLength(expected.length);
  expect(manifests).toEqual(expect.arrayContaining(expected));
  for (const type of artifactTypes) {
    const found = await list(`?artifactType=${encodeURIComponent(type)}`);
    expect(found.filters).toBe("artifactType");
    const wanted = expected.filter(({ artifactType }) => artifactType === type);
    expect(found.manifests).toHaveLength(wanted.length);
    expect(found.manifests).toEqual(expect.arrayContaining(wanted));
  }
}

onEachStorage("conformance: a repository without anything, and refusals", async (open) => {
  await using lab = await open();
  const { call } = lab;
  expect((await call("GET", "/v2/")).status).toBe(200);
  expect([200, 404]).toContain((await call("GET", `/v2/${repository}/tags/list`)).status);
  const none = digestBy("sha256", "none");
  await expectReferrers(lab, none, []);
  const image = await maker(lab).image();
  const headers = { "Content-Type": mediaTypes.ociManifest };
  for (const reference of [none, "absent"]) {
    for (const method of ["GET", "HEAD"]) {
      expect((await call(method, manifestAt(reference))).status).toBe(404);
    }
  }
  const put = (reference: string, body: string) =>
    call("PUT", manifestAt(reference), { body, headers });
  expect(await codeOf(await put("sha256:baddigeststring", image.body))).toStartWith("400 ");
  expect((await call("GET", manifestAt("sha256:baddigeststring"))).status).toBe(404);
  expect(await codeOf(await put(image.digest, `${image.body}  `))).toBe("400 DIGEST_INVALID");
  expect(await codeOf(await put("v1", "blablabla"))).toBe("400 MANIFEST_INVALID");
  await putManifest(lab, image, undefined);
  for (let count = 0; count < 4; count++) await put(`test${count}`, image.body);
  const list = async (query: string) => {
    const answer = await call("GET", `/v2/${repository}/tags/list${query}`);
    return ((await answer.json()) as { tags: string[] }).tags;
  };
  expect(await list("")).toEqual(["test0", "test1", "test2", "test3"]);
  expect(await list("?n=2")).toEqual(["test0", "test1"]);
  expect(await list("?n=2&last=test1")).toEqual(["test2", "test3"]);
  expect(await list("?last=test2")).toEqual(["test3"]);
});
