/** `cachefrom=` and `cacheto=` of `POST /build`. */
import { Failure } from "../base/mod.ts";
import { type Builder, type CachePlace, parseCachePlace } from "../build/mod.ts";
import { Fields, parseJson, textOf } from "./fields.ts";

const placesMax = 32;

/**
 * `["name"]`, as Docker's clients send it, or `[{"Type":"registry","Attrs":{"ref":"name"}}]`. A folder
 * to read from was sent ahead: its `src` is a handle, and is given back with `cleanup`.
 * @throws Failure "invalid" | "not_found"
 */
export function cachePlaces(
  query: URLSearchParams,
  { uploads }: Builder,
  cleanup: AsyncDisposableStack,
): { readonly cacheFrom: readonly CachePlace[]; readonly cacheTo: readonly CachePlace[] } {
  const cacheFrom = places(query, "cachefrom").map((place) => {
    if (place.type !== "local") return place;
    return { ...place, ref: cleanup.use(uploads.take(place.ref)).path };
  });
  return { cacheFrom, cacheTo: places(query, "cacheto") };
}

function places(query: URLSearchParams, name: string): CachePlace[] {
  const parsed = parseJson(query.get(name) || "[]") ?? [];
  if (!Array.isArray(parsed) || parsed.length > placesMax) {
    throw new Failure("invalid", `invalid ${name}: not a list of at most ${placesMax}`);
  }
  return parsed.map((value: unknown, at) => {
    // Docker's classic builder looks at images that are here, and fetches none.
    if (typeof value === "string") {
      return { ...parseCachePlace("registry", { ref: value }), type: "image" } as const;
    }
    const fields = new Fields(value, `${name}[${at}]`);
    const type = fields.text("Type") ?? "";
    const attributes = fields.record("Attrs", textOf) ?? {};
    // BuildKit's clients look tags up by themselves, and keep the folder's index.
    const several = ["tag", "digest"].find((key) => type === "local" && key in attributes);
    if (several === undefined) return parseCachePlace(type, attributes);
    throw new Failure("unsupported", `Cannot use the cache with ${several}=`, {
      hint: "A folder holds one cache: give each a folder of its own",
    });
  });
}
