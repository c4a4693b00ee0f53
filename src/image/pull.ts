import { Failure, type Gate } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  familiarReference,
  fullReference,
  hexOf,
  hostPlatform,
  matchesPlatform,
  type Platform,
  parseReference,
  type Reference,
} from "../oci/mod.ts";
import type { Credentials, RegistryClient, Repository } from "../registry/mod.ts";
import type { GrowingFile, HashPlace } from "../snapshot/mod.ts";
import { fetchAttached } from "./attached.ts";
import type { Downloads } from "./download.ts";
import { hashPlaceOf } from "./inner.ts";
import type { Origins } from "./origins.ts";
import { fetchRoot, inDockersWords, type PullPlan, planPull } from "./pull-manifest.ts";
import type { LayerBlob } from "./records.ts";
import type { PulledImage, Store } from "./transfer-store.ts";
import type { Image, Report } from "./types.ts";

/** What pulling and pushing work with. */
export interface Transfer {
  readonly store: Store;
  readonly client: RegistryClient;
  readonly downloads: Downloads;
  /** Layers that are pushed at a time, of all pushes. */
  readonly uploads: Gate;
  readonly origins: Origins;
  /** `image/` under the data root. */
  readonly directory: string;
}

export interface PullOptions {
  readonly platform?: Platform;
  readonly credentials: Credentials;
  readonly report: Report;
  readonly signal: AbortSignal;
}

const reportEveryMs = 100;

/** Pulls what the text names; a name without tag and digest stands for all tags. Gives the last image. */
export async function pull(transfer: Transfer, text: string, options: PullOptions): Promise<Image> {
  const reference = parseReference(text);
  const { credentials, report, signal } = options;
  const repository = transfer.client.repository(reference, { credentials });
  const name = familiarReference(reference);
  if (reference.tag || reference.digest) {
    const { image, isNew } = await pullOne(transfer, { repository, reference }, options);
    tellStatus(report, name, isNew);
    return image;
  }
  const tags = await repository.tags(signal).catch((error: unknown) => {
    throw inDockersWords(error, reference);
  });
  let last: Image | undefined;
  let isAnyNew = false;
  for (const tag of tags) {
    const one = { repository, reference: { ...reference, tag } };
    const { image, isNew } = await pullOne(transfer, one, options);
    last = image;
    isAnyNew ||= isNew;
  }
  if (!last) throw new Failure("not_found", `Cannot pull all tags of ${name}: it has none`);
  tellStatus(report, name, isAnyNew);
  return last;
}

function tellStatus(report: Report, name: string, isNew: boolean): void {
  report({
    status: isNew
      ? `Status: Downloaded newer image for ${name}`
      : `Status: Image is up to date for ${name}`,
  });
}

interface Named {
  readonly repository: Repository;
  readonly reference: Reference;
}

async function pullOne(
  transfer: Transfer,
  { repository, reference }: Named,
  options: PullOptions,
): Promise<{ image: Image; isNew: boolean }> {
  const { platform, report, signal } = options;
  const { store } = transfer;
  const id = reference.digest ?? reference.tag ?? "";
  const tell = () => report({ status: `Pulling from ${reference.path}`, id });
  const known = await upToDate(transfer, { repository, reference }, options);
  if (known) {
    tell();
    report({ status: `Digest: ${known.root}` });
    return { image: known.image, isNew: false };
  }
  const wanted = { reference, platform, signal };
  const root = await fetchRoot(repository, wanted);
  const plan = await planPull(repository, root, wanted);
  tell();
  const names = namesOf(reference, plan.root);
  const isNew = names.some((name) => store.idOf(name) !== plan.id);
  const image = await fetchImage(transfer, plan, { repository, names, options });
  await fetchAttached(transfer, { plan, repository, signal });
  report({ status: `Digest: ${plan.root}` });
  return { image, isNew };
}

/** The name that was asked for, if it was a tag, and the one with the digest. */
function namesOf({ domain, path, tag, digest }: Reference, root: Digest): string[] {
  const canonical = fullReference({ domain, path, digest: root });
  return tag && !digest ? [fullReference({ domain, path, tag }), canonical] : [canonical];
}

/** One question: a tag that still stands for what we have needs no more. */
async function upToDate(
  { store, origins }: Transfer,
  { repository, reference }: Named,
  { platform, signal }: PullOptions,
): Promise<{ image: Image; root: Digest } | undefined> {
  if (platform || reference.digest) return undefined;
  const { domain, path, tag = "latest" } = reference;
  const id = store.idOf(fullReference({ domain, path, tag }));
  if (!id) return undefined;
  const root = await repository.head(tag, signal);
  if (!root || store.idOf(fullReference({ domain, path, digest: root })) !== id) return undefined;
  const image = store.whole(id);
  // Of an index, another platform may have been asked for the last time.
  const isOther = image && origins.index(id) && !matchesPlatform(hostPlatform(), image.config);
  return image && !isOther ? { image, root } : undefined;
}

interface FetchOptions {
  readonly repository: Repository;
  readonly names: readonly string[];
  readonly options: PullOptions;
}

async function fetchImage(
  { store, downloads, origins }: Transfer,
  plan: PullPlan,
  { repository, names, options }: FetchOptions,
): Promise<Image> {
  const digests = plan.layers.flatMap(({ diffId, descriptor }) => [diffId, descriptor.digest]);
  using _pinned = store.pin(digests);
  const missing = plan.layers.filter(({ diffId }) => !store.hasLayer(diffId));
  // One layer may stand in an image several times.
  const once = [...new Map(missing.map((layer) => [layer.diffId, layer])).values()];
  origins.begin(once.flatMap(({ diffId, descriptor }) => [diffId, descriptor.digest]));
  for (const { descriptor, diffId } of plan.layers) {
    const status = store.hasLayer(diffId) ? "Already exists" : "Pulling fs layer";
    options.report({ status, id: shortOf(descriptor.digest) });
  }
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const work = { store, downloads, repository, report: options.report, signal };
  const sizes = once.map(({ descriptor }) => descriptor.size);
  const layers = once.map((layer) =>
    fetchLayer(work, { ...layer, hash: hashPlaceOf(layer.descriptor.size, sizes) }).catch(
      (error: unknown) => {
        failed.abort();
        throw error;
      },
    ),
  );
  const results = await Promise.allSettled(layers);
  throwFirst(results, failed, options.signal);
  const image = await store.take(pulledOf(plan, names), blobsOf(plan));
  origins.finish(digests);
  return image;
}

/** What went wrong first, not what was given up because of it. */
function throwFirst(
  results: readonly PromiseSettledResult<void>[],
  failed: AbortController,
  signal: AbortSignal,
): void {
  if (signal.aborted) throw new Failure("unavailable", "Cannot finish the pull: it was given up");
  if (!failed.signal.aborted) return;
  const reasons = results.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
  const isGivenUp = (reason: unknown) => /given up/.test((reason as Error).message);
  throw reasons.find((reason) => !isGivenUp(reason)) ?? reasons[0];
}

function pulledOf(plan: PullPlan, names: readonly string[]): PulledImage {
  const { id, configBytes, config, index } = plan;
  const { mediaType, digest, size } = plan.manifest.descriptor;
  const manifest = { descriptor: { mediaType, digest, size }, bytes: plan.manifest.bytes };
  return { id, configBytes, config, names, manifest, index };
}

/** The files of the layers; those that are here. */
function blobsOf({ layers }: PullPlan): LayerBlob[] {
  return layers.map(({ diffId, descriptor: { digest, mediaType, size } }) => ({
    diffId,
    digest,
    mediaType,
    sizeBytes: size,
  }));
}

interface Work {
  readonly store: Store;
  readonly downloads: Downloads;
  readonly repository: Repository;
  readonly report: Report;
  readonly signal: AbortSignal;
}

async function fetchLayer(
  { store, downloads, repository, report, signal }: Work,
  { diffId, descriptor, hash }: { diffId: Digest; descriptor: Descriptor; hash: HashPlace },
): Promise<void> {
  const id = shortOf(descriptor.digest);
  const listener = {
    came: teller(report, id, descriptor.size),
    arrived: () => {
      report({ status: "Verifying Checksum", id });
      report({ status: "Download complete", id });
      const progress = { current: descriptor.size, total: descriptor.size };
      report({ status: "Extracting", id, progress });
    },
  };
  const named = (error: unknown): never => {
    if (!(error instanceof Failure) || error.code === "unavailable" || error.code === "timeout")
      throw error;
    const what = `layer ${descriptor.digest} of ${repository.domain}/${repository.path}`;
    throw new Failure(error.code, `Cannot unpack ${what}: ${error.message}`, {
      cause: error.cause,
    });
  };
  const layer = {
    diffId,
    unpack: (file: GrowingFile, given: AbortSignal) =>
      store.unpackGrowing(file, { diffId, signal: given, hash }).catch(named),
  };
  const isUnpacked = await downloads.fetch(descriptor, { repository, listener, signal, layer });
  const unpacking = { diffId, signal, hash };
  if (!isUnpacked) await store.unpack(descriptor.digest, unpacking).catch(named);
  report({ status: "Pull complete", id });
}

export function shortOf(digest: Digest): string {
  return hexOf(digest).slice(0, 12);
}

/** Docker's progress lines, not more often than one can read them. */
export function teller(report: Report, id: string, total: number, status = "Downloading") {
  let toldMs = 0;
  return (current: number): void => {
    const nowMs = performance.now();
    if (nowMs - toldMs < reportEveryMs && current !== total) return;
    toldMs = nowMs;
    report({ status, id, progress: { current, total } });
  };
}
