/** The endpoints of processes that are executed in running containers. */
import { Failure, toFailure } from "../base/mod.ts";
import type { Exec } from "../engine/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { readFields, readOptionalFields } from "./fields.ts";
import { frameHeader } from "./frames.ts";
import { consoleSize } from "./parse-host.ts";
import { attachmentOf, checkDetachKeys, sizeOf, streamType } from "./route-streams.ts";
import type { Route } from "./router.ts";
import type { ExecInspect } from "./schema.ts";

/** Sizes that came with `create`, for the `start` that follows. A bounded memory. */
const sizes = new Map<string, { rows: number; columns: number }>();
const sizesMax = 1000;

async function create(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { id } = engine.resolve(name);
  const body = await readFields(exchange);
  const cmd = body.texts("Cmd") ?? [];
  if (cmd.length === 0) throw new Failure("invalid", "No exec command specified");
  const detachKeys = body.text("DetachKeys") ?? "";
  checkDetachKeys(detachKeys);
  const execId = await engine.exec(id, {
    cmd,
    env: body.texts("Env") ?? [],
    user: body.text("User") ?? "",
    workingDir: body.text("WorkingDir") ?? "",
    privileged: body.flag("Privileged") ?? false,
    tty: body.flag("Tty") ?? false,
    attachStdin: body.flag("AttachStdin") ?? false,
    attachStdout: body.flag("AttachStdout") ?? false,
    attachStderr: body.flag("AttachStderr") ?? false,
    detachKeys,
  });
  keepSize(execId, consoleSize(body));
  exchange.json(201, { Id: execId });
}

function keepSize(execId: string, size: readonly [number, number] | undefined): void {
  if (!size || size[0] === 0 || size[1] === 0) return;
  if (sizes.size >= sizesMax) sizes.delete(sizes.keys().next().value ?? "");
  sizes.set(execId, { rows: size[0], columns: size[1] });
}

async function start(
  exchange: Exchange,
  { engine }: Context,
  [execId = ""]: readonly string[],
): Promise<void> {
  const body = await readOptionalFields(exchange);
  const exec = engine.execInspect(execId);
  if (exec.running) {
    throw new Failure("conflict", `Error: Exec command ${execId} is already running`);
  }
  if (exec.exitCode !== null) {
    throw new Failure("conflict", `Error: Exec command ${execId} has already run`);
  }
  keepSize(execId, consoleSize(body));
  const size = sizes.get(execId);
  sizes.delete(execId);
  const isTty = body.flag("Tty") ?? exec.request.tty;
  const isDetached = body.flag("Detach") ?? false;
  const options = { detach: isDetached, tty: isTty, ...(size && isTty ? { size } : {}) };
  if (isDetached) {
    await engine.execStart(execId, options, undefined);
    exchange.empty(200);
    return;
  }
  const stream = exchange.hijack(streamType(isTty, exchange.minor));
  const attachment = attachmentOf(stream, isTty, exec.request.attachStdin);
  stream.accept();
  try {
    await engine.execStart(execId, options, attachment);
  } catch (error) {
    // Docker puts the reason (such as a missing program) on the stdout of the stream.
    const bytes = Buffer.from(`${toFailure(error).message}\r\n`);
    const header = isTty ? undefined : frameHeader(1, bytes.length);
    if (!stream.signal.aborted) await stream.write(bytes, header);
  } finally {
    stream.end();
  }
}

async function resize(
  exchange: Exchange,
  { engine }: Context,
  [execId = ""]: readonly string[],
): Promise<void> {
  const { rows, columns } = sizeOf(exchange.query);
  await engine.execResize(execId, rows, columns);
  exchange.empty(200);
}

/** `GET /exec/{id}/json`. */
export function execInspect({
  id,
  containerId,
  request,
  running,
  exitCode,
  pid,
}: Exec): ExecInspect {
  const [entrypoint = "", ...words] = request.cmd;
  return {
    ID: id,
    Running: running,
    ExitCode: exitCode,
    ProcessConfig: {
      tty: request.tty,
      entrypoint,
      arguments: words,
      privileged: request.privileged,
      ...(request.user === "" ? {} : { user: request.user }),
    },
    OpenStdin: request.attachStdin,
    OpenStderr: request.attachStderr,
    OpenStdout: request.attachStdout,
    CanRemove: !running && exitCode !== null,
    ContainerID: containerId,
    DetachKeys: Buffer.from(request.detachKeys).toString("base64"),
    Pid: pid,
  };
}

function inspect(exchange: Exchange, { engine }: Context, [execId = ""]: readonly string[]): void {
  exchange.json(200, execInspect(engine.execInspect(execId)));
}

export const routes: readonly Route[] = [
  ["POST", "/containers/{id}/exec", create],
  ["POST", "/exec/{id}/start", start],
  ["POST", "/exec/{id}/resize", resize],
  ["GET", "/exec/{id}/json", inspect],
];
