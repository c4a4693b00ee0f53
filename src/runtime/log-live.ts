import { log } from "../base/mod.ts";
import { listSegmentsNow, type Place, Segment } from "./log-cursor.ts";
import type { GrowingLog } from "./log-read.ts";
import type { LogListener, Pump } from "./pump.ts";

/** How long a reader may keep the log from dropping its oldest segment without reading on. */
const patienceMs = 5_000;

type Reader = { readonly segment: number };

/** The daemon's side of a log that the pump writes: who waits for more, who is still reading what. */
export class LiveLog implements GrowingLog, LogListener {
  readonly finishedAll: Promise<void>;
  readonly #pump: Pump;
  readonly #id: number;
  readonly #directory: string;
  readonly #readers = new Set<Reader>();
  readonly #finish: () => void;
  #waiters = new Set<(more: boolean) => void>();
  #isFinished = false;
  #lossCount = 0;
  #asked: number | undefined;
  #patience: ReturnType<typeof setTimeout> | undefined;

  constructor(pump: Pump, { id, directory }: { id: number; directory: string }) {
    this.#pump = pump;
    this.#id = id;
    this.#directory = directory;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finishedAll = promise;
    this.#finish = resolve;
  }

  end(): Place {
    const last = listSegmentsNow(this.#directory).at(-1);
    using segment = last === undefined ? undefined : Segment.open(this.#directory, last);
    if (!segment) return { segment: 1, offset: 0, record: 0 };
    // Not the last record: one without bytes yet may be overwritten.
    const record = Math.max(0, segment.recordCount - 2);
    return { segment: segment.number, offset: segment.sizeBytes, record };
  }

  beyond(position: number, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#isFinished || signal?.aborted) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter = (more: boolean) => {
      signal?.removeEventListener("abort", onAbort);
      this.#waiters.delete(waiter);
      resolve(more);
    };
    const onAbort = () => waiter(false);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiters.add(waiter);
    this.#pump.send({ do: "watch", id: this.#id, position });
    return promise;
  }

  join(reader: Reader): { moved(): void; leave(): void } {
    this.#readers.add(reader);
    return {
      moved: () => {
        this.#readers.add(reader);
        this.#readerMoved();
      },
      leave: () => {
        this.#readers.delete(reader);
        this.#readerMoved();
      },
    };
  }

  progressed(): void {
    this.#wake(true);
  }

  full(segment: number): void {
    this.#asked = segment;
    this.#dropIfFree();
    if (this.#asked !== undefined)
      this.#patience ??= setTimeout(() => this.#dropAnyway(), patienceMs);
  }

  lost(): void {
    this.#lossCount++;
    if (this.#lossCount > 1) return;
    log("error", "Cannot write a container's log: output is lost", { directory: this.#directory });
  }

  finished(): void {
    this.#isFinished = true;
    this.#wake(false);
    this.#finish();
  }

  /** The daemon goes: readers end where they are. */
  abandon(): void {
    this.finished();
    clearTimeout(this.#patience);
  }

  #wake(more: boolean): void {
    for (const waiter of [...this.#waiters]) waiter(more);
  }

  /** Somebody reads on: the patience starts anew, unless nobody needs it any more. */
  #readerMoved(): void {
    if (this.#asked === undefined) return;
    this.#dropIfFree();
    if (this.#asked === undefined) return;
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => this.#dropAnyway(), patienceMs);
  }

  #dropIfFree(): void {
    const oldest = this.#asked ?? 0;
    if (![...this.#readers].some(({ segment }) => segment <= oldest)) this.#drop();
  }

  /** Nobody who does not read holds the log up twice. Whoever reads on counts again. */
  #dropAnyway(): void {
    for (const reader of this.#readers) {
      if (reader.segment <= (this.#asked ?? 0)) this.#readers.delete(reader);
    }
    this.#drop();
  }

  #drop(): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#asked = undefined;
    this.#pump.send({ do: "drop", id: this.#id });
  }
}
