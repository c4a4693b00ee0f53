/** What Docker shows for "never". */
export const never = "0001-01-01T00:00:00Z";

let lastNs = 0n;

/**
 * Nanoseconds since the epoch; two calls never give the same, and a later call gives more (unless the
 * clock was set back by more than a second).
 */
export function nowNs(): bigint {
  const clock = BigInt(Date.now()) * 1_000_000n;
  const isSetBack = lastNs - clock > 1_000_000_000n;
  lastNs = clock > lastNs || isSetBack ? clock : lastNs + 1n;
  return lastNs;
}

/** RFC 3339 with nanoseconds, as Docker writes times. */
export function formatNs(ns: bigint): string {
  const seconds = new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(ns % 1_000_000_000n).padStart(9, "0")}Z`;
}

export function formatMs(ms: number): string {
  return formatNs(BigInt(Math.trunc(ms)) * 1_000_000n);
}

export function now(): string {
  return formatNs(nowNs());
}
