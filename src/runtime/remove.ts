import { closeSync, existsSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { log } from "../base/mod.ts";
import {
  errnoOf,
  openFifo,
  openProcess,
  runAny,
  signalProcess,
  writeAvailable,
} from "../sys/mod.ts";
import { dropExec } from "./begin-exec.ts";
import { groupPath, removeGroup } from "./groups.ts";
import { containerDirectory, type Host, runtimeCommand, runtimeState } from "./host.ts";
import { runtimeId } from "./runtime-id.ts";
import { configFile, findWatcher, pipeName, readText } from "./watcher.ts";

const SIGKILL = 9;
const deleteTimeoutMs = 20_000;
/** For a process that was just killed to be seen ending. */
const endTimeoutMs = 5_000;

/** As `Runtime.remove`. */
export async function remove(host: Host, id: string): Promise<void> {
  const directory = containerDirectory(host, id);
  const name = runtimeId(host, id);
  const state = `${runtimeState(host)}/${name}`;
  if (existsSync(state)) {
    const command = runtimeCommand(host, await host.programs.of(directory));
    const argv = [...command, "delete", "--force", name] as const;
    const { exitCode, stderr } = await runAny(argv, { timeoutMs: deleteTimeoutMs });
    // Where it was just ending by itself, the runtime finds nothing more to delete.
    const isLeft = exitCode !== 0 && existsSync(state);
    if (isLeft) log("warn", "Cannot delete a container's state", { id, stderr });
  }
  if (!existsSync(directory)) return;
  const path = groupOf(host, id);
  const execs = list(directory).filter((name) => name.startsWith("exec-"));
  await Promise.all(execs.map((name) => endWatcher(host, `${directory}/${name}`)));
  await endWatcher(host, directory);
  if (path !== undefined) await removeGroup(host.cgroups, path);
  await rm(directory, { recursive: true, force: true });
}

/** The group that a container was started in, by the configuration that it was started with. */
export function groupOf(host: Host, id: string): string | undefined {
  const text = readText(`${containerDirectory(host, id)}/${configFile}`);
  if (!text) return undefined;
  try {
    const config = JSON.parse(text) as { linux?: { cgroupsPath?: string } };
    return config.linux?.cgroupsPath;
  } catch {
    return groupPath(host.cgroups, "", id); // cut off while it was written: nothing was started
  }
}

/** Ends the shells that held the pipes of a process, if there are any. */
async function endWatcher(host: Host, directory: string): Promise<void> {
  dropExec(host, directory);
  const running = host.running.get(directory);
  // Its end is told first: after `leave` whoever waits for it would wait for ever.
  if (running) await Promise.race([running.exited, Bun.sleep(endTimeoutMs)]);
  await running?.leave();
  host.running.delete(directory);
  endInput(directory);
  const pid = await findWatcher(directory);
  const watcher = pid === undefined ? undefined : openProcess(pid);
  if (watcher === undefined) return;
  signalProcess(watcher, SIGKILL);
  closeSync(watcher);
}

/** The shell that holds stdin open is not the watcher's to kill any more. */
function endInput(directory: string): void {
  try {
    const file = openFifo(`${directory}/${pipeName.endInput}`, "write");
    writeAvailable(file, Buffer.from("\n"));
    closeSync(file);
  } catch (error) {
    // No such pipe, or nobody at it: there is no such shell.
    if (!["ENOENT", "ENXIO"].includes(errnoOf(error) ?? "")) throw error;
  }
}

export function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}
