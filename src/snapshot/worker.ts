/**
 * The thread that does the jobs: one at a time, blocking as it likes. It shares two words with the main
 * thread: [0] is 1 when the job is to be given up, [1] counts the chunks that may still be sent.
 */
import { Failure, toFailure } from "../base/mod.ts";
import { type Desk, type Job, runJob } from "./jobs.ts";
import type { FromWorker, ToWorker } from "./workers.ts";

declare const self: {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: ArrayBuffer[]): void;
};

let arrived: (message: ToWorker) => void = () => {};
const waiting: ToWorker[] = [];

self.onmessage = ({ data }) => {
  if (data.kind === "job") void run(data.job, data.control);
  else {
    waiting.push(data);
    arrived(data);
  }
};

async function run(job: Job, control: Int32Array): Promise<void> {
  waiting.length = 0;
  try {
    self.postMessage({ kind: "done", result: await runJob(job, deskOf(control)) });
  } catch (error) {
    const { code, message, hint } = toFailure(error);
    self.postMessage({ kind: "failed", code, message, ...(hint ? { hint } : {}) });
  }
}

function deskOf(control: Int32Array): Desk {
  const abort = () => {
    if (Atomics.load(control, 0) === 1) throw new Failure("unavailable", "The work was given up");
  };
  return {
    abort,
    chunks: () => chunksUntilEnd(abort),
    send: (bytes) => {
      while (Atomics.load(control, 1) <= 0) {
        abort();
        Atomics.wait(control, 1, 0, 1_000);
      }
      abort();
      Atomics.sub(control, 1, 1);
      const copy = new Uint8Array(bytes);
      self.postMessage({ kind: "chunk", bytes: copy }, [copy.buffer]);
    },
  };
}

/** A chunk is gone when the next one is asked for. */
async function* chunksUntilEnd(abort: () => void): AsyncGenerator<Uint8Array, void> {
  let used: Extract<ToWorker, { kind: "chunk" }>["bytes"] | undefined;
  for (;;) {
    self.postMessage({ kind: "more", used }, used ? [used.buffer] : []);
    const message = waiting.shift() ?? (await nextMessage());
    abort();
    if (message.kind === "chunk") {
      used = message.bytes;
      yield message.bytes;
    }
    if (message.kind === "end") return;
  }
}

function nextMessage(): Promise<ToWorker> {
  return new Promise((resolve) => {
    arrived = () => {
      arrived = () => {};
      resolve(waiting.shift()!);
    };
  });
}
