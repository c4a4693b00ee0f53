import type { Identity } from "./access.ts";

/** One request, told apart and allowed. */
export interface Call {
  readonly request: Request;
  readonly query: URLSearchParams;
  /** The client's address, without its port. */
  readonly peer: string;
  readonly who: Identity;
}

/** What happened, for webhooks, metrics and the audit log. */
export interface RegistryEvent {
  readonly action: "push" | "pull" | "delete" | "mount" | "undo";
  readonly kind: "manifest" | "blob" | "tag";
  readonly repository: string;
  readonly digest?: string;
  readonly tag?: string;
  readonly mediaType?: string;
  readonly sizeBytes?: number;
  readonly who: string;
  readonly peer: string;
}

/** Somebody who asked for what is not allowed, or with credentials that are wrong: for the audit log. */
export interface RefusedAccess {
  readonly action: "refuse";
  readonly code: string;
  readonly method: string;
  readonly path: string;
  /** The name that was said, which nobody has shown to be right. */
  readonly claims?: string;
  readonly peer: string;
}

export type Tell = (event: RegistryEvent) => void;
