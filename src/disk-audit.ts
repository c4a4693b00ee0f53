/**
 * Who owns each byte of the data root. The disk is walked on another thread; what is found there and has
 * no owner in the tables is an orphan, which `repair` removes while the engine runs.
 */
import { renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { Failure, log } from "./base/mod.ts";
import type { Builder } from "./build/mod.ts";
import type { UnitKind } from "./disk-units.ts";
import type { Measured } from "./disk-walk.ts";
import type { Engine } from "./engine/mod.ts";
import type { ImageStore } from "./image/mod.ts";
import type { SnapshotStore } from "./snapshot/mod.ts";
import { listMounts, unmountNow } from "./sys/mod.ts";
import type { VolumeStore } from "./volume/mod.ts";

export interface DiskStores {
  readonly dataRoot: string;
  readonly engine: Engine;
  readonly images: ImageStore;
  readonly snapshots: SnapshotStore;
  readonly volumes: VolumeStore;
  readonly builder: Builder;
}

/** A unit with its owner; undefined is nobody. */
export interface OwnedUnit extends Measured {
  readonly kind: UnitKind;
  readonly owner: string | undefined;
}

type Owner = { readonly kind: UnitKind; readonly owner: string | undefined };

const walkMsMax = 30 * 60_000;
/** What is made before its row stays without an owner for less than this. */
const settleMs = 1_500;
/** Half-made things that nobody has touched for so long are nobody's. */
const staleMs = 24 * 3_600_000;

/** Every unit of the data root. Their bytes together are what `du -sx` tells. */
export async function auditDisk(stores: DiskStores): Promise<OwnedUnit[]> {
  const measured = await measure(stores.dataRoot);
  const ownerOf = await owners(stores);
  return measured.map((unit) => ({ ...unit, ...ownerOf(unit) }));
}

/**
 * What nothing owns, seen twice. With `repair` it is removed: `repaired` says what is gone.
 * @throws Failure "timeout" — the disk is too slow to be walked
 */
export async function checkDisk(
  stores: DiskStores,
  { repair }: { readonly repair: boolean },
): Promise<{ orphans: (OwnedUnit & { repaired: boolean })[]; collectedBytes: number }> {
  // Layers and blobs that tables know but no image, container or build needs.
  const collectedBytes = repair
    ? await stores.images.collect({ layers: new Set(), blobs: new Set() })
    : 0;
  const first = (await auditDisk(stores)).filter(({ owner }) => owner === undefined);
  if (first.length === 0) return { orphans: [], collectedBytes };
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const ownerOf = await owners(stores);
  const orphans = first.filter((unit) => ownerOf(unit).owner === undefined);
  const checked = [];
  for (const orphan of orphans) {
    checked.push({ ...orphan, repaired: repair && (await free(stores.dataRoot, orphan.path)) });
  }
  return { orphans: checked, collectedBytes };
}

/** Takes a unit out of its place at once, unmounts what is in it, and removes it. */
async function free(dataRoot: string, path: string): Promise<boolean> {
  const from = `${dataRoot}/${path}`;
  const to = `${dataRoot}/snapshot/trash/fsck-${process.pid}-${path.replaceAll("/", "-").slice(-180)}`;
  try {
    const inside = listMounts().filter(({ target }) => `${target}/`.startsWith(`${from}/`));
    for (const { target } of inside.reverse()) unmountNow(target, { detach: true });
    renameSync(from, to);
    await rm(to, { recursive: true, force: true });
    log("info", "Removed what nothing owns", { path: from });
    return true;
  } catch (error) {
    log("warn", "Cannot remove what nothing owns", { path: from, error });
    return false;
  }
}

function measure(root: string): Promise<Measured[]> {
  const worker = new Worker(new URL("./disk-walk.ts", import.meta.url), { smol: true });
  return new Promise<Measured[]>((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Failure("timeout", `Cannot measure ${root}: it takes over 30 minutes`));
    }, walkMsMax);
    late.unref();
    worker.onmessage = ({ data }: MessageEvent<Measured[]>) => resolve(data);
    worker.onerror = ({ message }) =>
      reject(new Failure("internal", `Cannot measure ${root}: ${message}`));
    worker.postMessage({ measure: root });
  }).finally(() => worker.terminate());
}

/** Asks each store what is its own, now. */
async function owners(stores: DiskStores): Promise<(unit: Measured) => Owner> {
  const { engine, images, snapshots, volumes, builder } = stores;
  const containers = new Map(engine.list().map(({ id, name }) => [id, `container ${name}`]));
  const imageOf = new Map<string, string>();
  for (const image of images.list()) {
    const name = `image ${image.tags[0] ?? image.id.slice(7, 19)}`;
    for (const diffId of image.config.rootfs.diff_ids) {
      if (!imageOf.has(diffId)) imageOf.set(diffId, name);
    }
  }
  const inSnapshots = snapshots.places();
  const blobs = images.blobOwners();
  const volumeNames = new Set(volumes.names());
  const folders = builder.folders();
  const layer = (name: string): Owner => {
    if (name === "_") return { kind: "engine", owner: "what lies below all" };
    const diffId = inSnapshots.layers.get(name);
    const image = diffId && imageOf.get(diffId);
    if (image) return { kind: "image", owner: image };
    return { kind: "build cache", owner: diffId && "a build step, or an image on its way" };
  };
  const snapshot = (name: string): Owner => {
    const key = inSnapshots.snapshots.get(name);
    const container = key && containers.get(key);
    if (container) return { kind: "container", owner: container };
    return { kind: "build cache", owner: key && "a build that runs" };
  };
  return ({ path, modifiedMs, changedMs }) => {
    const [first = "", second = "", name = "", last = ""] = path.split("/");
    const passing = (what: string, sinceMs = changedMs): Owner => ({
      kind: "engine",
      owner: sinceMs < Date.now() - staleMs ? undefined : what,
    });
    if (name === "") return top(first, second, volumeNames);
    switch (`${first}/${second}`) {
      case "snapshot/layers":
        return layer(name);
      case "snapshot/snapshots":
        return snapshot(name);
      case "snapshot/trash":
      case "volume/.trash":
        return { kind: "engine", owner: "what is being removed" };
      case "snapshot/ingest":
      case "content/ingest":
        return passing("a transfer that runs");
      case "content/blobs":
        if (last === "") return { kind: "engine", owner: "the engine" };
        return {
          kind: "image",
          owner: blobs.get(`${name}:${last}`) ?? passing("a transfer that runs", modifiedMs).owner,
        };
      case "engine/logs":
        return { kind: "container", owner: containers.get(name) };
      case "image/partial":
        return { kind: "image", owner: "a pull that broke, and can go on" };
      case "build/folders":
        return {
          kind: "build cache",
          owner: folders.has(name) ? "RUN --mount=type=cache" : undefined,
        };
      case "build/work":
        return { ...passing("a build that runs"), kind: "build cache" };
      default:
        return { kind: "engine", owner: "the engine" };
    }
  };
}

function top(first: string, second: string, volumes: ReadonlySet<string>): Owner {
  if (first === "volume" && second !== "" && second !== ".trash") {
    return { kind: "volume", owner: volumes.has(second) ? `volume ${second}` : undefined };
  }
  if (first === "registry") return { kind: "engine", owner: "the registry beside the engine" };
  const isDatabase = first.startsWith("lading.db");
  return { kind: "engine", owner: isDatabase ? "the database" : "the engine" };
}
