/** A daemon to be killed by the tests of adoption: it starts what it is told to, and waits. */
import { existsSync } from "node:fs";
import { bundleSpec, processSpec } from "./laboratory.ts";
import { openRuntime } from "./runtime.ts";

const [task] = process.argv.slice(2).map((text) => JSON.parse(text));
const runtime = await openRuntime({
  directory: task.directory,
  programs: task.programs ?? {},
});
const spec = bundleSpec(task.rootfs, [], {
  id: task.id,
  ...(task.runtime ? { runtime: task.runtime } : {}),
  resources: task.resources ?? {},
  process: processSpec(task.args, { terminal: task.terminal ?? false }),
});
if (task.stuck) {
  void runtime.start(spec, { stdin: false, logging: task.logging });
  while (!existsSync(`${task.directory}/run/${task.id}/watcher`)) await Bun.sleep(10);
} else if (task.adopts) await runtime.adopt(task.id, { logging: task.logging });
else {
  const running = await runtime.start(spec, { stdin: task.stdin ?? false, logging: task.logging });
  if (task.follows) await running.exited;
  if (task.input) await running.write(Buffer.from(task.input));
  if (task.expects) runtime.expectExec(task.id, "ahead");
  if (task.exec) {
    await runtime.exec(task.id, "added", processSpec(task.exec), { stdin: true });
  }
}
console.log("ready");
setInterval(() => {}, 1_000_000);
