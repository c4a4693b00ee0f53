/** Values of a request's query, as Go's handlers read them. */
import { Failure } from "../base/mod.ts";
import { parseJson } from "./fields.ts";

export type FilterMap = ReadonlyMap<string, readonly string[]>;

/** True unless absent, empty, "0", "no", "false" or "none". */
export function flag(query: URLSearchParams, name: string, absent = false): boolean {
  const text = query.get(name);
  if (text === null) return absent;
  return !["", "0", "no", "false", "none"].includes(text.trim().toLowerCase());
}

/** A whole number; undefined when absent or empty. @throws Failure "invalid" */
export function whole(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === "") return undefined;
  if (!/^-?\d{1,18}$/.test(text)) {
    throw new Failure("invalid", `invalid value for ${name}: "${text.slice(0, 100)}"`);
  }
  return Number(text);
}

/** `seconds[.nanoseconds]` since the epoch, or a date; in nanoseconds. @throws Failure "invalid" */
export function timeNs(query: URLSearchParams, name: string): bigint | undefined {
  const text = query.get(name);
  if (text === null || text === "" || text === "0") return undefined;
  const value = parseTimeNs(text);
  if (value === undefined) {
    throw new Failure(
      "invalid",
      `invalid value for "${name}": failed to parse "${text.slice(0, 100)}"`,
    );
  }
  return value;
}

/** `seconds[.nanoseconds]`, RFC 3339, or a Go duration before now; undefined when it is none. */
export function parseTimeNs(text: string, nowMs = Date.now()): bigint | undefined {
  const seconds = /^(-?\d{1,12})(?:\.(\d{1,9})\d*)?$/.exec(text);
  if (seconds)
    return BigInt(seconds[1]!) * 1_000_000_000n + BigInt((seconds[2] ?? "").padEnd(9, "0"));
  const ago = durationMs(text);
  if (ago !== undefined) return BigInt(Math.round(nowMs - ago)) * 1_000_000n;
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(Date.parse(text))) {
    const fraction = /\.(\d{1,9})/.exec(text)?.[1] ?? "";
    const whole = BigInt(Math.floor(Date.parse(text) / 1000));
    return whole * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
  }
  return undefined;
}

const unitsMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

function durationMs(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, value, , unit] of text.matchAll(/(\d+(\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    sum += Number(value) * unitsMs[unit!]!;
  }
  return sum;
}

/**
 * `{"label": ["a"]}`, or `{"label": {"a": true}}` as old clients send it. `known` lists what the
 * endpoint understands; without it names that it does not are nobody's. @throws Failure "invalid"
 */
export function parseFilters(query: URLSearchParams, known?: readonly string[]): FilterMap {
  const text = query.get("filters");
  const filters = new Map<string, string[]>();
  if (text === null || text === "") return filters;
  const value = parseJson(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw badFilter(text);
  for (const [name, values] of Object.entries(value)) {
    if (known && !known.includes(name))
      throw new Failure("invalid", `invalid filter '${name.slice(0, 100)}'`);
    // Of a filter that is misread, as of one that is unknown, a prune must not make "all".
    if (typeof values !== "object") throw badFilter(text);
    const list: unknown[] = Array.isArray(values) ? values : Object.keys(values ?? {});
    if (!list.every((each) => typeof each === "string")) throw badFilter(text);
    if (list.length > 0) filters.set(name, list);
  }
  return filters;
}

/** What a prune is asked for: with `isDry` only to tell what would go, were `without` not there. */
export interface PruneQuery {
  readonly filters: FilterMap;
  readonly isDry: boolean;
  readonly without: ReadonlySet<string>;
}

/**
 * The query of a prune. `dry-run` and `without` (IDs of containers) are filters and no parameters: an
 * engine that does not know them must refuse, and not remove. @throws Failure "invalid"
 */
export function parsePrune(query: URLSearchParams, known: readonly string[]): PruneQuery {
  const filters = parseFilters(query, [...known, "dry-run", "without"]);
  const isDry = booleanFilter(filters, "dry-run") === true;
  const without = new Set(isDry ? filters.get("without") : []);
  const others = [...filters].filter(([name]) => known.includes(name));
  return { filters: new Map(others), isDry, without };
}

function badFilter(text: string): Failure {
  return new Failure("invalid", `invalid filter: "${text.slice(0, 200)}"`);
}

/** The value of a filter that is true or false; undefined when absent. @throws Failure "invalid" */
export function booleanFilter(filters: FilterMap, name: string): boolean | undefined {
  const values = filters.get(name);
  if (!values) return undefined;
  const isTrue = values.some((each) => each === "1" || each.toLowerCase() === "true");
  const isFalse = values.some((each) => each === "0" || each.toLowerCase() === "false");
  if (isTrue === isFalse) {
    throw new Failure("invalid", `invalid filter '${name}=[${values.join(" ").slice(0, 100)}]'`);
  }
  return isTrue;
}

/** True when the labels have all of `label` (`key` or `key=value`) and none of `label!`. */
export function matchesLabels(
  filters: FilterMap,
  labels: Readonly<Record<string, string>>,
): boolean {
  const has = (wanted: string) => {
    const at = wanted.indexOf("=");
    if (at === -1) return Object.hasOwn(labels, wanted);
    const key = wanted.slice(0, at);
    return Object.hasOwn(labels, key) && labels[key] === wanted.slice(at + 1);
  };
  const wanted = filters.get("label") ?? [];
  const unwanted = filters.get("label!") ?? [];
  return wanted.every(has) && !unwanted.some(has);
}

/** True when there is no such filter, or one of its values does. */
export function anyOf(
  filters: FilterMap,
  name: string,
  matches: (value: string) => boolean,
): boolean {
  const values = filters.get(name);
  return values === undefined || values.some(matches);
}

/** A value of a filter on names: a regular expression where it is one, as Docker has it. */
export function matchesName(pattern: string, name: string): boolean {
  if (pattern === name) return true;
  // A filter must not be able to stop the engine: no repeated groups, at most two repetitions.
  const repetitions = pattern.match(/[*+{]/g)?.length ?? 0;
  if (pattern.length > 256 || repetitions > 2 || /\)[*+{]/.test(pattern)) {
    return name.includes(pattern);
  }
  try {
    return new RegExp(pattern).test(name);
  } catch {
    return false; // no regular expression: it was to be the name itself
  }
}

/** Go's path.Match, where `*` stops at a slash. */
export function matchesGlob(pattern: string, name: string): boolean {
  const source = pattern.slice(0, 512).replace(/\*+|[\s\S]/g, (each) => {
    if (each.startsWith("*")) return "[^/]*";
    if (each === "?") return "[^/]";
    return each.replace(/[.+^${}()|[\]\\]/, "\\$&");
  });
  return new RegExp(`^${source}$`).test(name);
}
