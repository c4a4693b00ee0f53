import { createReadStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { Failure, Gate, KeyedLock } from "../base/mod.ts";
import { type Descriptor, type Digest, hexOf, isForeignLayer, mediaTypes } from "../oci/mod.ts";
import type { Repository } from "../registry/mod.ts";
import { compressLayer } from "./compress.ts";
import { shortOf, type Transfer, teller } from "./pull.ts";
import { isCanonical } from "./records.ts";
import type { Report } from "./types.ts";

/** What pushes of one image share. */
export interface PushWork {
  readonly transfer: Transfer;
  readonly repository: Repository;
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** A layer as a kept manifest has it. */
export interface KeptLayer {
  readonly diffId: Digest;
  readonly descriptor: Descriptor;
}

const compressing = new KeyedLock();
/** Two keep all cores busy; more would only take memory. */
const compressors = new Gate(2);

/** Makes sure that the registry has a blob whose file is in the content store. */
export async function pushFile(
  { transfer, repository, report, signal }: PushWork,
  descriptor: Pick<Descriptor, "digest" | "size">,
  from: { readonly path: string; readonly id?: string },
): Promise<void> {
  const { digest, size } = descriptor;
  const { id, path } = from;
  const tell = (status: string) => id && report({ status, id });
  if (await repository.hasBlob(digest, signal)) {
    tell("Layer already exists");
    return;
  }
  const { mountedFrom } = await repository.upload({
    digest,
    sizeBytes: size,
    read: (offset) => createReadStream(path, { start: offset, highWaterMark: 256 << 10 }),
    sources: sourcesOf(transfer, repository, digest),
    ...(id ? { told: teller(report, id, size, "Pushing") } : {}),
    signal,
  });
  tell(mountedFrom === undefined ? "Pushed" : `Mounted from ${mountedFrom}`);
}

/** A layer whose file came with the image: as it came. */
export async function pushKept(
  work: PushWork,
  { diffId, descriptor }: KeptLayer,
): Promise<Descriptor> {
  const { content } = work.transfer.store.inner;
  const id = shortOf(diffId);
  const { mediaType, digest, size } = descriptor;
  if (isForeignLayer(descriptor)) work.report({ status: "Skipped foreign layer", id });
  else await pushFile(work, descriptor, { path: content.path(digest), id });
  return { mediaType, digest, size };
}

/** A layer without a compressed file: it is compressed, unless the registry is known to have the result. */
export async function pushMade(work: PushWork, diffId: Digest): Promise<Descriptor> {
  const { transfer, repository, report, signal } = work;
  const id = shortOf(diffId);
  return await compressing.run(diffId, async () => {
    const known = transfer.origins.compressed(diffId);
    if (known && (await repository.hasBlob(known.digest, signal))) {
      report({ status: "Layer already exists", id });
      return describe(known);
    }
    if (known && (await isMounted(work, known, id))) return describe(known);
    const directory = `${transfer.directory}/compressed`;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const path = `${directory}/${hexOf(diffId)}`;
    try {
      const made = await compressors.run(() => compressLayer(tarOf(transfer, diffId), path));
      transfer.origins.setCompressed(diffId, made);
      await pushFile(work, { digest: made.digest, size: made.sizeBytes }, { path, id });
      return describe(made);
    } finally {
      await rm(path, { force: true });
    }
  });
}

const describe = ({ digest, sizeBytes }: { digest: Digest; sizeBytes: number }): Descriptor => ({
  mediaType: mediaTypes.ociLayerGzip,
  digest,
  size: sizeBytes,
});

/** True when another repository of the registry gave the blob, which saves making it. */
async function isMounted(
  { transfer, repository, report, signal }: PushWork,
  { digest }: { digest: Digest },
  id: string,
): Promise<boolean> {
  const sources = sourcesOf(transfer, repository, digest);
  const from = await repository.mount({ digest, sources, signal });
  if (from === undefined) return false;
  report({ status: `Mounted from ${from}`, id });
  return true;
}

function tarOf({ store }: Transfer, diffId: Digest): AsyncIterable<Uint8Array> {
  const { content, records, snapshots } = store.inner;
  const layer = snapshots.layer(diffId);
  if (layer?.origin === "snapshot") return snapshots.layerTar(diffId);
  if (layer && records.blobsOf(diffId).some(({ digest }) => digest === diffId)) {
    return content.read(diffId);
  }
  throw new Failure(
    "not_found",
    `Cannot push the image: the tar of its layer ${diffId} is absent`,
    {
      hint: "Load or pull the image again",
    },
  );
}

/** Other repositories of the same registry that have a blob, as far as we know. */
export function sourcesOf(
  { store }: Transfer,
  { domain, path }: Repository,
  digest: Digest,
): string[] {
  const { records } = store.inner;
  const found = new Set<string>();
  for (const row of records.rows()) {
    if (!row.manifestLayers.some((layer) => layer.digest === digest)) continue;
    for (const name of records.namesOf(row.id)) {
      if (!isCanonical(name) || !name.startsWith(`${domain}/`)) continue;
      found.add(name.slice(domain.length + 1, name.indexOf("@")));
    }
  }
  found.delete(path);
  return [...found].sort();
}
