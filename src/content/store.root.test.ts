import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { mountNow, unmountNow } from "../sys/mod.ts";
import { openContentStore } from "./store.ts";

async function* megabytes(count: number) {
  for (let at = 0; at < count; at++) yield Buffer.alloc(1 << 20, at);
}

test('put() on a full disk is "exhausted" and leaves nothing behind', async () => {
  const directory = mkdtempSync("/tmp/lading-content-full-");
  mountNow({ type: "tmpfs", source: "tmpfs", target: directory, data: "size=3m" });
  try {
    const store = await openContentStore({ directory });
    const put = (count: number) => store.put(megabytes(count), { sizeBytesMax: 1 << 30 });
    await expect(put(6)).rejects.toMatchObject({ name: "Failure", code: "exhausted" });
    expect(readdirSync(`${directory}/ingest`)).toEqual([]);
    expect((await put(2)).sizeBytes).toBe(2 << 20);
  } finally {
    unmountNow(directory, { detach: true });
    rmSync(directory, { recursive: true });
  }
});
