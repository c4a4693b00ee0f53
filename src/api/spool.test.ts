import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spool } from "./spool.ts";

const folder = mkdtempSync(join(tmpdir(), "lading-spool-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("spool() ends a socket's buffer once its last piece is written, and none that others may share", async () => {
  const large = [0, 1, 2].map((value) => new Uint8Array(32 << 10).fill(value));
  const small = new Uint8Array(8 << 10).fill(3);
  const all = Buffer.concat([...large.slice(0, 2), small, large[2]!]);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const buffer of [...large.slice(0, 2), small, large[2]!]) {
      yield buffer.subarray(0, 100);
      yield buffer.subarray(100);
    }
  }
  const path = join(folder, "body");
  expect(await spool(pieces(), path, 1 << 20)).toBe(all.length);
  expect(readFileSync(path).equals(all)).toBe(true);
  expect(large.map(({ length }) => length)).toEqual([0, 0, 32 << 10]);
  expect(small.length).toBe(8 << 10);
});
