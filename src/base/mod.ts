/**
 * What every other folder may use, and which uses none: the error type, assertions, bounds, locks,
 * and the daemon's log.
 */
export { assert, unreachable } from "./assert.ts";
export { closest } from "./closest.ts";
export { type Code, Failure, fileFailure, isFailure, toFailure } from "./error.ts";
export { Gate, KeyedLock } from "./gate.ts";
export { limits } from "./limits.ts";
export { type Level, log, setLogFormat, setLogLevel } from "./log.ts";
export { decodeName, encodeName } from "./name.ts";
export { messageOf, reasonOf } from "./reason.ts";
export { release } from "./release.ts";
