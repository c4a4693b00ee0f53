/** What the daemon does when it has nothing to do: it lets go of memory that its last work left behind. */
import { log } from "./base/mod.ts";
import { dropCode } from "./sys/mod.ts";

const lookMs = 3_000;
const idleUs = 30_000;
const workUs = 100_000;

/** Looks every three seconds whether the process rests after work; its start counts as work. */
export function restWhenIdle(rest: () => void = dropCode, everyMs = lookMs): Disposable {
  let restedUs = 0;
  let seenUs = usedUs();
  const timer = setInterval(() => {
    const nowUs = usedUs();
    const isIdle = nowUs - seenUs < idleUs;
    seenUs = nowUs;
    if (!isIdle || nowUs - restedUs < workUs) return;
    try {
      rest();
    } catch (error) {
      // Memory that is locked, say: it only costs what it cost before.
      log("debug", "Cannot let go of memory", { error });
      clearInterval(timer);
    }
    restedUs = seenUs = usedUs();
  }, everyMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** CPU time of all threads. */
function usedUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
