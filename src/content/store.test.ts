import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { digestOf } from "../oci/mod.ts";
import { contentStoreContract, streamOf } from "./contract.ts";
import { openContentStore } from "./store.ts";

const root = mkdtempSync("/tmp/lading-content-");
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
const open = () => openContentStore({ directory: `${root}/${count++}` });

contentStoreContract("disk store", open, async (store, digest) => {
  writeFileSync(store.path(digest), "hellx");
});

test("openContentStore() removes what an earlier process had not finished", async () => {
  const directory = `${root}/again`;
  const store = await openContentStore({ directory });
  writeFileSync(`${await store.scratch()}/half`, "half");
  await store.put(streamOf("whole"), { sizeBytesMax: 10 });
  const next = await openContentStore({ directory });
  expect(readdirSync(`${directory}/ingest`)).toEqual([]);
  expect(await next.size(digestOf("whole"))).toBe(5);
});

test("put() leaves nothing in ingest, whether it succeeds or fails", async () => {
  const directory = `${root}/clean`;
  const store = await openContentStore({ directory });
  await store.put(streamOf("good"), { sizeBytesMax: 10 });
  await store.put(streamOf("too long"), { sizeBytesMax: 2 }).catch(() => {});
  expect(readdirSync(`${directory}/ingest`)).toEqual([]);
  expect(readdirSync(`${directory}/blobs/sha256`).length).toBe(1);
});
