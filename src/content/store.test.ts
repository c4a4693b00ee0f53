import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { digestOf } from "../oci/mod.ts";
import { blobStoreContract, streamOf } from "./contract.ts";
import { openContentStore } from "./store.ts";

const root = mkdtempSync("/tmp/lading-content-");
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
const open = () => openContentStore({ directory: `${root}/${count++}` });

blobStoreContract("disk store", {
  open,
  scratch: (store) => store.scratch(),
  damage: async (store, digest) => writeFileSync(store.path(digest), "hellx"),
});

test("two stores beside each other have one file of a blob that both have, and remove only their own", async () => {
  const [one, two] = [`${root}/one`, `${root}/two`];
  const first = await openContentStore({ directory: one, beside: two });
  const second = await openContentStore({ directory: two, beside: one });
  const hello = digestOf("hello");
  const ino = (store: typeof first) => statSync(store.path(hello)).ino;
  const arrive = async (store: typeof first, how: object) => {
    const path = `${await store.scratch()}/file`;
    writeFileSync(path, "hello");
    await store.adopt(path, { expected: hello, trusted: true, ...how });
  };
  await first.put(streamOf("hello"), { sizeBytesMax: 9 });
  const kept = ino(first);
  await arrive(second, { sync: "later" }); // takes the other's
  expect([ino(first), ino(second)]).toEqual([kept, kept]);
  writeFileSync(second.path(hello), "hellx");
  await arrive(first, {}); // verified just now: both get it, and are mended
  expect(ino(first)).toBe(ino(second));
  expect(Buffer.from(await second.bytes(hello, 9)).toString()).toBe("hello");
  await first.remove(hello);
  expect(await first.size(hello)).toBeUndefined();
  expect(Buffer.from(await second.bytes(hello, 9)).toString()).toBe("hello");
  for (const directory of [one, two])
    expect(Bun.spawnSync(["find", `${directory}/ingest`, "-type", "f"]).stdout.length).toBe(0);
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
