import { type Code, Failure, Gate } from "../base/mod.ts";
import type { IdMap } from "../sys/mod.ts";

export type TreeJob =
  | {
      readonly kind: "copy";
      readonly rootfs: string;
      readonly path: string;
      readonly target: string;
      readonly owners?: IdMap | undefined;
    }
  | { readonly kind: "measure"; readonly path: string };

export type TreeAnswer =
  | { readonly bytes: number }
  | { readonly code: Code; readonly message: string };

const idleMs = 5_000;
/** A clone of a large volume does not keep a new container waiting. */
const line = new Gate(3);
let idle: { readonly worker: Worker; readonly timer: NodeJS.Timeout } | undefined;

/** Does a job in a thread, a few at a time; one thread is kept for a moment. */
export async function walkTree(job: TreeJob): Promise<number> {
  return await line.run(async () => {
    const worker = takeWorker();
    const answer = await ask(worker, job).catch((error) => {
      worker.terminate();
      throw error;
    });
    returnWorker(worker);
    if ("bytes" in answer) return answer.bytes;
    throw new Failure(answer.code, answer.message);
  });
}

function ask(worker: Worker, job: TreeJob): Promise<TreeAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<TreeAnswer>();
  worker.onmessage = ({ data }: MessageEvent<TreeAnswer>) => resolve(data);
  worker.onerror = ({ message }) => {
    reject(new Failure("internal", `Cannot finish the work: its thread stopped: ${message}`));
  };
  worker.postMessage(job);
  return promise;
}

function takeWorker(): Worker {
  if (!idle) return new Worker(new URL("./tree-worker.ts", import.meta.url));
  const { worker, timer } = idle;
  clearTimeout(timer);
  idle = undefined;
  worker.ref();
  return worker;
}

function returnWorker(worker: Worker): void {
  if (idle) {
    worker.terminate();
    return;
  }
  const timer = setTimeout(() => {
    idle = undefined;
    worker.terminate();
  }, idleMs);
  timer.unref();
  worker.unref(); // an idle thread keeps no process alive
  idle = { worker, timer };
}
