import { existsSync } from "node:fs";
import { openFifo, openProcess, signalProcess } from "../sys/mod.ts";
import { containerDirectory, execDirectory, type Host, runtimeState } from "./host.ts";
import { join } from "./launch.ts";
import { watchOom } from "./oom.ts";
import { openOutputPipes } from "./pipes.ts";
import { WatchedEvents, type WatchedProcess } from "./process.ts";
import type { Program } from "./programs.ts";
import { groupOf } from "./remove.ts";
import { sharesProcesses } from "./rest.ts";
import { runtimeId } from "./runtime-id.ts";
import { endWaiting } from "./spare.ts";
import { Terminal } from "./terminal.ts";
import type { Logging } from "./types.ts";
import { findWatcher, parseEvents, pidName, pipeName, readExit, readText } from "./watcher.ts";

const SIGKILL = 9;

interface Adoption {
  readonly directory: string;
  readonly config: "config.json" | "process.json";
  readonly logging: Logging;
  readonly isTransient: boolean;
  /** The process ID as the OCI runtime wrote it down, if it did. */
  readonly knownPid: () => number | undefined;
  readonly runtime: Program;
  /** The container's group. */
  readonly group: string | undefined;
}

/** As `Runtime.adopt`. */
export async function adopt(
  host: Host,
  id: string,
  logging: Logging,
): Promise<WatchedProcess | undefined> {
  const directory = containerDirectory(host, id);
  return (
    host.running.get(directory) ??
    (await adoptIn(host, {
      directory,
      config: "config.json",
      logging,
      isTransient: false,
      knownPid: () => statePid(host, id),
      runtime: await host.programs.of(directory),
      group: groupOf(host, id),
    }))
  );
}

/** As `Runtime.adoptExec`. */
export async function adoptExec(
  host: Host,
  id: string,
  execId: string,
): Promise<WatchedProcess | undefined> {
  const directory = execDirectory(host, id, execId);
  return (
    host.running.get(directory) ??
    (await adoptIn(host, {
      directory,
      config: "process.json",
      logging: { kind: "none" },
      isTransient: true,
      knownPid: () => undefined,
      runtime: await host.programs.of(directory),
      group: undefined,
    }))
  );
}

async function adoptIn(host: Host, adoption: Adoption): Promise<WatchedProcess | undefined> {
  const { directory, logging, isTransient } = adoption;
  if (endWaiting(`${directory}/${adoption.config}`)) return undefined;
  const watcherPid = await findWatcher(directory);
  const watcher = watcherPid === undefined ? undefined : openProcess(watcherPid);
  // Without a watcher what the pipes held is gone with them, and the file alone tells how it ended.
  if (watcher === undefined && readExit(directory) === undefined) return undefined;
  const isTerminal = !existsSync(`${directory}/${pipeName.stderr}`);
  const stdin = existsSync(`${directory}/${pipeName.stdin}`);
  const watch = {
    directory,
    watcher,
    events: openFifo(`${directory}/${pipeName.events}`, "read"),
  };
  const events = new WatchedEvents(host.pump, watch);
  const pid = await findPid(host, { adoption, events, watcherPid });
  if (pid === undefined) {
    // Nothing was started: its watcher has nobody to wait for, and what it runs does not get on.
    if (watcher !== undefined && signalProcess(watcher, SIGKILL)) killGroup(watcherPid!);
    events.close();
    return undefined;
  }
  const terminal =
    isTerminal && watcher !== undefined ? await Terminal.retake(host.pump, watcher) : undefined;
  const oom =
    adoption.group === undefined || watcher === undefined
      ? undefined
      : watchOom(host.pump, host.cgroups, { path: adoption.group, watcher });
  const pipes = openOutputPipes(directory, isTerminal);
  const text = adoption.group === undefined ? undefined : readText(`${directory}/config.json`);
  const sharedGroup = text && sharesProcesses(text) ? adoption.group : undefined;
  const plan = { directory, terminal: isTerminal, stdin, logging, oom, isTransient, sharedGroup };
  return join(host, { pid, watch, events, pipes, terminal, plan, isNewRun: false });
}

/** 0 when it has ended already; undefined when it never was started, or is not in time. */
async function findPid(
  host: Host,
  {
    adoption,
    events,
    watcherPid,
  }: {
    adoption: Adoption;
    events: WatchedEvents;
    watcherPid: number | undefined;
  },
): Promise<number | undefined> {
  const { directory, knownPid, runtime } = adoption;
  if (readExit(directory) !== undefined) {
    if (!runtime.isCrun) return existsSync(`${directory}/${pidName}`) ? 0 : undefined;
    // crun speaks only where it could not start the process.
    return (readText(`${directory}/log`) ?? "").trim() === "" ? 0 : undefined;
  }
  const written = Number(readText(`${directory}/${pidName}`) ?? 0) || undefined;
  const { isCrun } = runtime;
  const pid =
    parseEvents(events.peek()).pid ??
    written ??
    (isCrun ? (knownPid() ?? runtimeChild(watcherPid)) : undefined);
  return pid ?? (await within(events.started(), host.adoptTimeoutMs));
}

/** What a promise resolves with, or undefined when it takes too long. */
async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), timeoutMs);
  return await Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

/** A watcher leads a group of its own. */
function killGroup(leader: number): void {
  try {
    process.kill(-leader, SIGKILL);
  } catch (error) {
    if ((error as { code?: string }).code !== "ESRCH") throw error; // all had ended
  }
}

/** The process ID that the OCI runtime keeps with its state. */
function statePid(host: Host, id: string): number | undefined {
  const text = readText(`${runtimeState(host)}/${runtimeId(host, id)}/status`);
  const pid = /"pid"\s*:\s*(\d+)/.exec(text ?? "")?.[1];
  return pid === undefined ? undefined : Number(pid);
}

/** The child of the OCI runtime that the watcher runs: the process itself. */
function runtimeChild(watcherPid: number | undefined): number | undefined {
  for (const child of watcherPid === undefined ? [] : children(watcherPid)) {
    // The other child that a watcher may have is a shell that holds stdin, and has no children.
    const [process] = children(child);
    if (process !== undefined) return process;
  }
  return undefined;
}

function children(pid: number): number[] {
  const text = readText(`/proc/${pid}/task/${pid}/children`) ?? "";
  return text.split(" ").filter(Boolean).map(Number);
}
