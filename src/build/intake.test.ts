import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tarHeader } from "../archive/mod.ts";
import { Intake } from "./intake.ts";

const openFiles = (below: string) =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(below);
    } catch {
      return false; // closed while we look
    }
  });

test("take() leaves no file open or behind when an upload is cut off beyond what memory keeps", async () => {
  const directory = mkdtempSync("/tmp/lading-intake-");
  mkdirSync(`${directory}/work`);
  try {
    async function* body(): AsyncGenerator<Uint8Array> {
      yield tarHeader({ path: "big", sizeBytes: 64 << 20 });
      for (let megabytes = 0; megabytes < 12; megabytes++) yield new Uint8Array(1 << 20).fill(1);
      throw new Error("the client went away");
    }
    const intake = new Intake(directory, { uploadBytesMax: 64 << 20, tmpfsBytesMax: 64 << 20 });
    await expect(intake.take(body(), new AbortController().signal)).rejects.toThrow();
    expect(openFiles(directory)).toEqual([]);
    expect(readdirSync(`${directory}/work`)).toEqual([]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test.skipIf(process.getuid?.() !== 0)(
  "take() writes an upload once when the head of a file says that it is too large for memory",
  async () => {
    const directory = mkdtempSync("/var/tmp/lading-intake-");
    mkdirSync(`${directory}/work`);
    try {
      const sizeBytes = 24 << 20;
      const spools: string[] = [];
      async function* body(): AsyncGenerator<Uint8Array> {
        yield tarHeader({ path: "big", sizeBytes });
        for (let left = sizeBytes; left > 0; left -= 1 << 20) {
          yield new Uint8Array(1 << 20).fill(1);
          spools.push(...readdirSync(`${directory}/work`).filter((name) => name.endsWith("spool")));
        }
      }
      const intake = new Intake(directory, { uploadBytesMax: 64 << 20, tmpfsBytesMax: 16 << 20 });
      await using taken = await intake.take(body(), new AbortController().signal);
      expect([taken.isOnDisk, statSync(`${taken.path}/big`).size]).toEqual([true, sizeBytes]);
      expect(spools).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);
