import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { runAny } from "./run.ts";

test("runAny() ends what a cancelled program has started, too", async () => {
  const abort = new AbortController();
  let child = 0;
  const path = `/tmp/lading-run-${process.pid}`;
  const script = `sleep 1000 & echo $! > ${path}.new; mv ${path}.new ${path}; wait`;
  const running = runAny(["sh", "-c", script], { timeoutMs: 60_000, signal: abort.signal });
  while (!existsSync(path)) await Bun.sleep(5);
  child = Number(await Bun.file(path).text());
  await Bun.file(path).delete();
  expect(existsSync(`/proc/${child}`)).toBe(true);
  abort.abort();
  await expect(running).rejects.toMatchObject({ code: "unavailable" });
  // Killed at once; whoever adopts it may take a moment to reap it.
  const state = async () =>
    /^State:\s+(\w)/m.exec(
      await Bun.file(`/proc/${child}/status`)
        .text()
        .catch(() => ""),
    )?.[1];
  expect([undefined, "Z", "X"]).toContain(await state());
});

test("runAny() runs in a folder, and tells the exit code", async () => {
  const { exitCode, stdout } = await runAny(["sh", "-c", "pwd; exit 3"], {
    timeoutMs: 10_000,
    cwd: "/",
  });
  expect(exitCode).toBe(3);
  expect(new TextDecoder().decode(stdout)).toBe("/\n");
});
