import { Failure } from "../base/mod.ts";
import type { EventJournal } from "./event-journal.ts";
import { nowNs } from "./times.ts";
import type { Container, EngineEvent } from "./types.ts";

/** Past events that a late reader can still ask for. */
const historyMax = 1_024;
/** Events that may wait for one slow reader before it is dropped. */
const queueMax = 8_192;

type Query = { sinceNs?: bigint; untilNs?: bigint; signal: AbortSignal };
type Listener = (event: EngineEvent) => void;

/** What happened, for whoever listens. */
export class Events {
  readonly #history: EngineEvent[];
  readonly #journal: EventJournal | undefined;
  readonly #listeners = new Set<Listener>();

  constructor(journal?: EventJournal) {
    this.#journal = journal;
    this.#history = journal?.load(historyMax) ?? [];
  }

  emit(event: Omit<EngineEvent, "timeNs">): void {
    const full: EngineEvent = Object.freeze({ ...event, timeNs: nowNs() });
    this.#history.push(full);
    if (this.#history.length > historyMax) this.#history.shift();
    for (const listener of this.#listeners) listener(full);
    this.#journal?.add(full);
  }

  get readers(): number {
    return this.#listeners.size;
  }

  close(): void {
    this.#journal?.close();
  }

  /** An event of a container, with the attributes that all of them carry. */
  container(
    { id, name, config }: Container,
    action: string,
    attributes: Readonly<Record<string, string>> = {},
  ): void {
    this.emit({
      type: "container",
      action,
      actor: { id, attributes: { ...config.Labels, ...attributes, image: config.Image, name } },
    });
  }

  /** That a container begins or ends to use its volumes. */
  volumes({ id, mounts }: Container, action: "mount" | "unmount"): void {
    for (const { Type, Name = "", Driver: driver = "local", ...mount } of mounts) {
      if (Type !== "volume") continue;
      const { Destination: destination, Propagation: propagation, RW } = mount;
      const how = { destination, propagation, "read/write": String(RW) };
      const attributes = { container: id, driver, ...(action === "mount" ? how : {}) };
      this.emit({ type: "volume", action, actor: { id: Name, attributes } });
    }
  }

  /** As `Engine.events`. @throws "exhausted" — the reader fell too far behind */
  async *read({ sinceNs, untilNs, signal }: Query): AsyncGenerator<EngineEvent> {
    const queue = sinceNs === undefined ? [] : this.#history.filter((e) => e.timeNs >= sinceNs);
    let wake = () => {};
    let isBehind = false;
    const listener: Listener = (event) => {
      if (queue.length < queueMax) queue.push(event);
      else isBehind = true;
      wake();
    };
    this.#listeners.add(listener);
    const stopTimer = alarm(untilNs, () => wake());
    const onAbort = () => wake();
    signal.addEventListener("abort", onAbort);
    try {
      for (;;) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        while (queue.length > 0 && !signal.aborted) {
          const event = queue.shift()!;
          if (untilNs !== undefined && event.timeNs > untilNs) return;
          yield event;
        }
        if (isBehind) throw new Failure("exhausted", "Cannot keep events for so slow a reader");
        const isOver = untilNs !== undefined && BigInt(Date.now()) * 1_000_000n >= untilNs;
        if (signal.aborted || isOver) return;
        if (queue.length === 0) await woken;
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", onAbort);
      stopTimer();
    }
  }
}

/** Rings at a time, however far away; setTimeout alone wraps after 24 days. */
function alarm(atNs: bigint | undefined, ring: () => void): () => void {
  if (atNs === undefined) return () => {};
  let timer: Timer | undefined;
  const arm = () => {
    const leftMs = Number(atNs / 1_000_000n) - Date.now() + 1;
    if (leftMs <= 0) ring();
    else timer = setTimeout(arm, Math.min(leftMs, 86_400_000));
  };
  arm();
  return () => clearTimeout(timer);
}
