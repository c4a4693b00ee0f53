import { rm } from "node:fs/promises";
import { adoptExec } from "./adopt.ts";
import { containerDirectory, type Host, runtimeState } from "./host.ts";
import { list, remove } from "./remove.ts";
import { runtimeId } from "./runtime-id.ts";

/** As `Runtime.reconcile`. */
export async function reconcile(host: Host, ids: ReadonlySet<string>): Promise<string[]> {
  const done: string[] = [];
  const run = list(`${host.directory}/run`);
  const known = new Set(run.map((id) => runtimeId(host, id)));
  const states = list(runtimeState(host)).filter((name) => !known.has(name));
  const found = new Set([...run, ...states]);
  for (const id of found) {
    if (id.startsWith(".")) continue;
    if (ids.has(id)) await takeExecs(host, id, done);
    else {
      await remove(host, id);
      done.push(`removed what was left of container ${id} in the runtime`);
    }
  }
  return done;
}

/** An exec that nobody took over runs on; its output goes nowhere, and its end is tidied up after. */
async function takeExecs(host: Host, id: string, done: string[]): Promise<void> {
  for (const name of list(containerDirectory(host, id))) {
    if (!name.startsWith("exec-")) continue;
    const directory = `${containerDirectory(host, id)}/${name}`;
    if (host.running.has(directory)) continue;
    const process = await adoptExec(host, id, name.slice("exec-".length));
    if (process) done.push(`let exec ${name.slice("exec-".length)} of container ${id} run on`);
    else {
      await rm(directory, { recursive: true, force: true });
      done.push(`removed what was left of exec ${name} of container ${id}`);
    }
  }
}
