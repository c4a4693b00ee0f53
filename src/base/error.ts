import { errnoBehind, messageOf, reasonOf } from "./reason.ts";

/** What a caller can do about it; `api/` maps each to an HTTP status, `registry/` to an OCI code. */
export type Code =
  | "invalid" // fix the call
  | "not_found" // create it first
  | "conflict" // the state forbids it
  | "denied" // ask for rights
  | "unsupported" // not on this host, or not by Lading
  | "unavailable" // try again later, or install it
  | "timeout"
  | "corrupt" // bytes are not what they should be
  | "exhausted" // a bound or the disk is full
  | "not_modified" // it is so already, and the protocol wants to know
  | "internal";

type Extra = { readonly hint?: string; readonly cause?: unknown };

/** The one error type that leaves a folder. Branch on `code`; people read `message`, then `hint`. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly code: Code;
  readonly hint: string | undefined;

  constructor(code: Code, message: string, { hint, cause }: Extra = {}) {
    super(message, { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** True when `error` is a Failure with this code. */
export function isFailure(error: unknown, code: Code): boolean {
  return error instanceof Failure && error.code === code;
}

/**
 * Whatever was thrown, as a Failure: unknown errors become "internal" and keep their cause. What Node says of
 * a system call is put in words.
 */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure("internal", messageOf(error), { cause: error });
}

const codeOf: Readonly<Record<string, Code>> = {
  ENOENT: "not_found",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  ENOSPC: "exhausted",
  EDQUOT: "exhausted",
};

/** The Failure of work on a file that a user named: `Cannot ${what}: no such file or directory`. */
export function fileFailure(what: string, cause: unknown, { hint }: Extra = {}): Failure {
  const code = codeOf[errnoBehind(cause)] ?? "invalid";
  return new Failure(code, `Cannot ${what}: ${reasonOf(cause)}`, {
    ...(hint ? { hint } : {}),
    cause,
  });
}
