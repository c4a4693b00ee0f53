/** Builds that go wrong: commands that hang, multiply, stay, fill the disk; clients and engines that end. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { command, lading, TestEngine, whyNot } from "./engine.ts";

/** Processes of this host whose command line has the word. */
function running(word: string): string[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      return line.startsWith("sleep\0") && line.includes(word);
    } catch {
      return false; // it ended while we looked
    }
  });
}

async function until(isSo: () => boolean): Promise<void> {
  for (let wait = 0; wait < 500 && !isSo(); wait++) await Bun.sleep(20);
  expect(isSo()).toBe(true);
}

describe.skipIf(whyNot !== undefined)(
  `build faults${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;
    const build = (text: string, ...flags: string[]) =>
      engine.lading(["build", ...flags, "-"], { input: `FROM busybox\n${text}` });

    beforeAll(async () => {
      engine = await TestEngine.open("bfault");
      await engine.importBusybox();
    });
    afterAll(async () => {
      expect(await engine.close()).toEqual([]);
    });

    test("--timeout ends a command that hangs, and the whole build", async () => {
      const { code, stderr } = await build("RUN echo on; sleep 8631", "--timeout", "700ms");
      expect(code).toBe(1);
      expect(stderr).toContain("The build took longer than 0.7 s");
      expect(running("8631")).toEqual([]);
    });

    test("Ctrl-C ends all that the build started", async () => {
      const child = Bun.spawn([lading, "build", "-"], {
        stdin: Buffer.from("FROM busybox\nRUN sleep 8632 & sleep 8632"),
        stdout: "ignore",
        stderr: "ignore",
        env: { ...process.env, ...engine.env },
      });
      await until(() => running("8632").length === 2);
      child.kill("SIGINT");
      await child.exited;
      await until(() => running("8632").length === 0);
      const newest = JSON.parse(
        (await engine.lading(["builder", "history", "ls", "--json"])).stdout,
      );
      await until(() => newest[0].status !== "succeeded");
    });

    test("a fork bomb ends at the limit, and the engine goes on", async () => {
      const bomb = build("RUN while sleep 8633 & do :; done");
      await until(() => running("8633").length > 100);
      expect((await engine.docker(["version"])).code).toBe(0);
      const { code, stdout } = await bomb;
      expect(code).not.toBe(0);
      expect(stdout).toContain("can't fork");
      expect(running("8633")).toEqual([]);
    });

    test("a daemon that a RUN leaves ends with it, and does not hold up the build", async () => {
      const { code, stdout } = await build("RUN (sleep 8634 &) ; echo ready\nRUN echo next");
      expect(code).toBe(0);
      expect(stdout).toContain("next");
      expect(running("8634")).toEqual([]);
    });

    test("kill -9 of the engine: nothing goes on, and the next build begins after the last step", async () => {
      const text = "RUN echo finished > /step\nRUN cat /step; sleep 8635";
      const cut = build(text);
      await until(() => running("8635").length > 0);
      await engine.crash();
      expect((await cut).code).not.toBe(0);
      await until(() => running("8635").length === 0);
      const mounts = readFileSync("/proc/1/mountinfo", "utf8").split("\n");
      expect(mounts.filter((line) => line.includes(`${engine.dataRoot}/`))).toEqual([]);
      expect(readdirSync(join(engine.dataRoot, "build/work"))).toEqual([]);
      const again = await build(text.replace("sleep 8635", "true"));
      expect(again.stdout.split("Using cache")).toHaveLength(2);
      expect(again.stdout).toContain("finished");
    });
  },
);

test.skipIf(whyNot !== undefined)(
  "a RUN that fills the disk fails, and leaves nothing there",
  async () => {
    const disk = mkdtempSync("/tmp/lading-full-");
    await command(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk]);
    const engine = await TestEngine.open("bfull", [`--data-root=${disk}`]);
    try {
      await engine.importBusybox();
      const build = (text: string) =>
        engine.lading(["build", "-"], { input: `FROM busybox\n${text}` });
      const full = await build("RUN dd if=/dev/zero of=/big bs=1M count=200");
      expect(full.code).not.toBe(0);
      expect(full.stdout).toContain("No space left on device");
      // What the command wrote is removed in the background.
      await until(() => statfsSync(disk).bavail * statfsSync(disk).bsize > 24e6);
      const context = join(engine.folder, "context");
      mkdirSync(context);
      writeFileSync(join(context, "big"), randomBytes(60 << 20));
      writeFileSync(join(context, "Dockerfile"), "FROM busybox\nCOPY big /kept/there");
      const copied = await engine.lading(["build", context]);
      expect(copied.code).not.toBe(0);
      expect(copied.stderr).toContain('Cannot write "kept/there": no space left on device');
      await until(() => statfsSync(disk).bavail * statfsSync(disk).bsize > 24e6);
      const { code, stderr } = await build("RUN dd if=/dev/zero of=/small bs=1M count=12");
      expect([code, stderr]).toEqual([0, ""]);
    } finally {
      expect(await engine.close()).toEqual([]);
      await command(["umount", "-l", disk]);
      rmSync(disk, { recursive: true });
    }
  },
);
