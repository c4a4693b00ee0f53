import { Failure } from "../base/mod.ts";
import { failureOf } from "./libc.ts";

/**
 * What node or SQLite says about a file as a Failure: "exhausted" for a full disk, "not_found" and so on.
 * SQLite has an `errno` of its own numbering.
 */
export function diskFailure(error: unknown, call: string, subject: string): Failure {
  if (error instanceof Failure) return error;
  const { errno, code = "" } = error as { errno?: number; code?: string };
  if (code === "SQLITE_FULL") {
    return new Failure("exhausted", `Cannot ${call} "${subject}": ${code}`, { cause: error });
  }
  if (errno !== undefined && !code.startsWith("SQLITE"))
    return failureOf(call, Math.abs(errno), subject);
  return new Failure("internal", `Cannot ${call} "${subject}": ${error}`, { cause: error });
}
