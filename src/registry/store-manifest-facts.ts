import { Failure } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  type Index,
  isIndexType,
  type Manifest,
  mediaTypes,
  parseIndex,
  parseManifest,
} from "../oci/mod.ts";
import { Refusal } from "./refusal.ts";

/** What the registry has to know of a manifest to keep it. */
export interface ManifestFacts {
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly subject?: Digest;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Parts that must be in the repository. */
  readonly blobs: readonly Descriptor[];
  readonly manifests: readonly Descriptor[];
}

const accepted: readonly string[] = [
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerList,
];

/**
 * Reads a manifest that comes in with this `Content-Type`.
 * @throws Refusal MANIFEST_INVALID
 */
export function readManifest(bytes: Uint8Array, contentType: string): ManifestFacts {
  const mediaType = contentType.split(";")[0]!.trim().toLowerCase() || statedType(bytes);
  if (!accepted.includes(mediaType)) {
    throw new Refusal("MANIFEST_INVALID", `Cannot take a manifest of type "${mediaType}"`, {
      status: 415,
      hint: "OCI manifests and indexes and Docker's schema 2 are stored",
    });
  }
  try {
    const isIndex = isIndexType(mediaType);
    const facts = isIndex ? ofIndex(parseIndex(bytes)) : ofManifest(parseManifest(bytes));
    if (facts.stated !== undefined && facts.stated !== mediaType) {
      const why = `it says "${facts.stated.slice(0, 100)}", the request "${mediaType}"`;
      throw new Refusal("MANIFEST_INVALID", `Cannot take the manifest: ${why}`);
    }
    return { ...facts, mediaType };
  } catch (error) {
    if (!(error instanceof Failure) || error instanceof Refusal) throw error;
    throw new Refusal("MANIFEST_INVALID", error.message, error.hint ? { hint: error.hint } : {});
  }
}

/** A client that names no type: the manifest does. */
function statedType(bytes: Uint8Array): string {
  try {
    const { mediaType } = JSON.parse(new TextDecoder().decode(bytes)) as { mediaType?: unknown };
    return typeof mediaType === "string" ? mediaType.slice(0, 255) : mediaTypes.ociManifest;
  } catch {
    return mediaTypes.ociManifest; // not JSON: its parser says so
  }
}

type Found = Omit<ManifestFacts, "mediaType"> & { readonly stated: string | undefined };

function ofManifest(manifest: Manifest): Found {
  const artifactType = manifest.artifactType ?? manifest.config.mediaType;
  return {
    ...shared(manifest),
    artifactType,
    blobs: [manifest.config, ...manifest.layers.filter((layer) => !isForeign(layer))],
    manifests: [],
  };
}

function ofIndex(index: Index): Found {
  return {
    ...shared(index),
    ...(index.artifactType ? { artifactType: index.artifactType } : {}),
    blobs: [],
    manifests: index.manifests.filter((each) => !each.urls?.length),
  };
}

function shared({ mediaType, subject, annotations }: Manifest | Index) {
  return {
    stated: mediaType,
    ...(subject ? { subject: subject.digest } : {}),
    ...(annotations ? { annotations } : {}),
  };
}

/** A layer that is fetched from elsewhere and may not be redistributed. */
function isForeign({ mediaType, urls }: Descriptor): boolean {
  return Boolean(urls?.length) && /foreign|nondistributable/.test(mediaType);
}
