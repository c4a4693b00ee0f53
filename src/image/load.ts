import { createReadStream } from "node:fs";
import { copyFile, link, open, rm } from "node:fs/promises";
import { type Compression, decompress, magicBytes, sniffCompression } from "../archive/mod.ts";
import { Failure, limits } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import { algorithmOf, type Digest, mediaTypes, type Platform } from "../oci/mod.ts";
import type { HashPlace, SnapshotStore } from "../snapshot/mod.ts";
import { diskFailure, errnoOf, filterThrough } from "../sys/mod.ts";
import { type ArchiveEntry, ArchiveFile } from "./archive-file.ts";
import { hashPlaceOf } from "./inner.ts";
import type { PlannedImage, PlannedLayer } from "./planned.ts";
import type { LayerBlob, Records } from "./records.ts";
import type { Report } from "./types.ts";

/** What loading works with. */
export interface Tools {
  readonly records: Records;
  readonly content: ContentStore;
  readonly snapshots: SnapshotStore;
}

export interface LoadOptions {
  readonly platform?: Platform;
  readonly report: Report;
  readonly signal?: AbortSignal;
  readonly isSpent?: boolean;
}

const layersAtOnce = 2;
const reportEveryMs = 100;

/** The archive as a plain tar: itself, or decompressed into the scratch folder. */
export async function openArchive(
  path: string,
  { scratch, isSpent }: { scratch: string; isSpent: boolean },
): Promise<ArchiveFile> {
  const how = await sniffFile(path);
  if (how === "plain") return await ArchiveFile.open(path, { isSpent });
  const plain = `${scratch}/archive`;
  await decompressFile(path, plain);
  return await ArchiveFile.open(plain, { isSpent: true });
}

/** How a file is compressed. */
export async function sniffFile(path: string): Promise<Compression> {
  const file = await open(path, "r").catch((error) => {
    throw diskFailure(error, "open", path);
  });
  try {
    const first = Buffer.alloc(magicBytes);
    const { bytesRead } = await file.read(first, 0, magicBytes, 0);
    return sniffCompression(first.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/** Writes the plain bytes of a compressed file to a new one. */
export async function decompressFile(path: string, target: string): Promise<void> {
  const source = createReadStream(path, { highWaterMark: 256 << 10 });
  const bounds = { sizeBytesMax: limits.layerBytesMax, through: filterThrough };
  const file = await open(target, "wx", 0o600).catch((error) => {
    throw diskFailure(error, "create", target);
  });
  try {
    for await (const chunk of decompress(source, bounds)) await file.writeFile(chunk);
  } catch (error) {
    throw diskFailure(error, "decompress", "the archive");
  } finally {
    await file.close();
  }
}

/** What is to be done for one layer's file. */
interface Task {
  readonly layer: PlannedLayer;
  /** No other task has the same file. */
  readonly isAlone: boolean;
  readonly unpack: boolean;
  readonly hash: HashPlace;
}

/** The layers that are not here yet, or whose files the manifests want and we do not have. */
async function missing({ snapshots, content }: Tools, images: PlannedImage[]): Promise<Task[]> {
  const tasks = new Map<string, Pick<Task, "layer" | "unpack">>();
  const unpacked = new Set<Digest>();
  for (const layer of images.flatMap(({ layers }) => layers)) {
    const { diffId, descriptor } = layer;
    const present = snapshots.layer(diffId);
    const unpack = present === undefined && !unpacked.has(diffId);
    const isMade = descriptor?.digest === diffId && present?.origin === "snapshot";
    const wantsFile =
      descriptor && !isMade && (await content.size(descriptor.digest)) === undefined;
    const key = `${diffId} ${descriptor?.digest ?? "any"}`;
    if (tasks.has(key) || (!unpack && !wantsFile)) continue;
    if (unpack) unpacked.add(diffId);
    tasks.set(key, { layer, unpack });
  }
  const all = [...tasks.values()];
  const users = new Map<ArchiveEntry, number>();
  for (const { layer } of all) users.set(layer.entry, (users.get(layer.entry) ?? 0) + 1);
  const sizes = all.flatMap(({ unpack, layer }) => (unpack ? [layer.entry.sizeBytes] : []));
  return all.map(({ layer, unpack }) => ({
    ...{ layer, unpack, isAlone: users.get(layer.entry) === 1 },
    hash: hashPlaceOf(layer.entry.sizeBytes, sizes),
  }));
}

/** Everything that an archive brings, its layers unpacked and their files stored; no row written yet. */
export interface Loaded {
  readonly images: readonly PlannedImage[];
  readonly blobs: readonly LayerBlob[];
}

/** Unpacks and stores what is missing, two layers at a time. All images or a Failure. */
export async function fetchLayers(
  tools: Tools,
  { archive, images, scratch }: { archive: ArchiveFile; images: PlannedImage[]; scratch: string },
  { report, signal }: LoadOptions,
): Promise<Loaded> {
  const tasks = await missing(tools, images);
  const blobs: LayerBlob[] = [];
  const failed = new AbortController();
  const signals = signal ? [signal, failed.signal] : [failed.signal];
  const stage = { tools, archive, scratch, report, signal: AbortSignal.any(signals) };
  let next = 0;
  const lane = async () => {
    for (let at = next++; at < tasks.length; at = next++) {
      stage.signal.throwIfAborted();
      blobs.push(await fetchLayer(stage, tasks[at]!, at));
    }
  };
  const lanes = Array.from({ length: layersAtOnce }, () =>
    lane().catch((error) => {
      failed.abort(error);
      throw error;
    }),
  );
  const results = await Promise.allSettled(lanes);
  if (signal?.aborted) throw new Failure("unavailable", "Cannot finish the load: it was given up");
  if (failed.signal.aborted) throw failed.signal.reason;
  const broken = results.find((result) => result.status === "rejected");
  if (broken) throw broken.reason;
  return { images, blobs };
}

interface Stage {
  readonly tools: Tools;
  readonly archive: ArchiveFile;
  readonly scratch: string;
  readonly report: Report;
  readonly signal: AbortSignal;
}

async function fetchLayer(stage: Stage, task: Task, number: number): Promise<LayerBlob> {
  const { archive, scratch, signal, tools } = stage;
  const { entry, diffId, descriptor } = task.layer;
  const path = `${scratch}/layer-${number}`;
  const id = diffId.slice("sha256:".length, "sha256:".length + 12);
  const how = await archive.sniff(entry);
  const told = teller(stage.report, id, entry.sizeBytes);
  await archive.copy(entry, path, { told, signal, isLast: task.isAlone });
  const kept = await storeLayer(tools, {
    path,
    diffId,
    how,
    unpack: task.unpack,
    hash: task.hash,
    ...(descriptor ? { expected: descriptor.digest } : {}),
    signal,
  });
  const progress = { current: entry.sizeBytes, total: entry.sizeBytes };
  stage.report({ status: "Loading layer", id, progress });
  return descriptor ? { ...kept, mediaType: descriptor.mediaType } : kept;
}

/** Docker's progress lines, not more often than one can read them. */
function teller(report: Report, id: string, total: number): (bytes: number) => void {
  let toldMs = 0;
  return (current) => {
    const nowMs = performance.now();
    if (nowMs - toldMs < reportEveryMs || current === total) return;
    toldMs = nowMs;
    report({ status: "Loading layer", id, progress: { current, total } });
  };
}

const layerTypes: Partial<Record<Compression, string>> = {
  plain: mediaTypes.ociLayer,
  gzip: mediaTypes.ociLayerGzip,
  zstd: mediaTypes.ociLayerZstd,
};

/**
 * Unpacks a layer's file, which is ours, and takes it into the content store: as it came, but bzip2 and
 * xz decompressed, for which images have no name.
 */
export async function storeLayer(
  { content, snapshots }: Pick<Tools, "content" | "snapshots">,
  layer: {
    readonly path: string;
    readonly how: Compression;
    readonly unpack: boolean;
    readonly hash?: HashPlace;
    readonly diffId?: Digest;
    readonly expected?: Digest;
    readonly signal?: AbortSignal;
  },
): Promise<LayerBlob> {
  const { how, signal, unpack, expected, hash } = layer;
  let { path, diffId } = layer;
  let mediaType = layerTypes[how];
  if (!mediaType) {
    path = `${layer.path}.plain`;
    await decompressFile(layer.path, path);
    await rm(layer.path);
    mediaType = mediaTypes.ociLayer;
  }
  const unpacked = unpack ? await snapshots.unpack(path, { diffId, signal, hash }) : undefined;
  diffId ??= unpacked?.diffId;
  if (!diffId) throw new Failure("internal", "Cannot store the layer: it has no DiffID");
  // A file that is named by its own bytes' sha256: the DiffID.
  const isPlain =
    mediaType === mediaTypes.ociLayer && (!expected || algorithmOf(expected) === "sha256");
  if (isPlain && expected && expected !== diffId) {
    throw new Failure(
      "corrupt",
      `Cannot store layer ${diffId}: its plain file is said to be ${expected}`,
    );
  }
  const sizeBytes = await sizeOf(path);
  // Unpacking has hashed a plain tar already.
  const isVerified = isPlain && unpack;
  const wanted = isPlain ? diffId : expected;
  const digest = await content.adopt(path, {
    ...(wanted ? { expected: wanted } : {}),
    ...(isVerified ? { trusted: true } : {}),
    sync: "later", // who loads has the archive still, and waits
  });
  return { diffId, digest, mediaType, sizeBytes };
}

async function sizeOf(path: string): Promise<number> {
  const file = await open(path, "r");
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

/** Opens an archive; `scratch` is a folder for what `use` makes, gone afterwards. */
export async function withArchive<Value>(
  { content }: Pick<Tools, "content">,
  { path, isSpent }: { path: string; isSpent: boolean },
  use: (archive: ArchiveFile, scratch: string) => Promise<Value>,
): Promise<Value> {
  return await withScratch(content, async (scratch) => {
    await using archive = await openArchive(path, { scratch, isSpent });
    return await use(archive, scratch);
  });
}

/** A folder on the file system of the content store, gone afterwards. */
export async function withScratch<Value>(
  content: ContentStore,
  use: (scratch: string) => Promise<Value>,
): Promise<Value> {
  const scratch = await content.scratch();
  try {
    return await use(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The file under another name: a link to it, where that can be, for nobody changes it any more. */
export async function takeFile(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!["EXDEV", "EPERM", "EMLINK"].includes(errnoOf(error) ?? "")) {
      throw diskFailure(error, "take", from);
    }
    await copyFile(from, to).catch((cause) => {
      throw diskFailure(cause, "copy", from);
    });
  }
}
