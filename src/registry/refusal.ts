import { type Code, Failure, toFailure } from "../base/mod.ts";
import { errnoOf } from "../sys/mod.ts";
import { type ErrorCode, errorStatuses, failureCodeOf } from "./protocol.ts";

type Extra = {
  /** Where the code's own status does not fit. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly detail?: unknown;
  readonly hint?: string;
};

/** A Failure that knows how it is said on the wire. */
export class Refusal extends Failure {
  readonly wire: ErrorCode;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly detail: unknown;

  constructor(wire: ErrorCode, message: string, extra: Extra = {}) {
    const status = extra.status ?? errorStatuses[wire];
    super(failureCodeOf(wire, status), message, extra.hint ? { hint: extra.hint } : {});
    this.wire = wire;
    this.status = status;
    this.headers = extra.headers ?? {};
    this.detail = extra.detail;
  }
}

const byCode: Record<Code, ErrorCode> = {
  invalid: "MANIFEST_INVALID",
  corrupt: "MANIFEST_INVALID",
  not_found: "NAME_UNKNOWN",
  denied: "DENIED",
  unsupported: "UNSUPPORTED",
  conflict: "DENIED",
  unavailable: "UNAVAILABLE",
  timeout: "UNAVAILABLE",
  exhausted: "UNAVAILABLE", // the disk is full; bounds of the wire have refusals of their own
  not_modified: "UNKNOWN",
  internal: "UNKNOWN",
};

/** Whatever was thrown, as a refusal; `codes` says what a Failure's code means at this place. */
export function toRefusal(error: unknown, codes: Partial<Record<Code, ErrorCode>> = {}): Refusal {
  if (error instanceof Refusal) return error;
  if (errnoOf(error) === "SQLITE_FULL") return new Refusal("UNAVAILABLE", "The disk is full");
  const failure = toFailure(error);
  const wire = codes[failure.code] ?? byCode[failure.code];
  // What went wrong inside is for the log, not for whoever asks.
  const message = wire === "UNKNOWN" ? "The registry failed; its log says why" : failure.message;
  return new Refusal(wire, message, failure.hint ? { hint: failure.hint } : {});
}

/** Runs `task`; what it throws becomes a refusal by `codes`. */
export async function refusing<T>(
  codes: Partial<Record<Code, ErrorCode>>,
  task: () => Promise<T> | T,
): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (error instanceof Failure) throw toRefusal(error, codes);
    throw error;
  }
}
