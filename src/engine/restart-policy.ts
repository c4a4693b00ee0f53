import { Failure } from "../base/mod.ts";
import type { RestartPolicy } from "./types.ts";

const delayFirstMs = 100;
const delayMaxMs = 60_000;
/** Who ran this long is well again: the delay begins anew. */
const wellAfterMs = 10_000;

/** `on-unhealthy` is ours: as `on-failure`, and for who still runs but is unhealthy. */
const restartPolicies = [
  "",
  "no",
  "always",
  "on-failure",
  "on-unhealthy",
  "unless-stopped",
] as const;

/** A policy of known words. @throws "invalid" in Docker's words */
export function parseRestartPolicy(asked: {
  readonly Name: string;
  readonly MaximumRetryCount: number;
}): RestartPolicy {
  const { Name: name, MaximumRetryCount: count } = asked;
  const refuse = (why: string) => new Failure("invalid", `invalid restart policy: ${why}`);
  const known = restartPolicies.find((each) => each === name);
  if (known === undefined) {
    throw refuse(
      `unknown policy '${name.slice(0, 100)}'; use one of 'no', 'always', 'on-failure', ` +
        "'on-unhealthy', or 'unless-stopped'",
    );
  }
  const policy = { Name: known, MaximumRetryCount: count };
  if (count < 0) throw refuse("maximum retry count cannot be negative");
  if (count > 0 && !hasMaximum(policy)) {
    throw refuse("maximum retry count can only be used with 'on-failure' or 'on-unhealthy'");
  }
  return policy;
}

/** Whether a container whose process has just ended starts again. */
export function shallRestart(
  policy: RestartPolicy,
  ended: { exitCode: number; restartCount: number; manuallyStopped: boolean; isSick?: boolean },
): boolean {
  if (ended.manuallyStopped) return false;
  if (policy.Name === "always" || policy.Name === "unless-stopped") return true;
  if (!hasMaximum(policy) || (ended.exitCode === 0 && !ended.isSick)) return false;
  return policy.MaximumRetryCount === 0 || ended.restartCount < policy.MaximumRetryCount;
}

function hasMaximum({ Name: name }: RestartPolicy): boolean {
  return name === "on-failure" || name === "on-unhealthy";
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
