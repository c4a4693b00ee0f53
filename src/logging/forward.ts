import { readFile, rename, writeFile } from "node:fs/promises";
import { setImmediate as breathe, setTimeout as sleep } from "node:timers/promises";
import { log, toFailure } from "../base/mod.ts";
import { isOpenedLater, openDriver, type Retry, retryOf } from "./drivers.ts";
import { type Line, LineSplitter, type LogDriver, type SavedRests } from "./lines.ts";
import { parseBytes } from "./options.ts";
import { Queue } from "./queue.ts";
import type { Subject } from "./subject.ts";

type Options = Readonly<Record<string, string>>;

/** Lines that are sent at once: few enough that the thread is not kept from other work. */
const batchLinesMax = 64;
/** Of a chunk that are cut into lines at once. */
const pieceBytesMax = 16 << 10;
const saveEveryMs = 200;
const waitMsMax = 30_000;
const bufferBytesDefault = 1 << 20;

/** Where reading a log can go on. The reader's own business, here only kept. */
type Place = unknown;

export interface SourceChunk {
  readonly stream: 1 | 2;
  readonly timeNs: bigint;
  readonly bytes: Uint8Array;
  readonly next?: Place;
}

/** What is to be sent: the output of one process. */
export interface Source {
  readonly driver: string;
  readonly options: Options;
  readonly subject: Subject;
  /** Where it is kept how far sending has come. */
  readonly file: string;
  /** Output from a place on, until its end; from the beginning of the process when there is none. */
  read(place: Place | undefined, signal: AbortSignal): AsyncIterable<SourceChunk>;
}

export interface Forwarding {
  /** Settles when all has been sent, or was given up. Never rejects. */
  readonly done: Promise<void>;
  /** Begins to read; what has come until then is not lost. */
  begin(): void;
  /** Gives up what was not sent yet; another daemon may go on. */
  stop(): void;
}

/**
 * Sends a container's output to its log server. The server is connected to before this returns, so that
 * a container whose log would go nowhere does not start.
 * @throws Failure "unavailable" | "invalid" — only without `isResumed`
 */
export async function forward(
  source: Source,
  { isResumed }: { isResumed: boolean },
): Promise<Forwarding> {
  const { driver, subject, options } = source;
  const isLater = isResumed || isOpenedLater(options);
  const opened = isLater ? undefined : await openDriver(driver, subject, options);
  const over = new AbortController();
  const begun = Promise.withResolvers<boolean>();
  over.signal.addEventListener("abort", () => begun.resolve(false));
  const sender = new Sender(source, opened, over.signal);
  const run = async () => {
    try {
      if (await begun.promise) await carry(source, sender, over.signal);
    } catch (error) {
      if (!over.signal.aborted) {
        log("error", "Cannot send a container's log", { id: subject.id, driver, error });
      }
    } finally {
      sender.close();
    }
  };
  return { done: run(), begin: () => begun.resolve(true), stop: () => over.abort() };
}

interface Batch {
  readonly lines: readonly Line[];
  readonly sizeBytes: number;
  /** How far everything before and in this batch has come. */
  readonly state: State | undefined;
}

interface State {
  readonly place: Place;
  readonly rests: SavedRests;
}

async function carry(source: Source, sender: Sender, signal: AbortSignal): Promise<void> {
  const state = await loadState(source.file);
  const batches = split(source.read(state?.place, signal), new LineSplitter(state?.rests));
  const { mode, "max-buffer-size": size = "" } = source.options;
  const isLossy = mode === "non-blocking";
  const from = isLossy
    ? new Queue<Batch>(parseBytes(size) || bufferBytesDefault).fill(batches)
    : batches;
  let savedMs = 0;
  let unsaved: State | undefined;
  for await (const { lines, state: reached } of from) {
    await sender.send(lines);
    if (signal.aborted) break;
    unsaved = reached ?? unsaved;
    if (unsaved === undefined || Date.now() - savedMs < saveEveryMs) continue;
    await saveState(source.file, unsaved);
    savedMs = Date.now();
    unsaved = undefined;
  }
  if (unsaved) await saveState(source.file, unsaved);
}

/** What goes to the server at once. */
async function* split(
  chunks: AsyncIterable<SourceChunk>,
  splitter: LineSplitter,
): AsyncGenerator<Batch> {
  let place: Place | undefined;
  for await (const { stream, timeNs, bytes, next } of chunks) {
    place = next ?? place;
    for (let at = 0; at < bytes.length; at += pieceBytesMax) {
      const lines = splitter.push(stream, timeNs, bytes.subarray(at, at + pieceBytesMax));
      const isLast = next !== undefined && at + pieceBytesMax >= bytes.length;
      yield* batched(lines, isLast ? { place: next, rests: splitter.save() } : undefined);
      await breathe();
    }
  }
  const rest = splitter.flush();
  yield* batched(rest, place === undefined ? undefined : { place, rests: [] });
}

function* batched(lines: readonly Line[], state: State | undefined): Generator<Batch> {
  if (lines.length === 0 && state) yield { lines, sizeBytes: 0, state };
  for (let at = 0; at < lines.length; at += batchLinesMax) {
    const some = lines.slice(at, at + batchLinesMax);
    const isLast = at + batchLinesMax >= lines.length;
    const sizeBytes = some.reduce((sum, { bytes }) => sum + bytes.length + 1, 0);
    yield { lines: some, sizeBytes, state: isLast ? state : undefined };
  }
}

/** A driver that is opened again when it fails. */
class Sender {
  readonly #source: Source;
  readonly #retry: Retry;
  readonly #signal: AbortSignal;
  #driver: LogDriver | undefined;

  constructor(source: Source, driver: LogDriver | undefined, signal: AbortSignal) {
    this.#source = source;
    this.#driver = driver;
    this.#signal = signal;
    this.#retry = retryOf(source.options);
  }

  /** Sends lines, however long it takes, as far as the options let it. */
  async send(lines: readonly Line[]): Promise<void> {
    const { driver, subject, options } = this.#source;
    if (lines.length === 0) return;
    for (let tries = 0; !this.#signal.aborted; tries++) {
      try {
        this.#driver ??= await openDriver(driver, subject, options);
        await this.#driver.send(lines);
        await breathe();
        return;
      } catch (error) {
        this.close();
        const { message } = toFailure(error);
        const isGivenUp = tries >= this.#retry.triesMax;
        if (tries === 0 || isGivenUp) {
          const what = isGivenUp ? "Lines of a log are lost" : "Cannot reach a log server yet";
          log("warn", what, { id: subject.id, driver, lines: lines.length, error: message });
        }
        if (isGivenUp) return;
        await this.#pause(Math.min(this.#retry.waitMs * 1.5 ** Math.min(tries, 20), waitMsMax));
      }
    }
  }

  close(): void {
    this.#driver?.close();
    this.#driver = undefined;
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#signal }).catch(() => {}); // aborted: the caller sees it
  }
}

/** A state that cannot be read is none: lines are then sent again, rather than not at all. */
async function loadState(file: string): Promise<State | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch {
    return undefined;
  }
}

/** Removed with the container in the meantime: then nobody needs it. */
async function saveState(file: string, state: State): Promise<void> {
  try {
    await writeFile(`${file}.tmp`, JSON.stringify(state));
    await rename(`${file}.tmp`, file);
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
}
