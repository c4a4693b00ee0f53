import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { adoptOrphans } from "./orphans.ts";

let adopting: Disposable;
beforeEach(() => {
  adopting = adoptOrphans();
});
afterEach(() => adopting[Symbol.dispose]());

const parentOf = (pid: number) =>
  Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);

/** Starts a process whose parent ends at once; it runs until its stdin ends. */
async function orphan() {
  const script = "cat <&0 >/dev/null & echo $!";
  const parent = Bun.spawn(["sh", "-c", script], {
    stdin: "pipe",
    stdout: "pipe",
    detached: true, // as the OCI runtime's watchers are
  });
  const reader = parent.stdout.getReader();
  const { value } = await reader.read();
  expect(await parent.exited).toBe(0);
  return { pid: Number(new TextDecoder().decode(value)), end: () => parent.stdin.end() };
}

test("adoptOrphans() makes this process the parent of an orphan, and reaps it", async () => {
  const { pid, end } = await orphan();
  expect(parentOf(pid)).toBe(process.pid);
  await end();
  while (existsSync(`/proc/${pid}`)) await Bun.sleep(5);
});

test("adoptOrphans() leaves exit codes to those who wait for them", async () => {
  const children = Array.from({ length: 60 }, (_, code) =>
    Bun.spawn(["sh", "-c", `exit ${code}`], { detached: code % 2 === 0 }),
  );
  const codes = await Promise.all(children.map((child) => child.exited));
  expect(codes).toEqual(children.map((_, code) => code));
});
