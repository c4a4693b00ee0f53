import { dlopen, FFIType as T } from "bun:ffi";
import { type Transfer, transferred } from "./fifo.ts";
import { libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  splice: { args: [T.i32, T.ptr, T.i32, T.ptr, T.u64, T.u32], returns: T.i64_fast },
});
const moveAndDoNotWait = 1 | 2;
const offset = new BigInt64Array(1);

/**
 * Moves bytes inside the kernel from where one descriptor stands to where another stands; one of them is
 * a pipe. A byte is in the one or in the other at any moment, also when this process is killed. 0 at the
 * end. `toOffset`: where in a disk file, whose own position then stays. splice(2), https://man7.org/linux/man-pages/man2/splice.2.html
 *
 * @throws "invalid" — a kind of file that cannot be spliced | "exhausted" — the disk is full
 */
export function spliceAvailable(
  from: number,
  to: number,
  { bytesMax, toOffset }: { bytesMax: number; toOffset?: number },
): Transfer {
  offset[0] = BigInt(toOffset ?? 0);
  const at = toOffset === undefined ? null : offset;
  const moved = libc.splice(from, null, to, at, bytesMax, moveAndDoNotWait);
  return transferred("splice", moved, from);
}
