import { Failure } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  digestOf,
  familiarReference,
  formatManifest,
  formatPlatform,
  fullReference,
  matchesPlatform,
  mediaTypes,
  type Platform,
  parseIndex,
  parseManifest,
  parseReference,
  type Reference,
} from "../oci/mod.ts";
import type { Repository } from "../registry/mod.ts";
import { pushAttached } from "./attached.ts";
import { type PullOptions, shortOf, type Transfer } from "./pull.ts";
import { type KeptLayer, type PushWork, pushKept, pushMade } from "./push-layers.ts";
import { type ImageRow, isCanonical, repositoryOf } from "./records.ts";

/** Sends what the text names; a name without a tag stands for all tags of the repository that are here. */
export async function push(transfer: Transfer, text: string, options: PullOptions): Promise<void> {
  const reference = parseReference(text);
  if (reference.digest) throw new Failure("invalid", "cannot push a digest reference");
  const { credentials, report } = options;
  const tags = chooseTags(transfer, reference);
  const repository = transfer.client.repository(reference, { credentials, push: true });
  report({ status: `The push refers to repository [${reference.domain}/${reference.path}]` });
  for (const tag of tags) {
    const id = transfer.store.idOf(fullReference({ ...reference, tag }));
    if (id) await pushOne(transfer, { repository, reference: { ...reference, tag }, id }, options);
  }
}

function chooseTags({ store }: Transfer, reference: Reference): string[] {
  const { domain, path, tag } = reference;
  const { records } = store.inner;
  if (tag) {
    if (store.idOf(fullReference(reference))) return [tag];
    const name = familiarReference(reference);
    throw new Failure("not_found", `An image does not exist locally with the tag: ${name}`);
  }
  const names = [...records.names()].map(([name]) => name);
  const own = names.filter(
    (name) => !isCanonical(name) && repositoryOf(name) === `${domain}/${path}`,
  );
  if (own.length > 0) return own.map((name) => parseReference(name).tag ?? "latest").sort();
  const name = familiarReference({ domain, path });
  throw new Failure("not_found", `An image does not exist locally with the tag: ${name}`);
}

interface Target {
  readonly repository: Repository;
  readonly reference: Reference;
  readonly id: Digest;
}

/** A manifest or index that the registry can take now: all that it names is there. */
interface Ready {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

async function pushOne(
  transfer: Transfer,
  { repository, reference, id }: Target,
  { report, signal, platform }: PullOptions,
): Promise<void> {
  const work = { transfer, repository, report, signal };
  const manifest = await pushImage(work, platformId(transfer, id, platform), platform);
  const index = platform ? undefined : await pushSiblings(work, id, manifest);
  const sent = index ?? manifest;
  const { bytes } = sent;
  const tag = reference.tag ?? "latest";
  const digest = await repository.putManifest(tag, sent, signal);
  const { domain, path } = reference;
  transfer.store.remember(id, fullReference({ domain, path, digest }), manifest);
  const size = bytes.length;
  report({ status: `${tag}: digest: ${digest} size: ${size}` });
  report({ aux: { Tag: tag, Digest: digest, Size: size } });
}

/** The image for the platform: this one, or one that came by the same index. */
function platformId(
  { store, origins }: Transfer,
  id: Digest,
  platform: Platform | undefined,
): Digest {
  const { records } = store.inner;
  const row = records.row(id);
  const index = origins.index(id);
  if (!platform || !row || !index || matchesPlatform(platform, row.config)) return id;
  const siblings = new Set(parseIndex(index.bytes).manifests.map(({ digest }) => digest));
  for (const other of records.rows()) {
    const isSibling = other.manifest && siblings.has(other.manifest.digest);
    if (isSibling && matchesPlatform(platform, other.config)) return other.id;
  }
  return id;
}

/** Sends layers and config of one image; gives the manifest for them. */
async function pushImage(
  work: PushWork,
  id: Digest,
  platform: Platform | undefined,
): Promise<Ready> {
  const { transfer, report } = work;
  const { records } = transfer.store.inner;
  const row = records.row(id);
  const config = records.configBytes(id);
  if (!row || !config) throw new Failure("not_found", `No such image: ${id}`);
  if (platform && !matchesPlatform(platform, row.config)) {
    const why = "was found but does not provide the specified platform";
    throw new Failure(
      "not_found",
      `image with reference ${id} ${why} (${formatPlatform(platform)})`,
    );
  }
  const diffIds = row.config.rootfs.diff_ids;
  using _pinned = transfer.store.pin([
    ...diffIds,
    ...row.manifestLayers.map((each) => each.digest),
  ]);
  for (const diffId of diffIds) report({ status: "Preparing", id: shortOf(diffId) });
  const kept = await keptLayers(work, row);
  const layers = await each(work, diffIds, async (inner, diffId, at) => {
    const layer = kept?.[at] ?? (await fileOf(transfer, diffId));
    return layer ? await pushKept(inner, layer) : await pushMade(inner, diffId);
  });
  const keptBytes = kept && records.manifestBytes(id);
  const configDigest = keptBytes ? parseManifest(keptBytes).config.digest : id;
  await pushConfig(work, configDigest, config);
  if (keptBytes && row.manifest) {
    const { mediaType, digest } = row.manifest;
    return { mediaType, digest, bytes: keptBytes };
  }
  const about = { mediaType: mediaTypes.ociConfig, digest: id, size: config.length };
  const bytes = formatManifest(about, layers);
  return { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), bytes };
}

/** The layers of the manifest that the image came with, if each is here or in the registry already. */
async function keptLayers(
  { transfer, repository, signal }: PushWork,
  row: ImageRow,
): Promise<KeptLayer[] | undefined> {
  const { content } = transfer.store.inner;
  const diffIds = row.config.rootfs.diff_ids;
  if (!row.manifest || row.manifestLayers.length !== diffIds.length) return undefined;
  const layers: KeptLayer[] = [];
  for (const [at, descriptor] of row.manifestLayers.entries()) {
    const isHere =
      (await content.size(descriptor.digest)) !== undefined ||
      (await repository.hasBlob(descriptor.digest, signal));
    if (!isHere) return undefined;
    layers.push({ diffId: diffIds[at]!, descriptor });
  }
  return layers;
}

/** A compressed file of a layer that some image brought. */
async function fileOf({ store }: Transfer, diffId: Digest): Promise<KeptLayer | undefined> {
  const { content, records } = store.inner;
  for (const { digest, mediaType, sizeBytes: size } of records.blobsOf(diffId)) {
    if (digest === diffId || (await content.size(digest)) === undefined) continue;
    return { diffId, descriptor: { digest, mediaType, size } };
  }
  return undefined;
}

/** Does the layers side by side; the first failure gives up the others. */
async function each<Value>(
  work: PushWork,
  diffIds: readonly Digest[],
  task: (work: PushWork, diffId: Digest, at: number) => Promise<Value>,
): Promise<Value[]> {
  const gate = work.transfer.uploads;
  const failed = new AbortController();
  const inner = { ...work, signal: AbortSignal.any([work.signal, failed.signal]) };
  let first: unknown;
  const results = await Promise.allSettled(
    diffIds.map((diffId, at) =>
      gate.run(async () => {
        try {
          return await task(inner, diffId, at);
        } catch (error) {
          first ??= error;
          failed.abort();
          throw error;
        }
      }),
    ),
  );
  if (work.signal.aborted)
    throw new Failure("unavailable", "Cannot finish the push: it was given up");
  if (first !== undefined) throw first;
  return results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}

async function pushConfig(
  { repository, signal }: PushWork,
  digest: Digest,
  config: Uint8Array,
): Promise<void> {
  if (await repository.hasBlob(digest, signal)) return;
  async function* read(offset: number) {
    yield config.subarray(offset);
  }
  await repository.upload({ digest, sizeBytes: config.length, read, signal });
}

/**
 * The index that the image came by, if the registry has the manifests of all its platforms: those that
 * it had, those that are here, and those that another repository of it gives.
 */
async function pushSiblings(work: PushWork, id: Digest, own: Ready): Promise<Ready | undefined> {
  const { transfer, repository, report, signal } = work;
  const kept = transfer.origins.index(id);
  if (!kept) return undefined;
  const { manifests } = parseIndex(kept.bytes);
  if (!manifests.some(({ digest }) => digest === own.digest)) return undefined;
  for (const descriptor of manifests) {
    if (descriptor.digest === own.digest) {
      await repository.putManifest(own.digest, own, signal);
    } else if (!(await pushSibling(work, id, descriptor))) {
      const has = descriptor.platform ? formatPlatform(descriptor.platform) : descriptor.digest;
      const text = `Note: of the index ${kept.digest} only this platform is pushed: ${has} is not here`;
      report({ status: text });
      return undefined;
    }
  }
  return kept;
}

/** True when the layers' files, which are not kept of what was built here, come out the same once more. */
function isRemade({ origins }: Transfer, { config, manifestLayers }: ImageRow): boolean {
  const diffIds = config.rootfs.diff_ids;
  return (
    manifestLayers.length === diffIds.length &&
    manifestLayers.every(({ digest }, at) => origins.compressed(diffIds[at]!)?.digest === digest)
  );
}

async function pushSibling(work: PushWork, id: Digest, descriptor: Descriptor): Promise<boolean> {
  const { transfer, repository, signal } = work;
  if ((await repository.head(descriptor.digest, signal)) === descriptor.digest) return true;
  if (await pushAttached(work, id, descriptor.digest)) return true;
  const { records } = transfer.store.inner;
  const row = [...records.rows()].find(({ manifest }) => manifest?.digest === descriptor.digest);
  if (!row || !(isRemade(transfer, row) || (await keptLayers(work, row)))) return false;
  const ready = await pushImage(work, row.id, undefined);
  if (ready.digest !== descriptor.digest) return false;
  await repository.putManifest(ready.digest, ready, signal);
  return true;
}
