import { closeSync } from "node:fs";
import { openProcess, signalProcess } from "../sys/mod.ts";
import { listProcesses } from "./groups.ts";
import type { Host } from "./host.ts";

const readable = 1;
const SIGKILL = 9;
const triesMax = 100;
const pauseMs = 20;

/**
 * Ends what a container's first process leaves behind where it has no process namespace of its own, whose
 * end would do that: `--pid host`, `--pid container:X`. The OCI runtime waits for all of its children, so a
 * forgotten one would keep the container running.
 */
export async function endRest(host: Host, pid: number, group: string): Promise<void> {
  const process = openProcess(pid);
  if (process !== undefined) {
    const token = host.pump.number();
    const isOver = await host.pump.ready(token, process, readable);
    host.pump.forget(token, process);
    closeSync(process);
    if (!isOver) return; // the daemon leaves
  }
  for (let tries = 0; tries < triesMax; tries++) {
    const left = listProcesses(host.cgroups, group);
    if (left.length === 0) return;
    for (const each of left) kill(each);
    await Bun.sleep(pauseMs);
  }
}

function kill(pid: number): void {
  const process = openProcess(pid);
  if (process === undefined) return;
  signalProcess(process, SIGKILL);
  closeSync(process);
}

/** True where a container's process namespace, as config.json has it, is not its own. */
export function sharesProcesses(config: string): boolean {
  const { linux } = JSON.parse(config) as {
    linux?: { namespaces?: readonly { type: string; path?: string }[] };
  };
  const own = linux?.namespaces?.find(({ type }) => type === "pid");
  return own === undefined || own.path !== undefined;
}
