import { Failure } from "../base/mod.ts";
import type { RestartPolicy } from "./types.ts";

const delayFirstMs = 100;
const delayMaxMs = 60_000;
/** Who ran this long is well again: the delay begins anew. */
const wellAfterMs = 10_000;

/** Checks a policy. @throws "invalid" in Docker's words */
export function checkRestartPolicy(policy: RestartPolicy): void {
  const { Name: name, MaximumRetryCount: count } = policy;
  const refuse = (why: string) => new Failure("invalid", `invalid restart policy: ${why}`);
  if (!["", "no", "always", "unless-stopped", "on-failure"].includes(name)) {
    throw refuse(
      `unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  if (count < 0) throw refuse("maximum retry count cannot be negative");
  if (count > 0 && name !== "on-failure") {
    throw refuse("maximum retry count can only be used with 'on-failure'");
  }
}

/** Whether a container whose process has just ended starts again. */
export function shallRestart(
  policy: RestartPolicy,
  ended: { exitCode: number; restartCount: number; manuallyStopped: boolean },
): boolean {
  if (ended.manuallyStopped) return false;
  if (policy.Name === "always" || policy.Name === "unless-stopped") return true;
  if (policy.Name !== "on-failure" || ended.exitCode === 0) return false;
  return policy.MaximumRetryCount === 0 || ended.restartCount < policy.MaximumRetryCount;
}

/** Whether a container that does not run starts when the daemon does. */
export function shallResume(
  policy: RestartPolicy,
  ended: { exitCode: number; restartCount: number; manuallyStopped: boolean; hasRun: boolean },
): boolean {
  if (!ended.hasRun) return false;
  if (policy.Name === "always") return true;
  return shallRestart(policy, ended);
}

/** The wait before the next start: 100 ms, doubling up to a minute, anew after 10 s of running. */
export function nextDelayMs(delayMs: number, ranMs: number): number {
  if (delayMs === 0 || ranMs >= wellAfterMs) return delayFirstMs;
  return Math.min(delayMs * 2, delayMaxMs);
}
