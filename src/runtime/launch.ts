import { chownSync, closeSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { type Failure, log } from "../base/mod.ts";
import { type Owner, openFifo, openProcess, resizeTerminal, signalProcess } from "../sys/mod.ts";
import { dropExec, takeExec } from "./begin-exec.ts";
import type { Host } from "./host.ts";
import { Input } from "./input.ts";
import type { OomWatch } from "./oom.ts";
import type { Output } from "./output.ts";
import { DirectOutput } from "./output-direct.ts";
import { LoggedOutput } from "./output-log.ts";
import { closePipes, type OutputPipes, openOutputPipes } from "./pipes.ts";
import { type Watch, WatchedEvents, WatchedProcess } from "./process.ts";
import { type Program, writeRecord } from "./programs.ts";
import { refusal } from "./refusal.ts";
import { endRest } from "./rest.ts";
import { giveConfig } from "./spare-run.ts";
import { Terminal, TerminalSockets } from "./terminal.ts";
import type { Logging } from "./types.ts";
import { makePipes, pidName, pipeName, readText } from "./watcher.ts";

const SIGKILL = 9;

/** A process that is to run, and where. */
export interface LaunchPlan {
  /** For its files; made here. It is the watcher's and the OCI runtime's working directory. */
  readonly directory: string;
  /** Written there before the start: name and text. */
  readonly config: readonly [name: string, text: string];
  readonly runtime: Program;
  /** Its command line, with options that say where the process ID and the terminal go. */
  readonly command: (more: readonly string[]) => readonly string[];
  /** A spare run will do, if there is one that waits. */
  readonly takesSpare?: boolean;
  readonly program: string;
  readonly action: "run" | "exec";
  readonly terminal: boolean;
  /** Who owns the pipes, so that a process can open them again: /dev/stdout. Default: root. */
  readonly owner?: Owner | undefined;
  /** The priority for the out-of-memory killer, where the OCI runtime may not set it. */
  readonly oomScoreAdj?: number | undefined;
  /** Of the terminal. */
  readonly size: { readonly rows: number; readonly columns: number } | undefined;
  readonly stdin: boolean;
  readonly logging: Logging;
  readonly oom: OomWatch | undefined;
  /** The container's group, where what its first process leaves behind must be ended. */
  readonly sharedGroup?: string | undefined;
  /** Removes the directory at the end: nobody asks for it later. */
  readonly isTransient: boolean;
}

/** Starts a process under a watcher. @throws as `Runtime.start` */
export async function launch(host: Host, plan: LaunchPlan): Promise<WatchedProcess> {
  const { directory } = plan;
  const ahead = await startAhead(host, plan);
  if (ahead) return join(host, { ...ahead, terminal: undefined, plan, isNewRun: true });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  using sockets = plan.terminal ? TerminalSockets.make(directory, "tty") : undefined;
  const started = startWhole(host, plan, sockets);
  const { watch, pipes } = started;
  const events = new WatchedEvents(host.pump, watch);
  const pid = await events.started();
  started.release();
  if (pid === undefined) throw undone(plan, { watch, pipes, events });
  const terminal = sockets && (sockets.kept() ?? (await Terminal.arrive(host.pump, sockets)));
  // crun sets it too, but for an exec only when the process runs already.
  if (terminal && plan.size) resizeTerminal(terminal.control, plan.size);
  return join(host, { pid, watch, events, pipes, terminal, plan, isNewRun: true });
}

/** Takes back what did not start, and says why. */
function undone(plan: LaunchPlan, parts: Pick<Joint, "watch" | "pipes" | "events">): Failure {
  const { watch, pipes, events } = parts;
  if (watch.watcher !== undefined) signalProcess(watch.watcher, SIGKILL);
  events.close();
  closePipes(pipes);
  const said = readText(`${plan.directory}/log`) ?? "";
  rmSync(plan.directory, { recursive: true, force: true });
  plan.oom?.close();
  return refusal(said, plan);
}

/**
 * Starts a process under a runtime that was started ahead. Undefined where there is none, and where that
 * one came to an end before it had been given what it waited for.
 */
async function startAhead(
  host: Host,
  plan: LaunchPlan,
): Promise<Pick<Joint, "pid" | "watch" | "pipes" | "events"> | undefined> {
  const spare = await startSpare(host, plan);
  if (!spare) return undefined;
  const { watch, pipes } = spare;
  const events = new WatchedEvents(host.pump, watch);
  const pid = await events.started();
  spare.release();
  if (pid !== undefined) return { pid, watch, pipes, events };
  const hasTried = events.hasEnded;
  const failure = undone(plan, { watch, pipes, events });
  if (hasTried) throw failure;
  return undefined;
}

/** A watcher that was started, and our ends of its pipes. */
interface Started {
  readonly watch: Watch;
  readonly pipes: OutputPipes;
  /** To be called once it has shown signs of life. */
  release(): void;
}

/** Takes the runtime that waits, if there is one, and what it waits for is all that this start needs. */
async function startSpare(host: Host, plan: LaunchPlan): Promise<Started | undefined> {
  const { terminal, stdin, oom, directory } = plan;
  const isPlain = !terminal && !stdin && oom?.event === undefined && prefixOf(plan).length === 0;
  if (!isPlain) dropExec(host, directory);
  const begun = takeExec(host, directory);
  const spare = begun ?? (isPlain && plan.takesSpare ? host.spareRuns.take() : undefined);
  if (!spare) return undefined;
  const { watcher, events, pipes } = spare;
  try {
    if (plan.owner) chownPipes(spare.directory, plan.owner);
    await giveConfig(spare, directory, plan.config);
  } catch (error) {
    begun?.release();
    if (watcher !== undefined) signalProcess(watcher, SIGKILL);
    for (const file of [watcher, events]) if (file !== undefined) closeSync(file);
    closePipes(pipes);
    throw error;
  }
  return {
    watch: { directory, watcher, events },
    pipes,
    release: () => {
      begun?.release();
      refill(host);
    },
  };
}

/** Starts a watcher in a directory that is there. */
function startWhole(host: Host, plan: LaunchPlan, sockets: TerminalSockets | undefined): Started {
  const { directory, runtime } = plan;
  writeRecord(directory, runtime);
  const [name, text] = plan.config;
  writeFileSync(`${directory}/${name}`, text, { mode: 0o600 });
  makePipes(directory, plan);
  if (plan.owner) chownPipes(directory, plan.owner);
  const pipes = openOutputPipes(directory, plan.terminal);
  const events = openFifo(`${directory}/${pipeName.events}`, "read");
  const given = runtime.isCrun ? undefined : sockets?.give(plan.size);
  // Absolute: where it makes device nodes for a user namespace, crun loses its working directory.
  const pidFile = `${directory}/${runtime.isCrun ? pipeName.events : pidName}`;
  const console = sockets && !given ? ["--console-socket", "tty"] : [];
  const watcher = host.spare.start({
    directory,
    argv: [...prefixOf(plan), ...plan.command(["--pid-file", pidFile, ...console])],
    tells: runtime.isCrun,
    device: given,
    stdin: plan.stdin,
    terminal: sockets,
    oomEvent: plan.oom?.event,
  });
  return {
    watch: { directory, watcher: openProcess(watcher.pid), events },
    pipes,
    release: () => {
      watcher.release();
      refill(host);
    },
  };
}

function refill(host: Host): void {
  host.spare.prepareSoon();
  host.spareRuns.prepareSoon();
}

/** Root of a user namespace may not raise a priority, but keeps the one that it inherits. */
function prefixOf({ oomScoreAdj = 0 }: LaunchPlan): readonly string[] {
  if (oomScoreAdj >= 0) return [];
  const raise = `echo ${oomScoreAdj} 2>/dev/null >/proc/self/oom_score_adj`;
  return ["/bin/sh", "-c", `${raise}; exec "$@"`, "sh"];
}

function chownPipes(directory: string, { uid, gid }: Owner): void {
  for (const name of [pipeName.stdout, pipeName.stderr, pipeName.stdin]) {
    const path = `${directory}/${name}`;
    if (existsSync(path)) chownSync(path, uid, gid);
  }
}

/** What is joined to a process that runs. */
export interface Joint {
  readonly pid: number;
  readonly watch: Watch;
  readonly events: WatchedEvents;
  readonly pipes: OutputPipes;
  readonly terminal: Terminal | undefined;
  readonly plan: Pick<
    LaunchPlan,
    "directory" | "terminal" | "stdin" | "logging" | "oom" | "isTransient" | "sharedGroup"
  >;
  readonly isNewRun: boolean;
}

/** Takes over output, input and terminal of a process that runs. */
export function join(host: Host, joint: Joint): WatchedProcess {
  const { pid, watch, events, terminal, plan } = joint;
  const { directory } = plan;
  const remove = () => rmSync(directory, { recursive: true, force: true });
  const input = terminal
    ? Input.ofTerminal(host.pump, terminal.typing)
    : plan.stdin
      ? Input.ofPipe(host.pump, directory)
      : undefined;
  const process = new WatchedProcess(pid, {
    watch,
    events,
    output: openOutput(host, joint),
    input,
    terminal,
    oom: plan.oom,
    isTransient: plan.isTransient,
    onEnded: () => {
      host.running.delete(directory);
      if (plan.isTransient) remove();
    },
  });
  host.running.set(directory, process);
  if (plan.sharedGroup !== undefined && pid > 0) {
    endRest(host, pid, plan.sharedGroup).catch((error) =>
      log("warn", "Cannot end what a container left running", { error }),
    );
  }
  return process;
}

function openOutput(host: Host, { pipes, terminal, plan, isNewRun }: Joint): Output {
  const { stdout, stderr } = pipes;
  const { logging, directory } = plan;
  if (logging.kind === "none") {
    if (terminal) {
      closePipes(pipes);
      return new DirectOutput(host.pump, [{ file: terminal.outer, stream: 1 }], () => {});
    }
    const errors = stderr === undefined ? [] : ([{ file: stderr, stream: 2 }] as const);
    return new DirectOutput(host.pump, [{ file: stdout, stream: 1 }, ...errors], () => {});
  }
  const into = terminal && openFifo(`${directory}/${pipeName.stdout}`, "both");
  return new LoggedOutput(
    host.pump,
    { directory: logging.directory, bytesMax: logging.bytesMax, isNewRun },
    {
      stdout,
      ...(stderr === undefined ? {} : { stderr }),
      ...(terminal && into !== undefined ? { terminal: { file: terminal.outer, into } } : {}),
    },
  );
}
