import { Failure } from "../base/mod.ts";
import { failureOf } from "./libc.ts";

/** What node says about a file as a Failure: "exhausted" for a full disk, "not_found" and so on. */
export function diskFailure(error: unknown, call: string, subject: string): Failure {
  if (error instanceof Failure) return error;
  const { errno } = error as { errno?: number };
  if (errno !== undefined) return failureOf(call, Math.abs(errno), subject);
  return new Failure("internal", `Cannot ${call} "${subject}": ${error}`, { cause: error });
}
