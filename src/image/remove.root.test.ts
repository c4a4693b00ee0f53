import { describe, expect, test } from "bun:test";
import { type Digest, digestOf } from "../oci/mod.ts";
import type { Removal } from "./mod.ts";
import { parseUntil } from "./prune.ts";
import { imageBlobs, layerOf, layoutOf, named, openStores } from "./test-stores.ts";

type User = { id: string; running: boolean };
const free = { force: false, noPrune: false, users: (): User[] => [] };
const used = (running: boolean, only?: Digest) => ({
  ...free,
  users: (id: Digest): User[] =>
    only === undefined || id === only ? [{ id: "c0ffee".repeat(10), running }] : [],
});

/** A base image of one layer with the names, and a store that has it. */
async function withBase(...names: string[]) {
  const stores = await openStores();
  const layer = await layerOf("base");
  const blobs = await imageBlobs([layer]);
  const descriptors = names.map((name) => named(blobs[0]!.descriptor, name));
  const manifests = names.length > 0 ? descriptors : [blobs[0]!.descriptor];
  const [loaded] = await stores.load(await layoutOf(manifests, blobs));
  return { stores, image: loaded!.image, layer, short: loaded!.image.id.slice(7, 19) };
}

/** An image of one more layer, as `commit` makes it. */
async function withChild(base: Awaited<ReturnType<typeof withBase>>, reference?: string) {
  const { stores, image } = base;
  const layer = (await stores.snapshots.unpack(await stores.file(await layerOf("child")), {}))
    .diffId;
  const child = await stores.images.commit({
    parent: image,
    layer,
    config: { Cmd: ["x"] },
    ...(reference ? { reference } : {}),
    author: "me",
    comment: "why",
    createdBy: "sh -c x",
  });
  return { ...base, child, childLayer: layer };
}

const lines = (removals: readonly Removal[]) =>
  removals.map((one) =>
    "untagged" in one ? `Untagged: ${one.untagged}` : `Deleted: ${one.deleted}`,
  );

describe("remove() by name", () => {
  test("untags one of several names", async () => {
    const { stores, image } = await withBase("app:1", "app:2");
    using _stores = stores;
    expect(lines(await stores.images.remove("app:1", free))).toEqual(["Untagged: app:1"]);
    expect(stores.images.resolve("app:2").id).toBe(image.id);
    expect(stores.images.find("app:1")).toBeUndefined();
  });

  test("deletes with the last name, its layers too", async () => {
    const { stores, image, layer } = await withBase("app:1");
    using _stores = stores;
    expect(lines(await stores.images.remove("app:1", free))).toEqual([
      "Untagged: app:1",
      `Deleted: ${image.id}`,
      `Deleted: ${digestOf(layer)}`,
    ]);
    expect(await stores.state()).toEqual({ images: [], layers: [], blobs: [] });
  });

  test("names no tag for latest, and says what is not there", async () => {
    const { stores } = await withBase("app:latest");
    using _stores = stores;
    await expect(stores.images.remove("other", free)).rejects.toMatchObject({
      code: "not_found",
      message: "No such image: other:latest",
    });
    expect(lines(await stores.images.remove("app", free))[0]).toBe("Untagged: app:latest");
  });

  test("refuses the last name of a used image, unless forced", async () => {
    const { stores, image, short } = await withBase("app:1");
    using _stores = stores;
    await expect(stores.images.remove("app:1", used(false))).rejects.toMatchObject({
      code: "conflict",
      message:
        'conflict: unable to remove repository reference "app:1" (must force) - ' +
        `container c0ffeec0ffee is using its referenced image ${short}`,
    });
    // A running container's image stays, without its name.
    const forced = await stores.images.remove("app:1", { ...used(true), force: true });
    expect(lines(forced)).toEqual(["Untagged: app:1"]);
    expect(stores.images.resolve(image.id).tags).toEqual([]);
  });

  test("keeps a parent without its name while it has children, and deletes it with the last", async () => {
    const base = await withChild(await withBase("app:1"), "child:1");
    const { stores, image, child, childLayer } = base;
    using _stores = stores;
    expect(lines(await stores.images.remove("app:1", free))).toEqual(["Untagged: app:1"]);
    const removed = lines(await stores.images.remove("child:1", free));
    expect(removed[0]).toBe("Untagged: child:1");
    expect(removed[1]).toBe(`Deleted: ${child.id}`);
    expect(removed[2]).toBe(
      `Deleted: ${digestOf(`${image.config.rootfs.diff_ids[0]} ${childLayer}`)}`,
    );
    expect(removed.slice(3)).toEqual([
      `Deleted: ${image.id}`,
      `Deleted: ${image.config.rootfs.diff_ids[0]}`,
    ]);
    expect((await stores.state()).layers).toEqual([]);
  });

  test("leaves nameless parents with noPrune", async () => {
    const { stores, image } = await withChild(await withBase("app:1"), "child:1");
    using _stores = stores;
    await stores.images.remove("app:1", free);
    const removed = await stores.images.remove("child:1", { ...free, noPrune: true });
    expect(removed.length).toBe(3);
    expect(stores.images.list().map(({ id }) => id)).toEqual([image.id]);
  });
});

describe("remove() by ID", () => {
  test("takes all names of one repository away", async () => {
    const { stores, image, short } = await withBase("app:1");
    using _stores = stores;
    expect(lines(await stores.images.remove(short, free)).slice(0, 2)).toEqual([
      "Untagged: app:1",
      `Deleted: ${image.id}`,
    ]);
  });

  test("refuses an image with several names, unless forced", async () => {
    const { stores, short } = await withBase("app:1", "other:1");
    using _stores = stores;
    await expect(stores.images.remove(short, free)).rejects.toMatchObject({
      code: "conflict",
      message: `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
    });
    const removed = lines(await stores.images.remove(short, { ...free, force: true }));
    expect(removed.slice(0, 2)).toEqual(["Untagged: app:1", "Untagged: other:1"]);
    expect(removed.length).toBe(4);
  });

  test("refuses what containers use, a running one's also when forced", async () => {
    const { stores, short } = await withBase("app:1");
    using _stores = stores;
    await expect(stores.images.remove(short, used(false))).rejects.toThrow(
      `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container c0ffeec0ffee`,
    );
    await expect(stores.images.remove(short, { ...used(true), force: true })).rejects.toThrow(
      `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container c0ffeec0ffee`,
    );
    const before = await stores.state();
    expect(before.images.length).toBe(1);
    await stores.images.remove(short, { ...used(false), force: true });
    expect((await stores.state()).images).toEqual([]);
  });

  test("refuses an image with children", async () => {
    const { stores, short } = await withChild(await withBase("app:1"), "child:1");
    using _stores = stores;
    await expect(stores.images.remove(short, { ...free, force: true })).rejects.toThrow(
      `conflict: unable to delete ${short} (cannot be forced) - image has dependent child images`,
    );
  });
});

describe("layers", () => {
  test("that another image has stay, and are not told", async () => {
    const base = await withChild(await withBase("app:1"), "child:1");
    using stores = base.stores;
    const removed = lines(await stores.images.remove("child:1", free));
    expect(removed.length).toBe(3);
    expect((await stores.state()).layers).toEqual(base.image.config.rootfs.diff_ids.slice());
    expect(await Array.fromAsync(stores.images.save(["app:1"]))).not.toEqual([]);
  });

  test("that a container stands on stay until collect() finds them free", async () => {
    const { stores, image } = await withBase("app:1");
    using _stores = stores;
    await stores.snapshots.prepare("c", image.config.rootfs.diff_ids);
    const removed = await stores.images.remove("app:1", { ...used(false), force: true });
    expect(lines(removed)).toEqual(["Untagged: app:1", `Deleted: ${image.id}`]);
    const keep = { layers: new Set<Digest>(), blobs: new Set<Digest>() };
    await stores.images.collect(keep);
    expect((await stores.state()).layers).toEqual(image.config.rootfs.diff_ids.slice());
    await stores.snapshots.remove("c");
    expect(await stores.images.collect(keep)).toBeGreaterThan(0);
    expect(await stores.state()).toEqual({ images: [], layers: [], blobs: [] });
  });

  test("that a build keeps stay, with the file that their tar is", async () => {
    const { stores, image, layer } = await withBase("app:1");
    using _stores = stores;
    const keep = { layers: new Set(image.config.rootfs.diff_ids), blobs: new Set<Digest>() };
    stores.images.keepAlso(() => keep);
    const removed = await stores.images.remove("app:1", free);
    expect(lines(removed)).toEqual(["Untagged: app:1", `Deleted: ${image.id}`]);
    expect(await stores.state()).toEqual({
      images: [],
      layers: [digestOf(layer)],
      blobs: [digestOf(layer)],
    });
    await stores.images.add(image.config, { tags: ["again"] });
    expect(await Array.fromAsync(stores.images.save(["again"]))).not.toEqual([]);
  });
});

describe("collect()", () => {
  test("removes what a crash left, but not what somebody is on the way with", async () => {
    const { stores } = await withBase("app:1");
    using _stores = stores;
    const before = await stores.state();
    const orphan = await stores.file(await layerOf("orphan"));
    const { diffId } = await stores.snapshots.unpack(orphan, {});
    await stores.content.adopt(orphan, {});
    const keep = { layers: new Set<Digest>(), blobs: new Set<Digest>() };
    await stores.images.collect(keep);
    expect((await stores.state()).layers).toContain(diffId);
    const afterCrash = await stores.reopen();
    await afterCrash.collect({ ...keep, layers: new Set([diffId]) });
    expect((await stores.state()).layers).toContain(diffId);
    await afterCrash.collect(keep);
    const { images, layers } = await stores.state();
    expect({ images, layers }).toEqual({ images: before.images, layers: before.layers });
  });
});

test("collect() unpacks a lost layer again, and bears that its file is lost too", async () => {
  const { stores, layer, image } = await withBase("app:1");
  using _stores = stores;
  const keep = { layers: new Set<Digest>(), blobs: new Set<Digest>() };
  await stores.snapshots.removeLayer(digestOf(layer));
  await stores.images.collect(keep);
  expect((await stores.state()).layers).toEqual([digestOf(layer)]);
  await stores.snapshots.removeLayer(digestOf(layer));
  await stores.content.remove(digestOf(layer));
  await stores.images.collect(keep);
  expect(await stores.state()).toEqual({
    images: [{ id: image.id, tags: ["app:1"] }],
    layers: [],
    blobs: [],
  });
  await expect(Array.fromAsync(stores.images.save(["app:1"]))).rejects.toThrow("is absent");
});

describe("prune()", () => {
  const prune = { all: false, filters: new Map<string, string[]>(), users: free.users };

  test("takes images without names, and all unused with `all`", async () => {
    const base = await withChild(await withBase("app:1"));
    using stores = base.stores;
    const first = await stores.images.prune(prune);
    expect(lines(first.removed)[0]).toBe(`Deleted: ${base.child.id}`);
    expect(first.reclaimedBytes).toBeGreaterThan(0);
    expect((await stores.images.prune(prune)).removed).toEqual([]);
    expect((await stores.images.prune({ ...prune, ...used(false), all: true })).removed).toEqual(
      [],
    );
    const all = await stores.images.prune({ ...prune, all: true });
    expect(lines(all.removed)[0]).toBe("Untagged: app:1");
    expect(await stores.state()).toEqual({ images: [], layers: [], blobs: [] });
  });

  test.each<[Record<string, string[]>, boolean]>([
    [{ until: ["1h"] }, false],
    [{ until: ["0s"] }, true],
    [{ until: ["2001-01-01"] }, false],
    [{ label: ["keep"] }, false],
    [{ label: ["stage=x"] }, true],
    [{ label: ["stage=y"] }, false],
    [{ label: ["stage"] }, true],
    [{ "label!": ["stage"] }, false],
    [{ "label!": ["keep"] }, true],
  ])("with %j takes it: %p", async (filters, isTaken) => {
    using stores = await openStores();
    const { diffId } = await stores.snapshots.unpack(await stores.file(await layerOf("x")), {});
    await stores.images.add({
      os: "linux",
      architecture: "amd64",
      created: new Date(Date.now() - 60_000).toISOString(),
      config: { Labels: { stage: "x" } },
      rootfs: { type: "layers", diff_ids: [diffId] },
    });
    const { removed } = await stores.images.prune({
      ...prune,
      filters: new Map(Object.entries(filters)),
    });
    expect(removed.length > 0).toBe(isTaken);
  });

  test("refuses a time that is none", async () => {
    using stores = await openStores();
    const filters = new Map([["until", ["soon"]]]);
    await expect(stores.images.prune({ ...prune, filters })).rejects.toMatchObject({
      code: "invalid",
    });
  });
});

test.each([
  ["90s", 910_000],
  ["1m30s", 910_000],
  ["0.5s", 999_500],
  ["100", 100_000],
  ["1970-01-01T00:00:05Z", 5_000],
])("parseUntil() reads %s", (text, ms) => expect(parseUntil(text, 1_000_000)).toBe(ms));
