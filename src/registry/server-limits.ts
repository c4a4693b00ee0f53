import { Refusal } from "./refusal.ts";

const peersMax = 20_000;

/**
 * Lets each client make so many requests a second, and as many at once as it saves up in five seconds.
 * Undefined: no bound. The returned function throws Refusal TOOMANYREQUESTS.
 */
export function limitRate(requestsPerSecond: number | undefined): (peer: string) => void {
  if (requestsPerSecond === undefined || requestsPerSecond === 0) return () => {};
  const burst = requestsPerSecond * 5;
  const peers = new Map<string, { left: number; atMs: number }>();
  return (peer) => {
    const now = Date.now();
    const found = peers.get(peer) ?? { left: burst, atMs: now };
    const saved = ((now - found.atMs) / 1000) * requestsPerSecond;
    const left = Math.min(burst, found.left + saved) - 1;
    if (left < 0) {
      throw new Refusal(
        "TOOMANYREQUESTS",
        `Cannot take more than ${requestsPerSecond} requests a second`,
        {
          headers: { "Retry-After": "1" },
        },
      );
    }
    peers.delete(peer);
    peers.set(peer, { left, atMs: now });
    const oldest = peers.keys().next().value;
    if (peers.size > peersMax && oldest !== undefined) peers.delete(oldest);
  };
}
