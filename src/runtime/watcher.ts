import { constants, openSync, readFileSync } from "node:fs";
import { readlink } from "node:fs/promises";
import { errnoOf, makeFifo } from "../sys/mod.ts";

/**
 * What watches over one process for us: a shell that runs the OCI runtime, holds the pipes, and writes
 * down the exit code. It is in a session of its own and lives until a daemon has taken all output, so
 * that a daemon may die at any moment.
 */
export interface WatchPlan {
  readonly directory: string;
  /** The OCI runtime and its arguments; `events` is where it writes the process ID. */
  readonly argv: readonly string[];
  readonly stdin: boolean;
  readonly terminal: Readonly<Record<"listener" | "store" | "sender", number>> | undefined;
  /** The OCI runtime itself writes the process ID into `events`; if not, into the file `pid`. */
  readonly tells: boolean;
  /** The inner side of a terminal of ours, where the OCI runtime does not make one for us. */
  readonly device: string | undefined;
  /** Counts out-of-memory kills, on cgroup version 1. */
  readonly oomEvent: number | undefined;
  /** The file that it gets later, where it is started ahead. */
  readonly waitsFor?: string;
}

/** Descriptors in the watcher that a later daemon takes back. */
export const watcherFile = { listener: 3, store: 4, sender: 5, oomEvent: 10 } as const;

/** The pipes of a process, by the name of the file. */
export const pipeName = {
  stdout: "out",
  stderr: "err",
  stdin: "in",
  /** The process ID, then `exit N`. */
  events: "events",
  /** A line here ends stdin. */
  endInput: "eof",
  /** Never written: the watcher waits here to be ended. */
  done: "done",
} as const;

/** Where an OCI runtime writes the process ID that cannot write it into a pipe. */
export const pidName = "pid";

/** What the OCI runtime reads. A spare one has a FIFO of this name, until a start puts a file there. */
export const configFile = "config.json";

/** What it reads of a process that is added. */
export const processFile = "process.json";

/** Makes the pipes that a process needs. */
export function makePipes(
  directory: string,
  { stdin, terminal }: { stdin: boolean; terminal: boolean },
): void {
  makeFifo(`${directory}/${pipeName.events}`);
  makeFifo(`${directory}/${pipeName.done}`);
  makeFifo(`${directory}/${pipeName.stdout}`);
  if (terminal) return;
  makeFifo(`${directory}/${pipeName.stderr}`);
  if (!stdin) return;
  makeFifo(`${directory}/${pipeName.stdin}`);
  makeFifo(`${directory}/${pipeName.endInput}`);
}

/**
 * The shell's text. It opens the pipes for reading and writing: what is in them stays while it lives, and
 * the process meets no broken pipe when there is no daemon. The process gets one direction of each.
 *
 * stdin needs an end when we say so, and none when we die: another shell holds its writing side, until a
 * line comes. `exit` is whole when it ends with a newline.
 *
 * An OCI runtime that replaces the file it writes the process ID into (`runc`) cannot tell it by a pipe:
 * another shell looks for the file. And where a runtime in the foreground gives nobody its terminal, it
 * gets one of ours, as the terminal of this session, so that it hears of a new size.
 *
 * One that waits for its configuration (a pipe of that name, until a file is there) ends with the daemon
 * that would have given it: nothing was started.
 */
export function watchScript({ stdin, terminal, tells, device, waitsFor }: ScriptPlan): string {
  const closed = "6>&- 7>&- 8>&-";
  const lines = ["echo $$ >watcher", "exec 6<>out 8<>events"];
  if (!tells) lines.push(`(${telling}) </dev/null 3>&- 4>&- 5>&- 6>&- & t=$!`);
  // In a shell of its own: for a command alone, dash would move our own descriptors out of the way.
  if (device) lines.push(`exec 7<>${device}`, `(exec "$@" <&7 >&7 2>&1 3>&- 4>&- 5>&- ${closed})`);
  else if (terminal) lines.push(`(exec "$@" </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- ${closed})`);
  else {
    lines.push("exec 7<>err");
    if (stdin) {
      lines.push("exec 9<>in 5<in", `(exec 5<&- ${closed}; read -r x <>eof) & h=$!`, "exec 9>&-");
    }
    lines.push(`(exec "$@" ${stdin ? "<&5 5<&-" : "</dev/null"} >out 2>err ${closed})`);
  }
  lines.push("c=$?");
  // The runtime opens its log when it has read its configuration.
  if (waitsFor) lines.push(`[ -f ${waitsFor} ] && [ -e log ] || exit`);
  if (!tells) lines.push(": >over", "wait $t");
  if (stdin && !terminal) lines.push("kill $h");
  lines.push("echo $c >exit", 'echo "exit $c" >&8', "read -r x <>done");
  return lines.join("\n");
}

interface ScriptPlan extends Pick<WatchPlan, "stdin" | "tells" | "device" | "waitsFor"> {
  readonly terminal: boolean;
}

const telling = `while [ -e watcher ] && [ ! -s ${pidName} ] && [ ! -e over ]; do sleep 0.01; done
[ ! -s ${pidName} ] || cat ${pidName} >&8`;

function scriptOf(plan: WatchPlan): string {
  return watchScript({ ...plan, terminal: plan.terminal !== undefined });
}

/** The watcher as a text that needs no arguments, for a shell that runs already. */
export function watchText(plan: WatchPlan): string {
  const words = plan.argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  return `set -- ${words.join(" ")}\n${scriptOf(plan)}\n`;
}

/** Starts the watcher; the process ID is of the shell. It outlives us. */
export function startWatcher(plan: WatchPlan): number {
  const files: (number | null)[] = Array(watcherFile.oomEvent + 1).fill(null);
  if (plan.terminal) {
    files[watcherFile.listener] = plan.terminal.listener;
    files[watcherFile.store] = plan.terminal.store;
    files[watcherFile.sender] = plan.terminal.sender;
  }
  if (plan.oomEvent !== undefined) files[watcherFile.oomEvent] = plan.oomEvent;
  const last = files.findLastIndex((file) => file !== null);
  return startShell([scriptOf(plan), "sh", ...plan.argv], {
    directory: plan.directory,
    files: files.slice(3, last + 1),
  });
}

let none: number | undefined;

/** Starts a shell in a session of its own; `files` are its descriptors from 3 on. */
export function startShell(
  args: readonly string[],
  { directory, files }: { directory: string; files: readonly (number | null)[] },
): number {
  none ??= openSync("/dev/null", "r+");
  const child = Bun.spawn(["/bin/sh", "-c", ...args], {
    cwd: directory,
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
    stdio: [none, none, none, ...files],
    detached: true,
  });
  child.unref();
  return child.pid;
}

/** The exit code that the watcher wrote down, or undefined while it has not. */
export function readExit(directory: string): number | undefined {
  const text = readText(`${directory}/exit`);
  return text?.endsWith("\n") ? Number(text) : undefined;
}

/** The watcher's process ID as it wrote it down itself, if that process is still the one. */
export async function findWatcher(directory: string): Promise<number | undefined> {
  const pid = Number(readText(`${directory}/watcher`) ?? 0);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === directory ? pid : undefined;
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}

/** The text of a small file, or undefined where there is none. A FIFO without a writer has none in it. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, {
      encoding: "utf8",
      flag: constants.O_RDONLY | constants.O_NONBLOCK,
    });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** What has come out of `events` so far. */
export function parseEvents(text: string): { pid: number | undefined; exitCode?: number } {
  const [, pid, exit] = /^(\d+)?\s*(?:exit (\d+)\n)?/.exec(text) ?? [];
  return {
    pid: pid === undefined ? undefined : Number(pid),
    ...(exit === undefined ? {} : { exitCode: Number(exit) }),
  };
}
