/** A build's bytes pass through the engine, and do not stay in its memory. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestEngine, whyNot } from "./engine.ts";

const why = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;
const sizeBytes = 640 << 20;
const timeoutMs = 240_000;

describe.skipIf(whyNot !== undefined)(`the engine's memory in builds${why}`, () => {
  let engine: TestEngine;
  let folder = "";
  beforeAll(async () => {
    engine = await TestEngine.open("memory");
    await engine.importBusybox();
    folder = join(engine.folder, "context");
    mkdirSync(folder);
    writeFileSync(join(folder, "Dockerfile"), "FROM busybox\nCOPY big /big\n");
    const block = crypto.getRandomValues(new Uint8Array(1 << 16));
    const bytes = Buffer.alloc(sizeBytes);
    for (let at = 0; at < sizeBytes; at += block.length) bytes.set(block, at);
    writeFileSync(join(folder, "big"), bytes);
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  const mostMegabytes = () => {
    const status = readFileSync(`/proc/${engine.pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) / 1024;
  };

  test(
    "stays below 170 MB while 640 MB come from the docker client and go into a layer",
    async () => {
      await engine.ok(["build", "-q", "-t", "big", folder], { timeoutMs });
      expect(mostMegabytes()).toBeLessThan(170);
    },
    timeoutMs,
  );

  test(
    "stays below 170 MB while they leave as files",
    async () => {
      const dest = join(engine.folder, "out");
      const words = ["build", "-q", "-o", `type=local,dest=${dest}`, folder];
      expect((await engine.lading(words, { timeoutMs })).code).toBe(0);
      expect(readFileSync(join(dest, "big")).equals(readFileSync(join(folder, "big")))).toBe(true);
      expect(mostMegabytes()).toBeLessThan(170);
    },
    timeoutMs,
  );
});
