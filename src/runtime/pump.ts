import { closeSync } from "node:fs";
import { Failure, log } from "../base/mod.ts";
import { armEpoll, createEpoll, disarmEpoll, socketPair, writeAvailable } from "../sys/mod.ts";
import { decodeNotices, type Notice, notice, type PumpCommand } from "./pump-protocol.ts";

const readyTimeoutMs = 10_000;
const closeTimeoutMs = 5_000;

/** Who hears of a process's log. */
export interface LogListener {
  progressed(): void;
  full(segment: number): void;
  lost(): void;
  finished(): void;
}

/** The daemon's side of the pump's thread: waits for descriptors, and has output moved to logs. */
export class Pump {
  readonly #epoll: number;
  readonly #sockets: readonly [number, number];
  readonly #worker: Worker;
  readonly #listeners = new Map<number, LogListener>();
  readonly #waiting = new Map<number, (events: number) => void>();
  readonly #kept = new Map<number, () => void>();
  readonly #closed = Promise.withResolvers<void>();
  #nextNumber = 1;
  #unsent: PumpCommand[] = [];
  #rest = Buffer.alloc(0);
  #isClosing = false;

  private constructor(worker: Worker, epoll: number, sockets: readonly [number, number]) {
    this.#worker = worker;
    this.#epoll = epoll;
    this.#sockets = sockets;
  }

  /** Starts the thread. @throws "unavailable" — it did not start */
  static async open(): Promise<Pump> {
    const worker = new Worker(new URL("./pump-worker.ts", import.meta.url), { smol: true });
    const pump = new Pump(worker, createEpoll(), socketPair());
    const started = Promise.withResolvers<void>();
    worker.addEventListener("open", () => started.resolve());
    worker.addEventListener("error", (event) => {
      const why = new Failure("unavailable", `Cannot run the output pump: ${event.message}`);
      started.reject(why);
      if (!pump.#isClosing) log("error", why.message);
    });
    const timer = setTimeout(
      () => started.reject(new Failure("timeout", "Cannot start the output pump")),
      readyTimeoutMs,
    );
    await started.promise.finally(() => clearTimeout(timer));
    await pump.#listen();
    worker.postMessage({ epoll: pump.#epoll, socket: pump.#sockets[1] });
    worker.unref();
    return pump;
  }

  /** A number that nothing else of this pump has: for a process or a descriptor. */
  number(): number {
    return this.#nextNumber++;
  }

  /** Moves output to a log from now on; the descriptors are the pump's then. */
  begin(command: Extract<PumpCommand, { do: "log" }>, listener: LogListener): void {
    this.#listeners.set(command.id, listener);
    this.send(command);
  }

  /** Ends what `begin` began, without a word more. */
  leave(id: number): void {
    this.#listeners.delete(id);
    this.send({ do: "leave", id });
  }

  send(command: PumpCommand): void {
    if (this.#unsent.length > 0) this.#unsent.push(command);
    else if (!this.#sendNow(command)) {
      this.#unsent.push(command);
      setTimeout(() => this.#sendRest(), 1);
    }
  }

  /**
   * Resolves with the epoll events once one of `events` is there; undefined when `forget` was called.
   * One waiter per token; the token stands for the same descriptor each time.
   */
  ready(token: number, file: number, events: number): Promise<number | undefined> {
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    this.#waiting.get(token)?.(0);
    this.#waiting.set(token, resolve);
    armEpoll(this.#epoll, file, { events: (events | 0x40000000) >>> 0, token });
    return promise;
  }

  /** Stops waiting for a descriptor: to be called before it is closed. */
  forget(token: number, file: number): void {
    const waiter = this.#waiting.get(token);
    this.#waiting.delete(token);
    if (!this.#isClosing) disarmEpoll(this.#epoll, file);
    (waiter as ((events: number | undefined) => void) | undefined)?.(undefined);
  }

  /** Throws away what comes out of a descriptor until `keep`. */
  discard(token: number, file: number): void {
    this.send({ do: "discard", token, file });
  }

  /** Compiles the seccomp profile in a file (linux.seccomp as JSON) to another file. @throws "invalid" */
  async compile(from: string, to: string): Promise<void> {
    const token = this.number();
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    this.#waiting.set(token, resolve);
    this.send({ do: "compile", token, from, to });
    if ((await promise) === 1) return;
    throw new Failure("invalid", `Cannot compile the seccomp profile in "${from}"`);
  }

  /** Closes a descriptor that `discard` was called for. */
  closeDiscarded(token: number, file: number): void {
    this.send({ do: "closeDiscarded", token, file });
  }

  /** Resolves once nothing is thrown away any more. */
  keep(token: number, file: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#kept.set(token, resolve);
    this.send({ do: "keep", token, file });
    return promise;
  }

  /** Ends the thread. What it moved stays; the rest stays in the pipes. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.send({ do: "close" });
    await Promise.race([this.#closed.promise, Bun.sleep(closeTimeoutMs)]);
    this.#worker.terminate();
    for (const waiter of this.#waiting.values()) {
      (waiter as (events: number | undefined) => void)(undefined);
    }
    this.#waiting.clear();
    closeSync(this.#epoll);
    closeSync(this.#sockets[1]);
  }

  async #listen(): Promise<void> {
    const socket = await Bun.connect({
      fd: this.#sockets[0],
      socket: {
        data: (_: unknown, bytes: Buffer) => this.#hear(bytes),
        error: () => this.#closed.resolve(),
      },
    } as unknown as Bun.UnixSocketOptions<undefined>);
    socket.unref();
  }

  #hear(bytes: Buffer): void {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    const notices = decodeNotices(all);
    const used = notices.length * 16;
    this.#rest = used === all.length ? Buffer.alloc(0) : Buffer.from(all.subarray(used));
    for (const one of notices) this.#dispatch(one);
  }

  #dispatch({ kind, id, value }: Notice): void {
    const listener = this.#listeners.get(id);
    if (kind === notice.ready) {
      const waiter = this.#waiting.get(id);
      this.#waiting.delete(id);
      waiter?.(value);
    } else if (kind === notice.progress) listener?.progressed();
    else if (kind === notice.full) listener?.full(value);
    else if (kind === notice.lost) listener?.lost();
    else if (kind === notice.finished) {
      this.#listeners.delete(id);
      listener?.finished();
    } else if (kind === notice.kept) {
      this.#kept.get(id)?.();
      this.#kept.delete(id);
    } else if (kind === notice.closed) this.#closed.resolve();
  }

  #sendNow(command: PumpCommand): boolean {
    const bytes = Buffer.from(JSON.stringify(command));
    return writeAvailable(this.#sockets[0], bytes) !== "waits";
  }

  #sendRest(): void {
    while (this.#unsent.length > 0) {
      if (!this.#sendNow(this.#unsent[0]!)) {
        setTimeout(() => this.#sendRest(), 1);
        return;
      }
      this.#unsent.shift();
    }
  }
}
