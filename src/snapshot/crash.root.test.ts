import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { type TarInput, writeTar } from "../archive/mod.ts";
import { closeFile, errnoOf, open, openPath, renameAt } from "../sys/mod.ts";
import { Fixture, file, folder } from "./fixture.ts";
import { packTar, unpackTar } from "./tar.ts";

const fixture = new Fixture();
const { base } = fixture;
const exchange = 2;

/** Swaps a folder and a symbolic link that leads out of the root, on and on, while `work` runs. */
async function whileSwapping(root: string, work: Promise<unknown>): Promise<number> {
  const directory = openPath(root, open.path | open.directory);
  let isRunning = true;
  let swaps = 0;
  const ended = work.finally(() => {
    isRunning = false;
  });
  ended.catch(() => {}); // awaited below
  try {
    while (isRunning) {
      for (let at = 0; at < 50; at++, swaps++) {
        try {
          renameAt([directory, "d"], [directory, "swap"], exchange);
        } catch (error) {
          if (errnoOf(error) !== "ENOENT") throw error;
        }
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ended;
    return swaps;
  } finally {
    closeFile(directory);
  }
}

describe("with somebody swapping a folder for a link out of the root", () => {
  const names = Array.from({ length: 4000 }, (_, at) => `${at % 2 ? "d" : "d/in"}/f${at}`);
  const entries: TarInput[] = [folder("d"), folder("d/in"), ...names.map((name) => file(name))];

  function swapRoot(): string {
    const place = `${base}/${Math.random()}`;
    for (const path of ["root/d/in", "root/victim/in", "victim/in"]) {
      mkdirSync(`${place}/${path}`, { recursive: true });
    }
    symlinkSync(`../victim`, `${place}/root/swap`);
    return place;
  }

  test("unpackTar() writes nothing outside", async () => {
    for (let round = 0; round < 3; round++) {
      const place = swapRoot();
      // A failure is an answer too: what an entry stands for went away under it.
      const work = unpackTar(writeTar(entries), `${place}/root`).catch((error) => error.code);
      expect(await whileSwapping(`${place}/root`, work)).toBeGreaterThan(0);
      expect(readdirSync(`${place}/victim`)).toEqual(["in"]);
      expect(readdirSync(`${place}/victim/in`)).toEqual([]);
    }
  });

  test("packTar() reads nothing outside", async () => {
    const place = swapRoot();
    writeFileSync(`${place}/victim/secret`, "secret");
    for (const name of names.slice(0, 500)) writeFileSync(`${place}/root/${name}`, "mine");
    const all: Buffer[] = [];
    const work = (async () => {
      for (let round = 0; round < 20; round++) {
        for await (const part of packTar(`${place}/root`)) all.push(Buffer.from(part));
      }
    })();
    expect(await whileSwapping(`${place}/root`, work)).toBeGreaterThan(0);
    expect(Buffer.concat(all).includes("secret")).toBe(false);
  });
});

test("a store whose process was killed in the middle of its work opens clean", async () => {
  const big = Array.from({ length: 300 }, (_, at) => file(`f${at}`, "x".repeat(100_000)));
  const { path, diffId } = await fixture.tarOf(big);
  const directory = `${base}/killed`;
  const script = `
    import { Database } from "bun:sqlite";
    import { openSnapshotStore } from ${JSON.stringify(`${import.meta.dir}/store.ts`)};
    const database = new Database(${JSON.stringify(`${directory}/db.sqlite`)});
    database.run("PRAGMA journal_mode = WAL");
    const store = await openSnapshotStore({ directory: ${JSON.stringify(`${directory}/snapshot`)}, database });
    for (let at = 0; ; at++) {
      const layer = await store.unpack(${JSON.stringify(path)}, { diffId: ${JSON.stringify(diffId)} });
      await store.prepare("k" + at, [layer.diffId], { volatile: at % 2 === 0 });
      const root = await store.mount("k" + at);
      await Bun.write(root + "/new", "new" + at);
      if (at === 0) console.log("started");
      const { diffId } = await store.commit("k" + at, { how: at % 3 === 0 ? "copy" : "move" });
      await store.remove("k" + at);
      await store.removeLayer(diffId);
      if (at % 4 === 3) await store.removeLayer(layer.diffId);
    }`;
  mkdirSync(directory);
  for (const delayMs of [0, 3, 17, 40, 90]) {
    const child = Bun.spawn([process.execPath, "-e", script], {
      stdout: "pipe",
      stderr: "inherit",
    });
    for await (const line of child.stdout) {
      expect(line.length).toBeGreaterThan(0);
      break;
    }
    await Bun.sleep(delayMs);
    child.kill("SIGKILL");
    await child.exited;
    const { store, database } = await fixture.openIn(directory);
    await store.reconcile(new Set());
    expect(store.keys()).toEqual([]);
    expect(fixture.mounts(directory)).toEqual([]);
    const count = (name: string) => readdirSync(`${directory}/snapshot/${name}`).length;
    expect([count("ingest"), count("snapshots"), count("layers")]).toEqual([
      0,
      0,
      store.layers().length + 1,
    ]);
    await store.unpack(path, { diffId });
    await store.prepare("check", [diffId]);
    expect(readdirSync(await store.mount("check")).length).toBe(300);
    await store.remove("check");
    database.close();
  }
}, 60_000);
