/** The cache of a build as it goes elsewhere: a manifest whose config lists steps, and their layers. */
import { Failure } from "../base/mod.ts";
import { type Descriptor, type Digest, parseDigest } from "../oci/mod.ts";
import { truth } from "./output.ts";

export const cacheConfigType = "application/vnd.lading.buildcache.config.v1+json";
export const cacheArtifactType = "application/vnd.lading.buildcache.v1";

/** A step as it is known elsewhere; `layer` counts the manifest's layers. */
export interface RemoteStep {
  readonly key: Digest;
  readonly layer?: number;
  readonly diffId?: Digest;
  readonly sameAs?: Digest;
  readonly description: string;
  readonly costMs: number;
}

/** The content of a cache mount. */
export interface RemoteFolder {
  readonly id: string;
  readonly layer: number;
}

export interface CacheConfig {
  readonly steps: readonly RemoteStep[];
  readonly folders: readonly RemoteFolder[];
}

/** Where the blobs of a cache are: to be verified by whoever reads them. */
export interface CacheSource {
  manifest(): Promise<Uint8Array>;
  blob(descriptor: Descriptor): Promise<AsyncIterable<Uint8Array>>;
}

/** What `--cache-to` and `--cache-from` name. */
export interface CachePlace {
  /** "image": one that is here already, as Docker's clients mean it. */
  readonly type: "registry" | "local" | "inline" | "image";
  /** Registry: the name. Local, to read: the handle of a folder that was sent ahead. */
  readonly ref: string;
  readonly mode: "min" | "max";
  readonly how: "gzip" | "zstd" | "uncompressed";
  readonly level: number | undefined;
  /** Cache mounts go along. */
  readonly mounts: boolean;
  /** A cache that cannot be written does not fail the build. */
  readonly ignoreError: boolean;
  /** Local, to read: in place of the folder. */
  readonly source?: CacheSource;
}

const stepsMax = 20_000;
const attributesKnown = [
  ...["ref", "src", "dest", "mode", "compression", "compression-level", "mounts", "ignore-error"],
  ...["oci-mediatypes", "image-manifest", "tag", "digest", "force-compression"],
];

/** Reads `type=…` with its attributes. @throws Failure "invalid" | "unsupported" */
export function parseCachePlace(
  type: string,
  attributes: Readonly<Record<string, string>>,
): CachePlace {
  const refuse = (why: string) => new Failure("invalid", `Cannot use the cache: ${why}`);
  if (type !== "registry" && type !== "local" && type !== "inline") {
    throw new Failure("unsupported", `Cannot use a cache of type "${type.slice(0, 100)}"`, {
      hint: "Types are registry, local and inline",
    });
  }
  const unknown = Object.keys(attributes).find((name) => !attributesKnown.includes(name));
  if (unknown !== undefined) throw refuse(`unknown attribute "${unknown.slice(0, 100)}"`);
  const mode = attributes["mode"] ?? "min";
  if (mode !== "min" && mode !== "max") throw refuse(`mode is min or max, not "${mode}"`);
  const how = attributes["compression"] ?? "gzip";
  if (how !== "gzip" && how !== "zstd" && how !== "uncompressed") {
    throw refuse(`compression is gzip, zstd or uncompressed, not "${how}"`);
  }
  const ref = attributes["ref"] ?? attributes["src"] ?? "";
  if (type === "registry" && ref === "") throw refuse("type registry needs ref=NAME");
  const level = attributes["compression-level"];
  if (level !== undefined && !/^\d{1,2}$/.test(level))
    throw refuse(`level "${level}" is no number`);
  for (const name of ["oci-mediatypes", "image-manifest"]) {
    if (truth(attributes, name) !== false) continue;
    throw new Failure("unsupported", `Cannot use the cache with ${name}=false`, {
      hint: "A cache is an OCI image manifest here: leave it out",
    });
  }
  return {
    ...{ type, ref, mode, how },
    level: level === undefined ? undefined : Number(level),
    mounts: truth(attributes, "mounts") ?? false,
    ignoreError: truth(attributes, "ignore-error") ?? false,
  };
}

/** What came from elsewhere, checked: its steps name layers that there are. @throws Failure "corrupt" */
export function parseCacheConfig(text: string, layers: readonly Descriptor[]): CacheConfig {
  const broken = (why: string) => new Failure("corrupt", `Cannot read the cache: ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Failure("corrupt", "Cannot read the cache: its config is no JSON", { cause });
  }
  const { steps, folders = [] } = value as { steps?: unknown; folders?: unknown };
  if (!Array.isArray(steps) || !Array.isArray(folders) || steps.length > stepsMax) {
    throw broken("its config lists no steps");
  }
  const isLayer = (at: unknown) => Number.isInteger(at) && layers[at as number] !== undefined;
  return {
    steps: steps.map((step: Record<string, unknown>): RemoteStep => {
      const digest = (name: string) => {
        const text = step[name];
        return typeof text === "string" ? { [name]: parseDigest(text) } : {};
      };
      if (step["layer"] !== undefined && !isLayer(step["layer"])) throw broken("a layer is absent");
      return {
        key: parseDigest(String(step["key"])),
        ...digest("diffId"),
        ...digest("sameAs"),
        ...(step["layer"] === undefined ? {} : { layer: step["layer"] as number }),
        description: String(step["description"]).slice(0, 4_000),
        costMs: Math.max(0, Math.min(Number(step["costMs"]) || 0, 1e9)),
      };
    }),
    folders: folders.map((folder: Record<string, unknown>): RemoteFolder => {
      if (!isLayer(folder["layer"])) throw broken("a folder's content is absent");
      return { id: String(folder["id"]).slice(0, 1_000), layer: folder["layer"] as number };
    }),
  };
}
