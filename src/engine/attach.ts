import type { Readable } from "node:stream";
import { Failure, log } from "../base/mod.ts";
import { flagOf } from "../logging/mod.ts";
import type { Chunk, OutputQuery, RunningProcess } from "../runtime/mod.ts";
import type { Core } from "./core.ts";
import { detachFilter, parseDetachKeys } from "./detach-keys.ts";
import type { Attachment, AttachRequest, Container } from "./types.ts";

type Begin = (process: RunningProcess) => void;
type Pending = { readonly begin: Begin; readonly drop: () => void };

/** Clients that attached before the start and wait for it. */
export class Attachers {
  readonly #byId = new Map<string, Set<Pending>>();
  readonly #readers = new Map<string, Set<PromiseWithResolvers<void>>>();

  /** Notes that somebody reads a container's output; call what it returns at the end. */
  enter(id: string): () => void {
    const reader = Promise.withResolvers<void>();
    const set = this.#readers.get(id) ?? new Set();
    this.#readers.set(id, set.add(reader));
    return () => {
      set.delete(reader);
      if (set.size === 0 && this.#readers.get(id) === set) this.#readers.delete(id);
      reader.resolve();
    };
  }

  /** Resolves when nobody reads the container's output any more, or after `timeoutMs`. */
  async left(id: string, timeoutMs: number): Promise<void> {
    const readers = [...(this.#readers.get(id) ?? [])];
    if (readers.length === 0) return;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, timeoutMs);
    await Promise.race([Promise.all(readers.map(({ promise }) => promise)), late.promise]);
    clearTimeout(timer);
  }

  add(id: string, pending: Pending): () => void {
    const set = this.#byId.get(id) ?? new Set();
    this.#byId.set(id, set.add(pending));
    return () => {
      set.delete(pending);
      if (set.size === 0 && this.#byId.get(id) === set) this.#byId.delete(id);
    };
  }

  /** To be called at once after the start, before any output can have passed. */
  begin(id: string, process: RunningProcess): void {
    const set = this.#byId.get(id);
    this.#byId.delete(id);
    for (const { begin } of set ?? []) begin(process);
  }

  /** The container is gone: nobody need wait any more. */
  drop(id: string): void {
    const set = this.#byId.get(id);
    this.#byId.delete(id);
    for (const { drop } of set ?? []) drop();
  }
}

/** How the streams of a process and of a client are joined. */
export interface Joint {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** The process's stdin ends when the client's does. */
  readonly closesStdin: boolean;
  /** Watched for in what is typed; undefined where there is no terminal. */
  readonly detachKeys: Uint8Array | undefined;
  readonly from: OutputQuery["from"];
}

/** As `Engine.attach`. */
export async function attach(
  core: Core,
  id: string,
  request: AttachRequest,
  attachment: Attachment,
): Promise<void> {
  const leave = core.attachers.enter(id);
  try {
    await attachReader(core, id, request, attachment);
  } finally {
    leave();
  }
}

async function attachReader(
  core: Core,
  id: string,
  request: AttachRequest,
  attachment: Attachment,
): Promise<void> {
  const container = core.records.get(id);
  refuseUnready(container);
  const detachKeys = parseDetachKeys(request.detachKeys);
  core.events.container(container, "attach");
  const { stdout, stderr, stdin, logs } = request;
  const streams = { stdout, stderr };
  if (!request.stream) {
    if (logs) await copyLog(core, container, streams, attachment);
    return;
  }
  const { Tty: tty, OpenStdin: isOpen, StdinOnce: isOnce } = container.config;
  const joint: Omit<Joint, "from"> = {
    ...streams,
    stdin: stdin && isOpen,
    closesStdin: isOnce && !tty,
    detachKeys: tty ? detachKeys : undefined,
  };
  const live = core.live.get(id);
  const how = live
    ? await join(live.process, { ...joint, from: logs ? "start" : "now" }, attachment)
    : await joinAtStart(core, id, { joint, logs }, attachment);
  const left = core.records.find(id);
  if (how === "detached" && left) core.events.container(left, "detach");
}

function refuseUnready({ id, state }: Container): void {
  if (state.status === "paused") {
    throw new Failure("conflict", `container ${id} is paused, unpause the container before attach`);
  }
  if (state.status === "restarting") {
    throw new Failure(
      "conflict",
      `container ${id} is restarting, wait until the container is running`,
    );
  }
}

async function copyLog(
  core: Core,
  container: Container,
  streams: { stdout: boolean; stderr: boolean },
  attachment: Attachment,
): Promise<void> {
  const query = { ...streams, from: "start", follow: false, signal: attachment.signal } as const;
  for await (const chunk of readLogs(core, container.id, query)) await attachment.output(chunk);
}

function joinAtStart(
  core: Core,
  id: string,
  { joint, logs }: { joint: Omit<Joint, "from">; logs: boolean },
  attachment: Attachment,
): Promise<"ended" | "detached"> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      leave();
      resolve("ended");
    };
    const begin: Begin = (process) => {
      attachment.signal.removeEventListener("abort", onAbort);
      const from = logs ? "start" : "run";
      join(process, { ...joint, from }, attachment).then(resolve, reject);
    };
    const leave = core.attachers.add(id, { begin, drop: onAbort });
    attachment.signal.addEventListener("abort", onAbort, { once: true });
    if (attachment.signal.aborted) onAbort();
  });
}

/** As `Engine.logs`. */
export function readLogs(core: Core, id: string, query: OutputQuery) {
  const { hostConfig, logDirectory } = core.records.get(id);
  const { Type, Config } = hostConfig.LogConfig;
  const isSentOnly = flagOf(Config, "cache-disabled");
  if (Type === "none" || isSentOnly) {
    throw new Failure("unsupported", "configured logging driver does not support reading");
  }
  const live = core.live.get(id);
  return whileHeld(
    core,
    id,
    live ? live.process.read(query) : core.runtime.readLog(logDirectory, query),
  );
}

async function* whileHeld(core: Core, id: string, chunks: AsyncIterable<Chunk>) {
  const leave = core.attachers.enter(id);
  try {
    yield* chunks;
  } finally {
    leave();
  }
}

/** Carries bytes both ways until the process has ended, the client is gone, or the keys were typed. */
export async function join(
  process: RunningProcess,
  joint: Joint,
  attachment: Attachment,
): Promise<"ended" | "detached"> {
  const over = new AbortController();
  const { signal } = over;
  const stop = () => over.abort();
  attachment.signal.addEventListener("abort", stop, { once: true });
  if (attachment.signal.aborted) stop();
  let how: "ended" | "detached" = "ended";
  const output = copyOutput(process, joint, { attachment, signal });
  if (joint.stdin && attachment.input) {
    copyInput(process, joint, { input: attachment.input, signal }).then(
      (end) => {
        if (end !== "detached") return;
        how = end;
        over.abort();
      },
      (error: unknown) => log("debug", "Cannot pass on what a client typed", { error }),
    );
  }
  try {
    await output;
  } catch (error) {
    // A client that is gone cannot take output: that is its end, and no failure of ours.
    if (!attachment.signal.aborted) throw error;
  } finally {
    over.abort();
    attachment.signal.removeEventListener("abort", stop);
  }
  return how;
}

async function copyOutput(
  process: RunningProcess,
  { stdout, stderr, from }: Joint,
  { attachment, signal }: { attachment: Attachment; signal: AbortSignal },
): Promise<void> {
  if (!stdout && !stderr) {
    const gone = new Promise((resolve) => signal.addEventListener("abort", resolve));
    await (signal.aborted ? undefined : Promise.race([process.exited, gone]));
    return;
  }
  const query: OutputQuery = { stdout, stderr, from, follow: true, signal };
  for await (const chunk of process.read(query)) await attachment.output(chunk);
}

async function copyInput(
  process: RunningProcess,
  { detachKeys, closesStdin }: Joint,
  { input, signal }: { input: Readable; signal: AbortSignal },
): Promise<"ended" | "detached"> {
  const filter = detachKeys && detachFilter(detachKeys);
  for await (const bytes of chunksOf(input, signal)) {
    const { pass, isDetached } = filter ? filter.push(bytes) : { pass: bytes, isDetached: false };
    if (pass.length > 0) await process.write(pass);
    if (isDetached) return "detached";
  }
  const rest = filter?.flush();
  if (rest && rest.length > 0) await process.write(rest);
  if (closesStdin) process.closeStdin();
  return "ended";
}

/** Reads a stream that is not ours to destroy, until it ends or `signal` says stop. */
async function* chunksOf(input: Readable, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let wake = () => {};
  const onChange = () => wake();
  const events = ["readable", "end", "close", "error"] as const;
  for (const event of events) input.on(event, onChange);
  signal.addEventListener("abort", onChange);
  try {
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      for (let chunk = input.read(); chunk !== null; chunk = input.read()) {
        yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
        if (signal.aborted) return;
      }
      if (signal.aborted || input.readableEnded || input.destroyed) return;
      await woken;
    }
  } finally {
    for (const event of events) input.off(event, onChange);
    signal.removeEventListener("abort", onChange);
  }
}
