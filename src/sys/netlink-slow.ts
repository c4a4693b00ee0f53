import { type Code, Failure } from "../base/mod.ts";
import type { NetlinkRequest } from "./netlink-message.ts";
import { closeNamespace, currentNamespace, type NetworkNamespace, openNamespace } from "./netns.ts";

const idleMs = 2_000;
const answerMs = 40_000;

let worker: Worker | undefined;
let idleTimer: ReturnType<typeof setTimeout> | undefined;
let tail: Promise<unknown> = Promise.resolve();

/**
 * As `Netlink.attempt`, for what the kernel takes its time with: to delete a link waits until no CPU
 * uses it any more, 5 to 50 ms. A worker waits instead of this thread; it ends when it is idle.
 * Acts in the network namespace this thread is in, or in another one.
 */
export function executeSlowly(
  requests: readonly NetlinkRequest[],
  namespace?: NetworkNamespace,
): Promise<(Failure | undefined)[]> {
  const home = namespace ? openNamespace(namespace.path) : currentNamespace();
  const mine = tail.then(() => ask(requests, home.fd)).finally(() => closeNamespace(home));
  tail = mine.catch(() => undefined); // The caller of this one hears of it; the next goes on.
  return mine;
}

async function ask(
  requests: readonly NetlinkRequest[],
  namespaceFd: number,
): Promise<(Failure | undefined)[]> {
  clearTimeout(idleTimer);
  worker ??= new Worker(new URL("./netlink-worker.ts", import.meta.url));
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const timer = setTimeout(
    () => reject(new Failure("timeout", `Cannot hear from the kernel within ${answerMs} ms`)),
    answerMs,
  );
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Failure("internal", `Cannot ask: ${message}`));
  worker.postMessage({ namespaceFd, requests });
  try {
    const answers = (await promise) as ({ code: Code; message: string } | undefined)[];
    return answers.map((answer) => answer && new Failure(answer.code, answer.message));
  } catch (error) {
    stop();
    throw error;
  } finally {
    clearTimeout(timer);
    idleTimer = setTimeout(stop, idleMs);
    idleTimer.unref();
  }
}

function stop(): void {
  worker?.terminate();
  worker = undefined;
}
