/** What a build tells, as BuildKit's clients draw it: vertexes with logs, statuses and warnings. */
import type { BuildEvent } from "../build/mod.ts";
import { digestOf } from "../oci/mod.ts";
import {
  statusResponse,
  timestamp,
  vertex,
  vertexLog,
  vertexStatus,
  vertexWarning,
} from "./messages.ts";

const heldBytesMax = 32 << 20;

/** The messages of one build, for any number of readers, from its begin to its end. */
export class Progress {
  readonly #ref: string;
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;
  #isEnded = false;
  #wake: (() => void)[] = [];
  readonly #started = new Map<string, number>();
  readonly #names = new Map<string, string>();
  readonly #steps = new Map<number, string>();
  #step = "";
  /** What is built one after the other: each has steps of the same numbers. */
  platforms: readonly string[] = [];
  #platform = 0;

  constructor(ref: string) {
    this.#ref = ref;
  }

  /** All that was told, and what will be. */
  async *read(signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const stop = () => this.#wakeAll();
    signal.addEventListener("abort", stop);
    try {
      for (let at = 0; !signal.aborted; ) {
        const message = this.#held[at];
        if (message) {
          at += 1;
          yield message;
        } else if (this.#isEnded) return;
        else await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Ends what has not ended; nothing is told after it. */
  end(error?: string): void {
    for (const key of this.#started.keys()) this.#complete(key, error ? { error } : {});
    this.#isEnded = true;
    this.#wakeAll();
  }

  /** Shows work as a vertex of its own. */
  async track<T>(name: string, work: (key: string) => Promise<T>): Promise<T> {
    const key = this.#begin(name, name);
    const done = await work(key);
    this.#complete(key, {});
    return done;
  }

  /** A line below a vertex, as `transferring context: 1.2MB`. */
  status(key: string, id: string, numbers: { current?: number; total?: number; isDone?: boolean }) {
    const now = timestamp(Date.now());
    const { current = 0, total = 0, isDone = false } = numbers;
    const started = timestamp(this.#started.get(key) ?? Date.now());
    const line = { id, vertex: this.#digest(key), current, total, timestamp: now, started };
    const done = isDone ? { completed: now } : {};
    this.#tell({ statuses: [vertexStatus.encode({ ...line, ...done })] });
  }

  report(event: BuildEvent): void {
    if (event.kind === "step") {
      if (this.#steps.has(event.number)) {
        this.#steps.clear();
        this.#platform += 1;
      }
      const key = `step ${this.#platform} ${event.number}`;
      this.#steps.set(event.number, key);
      this.#step = key;
      const stage = /^\d*$/.test(event.stage) ? "" : `${event.stage} `;
      const platform = this.platforms.length > 1 ? `${this.platforms[this.#platform]} ` : "";
      this.#begin(key, `[${platform}${stage}${event.number}/${event.total}] ${event.text}`);
    } else if (event.kind === "settled") {
      const isCached = event.outcome === "cached" || event.outcome === "reused";
      const key = this.#steps.get(event.number) ?? "";
      if (isCached) this.#complete(key, { cached: true });
    } else if (event.kind === "output") {
      const digest = this.#digest(this.#steps.get(event.number) ?? "");
      const line = { vertex: digest, timestamp: timestamp(Date.now()), stream: event.stream };
      this.#tell({ logs: [vertexLog.encode({ ...line, msg: event.bytes })] });
    } else if (event.kind === "done") this.#complete(this.#steps.get(event.number) ?? "", {});
    else if (event.kind === "warning") this.#warn(event.text);
    else if (event.kind === "pull") this.#pull(event.progress);
  }

  #warn(text: string): void {
    const digest = this.#digest(this.#step || this.#begin("checks", "[internal] build checks"));
    const short = Buffer.from(text);
    this.#tell({ warnings: [vertexWarning.encode({ vertex: digest, level: 1, short })] });
  }

  #pull({ id, status, progress }: Extract<BuildEvent, { kind: "pull" }>["progress"]): void {
    if (!status || !this.#started.has(this.#step)) return;
    const line = id ? `${status} ${id}` : status;
    this.status(this.#step, line, { ...progress, isDone: progress === undefined });
  }

  #begin(key: string, name: string): string {
    this.#started.set(key, Date.now());
    this.#names.set(key, name);
    this.#vertex(key, {});
    return key;
  }

  #complete(key: string, how: { cached?: boolean; error?: string }): void {
    if (!this.#started.has(key)) return;
    this.#vertex(key, { ...how, completed: timestamp(Date.now()) });
    this.#started.delete(key);
  }

  #vertex(key: string, rest: { cached?: boolean; error?: string; completed?: Uint8Array }): void {
    const started = timestamp(this.#started.get(key) ?? Date.now());
    const name = this.#names.get(key) ?? key;
    this.#tell({
      vertexes: [vertex.encode({ digest: this.#digest(key), name, started, ...rest })],
    });
  }

  #digest(key: string): string {
    return digestOf(Buffer.from(`${this.#ref} ${key}`));
  }

  #tell(message: Parameters<typeof statusResponse.encode>[0]): void {
    if (this.#isEnded) return;
    const bytes = statusResponse.encode(message);
    // A build whose output nobody could read any more goes on without telling it.
    if (message.logs && this.#heldBytes + bytes.length > heldBytesMax) return;
    this.#heldBytes += bytes.length;
    this.#held.push(bytes);
    this.#wakeAll();
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
