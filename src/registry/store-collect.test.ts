import { expect } from "bun:test";
import { type Digest, digestOf, mediaTypes } from "../oci/mod.ts";
import { type imageOf, type Laboratory, onEachStorage } from "./laboratory.ts";
import { collect } from "./store-collect.ts";

const hour = 3_600_000;

/** Makes all that is there look `ms` older: no test waits for a grace time. */
function age({ store }: Laboratory, ms: number): void {
  for (const [table, ...columns] of [
    ["blob", "touched_ms", "removed_ms"],
    ["manifest", "touched_ms", "removed_ms", "pushed_ms"],
    ["upload", "touched_ms"],
    ["tag", "moved_ms"],
    ["move", "at_ms"],
    ["repository", "created_ms"],
  ] as const) {
    const sets = columns.map((column) => `${column} = ${column} - ${ms}`);
    store.database.run(`UPDATE registry_${table} SET ${sets.join(", ")}`);
  }
}

async function ageFiles({ store, makeOlder }: Laboratory, ms: number): Promise<void> {
  for await (const { digest } of store.content.list()) makeOlder(digest, ms);
}

async function stored({ store }: Laboratory): Promise<Digest[]> {
  return (await Array.fromAsync(store.content.list())).map(({ digest }) => digest).toSorted();
}

onEachStorage(
  "collect() leaves what is young, and takes what no manifest refers to",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const image = await lab.push.image("a", "v1", "kept");
    const orphan = await lab.push.blob("a", "orphan");
    expect((await collect(lab.store)).details).toEqual([]);
    age(lab, 25 * hour);
    await ageFiles(lab, 25 * hour);
    const dry = await collect(lab.store, { dryRun: true });
    expect(dry.removed).toEqual({ blobs: 1, sizeBytes: 6, sharedBytes: 0 });
    expect(dry.details).toEqual([
      expect.objectContaining({ what: "link", repository: "a", id: orphan }),
      expect.objectContaining({ what: "blob", id: orphan }),
    ]);
    expect((await lab.call("HEAD", `/v2/a/blobs/${orphan}`)).status).toBe(200);
    age(lab, 25 * hour); // the HEAD was a touch
    const done = await collect(lab.store);
    expect({ ...done, isDryRun: true }).toEqual(dry);
    expect((await lab.call("HEAD", `/v2/a/blobs/${orphan}`)).status).toBe(404);
    expect(await stored(lab)).not.toContain(orphan);
    expect((await lab.call("GET", `/v2/a/manifests/${image.digest}`)).status).toBe(200);
    expect((await collect(lab.store)).details).toEqual([]);
  },
);

onEachStorage(
  "collect() keeps bytes while one repository of many has them",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const shared = digestOf("shared");
    const { digest } = await lab.push.image("a", "v1", "shared");
    await lab.push.image("b", "v1", "shared");
    await lab.call("DELETE", `/v2/a/manifests/${digest}`);
    age(lab, 8 * 24 * hour);
    await ageFiles(lab, 8 * 24 * hour);
    const report = await collect(lab.store);
    expect([report.manifests, report.links, report.removed.blobs]).toEqual([1, 2, 0]);
    expect((await lab.call("GET", `/v2/a/blobs/${shared}`)).status).toBe(404);
    expect(await (await lab.call("GET", `/v2/b/blobs/${shared}`)).text()).toBe("shared");
    await lab.call("DELETE", `/v2/b/manifests/${digest}`);
    age(lab, 8 * 24 * hour);
    await collect(lab.store);
    expect(await stored(lab)).toEqual([]);
  },
);

onEachStorage(
  "collect() keeps a deleted manifest and its blobs for the history's time",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const { digest } = await lab.push.image("a", "v1", "one");
    await lab.call("DELETE", `/v2/a/manifests/${digest}`);
    age(lab, 6 * 24 * hour);
    await ageFiles(lab, 30 * 24 * hour);
    expect((await collect(lab.store)).details).toEqual([]);
    expect((await collect(lab.store, { historyMs: hour, dryRun: true })).removed.blobs).toBe(3);
    age(lab, 2 * 24 * hour);
    expect((await collect(lab.store)).removed.blobs).toBe(3);
    expect(await stored(lab)).toEqual([]);
    expect(lab.store.names.find("a")).toBeUndefined();
  },
);

onEachStorage(
  "collect() keeps untagged manifests and parts of indexes, and takes what no row knows",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const { digest, size, mediaType } = await lab.push.image("a", "", "one");
    const manifests = [{ digest, size, mediaType }];
    await lab.push.manifest("a", "all", {
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests,
    });
    await lab.push.image("a", "", "untagged");
    const strange = await lab.store.content.put([Buffer.from("strange")] as never, {
      sizeBytesMax: 99,
    });
    age(lab, 99 * 24 * hour);
    await ageFiles(lab, 99 * 24 * hour);
    expect((await collect(lab.store)).details.map(({ id }) => id)).toEqual([strange.digest]);
  },
);

onEachStorage("collect() ends uploads that nobody goes on with", async (openLaboratory) => {
  await using lab = await openLaboratory();
  const answer = await lab.call("POST", "/v2/a/blobs/uploads/");
  const path = answer.headers.get("Location")!;
  await lab.call("PATCH", path, { body: "half" });
  age(lab, 23 * hour);
  expect((await collect(lab.store)).uploads).toBe(0);
  age(lab, 2 * hour);
  expect((await collect(lab.store)).uploads).toBe(1);
  expect((await lab.call("GET", path)).status).toBe(404);
});

onEachStorage(
  "pushes and deletes that race the collector never lose what a push needs",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const rounds = 25;
    const pushers = [0, 1, 2, 3];
    const beganMs = pushers.map(() => Date.now());
    let isOver = false;
    const collector = (async () => {
      let removed = 0;
      let explained = 0;
      while (!isOver) {
        // For all that no running push has touched, a day passes; for all files, whoever needs them.
        const oldest = Math.min(...beganMs);
        const aged = `SET touched_ms = touched_ms - ${25 * hour} WHERE touched_ms < ${oldest}`;
        lab.store.database.run(`UPDATE registry_blob ${aged}`);
        await ageFiles(lab, 25 * hour);
        const dry = await collect(lab.store, { dryRun: true, historyMs: -hour });
        explained += dry.details.filter(({ why }) => why !== "").length;
        removed += (await collect(lab.store, { historyMs: -hour })).removed.blobs;
      }
      return { removed, explained };
    })();
    const pusher = async (who: number) => {
      for (let round = 0; round < rounds; round++) {
        beganMs[who] = Date.now();
        const layers = [`shared ${round % 3}`, `own ${who} ${round}`];
        const { digest } = await lab.push.image("r", `t${who}`, ...layers);
        for (const text of layers) {
          expect(await (await lab.call("GET", `/v2/r/blobs/${digestOf(text)}`)).text()).toBe(text);
        }
        if (round < rounds - 1) await lab.call("DELETE", `/v2/r/manifests/${digest}`);
      }
      beganMs[who] = Number.POSITIVE_INFINITY;
    };
    await Promise.all(pushers.map(pusher)).finally(() => {
      isOver = true;
    });
    const { removed, explained } = await collector;
    expect(removed).toBeGreaterThan(rounds); // else nothing was raced
    expect(explained).toBeGreaterThan(rounds);
    for (const who of pushers) {
      const got = await lab.call("GET", `/v2/r/manifests/t${who}`);
      const { layers } = (await got.json()) as ReturnType<typeof imageOf>;
      expect(layers.length).toBe(2);
      for (const { digest } of layers) {
        const blob = await lab.call("GET", `/v2/r/blobs/${digest}`);
        expect(digestOf(await blob.bytes())).toBe(digest);
      }
    }
  },
);
