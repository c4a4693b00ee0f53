import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { isFailure } from "../base/mod.ts";
import { runInWorker } from "./workers.ts";

async function* endless(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(10);
  await new Promise<never>(() => {});
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(1024);
}

describe.skipIf(process.getuid?.() !== 0)("runInWorker()", () => {
  test("gives up a client that stands still where others wait for its place", async () => {
    const root = mkdtempSync("/tmp/lading-workers-");
    const unpack = (source: AsyncIterable<Uint8Array>) =>
      runInWorker(
        { kind: "unpack", root, rules: {}, bounds: {}, hash: false },
        { source, patienceMs: 40 },
      );
    try {
      const stalled = Array.from({ length: 6 }, () => unpack(endless()));
      const first = Promise.race(stalled.map((each) => each.catch((error: unknown) => error)));
      expect((await unpack(nothing())).entries).toBe(0);
      expect(isFailure(await first, "timeout")).toBe(true);
      // Each further one ends a stalled one only while it waits: the rest ends in the same way.
      const others = Array.from({ length: 12 }, () => unpack(nothing()));
      await Promise.all(others);
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  test("gives up a client that reads nothing where others wait for its place", async () => {
    const pack = (onChunk: (bytes: Uint8Array, taken: () => void) => void) =>
      runInWorker({ kind: "pack", root: "/usr/lib", rules: {} }, { onChunk, patienceMs: 40 });
    const stalled = Array.from({ length: 6 }, () =>
      pack(() => {}).catch((error: unknown) => isFailure(error, "timeout")),
    );
    const stop = new AbortController();
    const last = runInWorker(
      { kind: "pack", root: "/usr/lib", rules: {} },
      { onChunk: () => stop.abort(), patienceMs: 40, signal: stop.signal },
    ).catch((error: unknown) => isFailure(error, "unavailable"));
    expect(await last).toBe(true);
    expect(await Promise.race(stalled)).toBe(true);
  });
});
