import type { Image } from "../image/mod.ts";
import {
  type Digest,
  familiarName,
  formatPlatform,
  hexOf,
  type ImageConfig,
  type Platform,
  parseReference,
} from "../oci/mod.ts";
import type { StageState } from "./state.ts";
import { stepTimeMs, type Times } from "./times.ts";

/** A line of a Dockerfile that made something. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** Something from outside that a build used. */
export interface Material {
  readonly uri: string;
  /** By algorithm; a commit of git's is `sha1`. */
  readonly digest: Readonly<Record<string, string>>;
}

export interface BuiltStage {
  /** Its name or number, when the software in it is to be listed as well. */
  readonly scannedAs?: string;
  readonly layers: readonly Digest[];
  /** What made each layer, by its place; base layers have none. */
  readonly made: ReadonlyMap<number, Place>;
}

/** What a build came to for one platform, before it goes anywhere: its layers are in the store. */
export interface Built {
  readonly platform: Platform;
  readonly config: ImageConfig;
  readonly id: Digest;
  /** The image that it still is, with not one instruction on top. */
  readonly same: Digest | undefined;
  /** All stages that were built, the target's among them, in the order of the Dockerfile. */
  readonly stages: readonly BuiltStage[];
  readonly materials: readonly Material[];
  /** Keys of the steps that it used. */
  readonly keys: readonly Digest[];
  /** The software in the context is to be listed as well. */
  readonly scansContext?: boolean;
  /** How many of the layers, from the bottom, are the base image's. */
  readonly baseLayers: number;
  /** The latest time of a file, as in `StageState`. */
  readonly timeMax: number | undefined;
}

/** The image's config as the target's state has it. */
export function configOf(
  state: StageState,
  {
    labels,
    times,
    bases,
  }: { labels: Readonly<Record<string, string>>; times: Times; bases: readonly number[] },
): ImageConfig {
  const { given, kept } = times;
  const Labels = { ...state.config.Labels, ...labels };
  const hasLabels = Object.keys(Labels).length > 0;
  // As old as the newest of what went into it.
  const ownMs = kept ? state.createdMs : Math.max(state.createdMs, ...bases);
  const createdMs = given === undefined ? ownMs : given * 1000;
  return {
    created: new Date(createdMs || stepTimeMs(times, 0)).toISOString(),
    ...(state.author === undefined ? {} : { author: state.author }),
    ...state.platform,
    config: { ...state.config, ...(hasLabels ? { Labels } : {}) },
    rootfs: { type: "layers", diff_ids: state.layers },
    history: state.history,
  };
}

/** An image that a build stood on or copied from, as provenance names it: a package URL. */
export function materialOf(name: string, image: Image): Material {
  const reference = parseReference(name);
  const digest = image.manifest?.digest ?? image.id;
  const version = reference.tag ?? (reference.digest ? "" : "latest");
  const platform = encodeURIComponent(formatPlatform(image.config));
  const path = `pkg:docker/${familiarName(reference)}${version === "" ? "" : `@${version}`}`;
  return { uri: `${path}?platform=${platform}`, digest: { sha256: hexOf(digest) } };
}

/** Something that was fetched, without what may be a password in its address. */
export function fetchedMaterial(address: string, digest: Material["digest"]): Material {
  const uri = address.replace(/^([\w+]+:\/\/)[^/@]*@/, "$1").replace(/[?#].*$/s, "");
  return { uri, digest };
}

/** Each once, sorted: stages come to theirs at the same time. */
export function sortMaterials(materials: readonly Material[]): Material[] {
  const known = new Map(materials.map((each) => [JSON.stringify(each), each]));
  return [...known].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
}
