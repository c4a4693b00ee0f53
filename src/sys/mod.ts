/**
 * The kernel and other programs: the only folder that knows system calls, and that it runs on Bun.
 * Data in, data or `Failure` out; each function names its man page.
 */
export { check, cstr, errnoName, errnoOf, failureOf, lastErrno, libcPath } from "./libc.ts";
export type { Mount } from "./mount.ts";
export { lockFile, replaceProcess } from "./process.ts";
export { type Outcome, run, runAny } from "./run.ts";
