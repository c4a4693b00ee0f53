import { log } from "../base/mod.ts";
import type { Healthcheck } from "../oci/mod.ts";
import type { RunningProcess } from "../runtime/mod.ts";
import type { Core, Live } from "./core.ts";
import { end } from "./ending.ts";
import { launchExec } from "./exec.ts";
import { makeId } from "./names.ts";
import { shallRestart } from "./restart-policy.ts";
import { now } from "./times.ts";
import type { Container, ExecRequest, HealthState } from "./types.ts";

const resultsMax = 5;
const outputBytesMax = 4_096;
const unhealthy = 1;

export interface HealthMonitor {
  stop(): void;
}

type Result = HealthState["Log"][number];
type Timing = {
  intervalMs: number;
  timeoutMs: number;
  graceMs: number;
  retries: number;
  firstMs: number;
};

/** The command of a health check; undefined when there is none to run. */
export function testCommand(
  { Test: test = [] }: Healthcheck,
  shell: readonly string[] | undefined,
): readonly string[] | undefined {
  const [kind, ...args] = test;
  if (kind === "CMD" && args.length > 0) return args;
  if (kind === "CMD-SHELL") return [...(shell?.length ? shell : ["/bin/sh", "-c"]), args.join(" ")];
  return undefined;
}

/** The state after one more result. A failure while the container starts up counts for nothing. */
export function afterResult(
  state: HealthState,
  result: Result,
  { retries, isStarting }: { retries: number; isStarting: boolean },
): HealthState {
  const Log = [...state.Log, result].slice(-resultsMax);
  if (result.ExitCode === 0) return { Status: "healthy", FailingStreak: 0, Log };
  if (isStarting && state.Status === "starting") return { ...state, Log };
  const FailingStreak = state.FailingStreak + 1;
  return { Status: FailingStreak >= retries ? "unhealthy" : state.Status, FailingStreak, Log };
}

/** Checks a container's health for as long as it runs. Undefined when it has no check. */
export function watchHealth(core: Core, id: string, live: Live): HealthMonitor | undefined {
  const { config } = core.records.get(id);
  const command = config.Healthcheck && testCommand(config.Healthcheck, config.Shell);
  if (!config.Healthcheck || !command) return undefined;
  const timing = timingOf(config.Healthcheck);
  let timer: Timer | undefined;
  let isOver = false;
  const next = () => {
    if (isOver) return;
    const health = core.records.find(id)?.state.health;
    const isStarting = health?.Status === "starting" && isYoung(live, timing);
    timer = setTimeout(check, isStarting ? timing.firstMs : timing.intervalMs);
  };
  const check = () => {
    core.background.watch(`health of container ${id}`, async () => {
      try {
        if (core.records.find(id)?.state.status === "running") {
          await checkOnce(core, id, { live, command, timing });
        }
      } finally {
        next();
      }
    });
  };
  next();
  return {
    stop() {
      isOver = true;
      clearTimeout(timer);
    },
  };
}

function timingOf(check: Healthcheck): Timing {
  const ms = (ns: number | undefined, otherwise: number) => (ns ? ns / 1e6 : otherwise);
  const graceMs = ms(check.StartPeriod, 0);
  const intervalMs = ms(check.Interval, 30_000);
  return {
    intervalMs,
    timeoutMs: ms(check.Timeout, 30_000),
    graceMs,
    firstMs: graceMs > 0 ? ms(check.StartInterval, 5_000) : intervalMs,
    retries: check.Retries || 3,
  };
}

function isYoung(live: Live, { graceMs }: Timing): boolean {
  return Date.now() - live.startedAtMs < graceMs;
}

async function checkOnce(
  core: Core,
  id: string,
  { live, command, timing }: { live: Live; command: readonly string[]; timing: Timing },
): Promise<void> {
  const isStarting = isYoung(live, timing);
  const Start = now();
  const outcome = await probe(core, core.records.get(id), { command, timing });
  const container = core.records.find(id);
  // It may have ended, or been started anew, while the check ran.
  if (!container?.state.health || core.live.get(id) !== live) return;
  const result: Result = { Start, End: now(), ...outcome };
  const { retries } = timing;
  const health = afterResult(container.state.health, result, { retries, isStarting });
  const changed = core.records.change(id, { state: { health } });
  if (health.Status === container.state.health.Status) return;
  core.events.container(changed, `health_status: ${health.Status}`);
  if (health.Status === "unhealthy") renew(core, changed, live);
}

/** Ends a sick container whose policy then starts it again, unless that was done too often. */
function renew(core: Core, container: Container, live: Live): void {
  const { RestartPolicy: policy } = container.hostConfig;
  const sick = { ...container, exitCode: 0, isSick: true };
  if (policy.Name !== "on-unhealthy" || !shallRestart(policy, sick)) return;
  live.isSick = true;
  core.background.watch(`the end of unhealthy container ${container.id}`, () => {
    return end(core, { container, live }, {});
  });
}

async function probe(
  core: Core,
  container: Container,
  { command, timing }: { command: readonly string[]; timing: Timing },
): Promise<Pick<Result, "ExitCode" | "Output">> {
  const request: ExecRequest = {
    cmd: command,
    env: [],
    user: "",
    workingDir: "",
    privileged: false,
    tty: false,
    attachStdin: false,
    attachStdout: true,
    attachStderr: true,
    detachKeys: "",
  };
  try {
    const entry = core.execs.add(makeId(), container.id, request);
    core.events.container(container, `exec_create: ${command.join(" ")}`, { execID: entry.id });
    core.tally.healthChecks++;
    const process = await core.tally.timed("health", "start", () =>
      launchExec(core, container, { entry, stdin: false }),
    );
    return await observe(process, timing.timeoutMs);
  } catch (error) {
    core.tally.failedHealthChecks++;
    log("debug", "Cannot run a health check", { id: container.id, error });
    const Output = error instanceof Error ? error.message : String(error);
    return { ExitCode: -1, Output: Output.slice(0, outputBytesMax) };
  }
}

async function observe(
  process: RunningProcess,
  timeoutMs: number,
): Promise<Pick<Result, "ExitCode" | "Output">> {
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    process.signal(9);
  }, timeoutMs);
  try {
    const output = collect(process);
    const { exitCode } = await process.exited;
    const Output = await output;
    if (isLate) {
      return { ExitCode: -1, Output: `Health check exceeded timeout (${goDuration(timeoutMs)})` };
    }
    // 2 is reserved by Docker; it and all others mean what 1 means.
    return { ExitCode: exitCode === 0 ? 0 : exitCode || unhealthy, Output };
  } finally {
    clearTimeout(timer);
  }
}

/** As Go prints it: `500ms`, `3s`, `1m30s`. */
function goDuration(ms: number): string {
  if (ms < 1_000) return `${ms}ms`;
  const minutes = Math.floor(ms / 60_000);
  return `${minutes > 0 ? `${minutes}m` : ""}${(ms % 60_000) / 1_000}s`;
}

async function collect(process: RunningProcess): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const all = { stdout: true, stderr: true, from: "start", follow: true } as const;
  for await (const { bytes } of process.read(all)) {
    if (size < outputBytesMax) parts.push(bytes.slice(0, outputBytesMax - size));
    size += bytes.length;
  }
  return Buffer.concat(parts).toString("utf8") + (size > outputBytesMax ? "..." : "");
}
