import { isFailure } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  digestOf,
  mediaTypes,
  parseIndex,
  parseManifestOrIndex,
} from "../oci/mod.ts";
import type { Repository } from "./client-repository.ts";

type Tagged = Pick<Repository, "manifest" | "putManifest">;

/** Where a registry without the referrers API keeps what refers to a digest. */
const tagOf = (digest: Digest) => digest.replace(":", "-");

/**
 * The index that stands in for the referrers API.
 * Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema
 */
export async function taggedReferrers(
  repository: Tagged,
  digest: Digest,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  try {
    return (await repository.manifest(tagOf(digest), signal)).bytes;
  } catch (error) {
    if (isFailure(error, "not_found")) return undefined;
    throw error;
  }
}

/** Adds a manifest that refers to another to that index: its registry did not say that it did. */
export async function recordReferrer(
  repository: Tagged,
  { mediaType, bytes }: { mediaType: string; bytes: Uint8Array },
  signal: AbortSignal,
): Promise<void> {
  if (!Buffer.from(bytes).includes('"subject"')) return;
  const parsed = parseManifestOrIndex(bytes);
  const about = "index" in parsed ? parsed.index : parsed.manifest;
  if (!about.subject) return;
  const known = await taggedReferrers(repository, about.subject.digest, signal);
  const others = known ? parseIndex(known).manifests : [];
  const digest = digestOf(bytes);
  if (others.some((each) => each.digest === digest)) return;
  const config = "manifest" in parsed ? parsed.manifest.config.mediaType : undefined;
  const artifactType = about.artifactType ?? config;
  const own: Descriptor = {
    mediaType,
    digest,
    size: bytes.length,
    ...(artifactType ? { artifactType } : {}),
    ...(about.annotations ? { annotations: about.annotations } : {}),
  };
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...others, own] };
  const put = { mediaType: mediaTypes.ociIndex, bytes: Buffer.from(JSON.stringify(index)) };
  await repository.putManifest(tagOf(about.subject.digest), put, signal);
}
