import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { openReal } from "./real.ts";

const isRoot = process.getuid?.() === 0;
const directory = isRoot ? mkdtempSync("/tmp/lading-H-kill-") : "";
const bridge = "ladH1";
const kills = 8;

afterAll(async () => {
  if (!isRoot) return;
  // Should the test have failed: nothing of it runs on.
  const real = await openReal(directory, bridge);
  await real.engine.reconcile();
  await Promise.allSettled(
    real.engine.list().map(({ id }) => real.engine.remove(id, { force: true, volumes: true })),
  );
  await real.close();
  spawnSync("ip", ["link", "del", bridge]);
  rmSync(directory, { recursive: true, force: true });
});

/** Runs the victim until it is ready, and a random time longer; then kill -9. */
async function liveAndDie(): Promise<void> {
  const victim = Bun.spawn([process.execPath, `${import.meta.dir}/victim.ts`, directory, bridge], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = victim.stdout.getReader();
  let said = "";
  while (!said.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the victim ended by itself: ${said}`);
    said += Buffer.from(value).toString();
  }
  expect(said).toStartWith("ready ");
  await Bun.sleep(20 + Math.random() * 400);
  expect(victim.exitCode).toBeNull();
  victim.kill("SIGKILL");
  await victim.exited;
}

/** Processes that stand in a directory, deleted or not. */
function processesIn(path: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(path);
    } catch {
      return false; // it has ended
    }
  });
}

describe.skipIf(!isRoot)("a daemon that is killed with -9 at random times", () => {
  test("leaves nothing the next does not put right, and loses no line", async () => {
    for (let count = 0; count < kills; count++) await liveAndDie();
    const real = await openReal(directory, bridge);
    const { engine } = real;
    await engine.reconcile();
    const printer = engine.resolve("printer");
    expect(printer.state.status).toBe("running");
    const busy = engine.list().filter(({ name }) => name !== "printer");
    // Some are --rm, and go by themselves.
    await Promise.allSettled(
      busy.map(({ id }) => engine.remove(id, { force: true, volumes: true })),
    );
    while (engine.list().length > 1) await Bun.sleep(1);
    await engine.stop(printer.id, { timeoutS: 0 });
    const query = { stdout: true, stderr: true, from: "start", follow: false } as const;
    let text = "";
    for await (const { bytes } of engine.logs(printer.id, query)) {
      text += Buffer.from(bytes).toString();
    }
    const lines = text.trim().split("\n").map(Number);
    expect(lines.length).toBeGreaterThan(100);
    expect(lines.findIndex((line, index) => line !== index + 1)).toBe(-1);
    await engine.remove(printer.id, { force: false, volumes: true });
    expect(real.volumes.list()).toEqual([]);
    await engine.close();
    expect(real.snapshots.keys()).toEqual([]);
    await real.close();
    const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    expect(mounts.filter((line) => line.includes(directory))).toEqual([]);
    while (processesIn(directory).length > 0) await Bun.sleep(10); // or the test's time is up
  }, 60_000);
});
