import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { digestOf } from "../oci/mod.ts";
import { getXattr, mountNow, unmountNow } from "../sys/mod.ts";
import { entry, Fixture, file } from "./fixture.ts";

const fixture = new Fixture();

describe("unpack()", () => {
  test("makes a layer once, whatever its tar is packed with", async () => {
    const { store, directory } = await fixture.openNew();
    const { path, diffId } = await fixture.tarOf([file("a")]);
    const layer = await store.unpack(path, {});
    expect(layer).toMatchObject({ diffId, sizeBytes: 1, origin: "archive" });
    expect(Bun.spawnSync(["gzip", "-k", path]).exitCode).toBe(0);
    expect(await store.unpack(`${path}.gz`, { diffId })).toEqual(layer);
    expect(await store.unpack("/absent", { diffId })).toEqual(layer);
    expect((await store.unpack(`${path}.gz`, {})).diffId).toBe(diffId);
    expect(store.layers().length).toBe(1);
    expect(readdirSync(`${directory}/snapshot/layers`).length).toBe(2); // and the empty one
    expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
  });

  test("of one layer many times at once does the work once", async () => {
    const { store, directory } = await fixture.openNew();
    const { path, diffId } = await fixture.tarOf([file("a"), file("b")]);
    const found = await Promise.all(
      Array.from({ length: 8 }, () => store.unpack(path, { diffId })),
    );
    expect(new Set(found.map((layer) => layer.diffId)).size).toBe(1);
    expect(readdirSync(`${directory}/snapshot/layers`).length).toBe(2);
  });

  test("refuses bytes that hash to another DiffID, and leaves nothing", async () => {
    const { store, directory } = await fixture.openNew();
    const { path } = await fixture.tarOf([file("a")]);
    const wrong = store.unpack(path, { diffId: digestOf("other") });
    await expect(wrong).rejects.toMatchObject({ name: "Failure", code: "corrupt" });
    const cut = `${fixture.base}/cut.tar`;
    writeFileSync(cut, readFileSync(path).subarray(0, 700));
    await expect(store.unpack(cut, {})).rejects.toMatchObject({ code: "corrupt" });
    expect(store.layers()).toEqual([]);
    expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
  });

  test('on a full disk is "exhausted" and leaves nothing', async () => {
    const directory = `${fixture.base}/full`;
    mkdirSync(directory);
    mountNow({ type: "tmpfs", source: "tmpfs", target: directory, data: "size=4m" });
    const { store, database } = await fixture.openIn(directory);
    const { path } = await fixture.tarOf([
      { header: { path: "big" }, body: Buffer.alloc(8 << 20, "x") },
    ]);
    await expect(store.unpack(path, {})).rejects.toMatchObject({ code: "exhausted" });
    expect(readdirSync(`${directory}/snapshot/ingest`)).toEqual([]);
    expect(store.layers()).toEqual([]);
    database.close();
    unmountNow(directory, { detach: true });
  });
});

test("an archive's attributes never reach overlayfs", async () => {
  const { store } = await fixture.openNew();
  const evil = new Map([["trusted.overlay.opaque", Buffer.from("y")]]);
  const { path } = await fixture.tarOf([entry({ path: "d", type: "directory", xattrs: evil })]);
  await expect(store.unpack(path, {})).rejects.toMatchObject({ code: "invalid" });
  expect(getXattr("/", "trusted.overlay.opaque")).toBeUndefined();
});
