/** What Lading's own endpoints of builds answer. */

/** Why a step was not in the cache; `kind` says which other fields are there. */
export interface BuildReason {
  readonly kind: string;
}

export interface PastBuildAnswer {
  readonly id: string;
  readonly started: string;
  readonly ended: string | null;
  readonly status: "running" | "succeeded" | "failed" | "cancelled" | "interrupted";
  readonly tags: readonly string[];
  readonly target: string;
  readonly dockerfile: string;
  readonly image: string;
  readonly error: string;
  readonly total: number;
  readonly cached: number;
}

export interface PastStepAnswer {
  readonly number: number;
  readonly stage: string;
  readonly text: string;
  readonly outcome?: string | undefined;
  readonly reasons: readonly BuildReason[];
  readonly why: string;
  readonly ms: number;
}

/** One message of a build that was asked for with `events`. */
export type BuildEventMessage =
  | { readonly kind: "begun"; readonly id: string }
  | {
      readonly kind: "step";
      readonly step: number;
      readonly total: number;
      readonly text: string;
      readonly stage: string;
    }
  | {
      readonly kind: "output";
      readonly step: number;
      readonly stream: 1 | 2;
      readonly text: string;
    }
  | {
      readonly kind: "settled";
      readonly step: number;
      readonly outcome: "cached" | "reused" | "made" | "failed" | "cancelled";
      readonly ms: number;
      readonly why: string;
      readonly reasons: readonly BuildReason[];
    }
  /** The build waits for these files: `POST /build/contexts?for=ID`. */
  | { readonly kind: "need"; readonly id: string; readonly paths: readonly string[] }
  /** It waits for the listing of the context, as it is: `POST /build/contexts?for=ID`. */
  | { readonly kind: "need_listing"; readonly id: string }
  | { readonly kind: "skipped"; readonly stage: string; readonly steps: number }
  | { readonly kind: "warning"; readonly text: string };

/** What a prune of the build cache removed, when it was asked to explain. */
export interface PrunedRecord {
  readonly ID: string;
  readonly Type: string;
  readonly Description: string;
  readonly Size: number;
  readonly LastUsedAt: string | null;
  /** How long it took to make. */
  readonly CostMs: number;
  /** What a byte of it was worth; the least goes first. */
  readonly Value: number;
}
