import { tarEnd } from "./write.ts";

/**
 * Several tars as one: what ends each but the last is left out. Each ends with `tarEnd`, as ours do. The
 * next is asked for only when the one before was read to its end.
 */
export async function* joinTars(
  tars: Iterable<() => AsyncIterable<Uint8Array>>,
): AsyncGenerator<Uint8Array> {
  let held = Buffer.alloc(0);
  for (const open of tars) {
    held = Buffer.alloc(0);
    for await (const bytes of open()) {
      const all = Buffer.concat([held, bytes]);
      const until = Math.max(0, all.length - tarEnd.length);
      // The chunk is its maker's again once the next is asked for.
      if (until > 0) yield all.subarray(0, until);
      held = Buffer.from(all.subarray(until));
    }
  }
  if (held.length > 0) yield held;
}
