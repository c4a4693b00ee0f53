import { dlopen, FFIType as T } from "bun:ffi";
import { libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  clock_gettime: { args: [T.i32, T.ptr], returns: T.i32 },
});
const time = new BigInt64Array(2);

/** Nanoseconds since 1970 by the wall clock. clock_gettime(2) */
export function realTimeNs(): bigint {
  libc.clock_gettime(0, time);
  return time[0]! * 1_000_000_000n + time[1]!;
}
