import { describe, expect, test } from "bun:test";
import { noRoutes, type Routes } from "../registry/mod.ts";
import { MemoryRegistry, openTransfers } from "./test-registry.ts";
import { imageBlobs, layerOf } from "./test-stores.ts";

/** The same image at a registry and at its mirror, and an engine whose table knows of it. */
async function open(more: (origin: string, mirror: string) => Partial<Routes> = () => ({})) {
  const origin = new MemoryRegistry();
  const mirror = new MemoryRegistry();
  const image = await imageBlobs([await layerOf("one"), await layerOf("two")], { gzip: true });
  for (const each of [origin, mirror]) each.put("1", image);
  const stores = await openTransfers({
    routes: {
      ...noRoutes,
      mirrors: new Map([[origin.address, [{ domain: mirror.address, prefix: "cache/" }]]]),
      ...more(origin.address, mirror.address),
    },
  });
  const dispose = () => {
    for (const each of [origin, mirror, stores]) each[Symbol.dispose]();
  };
  const name = `${origin.address}/app:1`;
  return { ...stores, origin, mirror, image, name, [Symbol.dispose]: dispose };
}

const getsOf = ({ seen }: MemoryRegistry) => seen.filter((line) => line.startsWith("GET /v2/"));

describe("a mirror", () => {
  test("is asked in the registry's place, and the image keeps its name", async () => {
    using it = await open();
    const { tags, repoDigests } = await it.pull(it.name);
    expect(tags).toEqual([it.name]);
    expect(repoDigests[0]).toStartWith(`${it.origin.address}/app@`);
    expect(it.origin.seen).toEqual([]);
    expect(it.mirror.seen).toContain("GET /v2/cache/app/manifests/1");
  });

  test("that lacks something is filled up from the registry, blob by blob", async () => {
    using it = await open();
    const lacking = it.image[2]!.descriptor.digest;
    it.mirror.blobs.delete(lacking);
    await it.pull(it.name);
    expect(getsOf(it.origin)).toEqual(["GET /v2/", `GET /v2/app/blobs/${lacking}`]);
  });

  test("that nobody runs any more is asked once, and then left alone", async () => {
    using it = await open();
    it.mirror[Symbol.dispose]();
    await it.pull(it.name);
    expect(getsOf(it.origin)).toContain("GET /v2/app/manifests/1");
  });

  test("that is busy is not waited for", async () => {
    using it = await open();
    it.mirror.intercept = () => new Response("", { status: 503, headers: { "Retry-After": "20" } });
    await it.pull(it.name);
    expect(it.mirror.seen.length).toBe(1);
  });

  test.each([
    ["with another byte", (bytes: Buffer) => bytes.fill(0, bytes.length - 1)],
    ["without end", (bytes: Buffer) => Buffer.concat([bytes, bytes])],
    ["cut short", (bytes: Buffer) => bytes.subarray(0, bytes.length / 2)],
  ])("that sends a layer or a config %s is not believed", async (_, spoil) => {
    using it = await open();
    for (const [digest, bytes] of it.mirror.blobs) {
      it.mirror.blobs.set(digest, spoil(Buffer.from(bytes)));
    }
    await it.pull(it.name);
    for (const { descriptor } of it.image.slice(2)) {
      expect(await it.content.size(descriptor.digest)).toBe(descriptor.size);
    }
  });

  test("never sees the credentials for the registry, but those that the table has for it", async () => {
    const own = { username: "mirror", password: "own" };
    using it = await open((_, mirror) => ({ credentials: new Map([[mirror, own]]) }));
    const shown = new Set<string | null>();
    it.origin.blobs.clear();
    it.mirror.blobs.delete(it.image[3]!.descriptor.digest);
    it.mirror.intercept = (request) => {
      const header = request.headers.get("authorization");
      if (header) shown.add(header);
      if (header) return undefined;
      return new Response("", { status: 401, headers: { "WWW-Authenticate": 'Basic realm="m"' } });
    };
    const credentials = { username: "user", password: "secret" };
    const pulling = it.transfers.pull(it.name, { ...it.options, credentials });
    await expect(pulling).rejects.toMatchObject({ code: "not_found" });
    expect([...shown]).toEqual([`Basic ${btoa("mirror:own")}`]);
  });

  test("is not pushed to", async () => {
    using it = await open();
    const { id } = await it.pull(it.name);
    it.images.tag(id, `${it.origin.address}/app:2`);
    const before = it.mirror.seen.length;
    await it.push(`${it.origin.address}/app:2`);
    expect(it.mirror.seen.length).toBe(before);
    expect(it.origin.manifests.has("2")).toBe(true);
  });
});

describe("a rewrite", () => {
  test("leads pull and push elsewhere, and names stay", async () => {
    using it = await open((origin, mirror) => ({
      mirrors: new Map(),
      rewrites: [{ from: `${origin}/app`, to: { domain: mirror, prefix: "team/application/" } }],
    }));
    const { id, tags } = await it.pull(it.name);
    expect(tags).toEqual([it.name]);
    it.images.tag(id, `${it.origin.address}/app:2`);
    await it.push(`${it.origin.address}/app:2`);
    expect(it.origin.seen).toEqual([]);
    expect(it.mirror.seen).toContain("PUT /v2/team/application/manifests/2");
  });

  test("shows the credentials for a name's registry to no other", async () => {
    using it = await open((origin, mirror) => ({
      mirrors: new Map(),
      rewrites: [{ from: origin, to: { domain: mirror, prefix: "" } }],
    }));
    it.mirror.intercept = (request) => {
      expect(request.headers.get("authorization")).toBe(null);
      return new Response("", { status: 401, headers: { "WWW-Authenticate": 'Basic realm="m"' } });
    };
    const credentials = { username: "user", password: "secret" };
    const pulling = it.transfers.pull(it.name, { ...it.options, credentials });
    await expect(pulling).rejects.toThrow("pull access denied");
    expect(it.mirror.seen.length).toBeGreaterThan(0);
  });
});

test("reload() holds for the next pull", async () => {
  using it = await open();
  it.transfers.reload({});
  await it.pull(it.name);
  expect(it.mirror.seen).toEqual([]);
});
