import { expect, test } from "bun:test";
import { processesBeside } from "./beside.ts";

test("processesBeside() finds descendants in the engine's own process namespace", async () => {
  const child = Bun.spawn(["sh", "-c", "sleep 100 & sleep 100 & echo; wait"], { stdout: "pipe" });
  try {
    await child.stdout.getReader().read(); // both have been started
    const found = processesBeside(child.pid);
    expect(found).toHaveLength(3);
    expect(found).toContain(child.pid);
    // Where the engine is elsewhere, all in the namespace belong to the container.
    const all = processesBeside(child.pid, "pid:[0]");
    expect(all).toEqual(expect.arrayContaining([...found, process.pid]));
  } finally {
    for (const pid of processesBeside(child.pid)) process.kill(pid, "SIGKILL");
    await child.exited;
  }
  expect(processesBeside(child.pid)).toEqual([]);
  expect(processesBeside(0)).toEqual([]);
});
