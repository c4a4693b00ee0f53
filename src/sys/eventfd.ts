import { dlopen, FFIType as T } from "bun:ffi";
import { check, libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  eventfd: { args: [T.u32, T.i32], returns: T.i32 },
});

/** A counter as a descriptor; reading (8 bytes) resets it and never waits. eventfd(2) */
export function createEvent(): number {
  return check("create", libc.eventfd(0, 0o4000 | 0o2000000), "eventfd");
}
