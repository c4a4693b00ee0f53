import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { type Digest, digestOf, mediaTypes, parseManifest } from "../oci/mod.ts";
import { copyManifest } from "../registry/mod.ts";
import { openArchiveSource, packLayout } from "./archive-layout.ts";
import { LayoutFolder } from "./layout-folder.ts";
import { bytesOf, configOf, dockerArchive, fileEntry, imageBlobs, layerOf } from "./test-stores.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/lading-layout-");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const signal = new AbortController().signal;
async function* chunks(bytes: Uint8Array) {
  yield bytes;
}

test("an archive from before there were layouts is copied with its layers as they are", async () => {
  const layers = [await layerOf("one"), await layerOf("two")];
  const image = { config: configOf(layers), layers: ["a/layer.tar", "b.tar"], tags: ["app:1"] };
  const files = [fileEntry("a/layer.tar", layers[0]!), fileEntry("b.tar", layers[1]!)];
  writeFileSync(`${folder}/old.tar`, await dockerArchive([image], files));
  await using opened = await openArchiveSource(`${folder}/old.tar`, folder);
  const { source } = opened;
  const target = await LayoutFolder.make(`${folder}/oci`);
  const digest = await copyManifest({ source, target }, ["app:1", "new"], { signal });
  const manifest = parseManifest((await target.manifest("new")).bytes);
  expect(manifest.layers.map((layer) => layer.digest)).toEqual(layers.map(digestOf));
  expect(manifest.layers[0]?.mediaType).toBe(mediaTypes.ociLayer);
  await expect(source.manifest("app:2")).rejects.toThrow('Cannot find "app:2"');

  const how = { directory: `${folder}/oci`, root: digest, name: "team/app:2" };
  writeFileSync(`${folder}/new.tar`, await bytesOf(packLayout(target, how)));
  await using again = await openArchiveSource(`${folder}/new.tar`, folder);
  for (const name of ["team/app:2", "docker.io/team/app:2", "2", ""]) {
    expect((await again.source.manifest(name)).descriptor.digest).toBe(digest);
  }
});

test("a layout takes no other bytes than it was promised, and keeps nothing of them", async () => {
  const layout = await LayoutFolder.make(folder);
  const digest = digestOf("right");
  for (const text of ["wrong", "righ", "right and more"]) {
    const read = () => chunks(Buffer.from(text));
    const uploading = layout.upload({ digest, sizeBytes: 5, read, signal });
    await expect(uploading).rejects.toMatchObject({ code: "corrupt" });
  }
  expect(readdirSync(`${folder}/blobs/sha256`)).toEqual([]);
  expect(readdirSync(`${folder}/blobs`).sort()).toEqual(["sha256", "sha512"]);
  const read = () => chunks(Buffer.from("right"));
  await layout.upload({ digest, sizeBytes: 5, read, signal });
  expect(await layout.hasBlob(digest)).toBe(true);
});

test("a layout's manifest that was changed on disk is refused", async () => {
  const [manifest] = await imageBlobs([await layerOf("one")], { gzip: true });
  const { bytes, descriptor } = manifest!;
  const layout = await LayoutFolder.make(folder);
  await layout.putManifest("a", { mediaType: descriptor.mediaType, bytes });
  await layout.putManifest("b", { mediaType: descriptor.mediaType, bytes });
  expect((await layout.index()).length).toBe(2);
  expect(await layout.head("b")).toBe(descriptor.digest as Digest);
  writeFileSync(`${folder}/blobs/sha256/${descriptor.digest.slice(7)}`, `${bytes} `);
  await expect(layout.manifest("a")).rejects.toThrow("Cannot trust");
  await expect(LayoutFolder.open(`${folder}/none`)).rejects.toThrow("it is no OCI layout");
});
