import { existsSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import type { RunningProcess } from "../runtime/mod.ts";
import { join } from "./attach.ts";
import type { Core } from "./core.ts";
import { parseDetachKeys } from "./detach-keys.ts";
import { checkEnvironment } from "./environment.ts";
import type { ExecEntry } from "./exec-table.ts";
import { linkEnvironmentNow } from "./links.ts";
import { makeId } from "./names.ts";
import { addedProcess } from "./process.ts";
import { requireLive } from "./stop.ts";
import type { Attachment, Container, ExecRequest, StartFailure } from "./types.ts";

/** As `Engine.exec`: notes what shall run; nothing runs yet. */
export function createExec(core: Core, id: string, request: ExecRequest): string {
  const container = requireReady(core, id);
  if (request.cmd.length === 0) {
    throw new Failure("invalid", "No exec command specified");
  }
  checkEnvironment(request.env);
  parseDetachKeys(request.detachKeys);
  core.runtime.expect();
  const entry = core.execs.add(makeId(), id, request);
  if (!request.tty && !request.attachStdin) core.runtime.expectExec(id, entry.id);
  tell(core, container, entry, "exec_create");
  return entry.id;
}

type StartOptions = {
  readonly detach: boolean;
  readonly tty: boolean;
  readonly size?: { rows: number; columns: number };
};

/** As `Engine.execStart`. */
export async function startExec(
  core: Core,
  execId: string,
  { detach, size }: StartOptions,
  attachment: Attachment | undefined,
): Promise<void> {
  const entry = core.execs.get(execId);
  const container = requireReady(core, entry.containerId);
  if (entry.phase === "ended") {
    throw new Failure("conflict", `Error: Exec command ${execId} has already run`);
  }
  if (entry.phase === "started") {
    throw new Failure("conflict", `Error: Exec command ${execId} is already running`);
  }
  const { request } = entry;
  const stdin = !detach && request.attachStdin && attachment?.input !== undefined;
  const process = await launchExec(core, container, { entry, stdin, size });
  if (detach || !attachment) return;
  const how = await join(
    process,
    {
      stdin,
      stdout: request.attachStdout,
      stderr: request.attachStderr && !request.tty,
      closesStdin: !request.tty,
      detachKeys: request.tty ? parseDetachKeys(request.detachKeys) : undefined,
      from: "start",
    },
    attachment,
  );
  const left = core.records.find(container.id);
  if (how === "detached" && left) tell(core, left, entry, "exec_detach");
  // Whoever asks for the exit code right after the stream's end shall get it.
  if (how === "ended" && !attachment.signal.aborted) await process.exited;
}

/** Runs an exec and watches it to its end. */
export async function launchExec(
  core: Core,
  container: Container,
  {
    entry,
    stdin,
    size,
  }: { entry: ExecEntry; stdin: boolean; size?: StartOptions["size"] | undefined },
): Promise<RunningProcess> {
  const live = requireLive(core, container.id);
  core.execs.started(entry);
  showRunning(core, container.id);
  tell(core, container, entry, "exec_start");
  try {
    const spec = addedProcess(container, entry.request, {
      root: `/proc/${live.process.pid}/root`,
      linkEnv: linkEnvironmentNow(core, container),
    });
    entry.launching = core.runtime.exec(container.id, entry.id, spec, {
      stdin,
      map: core.records.inside(container.id).owners,
      ...(size ? { size } : {}),
    });
    const process = await entry.launching;
    watchExec(core, { entry, process });
    return process;
  } catch (error) {
    const exitCode = (error as StartFailure).exitCode ?? 126;
    core.execs.ended(entry, exitCode);
    showRunning(core, container.id);
    if (existsSync(`/proc/${live.process.pid}/root`)) throw error;
    // It ended under our hands, which is all that whatever failed has to say.
    throw new Failure("conflict", `container ${container.id} is not running`, { cause: error });
  } finally {
    entry.launching = undefined;
  }
}

/** Takes note of the end of an exec, whoever still reads its output. */
export function watchExec(
  core: Core,
  { entry, process }: { entry: ExecEntry; process: RunningProcess },
): void {
  entry.process = process;
  entry.pid = process.pid;
  core.background.watch(`the end of exec ${entry.id}`, async () => {
    const { exitCode } = await process.exited;
    if (core.background.isClosing) return;
    core.execs.ended(entry, exitCode);
    const container = core.records.find(entry.containerId);
    if (!container) return;
    showRunning(core, container.id);
    const attributes = { execID: entry.id, exitCode: String(exitCode) };
    core.events.container(container, "exec_die", attributes);
  });
}

/** A client that has the head of the start's answer may be quicker than the process: wait for it. */
export async function resizeExec(
  core: Core,
  execId: string,
  rows: number,
  columns: number,
): Promise<void> {
  const entry = core.execs.get(execId);
  if (entry.phase === "started" && !entry.process) await entry.launching;
  if (!entry.process) throw new Failure("conflict", `exec ${execId} is not running`);
  entry.process.resize(rows, columns);
}

function requireReady(core: Core, id: string): Container {
  const container = core.records.get(id);
  const { status } = container.state;
  if (status === "paused") {
    throw new Failure("conflict", `container ${id} is paused, unpause the container before exec`);
  }
  if (status === "restarting") {
    throw new Failure(
      "conflict",
      `Container ${id} is restarting, wait until the container is running`,
    );
  }
  requireLive(core, id);
  return container;
}

function showRunning(core: Core, id: string): void {
  if (core.records.find(id)) core.records.changeInMemory(id, { execIds: core.execs.running(id) });
}

function tell(core: Core, container: Container, { id, request }: ExecEntry, action: string): void {
  const [program, ...args] = request.cmd;
  const what = action === "exec_detach" ? "" : `: ${program} ${args.join(" ")}`;
  core.events.container(container, `${action}${what}`, { execID: id });
}
