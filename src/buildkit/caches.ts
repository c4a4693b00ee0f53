/** Caches of other builds, as BuildKit's clients name them. */
import { Failure } from "../base/mod.ts";
import { type CachePlace, parseCachePlace } from "../build/mod.ts";
import { parseDigest } from "../oci/mod.ts";
import type { Session } from "./session.ts";
import { ClientStore } from "./store.ts";

const placesMax = 32;

export interface Place {
  readonly type: string;
  readonly attributes: ReadonlyMap<string, string>;
}

/** `--cache-to`. @throws Failure "invalid" | "unsupported" */
export function cachesTo(places: readonly Place[]): CachePlace[] {
  checkCount(places.length);
  return places.map(({ type, attributes }) => {
    return parseCachePlace(type, Object.fromEntries(attributes));
  });
}

/** `--cache-from`; what is in a folder of the client's is read on its session. */
export function cachesFrom(
  attributes: ReadonlyMap<string, string>,
  of: { session: Session; signal: AbortSignal },
): readonly CachePlace[] {
  const text = attributes.get("cache-imports");
  // Older clients name images alone.
  const old = (attributes.get("cache-from") ?? "").split(",").filter((each) => each !== "");
  const places = text === undefined ? old.map((ref) => image(ref)) : read(text);
  checkCount(places.length);
  return places.map(({ type, attributes: given }) => {
    const { digest = "", ...others } = given;
    const place = parseCachePlace(type, others);
    if (type !== "local") return place;
    const store = new ClientStore(of, `local:${given["src"] ?? ""}`);
    return { ...place, source: store.cacheSource(parseDigest(digest)) };
  });
}

interface Written {
  readonly type: string;
  readonly attributes: Readonly<Record<string, string>>;
}

const image = (ref: string): Written => ({ type: "registry", attributes: { ref } });

/** `[{"Type":"registry","Attrs":{"ref":"…"}}]` */
function read(text: string): Written[] {
  const broken = () => new Failure("invalid", "Cannot read the caches that the client names");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw broken();
  }
  if (!Array.isArray(value)) throw broken();
  return value.map((each: { Type?: unknown; Attrs?: unknown } | null) => {
    const given = each?.Attrs ?? {};
    if (typeof each?.Type !== "string" || typeof given !== "object") throw broken();
    const pairs = Object.entries(given).map(([key, one]) => [key, String(one)]);
    return { type: each.Type, attributes: Object.fromEntries(pairs) };
  });
}

function checkCount(count: number): void {
  if (count > placesMax) {
    throw new Failure("exhausted", `Cannot use more than ${placesMax} caches`);
  }
}
