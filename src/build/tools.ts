import { randomBytes } from "node:crypto";
import { Failure, type Gate } from "../base/mod.ts";
import type { Image, ImageStore, Report } from "../image/mod.ts";
import type { NetworkStore } from "../network/mod.ts";
import type { Digest, Platform } from "../oci/mod.ts";
import type { Remap, Runtime } from "../runtime/mod.ts";
import type { Layer, SnapshotStore } from "../snapshot/mod.ts";
import type { OwnerMap } from "../sys/mod.ts";
import type { StepCache } from "./cache.ts";
import type { Flights } from "./flight.ts";
import type { Folders } from "./folders.ts";
import type { StepRecords } from "./records.ts";
import { cancelled, type TreePool } from "./tree-pool.ts";
import type { RegistryLogin } from "./types.ts";

/** Fetches an image that is not here. */
export type Pull = (
  reference: string,
  platform: Platform,
  options: {
    readonly registries: Readonly<Record<string, RegistryLogin>>;
    readonly report: Report;
    readonly signal: AbortSignal;
  },
) => Promise<Image>;

/** What every build of one daemon works with. */
export interface Tools {
  readonly directory: string;
  readonly databasePath: string;
  readonly images: ImageStore;
  readonly snapshots: SnapshotStore;
  readonly runtime: Runtime;
  readonly networks: NetworkStore;
  /** The users of RUN's processes; undefined: the host's. */
  readonly remap: () => Promise<Remap | undefined>;
  readonly pull: Pull | undefined;
  readonly cache: StepCache;
  readonly records: StepRecords;
  readonly folders: Folders;
  readonly flights: Flights<LayerStep>;
  readonly trees: TreePool;
  /** Steps that are carried out at a time, of all builds. */
  readonly gate: Gate;
  /** Told of each new layer of the cache. */
  readonly grew: (sizeBytes: number) => void;
  readonly pins: Pins;
}

/** What a step that may change files came to. */
export interface LayerStep {
  readonly key: Digest;
  readonly layer: Digest | undefined;
  readonly createdMs: number;
}

/** Layers that running builds need: not to be pruned, though no image has them yet. */
export class Pins {
  readonly #counts = new Map<Digest, number>();

  add(layers: readonly Digest[]): void {
    for (const layer of layers) this.#counts.set(layer, (this.#counts.get(layer) ?? 0) + 1);
  }

  release(layers: readonly Digest[]): void {
    for (const layer of layers) {
      const left = (this.#counts.get(layer) ?? 1) - 1;
      if (left > 0) this.#counts.set(layer, left);
      else this.#counts.delete(layer);
    }
  }

  has(layer: Digest): boolean {
    return this.#counts.has(layer);
  }

  all(): ReadonlySet<Digest> {
    return new Set(this.#counts.keys());
  }
}

/** A snapshot of a build, mounted; gone with its scope. */
export interface Scratch extends AsyncDisposable {
  readonly key: string;
  readonly root: string;
  /** Where in it the folder is that was brought along. */
  readonly brought?: string;
}

export interface ScratchOptions {
  readonly id?: string;
  /** A folder to be moved in, if it can be. */
  readonly bring?: string | undefined;
  /** Whose files they shall be, as the mount shows them. */
  readonly owners?: OwnerMap | undefined;
}

/** Mounts a new snapshot above `layers`, for one step. */
export async function openScratch(
  { snapshots }: Pick<Tools, "snapshots">,
  layers: readonly Digest[],
  { id = newId(), bring, owners }: ScratchOptions = {},
): Promise<Scratch> {
  const key = `build-${id}`;
  await snapshots.prepare(key, layers, { volatile: true });
  const dispose = () => snapshots.remove(key);
  try {
    const name = `.${newId()}`;
    const isIn = bring !== undefined && (await snapshots.bring(key, bring, name));
    const root = await snapshots.mount(key, owners);
    const brought = isIn ? { brought: `${root}/${name}` } : {};
    return { key, root, ...brought, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Turns what a step wrote into a layer, its times as the stage has them. Ends the scratch. */
export async function commitStep(
  { snapshots }: Pick<Tools, "snapshots">,
  scratch: Scratch,
  { timeMax, mountPoints = [] }: { timeMax: number | undefined; mountPoints?: readonly string[] },
): Promise<Layer> {
  const clamped = timeMax === undefined ? {} : { timeMax };
  return await snapshots.commit(scratch.key, { how: "move", mountPoints, ...clamped });
}

/** 64 hexadecimal digits, as a container's. */
export function newId(): string {
  return randomBytes(32).toString("hex");
}

/** @throws Failure "unavailable" when the client has gone */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw signal.reason instanceof Failure ? signal.reason : cancelled();
}
