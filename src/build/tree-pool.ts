import { type Code, Failure, Gate } from "../base/mod.ts";
import type { Reply, Work } from "./tree-worker.ts";

/** Workers are kept this long after their last request: a build asks often, a daemon rarely builds. */
const idleMs = 5_000;

type Request<Kind extends keyof Work> = Parameters<Work[Kind]>[0];
type Result<Kind extends keyof Work> = ReturnType<Work[Kind]>;

/** Runs work on trees in at most `width` threads, started when needed and ended when idle. */
export class TreePool {
  readonly #gate: Gate;
  readonly #idle: { worker: Worker; timer: ReturnType<typeof setTimeout> }[] = [];

  constructor(width: number) {
    this.#gate = new Gate(width);
  }

  /** @throws whatever the work throws; Failure "unavailable" when `signal` aborts: the thread ends */
  async run<Kind extends keyof Work>(
    kind: Kind,
    request: Request<Kind>,
    signal?: AbortSignal,
  ): Promise<Result<Kind>> {
    return await this.#gate.run(async () => {
      if (signal?.aborted) throw cancelled();
      const worker = this.#take();
      const reply = await ask(worker, { kind, request }, signal);
      this.#give(worker);
      if ("value" in reply) return reply.value as Result<Kind>;
      const { code, message, hint } = reply.failure;
      throw new Failure(code as Code, message, hint === undefined ? {} : { hint });
    });
  }

  /** Ends idle threads now. */
  close(): void {
    for (const { worker, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      worker.terminate();
    }
  }

  #take(): Worker {
    const idle = this.#idle.pop();
    if (!idle) return new Worker(new URL("./tree-worker.ts", import.meta.url), { smol: true });
    clearTimeout(idle.timer);
    idle.worker.ref();
    return idle.worker;
  }

  #give(worker: Worker): void {
    worker.unref();
    const timer = setTimeout(() => {
      const at = this.#idle.findIndex((idle) => idle.worker === worker);
      if (at >= 0) this.#idle.splice(at, 1);
      worker.terminate();
    }, idleMs);
    timer.unref();
    this.#idle.push({ worker, timer });
  }
}

/** The one wording of "the client went away". */
export function cancelled(): Failure {
  return new Failure("unavailable", "Build cancelled");
}

function ask(worker: Worker, message: unknown, signal: AbortSignal | undefined): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const abort = () => {
    worker.terminate();
    reject(cancelled());
  };
  worker.onmessage = ({ data }: MessageEvent<Reply>) => resolve(data);
  worker.onerror = (event) => {
    worker.terminate();
    reject(new Failure("internal", `Cannot work on files: ${event.message}`));
  };
  signal?.addEventListener("abort", abort);
  worker.postMessage(message);
  return promise.finally(() => signal?.removeEventListener("abort", abort));
}
