import { type Code, Failure, Gate, log } from "../base/mod.ts";
import type { Growth } from "./growth.ts";
import type { Job, Results } from "./jobs.ts";

/** Its buffer goes from thread to thread. */
type Chunk = Uint8Array<ArrayBuffer>;

export type ToWorker =
  | { readonly kind: "job"; readonly job: Job; readonly control: Int32Array }
  | { readonly kind: "chunk"; readonly bytes: Chunk }
  | { readonly kind: "end" };

export type FromWorker =
  | { readonly kind: "done"; readonly result: Results[keyof Results] }
  | {
      readonly kind: "failed";
      readonly code: Code;
      readonly message: string;
      readonly hint?: string;
    }
  | { readonly kind: "chunk"; readonly bytes: Uint8Array }
  /** `used` is the chunk before, whose memory is filled again: a gigabyte leaves none to collect. */
  | { readonly kind: "more"; readonly used: Chunk | undefined };

interface JobOptions {
  readonly signal?: AbortSignal | undefined;
  /** Where the job's chunks come from. */
  readonly source?: AsyncIterable<Uint8Array>;
  /** Takes the chunks that the job sends; call `taken` once each was used. */
  readonly onChunk?: (bytes: Uint8Array, taken: () => void) => void;
  /** How the job's file grows. */
  readonly growth?: Growth | undefined;
  /** How long the other end of `source` or `onChunk` may stand still while others wait in line. */
  readonly patienceMs?: number;
}

/**
 * How many of each kind run at once; more wait in line. Kinds that a client can hold up (it reads
 * slowly, it sends slowly) have lines of their own, so that one end of a pipe never waits for the other.
 */
const widths: Record<Job["kind"], number> = {
  unpack: 2,
  pack: 6,
  commit: 2,
  fill: 2,
  changes: 1,
  measure: 1,
};
const streamedUnpacks = 6;
const idleMs = 10_000;
const patienceMsDefault = 30_000;
/** So long may a file not grow while others wait: it can be unpacked when it is whole. */
const growthPatienceMs = 2_000;
const chunksAhead = 4;

const gates = new Map<string, Gate>(
  Object.entries(widths).map(([kind, width]) => [kind, new Gate(width)]),
);
for (const line of ["unpack chunks", "fill chunks"]) gates.set(line, new Gate(streamedUnpacks));

interface Idle {
  readonly worker: Worker;
  readonly timer: NodeJS.Timeout;
}
const idle: Idle[] = [];

/** Does a job in a thread of its own. @throws what the job threw; "unavailable" when it was aborted */
export async function runInWorker<Kind extends Job["kind"]>(
  job: Job & { kind: Kind },
  options: JobOptions = {},
): Promise<Results[Kind]> {
  const line = options.source ? `${job.kind} chunks` : job.kind;
  const gate = gates.get(line)!;
  return await gate.run(async () => {
    if (options.signal?.aborted) throw givenUp();
    const { growth, patienceMs = growth ? growthPatienceMs : patienceMsDefault } = options;
    using stall = new Stall(gate, patienceMs);
    if (growth) stall.follow(growth);
    return (await converse(takeWorker(), job, { ...options, stall })) as Results[Kind];
  });
}

/**
 * Notices a client that sends nothing, or reads nothing, while it holds a place that others wait for.
 * Where nobody waits it may take all the time it likes.
 */
class Stall implements Disposable {
  isOver = false;
  onOver: () => void = () => {};
  #sinceMs: number | undefined;
  readonly #timer: NodeJS.Timeout;

  constructor(gate: Gate, patienceMs: number) {
    this.#timer = setInterval(() => {
      if (this.#sinceMs === undefined || !gate.isAwaited) return;
      if (performance.now() - this.#sinceMs < patienceMs) return;
      this.isOver = true;
      this.onOver();
    }, patienceMs / 4);
    this.#timer.unref();
  }

  /** The client's turn begins, or goes on anew. */
  begin(): void {
    this.#sinceMs = performance.now();
  }

  end(): void {
    this.#sinceMs = undefined;
  }

  /** It is the file's writer whose turn it is, until the file is whole. */
  follow(growth: Growth): void {
    growth.onChange = () => (growth.state === "grows" ? this.begin() : this.end());
    growth.onChange();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function takeWorker(): Worker {
  const found = idle.pop();
  if (found) {
    clearTimeout(found.timer);
    found.worker.ref();
    return found.worker;
  }
  return new Worker(new URL("./worker.ts", import.meta.url), { smol: true });
}

function returnWorker(worker: Worker): void {
  const timer = setTimeout(() => {
    const at = idle.findIndex((each) => each.worker === worker);
    if (at >= 0) idle.splice(at, 1);
    worker.terminate();
  }, idleMs);
  timer.unref();
  worker.unref(); // an idle thread keeps no process alive
  idle.push({ worker, timer });
}

function converse(
  worker: Worker,
  job: Job,
  { stall, ...options }: JobOptions & { readonly stall: Stall },
): Promise<unknown> {
  const control = new Int32Array(new SharedArrayBuffer(8));
  control[1] = chunksAhead;
  const source = options.source?.[Symbol.asyncIterator]();
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  let sourceError: unknown;
  let isBroken = false;
  const say = (message: ToWorker, transfer: ArrayBuffer[] = []) =>
    worker.postMessage(message, transfer);
  const giveUp = () => {
    Atomics.store(control, 0, 1);
    Atomics.notify(control, 1);
    say({ kind: "end" });
  };
  stall.onOver = giveUp;
  // One chunk is read while the worker has the one before.
  let ahead: Promise<IteratorResult<Uint8Array>> | undefined;
  const feed = async (used: Chunk | undefined) => {
    try {
      stall.begin();
      const next = await (ahead ?? source!.next());
      stall.end();
      if (next.done) return say({ kind: "end" });
      const bytes = copied(next.value, used);
      say({ kind: "chunk", bytes }, [bytes.buffer]);
      ahead = source!.next();
      ahead.catch(() => {}); // who asks for it hears of it
    } catch (error) {
      sourceError = error;
      return giveUp();
    }
  };
  let untaken = 0;
  const taken = () => {
    if (--untaken > 0) stall.begin();
    else stall.end();
    Atomics.add(control, 1, 1);
    Atomics.notify(control, 1);
  };
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if (data.kind === "more") void feed(data.used);
    else if (data.kind === "chunk") {
      if (untaken++ === 0) stall.begin();
      options.onChunk?.(data.bytes, taken);
    }
    // In a turn of its own: who waits for the result may wait for another worker's message next, in a
    // way (bun test's `rejects`) that lets no message in while one is being handled.
    else if (data.kind === "done") setImmediate(() => resolve(data.result));
    else setImmediate(() => reject(sourceError ?? failureFrom(data, options.signal, stall)));
  };
  worker.onerror = (event) => {
    isBroken = true;
    log("error", "a worker stopped", { why: event.message });
    reject(new Failure("internal", `Cannot finish the work: its thread stopped: ${event.message}`));
  };
  options.signal?.addEventListener("abort", giveUp, { once: true });
  if (options.signal?.aborted) giveUp();
  say({ kind: "job", job, control });
  return promise.finally(() => {
    options.signal?.removeEventListener("abort", giveUp);
    if (isBroken) worker.terminate();
    else returnWorker(worker);
    // Not awaited: a source may be waiting for a peer that sends nothing more.
    source?.return?.().catch((error) => log("debug", "a source did not close", { why: error }));
  });
}

/** A copy: a view would drag along the whole buffer that it is a part of. In `used`, if it fits there. */
function copied(chunk: Uint8Array, used: Chunk | undefined): Chunk {
  if (!used || used.buffer.byteLength < chunk.length) return new Uint8Array(chunk);
  const bytes = new Uint8Array(used.buffer, 0, chunk.length);
  bytes.set(chunk);
  return bytes;
}

function failureFrom(
  { code, message, hint }: FromWorker & { kind: "failed" },
  signal: AbortSignal | undefined,
  stall: Stall,
): Failure {
  if (signal?.aborted) return givenUp();
  if (stall.isOver) {
    return new Failure("timeout", "Cannot go on with the archive: its other end stands still");
  }
  return new Failure(code, message, hint === undefined ? {} : { hint });
}

const givenUp = () => new Failure("unavailable", "Cannot finish the work: it was given up");
