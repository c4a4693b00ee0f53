import { log } from "../base/mod.ts";
import { type Descriptor, type Digest, isAttestation, parseIndex } from "../oci/mod.ts";
import type { Repository } from "../registry/mod.ts";
import { blobsOf } from "./origins.ts";
import { shortOf, type Transfer } from "./pull.ts";
import type { PullPlan } from "./pull-manifest.ts";
import { type PushWork, pushFile } from "./push-layers.ts";

const attachedMax = 4;
const bytesMax = 32 << 20;

/**
 * Brings what a builder attached to the image of this platform (provenance, SBOM), so that a push of the
 * index keeps its digest. The image is whole without it: a failure is a line in the log.
 */
export async function fetchAttached(
  { downloads, origins, store }: Transfer,
  { plan, repository, signal }: { plan: PullPlan; repository: Repository; signal: AbortSignal },
): Promise<void> {
  if (!plan.index) return;
  for (const { digest } of attachedTo(plan.index.bytes, plan.manifest.descriptor.digest)) {
    try {
      const kept = origins.attached(plan.id, digest);
      const found = kept ? undefined : await repository.manifest(digest, signal);
      const { bytes, mediaType } = kept ?? { ...found!.descriptor, bytes: found!.bytes };
      const blobs = blobsOf(bytes);
      if (blobs.reduce((sum, { size }) => sum + size, 0) > bytesMax) continue;
      using _pinned = store.pin(blobs.map((blob) => blob.digest));
      const listener = { came: () => {} };
      for (const blob of blobs) await downloads.fetch(blob, { repository, listener, signal });
      origins.setAttached(plan.id, { digest, mediaType, bytes });
    } catch (error) {
      if (signal.aborted) throw error;
      log("info", "What is attached to an image was not fetched", { digest, why: error });
    }
  }
}

function attachedTo(index: Uint8Array, manifest: Digest): readonly Descriptor[] {
  const isIts = (each: Descriptor) =>
    isAttestation(each) && each.annotations?.["vnd.docker.reference.digest"] === manifest;
  return parseIndex(index).manifests.filter(isIts).slice(0, attachedMax);
}

/** Sends what is attached to the image; false where it is not here. */
export async function pushAttached(work: PushWork, id: Digest, digest: Digest): Promise<boolean> {
  const { origins, store } = work.transfer;
  const kept = origins.attached(id, digest);
  if (!kept) return false;
  const { content } = store.inner;
  const blobs = blobsOf(kept.bytes);
  using _pinned = store.pin(blobs.map((blob) => blob.digest));
  for (const blob of blobs) {
    await pushFile(work, blob, { path: content.path(blob.digest), id: shortOf(blob.digest) });
  }
  await work.repository.putManifest(digest, kept, work.signal);
  return true;
}
