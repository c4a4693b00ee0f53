import { expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { digestBy, digestOf } from "../oci/mod.ts";
import type { BlobStore } from "./types.ts";

export async function* streamOf(
  ...parts: (string | Uint8Array)[]
): AsyncGenerator<Uint8Array, void> {
  for (const part of parts) yield Buffer.from(part);
}

async function* cutShort(): AsyncGenerator<Uint8Array, void> {
  yield Buffer.from("half");
  throw new Error("the network went away");
}

async function textOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of bytes) parts.push(part);
  return Buffer.concat(parts).toString();
}

const hello = digestOf("hello");
const sizeBytesMax = 100;

interface Subject<Store extends BlobStore> {
  open(): Promise<Store>;
  /** A folder on the store's own file system, if it is on one. */
  scratch(store: Store): Promise<string>;
  /** Changes a stored blob's bytes behind the store's back; their number stays. */
  damage(store: Store, digest: typeof hello): Promise<void>;
}

/** What every BlobStore must do. */
export function blobStoreContract<Store extends BlobStore>(
  name: string,
  { open, scratch, damage }: Subject<Store>,
): void {
  putContract(name, open);
  readContract(name, open, damage);

  test(`${name}: adopt() takes a file away and verifies it`, async () => {
    const store = await open();
    const path = `${await scratch(store)}/file`;
    await writeFile(path, "hello");
    await expect(store.adopt(path, { expected: digestOf("other") })).rejects.toMatchObject({
      code: "corrupt",
    });
    expect(await store.adopt(path, { expected: hello })).toBe(hello);
    expect(await Bun.file(path).exists()).toBe(false);
    expect(await textOf(store.read(hello))).toBe("hello");
  });

  test(`${name}: remove() of an absent blob succeeds, and of a present one removes it`, async () => {
    const store = await open();
    await store.remove(hello);
    await store.put(streamOf("hello"), { sizeBytesMax });
    await store.remove(hello);
    expect(await store.size(hello)).toBeUndefined();
  });

  test(`${name}: list() gives every blob once`, async () => {
    const store = await open();
    for (const text of ["a", "b", "a"]) await store.put(streamOf(text), { sizeBytesMax });
    const found = await Array.fromAsync(store.list());
    expect(found.map(({ digest }) => digest).sort()).toEqual([digestOf("a"), digestOf("b")].sort());
    expect(found.every(({ sizeBytes, modifiedMs }) => sizeBytes === 1 && modifiedMs > 1e12)).toBe(
      true,
    );
  });
}

function putContract(name: string, open: () => Promise<BlobStore>): void {
  test(`${name}: put() stores bytes under their digest`, async () => {
    const store = await open();
    const found = await store.put(streamOf("hel", "", "lo"), { sizeBytesMax });
    expect(found).toEqual({ digest: hello, sizeBytes: 5 });
    expect(await store.size(hello)).toBe(5);
    expect(await textOf(store.read(hello))).toBe("hello");
  });

  test(`${name}: put() refuses bytes that hash to another digest`, async () => {
    const store = await open();
    const put = store.put(streamOf("hello"), { expected: digestOf("other"), sizeBytesMax });
    await expect(put).rejects.toMatchObject({ code: "corrupt" });
    expect(await Array.fromAsync(store.list())).toEqual([]);
  });

  test(`${name}: put() refuses more bytes than it may take`, async () => {
    const store = await open();
    const put = store.put(streamOf("hello", "hello"), { sizeBytesMax: 9 });
    await expect(put).rejects.toMatchObject({ code: "exhausted" });
  });

  test(`${name}: put() keeps nothing of a stream that breaks`, async () => {
    const store = await open();
    await expect(store.put(cutShort(), { sizeBytesMax })).rejects.toThrow("network");
    expect(await Array.fromAsync(store.list())).toEqual([]);
  });

  test(`${name}: put() of the same bytes many times at once succeeds`, async () => {
    const store = await open();
    const bytes = Buffer.alloc(1_500_000, "x");
    const puts = Array.from({ length: 8 }, () =>
      store.put(streamOf(bytes, "end"), { sizeBytesMax: 2_000_000 }),
    );
    const digests = new Set((await Promise.all(puts)).map(({ digest }) => digest));
    expect([...digests]).toEqual([digestOf(`${bytes}end`)]);
  });
}

function readContract<Store extends BlobStore>(
  name: string,
  open: () => Promise<Store>,
  damage: Subject<Store>["damage"],
): void {
  test(`${name}: body() gives a blob, and a part of it`, async () => {
    const store = await open();
    await store.put(streamOf("hello"), { sizeBytesMax });
    expect(await new Response(store.body(hello)).text()).toBe("hello");
    expect(await new Response(store.body(hello, { first: 1, last: 3 })).text()).toBe("ell");
  });

  test(`${name}: a blob may be known by sha512`, async () => {
    const store = await open();
    const long = digestBy("sha512", "hello");
    const put = store.put(streamOf("hellx"), { expected: long, sizeBytesMax });
    await expect(put).rejects.toMatchObject({ code: "corrupt" });
    const stored = await store.put(streamOf("hello"), { expected: long, sizeBytesMax });
    expect(stored.digest).toBe(long);
    expect(await store.size(hello)).toBeUndefined();
    expect(await textOf(store.read(long))).toBe("hello");
    expect(Buffer.from(await store.bytes(long, 9)).toString()).toBe("hello");
    expect((await Array.fromAsync(store.list())).map(({ digest }) => digest)).toEqual([long]);
    await damage(store, long);
    await expect(textOf(store.read(long))).rejects.toMatchObject({ code: "corrupt" });
  });

  test(`${name}: read() and bytes() of an absent blob are "not_found"`, async () => {
    const store = await open();
    await expect(textOf(store.read(hello))).rejects.toMatchObject({ code: "not_found" });
    await expect(store.bytes(hello, 10)).rejects.toMatchObject({ code: "not_found" });
  });

  test(`${name}: read() and bytes() say when the blob's bytes have changed`, async () => {
    const store = await open();
    await store.put(streamOf("hello"), { sizeBytesMax });
    await damage(store, hello);
    await expect(textOf(store.read(hello))).rejects.toMatchObject({ code: "corrupt" });
    await expect(store.bytes(hello, 10)).rejects.toMatchObject({ code: "corrupt" });
  });

  test(`${name}: bytes() refuses a blob over the bound`, async () => {
    const store = await open();
    await store.put(streamOf("hello"), { sizeBytesMax });
    expect(Buffer.from(await store.bytes(hello, 5)).toString()).toBe("hello");
    await expect(store.bytes(hello, 4)).rejects.toMatchObject({ code: "exhausted" });
  });
}
