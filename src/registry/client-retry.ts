import { isPassing, isPassingStatus } from "./client-failure.ts";
import { type Answer, cancelled } from "./client-fetch.ts";

export interface Retries {
  readonly signal: AbortSignal;
  readonly triesMax?: number;
}

const triesMaxDefault = 5;
const firstWaitMs = 250;
const waitMsMax = 30_000;

/**
 * Does `attempt` until it gives an answer that is not "try again later" (429, 5xx, a broken
 * connection), with growing pauses, or as long as `Retry-After` asks; the last one counts.
 */
export async function retrying(
  attempt: () => Promise<Answer>,
  { signal, triesMax = triesMaxDefault }: Retries,
): Promise<Answer> {
  for (let count = 1; ; count++) {
    let wait: number;
    try {
      const answer = await attempt();
      if (!isPassingStatus(answer.status) || count >= triesMax) return answer;
      wait = retryAfterMs(answer.headers.get("retry-after")) ?? pauseMs(count);
      await answer.discard();
    } catch (error) {
      if (signal.aborted || !isPassing(error) || isRefused(error) || count >= triesMax) throw error;
      wait = pauseMs(count);
    }
    await pause(wait, signal);
  }
}

/** Nobody listens there: that does not change within seconds. */
function isRefused(error: unknown): boolean {
  const code = ((error as { cause?: { code?: string } }).cause?.code ?? "") as string;
  return ["ConnectionRefused", "ECONNREFUSED", "ENOTFOUND"].includes(code);
}

/** How long to wait before the next try: twice as long each time, with some chance in it. */
export function pauseMs(count: number): number {
  return Math.min(waitMsMax, firstWaitMs * 2 ** (count - 1)) * (0.5 + Math.random() / 2);
}

/** As `pauseMs` amid a blob: from a moment to half a minute, in which a registry may have started anew. */
export function patienceMs(count: number): number {
  return pauseMs(2 * count - 1);
}

/** Seconds or a date; never more than the bound. */
export function retryAfterMs(text: string | null): number | undefined {
  if (text === null) return undefined;
  const ms = /^\d{1,9}$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(waitMsMax, Math.max(0, ms));
}

/** @throws Failure "unavailable" — given up meanwhile */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw cancelled();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(cancelled());
    };
    signal.addEventListener("abort", stop, { once: true });
  });
}
