import { Failure, isFailure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { familiar, type ImageRow, isCanonical, type Records } from "./records.ts";
import type { Users } from "./remove.ts";

type Filters = ReadonlyMap<string, readonly string[]>;

/**
 * What `image prune` may remove, as references for `remove`: images without a name and without
 * children, or with `all` every image that no container stands on.
 * @throws Failure "invalid" — a filter
 */
export function choosePrunable(
  records: Records,
  { all, filters, users }: { all: boolean; filters: Filters; users: Users },
): { readonly id: Digest; readonly reference: string }[] {
  const beforeMs = untilOf(filters);
  const chosen: { id: Digest; reference: string }[] = [];
  for (const row of records.rows()) {
    const { id } = row;
    if (users(id).length > 0 || madeMs(row) > beforeMs || !hasLabels(row, filters)) continue;
    const names = records.namesOf(id);
    if (names.length > 0 && (all || names.every(isCanonical))) {
      // A name with only a digest is what is left of an image whose tag moved on.
      for (const name of names) chosen.push({ id, reference: familiar(name) });
    } else if (names.length === 0 && (all || records.children(id).length === 0)) {
      chosen.push({ id, reference: id });
    }
  }
  return chosen;
}

/** True for an error that only says that an image is needed after all. */
export function isNeeded(error: unknown): boolean {
  return isFailure(error, "conflict") || isFailure(error, "not_found");
}

/** A build writes a fixed time into its image: how long one has been here counts as well. */
function madeMs({ config, taggedMs }: ImageRow): number {
  return Math.max(Date.parse(config.created ?? "") || 0, taggedMs);
}

function hasLabels({ config }: ImageRow, filters: Filters): boolean {
  const labels = config.config?.Labels ?? {};
  const has = (filter: string) => {
    const equals = filter.indexOf("=");
    if (equals < 0) return Object.hasOwn(labels, filter);
    const name = filter.slice(0, equals);
    return Object.hasOwn(labels, name) && labels[name] === filter.slice(equals + 1);
  };
  const wanted = filters.get("label") ?? [];
  const unwanted = filters.get("label!") ?? [];
  return wanted.every(has) && !(unwanted.length > 0 && unwanted.every(has));
}

/** The time in milliseconds before which an image must have been created. */
function untilOf(filters: Filters): number {
  const [text, ...more] = filters.get("until") ?? [];
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (more.length > 0) {
    throw new Failure("invalid", "invalid filter: more than one until filter specified");
  }
  return parseUntil(text, Date.now());
}

const unitMs: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 36e5,
};

/** `10m`, `1h30m` ago, a date, or seconds since 1970. @throws Failure "invalid" */
export function parseUntil(text: string, nowMs: number): number {
  if (/^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(text)) {
    const parts = text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g);
    return [...parts].reduce((ms, [, count, unit]) => ms - Number(count) * unitMs[unit!]!, nowMs);
  }
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  const ms = /^\d{4}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw new Failure("invalid", `invalid filter "until=${text.slice(0, 100)}": not a time`, {
    hint: "Use a duration (24h), a date (2026-01-02T15:04:05) or seconds since 1970",
  });
}
