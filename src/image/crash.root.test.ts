import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { openContentStore } from "../content/mod.ts";
import { openSnapshotStore } from "../snapshot/mod.ts";
import { openImageStore } from "./mod.ts";
import { bytesOf, configOf, dockerArchive, fileEntry, layerOf } from "./test-stores.ts";

const killAfterMs = [0, 5, 15, 40, 80];

async function openAt(directory: string) {
  const database = new Database(`${directory}/db`);
  database.run("PRAGMA journal_mode = WAL");
  const content = await openContentStore({ directory: `${directory}/content` });
  const snapshots = await openSnapshotStore({ directory: `${directory}/snapshot`, database });
  const images = await openImageStore({ database, content, snapshots });
  return { database, content, snapshots, images };
}

/** The process that is killed: it says that it begins, and loads. */
if (process.env["LADING_TEST_LOAD"]) {
  const { images } = await openAt(process.env["LADING_TEST_LOAD"]);
  process.stdout.write("begin\n");
  const path = `${process.env["LADING_TEST_LOAD"]}/archive`;
  await images.load(path, { report() {} });
  process.exit(0);
}

test("kill -9 in the middle of load() leaves all of the image or, after collect(), nothing", async () => {
  const layers = await Promise.all(
    ["a", "b", "c"].map((name) => layerOf(name, name.repeat(3 << 20))),
  );
  const archive = await dockerArchive(
    [{ config: configOf(layers), layers: ["0", "1", "2"], tags: ["app:1"] }],
    layers.map((layer, at) => fileEntry(String(at), layer)),
  );
  for (const delayMs of killAfterMs) {
    const directory = mkdtempSync("/tmp/lading-image-crash-");
    try {
      await Bun.write(`${directory}/archive`, archive);
      const child = Bun.spawn([process.execPath, import.meta.path], {
        env: { ...process.env, LADING_TEST_LOAD: directory },
        stdout: "pipe",
      });
      for await (const _ of child.stdout) break;
      await Bun.sleep(delayMs);
      child.kill("SIGKILL");
      await child.exited;
      const { content, database, images, snapshots } = await openAt(directory);
      await images.collect({ layers: new Set(), blobs: new Set() });
      const blobs = await Array.fromAsync(content.list());
      const counts = [images.list().length, snapshots.layers().length, blobs.length];
      expect([
        [0, 0, 0],
        [1, 3, 3],
      ]).toContainEqual(counts);
      if (counts[0] === 1) await bytesOf(images.save(["app:1"]));
      await images.load(`${directory}/archive`, { report() {} });
      expect((await bytesOf(images.save(["app:1"]))).length).toBeGreaterThan(9 << 20);
      database.close();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
});
