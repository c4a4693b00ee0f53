/** Where the result of a build goes, as `-o type=…,key=value` says it. */
import { Failure } from "../base/mod.ts";
import {
  formatPlatform,
  fullReference,
  parsePlatform,
  parseReference,
  withDefaultTag,
} from "../oci/mod.ts";
import { nearest } from "./source.ts";

/** How layers are packed. */
export interface Packing {
  readonly how: "gzip" | "zstd" | "uncompressed";
  readonly level: number | undefined;
  /** Layers of the base too, which otherwise stay as they came. */
  readonly force: boolean;
}

export const annotated = ["manifest", "index", "manifest-descriptor", "index-descriptor"] as const;

/** A word about a manifest, an index, or the descriptor of one. */
export interface Annotation {
  readonly on: (typeof annotated)[number];
  /** Only on the image of this platform. */
  readonly platform: string | undefined;
  readonly key: string;
  readonly value: string;
}

/** An image in some form: in the store, in a registry, in an archive. */
interface ImageForm {
  /** Whole references. */
  readonly names: readonly string[];
  /** Undefined: as it is least work. */
  readonly packing: Packing | undefined;
  readonly annotations: readonly Annotation[];
  readonly ociTypes: boolean;
}

export type Output =
  | (ImageForm & {
      readonly kind: "image";
      readonly push: boolean;
      /** Without a tag. */
      readonly byDigest: boolean;
      /** Keep it here as well. */
      readonly store: boolean;
    })
  | (ImageForm & { readonly kind: "archive"; readonly form: "docker" | "oci" })
  | { readonly kind: "files"; readonly split: boolean | undefined }
  | { readonly kind: "nothing" };

type Attributes = Readonly<Record<string, string>>;

const imageKeys = [
  "name",
  "push",
  "push-by-digest",
  "compression",
  "compression-level",
  "force-compression",
  "oci-mediatypes",
  "unpack",
  "store",
  "rewrite-timestamp",
  "dangling-name-prefix",
  "name-canonical",
];
const keys: Readonly<Record<string, readonly string[]>> = {
  image: imageKeys,
  registry: imageKeys,
  docker: [...imageKeys, "dest", "tar"],
  oci: [...imageKeys, "dest", "tar"],
  local: ["dest", "platform-split", "rewrite-timestamp"],
  tar: ["dest", "platform-split", "rewrite-timestamp"],
  cacheonly: ["rewrite-timestamp"],
};

/** What of an output's attributes has a meaning here: BuildKit's clients send more, for BuildKit's use. */
export function knownAttributes(type: string, given: Attributes): Attributes {
  const isKnown = (key: string) => keys[type]?.includes(key) || key.startsWith("annotation");
  return Object.fromEntries(Object.entries(given).filter(([key]) => isKnown(key)));
}

/**
 * Reads one output. `tags` are the names it has when it says none.
 * @throws Failure "invalid" — a key or value that there is not | "unsupported"
 */
export function parseOutput(type: string, given: Attributes, tags: readonly string[]): Output {
  const known = keys[type];
  if (!known) {
    const near = nearest(type, Object.keys(keys));
    const hint = near ? `Did you mean ${near}?` : `Types are ${Object.keys(keys).join(", ")}`;
    throw new Failure("invalid", `unsupported output type ${quoted(type)}`, { hint });
  }
  for (const key of Object.keys(given)) {
    if (known.includes(key) || (known.includes("name") && key.startsWith("annotation"))) continue;
    const near = nearest(key, known);
    const hint = near ? `Did you mean ${near}?` : `Known are ${known.join(", ")}`;
    throw new Failure("invalid", `output ${type} has no key ${quoted(key)}`, { hint });
  }
  switch (type) {
    case "cacheonly":
      return { kind: "nothing" };
    case "local":
    case "tar":
      return { kind: "files", split: truth(given, "platform-split") };
    default:
      return imageOutput(type, given, tags);
  }
}

function imageOutput(type: string, given: Attributes, tags: readonly string[]): Output {
  const form: ImageForm = {
    names: namesOf(given["name"], tags),
    packing: packingOf(given),
    annotations: Object.entries(given).flatMap(([key, value]) => annotationOf(key, value)),
    ociTypes: truth(given, "oci-mediatypes") ?? true,
  };
  checkTypes(form);
  if (type === "oci") return { kind: "archive", form: "oci", ...form };
  // Without a file that it goes to, Docker's archive is meant to be loaded.
  if (type === "docker" && given["dest"] !== undefined) {
    return { kind: "archive", form: "docker", ...form };
  }
  const byDigest = truth(given, "push-by-digest") ?? false;
  const push = type === "registry" || byDigest || (truth(given, "push") ?? false);
  if (push && form.names.length === 0) {
    throw new Failure("invalid", "Cannot push the image: it has no name", {
      hint: "Give it one with --tag or name=",
    });
  }
  return { kind: "image", push, byDigest, store: truth(given, "store") ?? true, ...form };
}

function namesOf(given: string | undefined, tags: readonly string[]): string[] {
  const names = given ? given.split(",") : tags;
  return names.map((name) => fullReference(withDefaultTag(parseReference(name.trim()))));
}

function packingOf(given: Attributes): Packing | undefined {
  const how = given["compression"];
  const force = truth(given, "force-compression") ?? false;
  const text = given["compression-level"];
  if (how === undefined && text === undefined && !force) return undefined;
  const named = how ?? "gzip";
  if (named === "estargz") {
    throw new Failure("unsupported", "Cannot compress layers as eStargz", {
      hint: "compression is gzip, zstd or uncompressed",
    });
  }
  if (named !== "gzip" && named !== "zstd" && named !== "uncompressed") {
    const hint = "compression is gzip, zstd or uncompressed";
    throw new Failure("invalid", `unsupported layer compression type: ${quoted(named)}`, { hint });
  }
  const [least, most] = named === "zstd" ? [1, 22] : [0, 9];
  const level = text === undefined ? undefined : Number(text);
  if (level !== undefined && !(Number.isInteger(level) && level >= least && level <= most)) {
    throw new Failure("invalid", `invalid compression-level: ${quoted(text ?? "")}`, {
      hint: `For ${named} it is ${least} to ${most}`,
    });
  }
  return { how: named, level, force };
}

/** `annotation.k`, `annotation-index.k`, `annotation-manifest[linux/amd64].k` */
function annotationOf(name: string, value: string): Annotation[] {
  if (!name.startsWith("annotation")) return [];
  const match = /^annotation(?:-([a-z-]+))?(?:\[([^\]]+)\])?\.(.+)$/.exec(name);
  const on = annotated.find((each) => each === (match?.[1] ?? "manifest"));
  if (!match || !on) {
    throw new Failure("invalid", `invalid annotation: ${quoted(name)}`, {
      hint: `As annotation.KEY or annotation-TYPE[PLATFORM].KEY; types are ${annotated.join(", ")}`,
    });
  }
  const platform = match[2] && formatPlatform(parsePlatform(match[2]));
  if (platform && on.startsWith("index")) {
    throw new Failure("invalid", `Cannot annotate the ${on} of one platform: ${quoted(name)}`);
  }
  return [{ on, platform, key: match[3]!, value }];
}

function checkTypes({ ociTypes, packing, annotations }: ImageForm): void {
  if (ociTypes) return;
  const hint = "Leave oci-mediatypes=false out";
  if (packing?.how === "zstd") {
    throw new Failure("invalid", "Docker's media types have none for zstd", { hint });
  }
  if (annotations.length > 0) {
    throw new Failure("invalid", "Docker's media types have no annotations", { hint });
  }
}

/** @throws Failure "invalid" */
export function truth(given: Attributes, key: string): boolean | undefined {
  const text = given[key];
  if (text === undefined) return undefined;
  if (["true", "1", "t", ""].includes(text.toLowerCase())) return true;
  if (["false", "0", "f"].includes(text.toLowerCase())) return false;
  throw new Failure("invalid", `invalid value for ${key}: ${quoted(text)}`, {
    hint: "It is true or false",
  });
}

const quoted = (text: string) => JSON.stringify(text.slice(0, 200));

/** A build argument that is on: as Go reads truths. */
export function isTrue(text: string | null | undefined): boolean {
  return ["1", "t", "true"].includes(text?.toLowerCase() ?? "");
}
