import { assert, Failure, isFailure, KeyedLock, log } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import { type Descriptor, type Digest, digestOf, type ImageConfig } from "../oci/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import type { Records } from "./records.ts";

/** What must stay though no image has it. */
export interface Kept {
  readonly layers: ReadonlySet<Digest>;
  readonly blobs: ReadonlySet<Digest>;
}

const freshMs = 10 * 60_000;

/**
 * The layers and files that images stand on: who needs which, and the removal of those that nobody
 * needs. The tables change first; files go after, and again at the next `collect` if a crash came
 * between.
 */
export class Layers {
  readonly #records: Records;
  readonly #content: ContentStore;
  readonly #snapshots: SnapshotStore;
  readonly #lock = new KeyedLock();
  readonly #pins = new Map<Digest, number>();
  readonly #keepers: (() => Kept)[] = [];
  /** Layers that were here when we came, were an image's, or had no owner at an earlier `collect`. */
  readonly #known: Set<Digest>;
  readonly #openedMs = Date.now();

  constructor(records: Records, content: ContentStore, snapshots: SnapshotStore) {
    this.#records = records;
    this.#content = content;
    this.#snapshots = snapshots;
    this.#known = new Set(snapshots.layers().map(({ diffId }) => diffId));
  }

  /** Asked before each removal. */
  keepAlso(keeper: () => Kept): void {
    this.#keepers.push(keeper);
  }

  /** Keeps layers and files from being removed until it is disposed. */
  pin(digests: Iterable<Digest>): Disposable {
    const pinned = [...digests];
    for (const digest of pinned) this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        for (const digest of pinned) {
          const count = this.#pins.get(digest) ?? 0;
          assert(count > 0, "a pin is taken out once");
          if (count === 1) this.#pins.delete(digest);
          else this.#pins.set(digest, count - 1);
        }
      },
    };
  }

  /** Runs `change`, which gives layers an owner, while nothing is removed. @throws "not_found" */
  async own<Value>(diffIds: readonly Digest[], change: () => Value): Promise<Value> {
    return await this.#lock.run("layers", () => {
      for (const diffId of diffIds) {
        if (this.#snapshots.layer(diffId)) continue;
        throw new Failure("not_found", `Cannot store the image: its layer ${diffId} is absent`);
      }
      return change();
    });
  }

  /** Removes those of the layers that nobody needs; tells the bytes, and which something else holds. */
  async sweep(candidates: Iterable<Digest>): Promise<{ held: Set<Digest>; bytes: number }> {
    return await this.#lock.run("layers", async () => {
      const needed = this.#needed();
      const held = new Set<Digest>();
      let bytes = 0;
      for (const diffId of new Set(candidates)) {
        this.#known.add(diffId);
        const sizeBytes = this.#snapshots.layer(diffId)?.sizeBytes ?? 0;
        const isGone = !needed.layers.has(diffId) && (await this.#removeLayer(diffId));
        if (isGone) bytes += sizeBytes;
        else if (!needed.owned.has(diffId)) held.add(diffId);
        bytes += await this.#sweepBlobs(diffId, needed.blobs, isGone);
      }
      return { held, bytes };
    });
  }

  /** After a load or an import that failed: removes what it brought, and nothing that was here before. */
  async discard(
    images: readonly {
      readonly config: ImageConfig;
      readonly layers: readonly { diffId: Digest; descriptor?: Descriptor; digest?: Digest }[];
    }[],
    before: ReadonlySet<Digest>,
  ): Promise<void> {
    const diffIds = images.flatMap(({ config }) => config.rootfs.diff_ids);
    await this.sweep(diffIds.filter((diffId) => !before.has(diffId)));
    await this.#lock.run("layers", async () => {
      const needed = this.#needed().blobs;
      const known = this.#knownBlobs();
      for (const { diffId, descriptor, digest } of images.flatMap(({ layers }) => layers)) {
        const blob = digest ?? descriptor?.digest ?? diffId;
        if (!needed.has(blob) && !known.has(blob)) await this.#content.remove(blob);
      }
    });
  }

  /** As `ImageStore.collect`. */
  async collect(kept: Kept): Promise<number> {
    const owned = new Set([...this.#records.rows()].flatMap((row) => row.config.rootfs.diff_ids));
    const candidates = new Set<Digest>(this.#records.layersWithBlobs());
    for (const { diffId } of this.#snapshots.layers()) {
      // One that came since may be on its way to its owner: it is looked at again the next time.
      if (this.#known.has(diffId) && !kept.layers.has(diffId)) candidates.add(diffId);
      else if (!owned.has(diffId)) this.#known.add(diffId);
    }
    using _pinned = this.pin([...kept.layers, ...kept.blobs]);
    const { bytes } = await this.sweep(candidates);
    for (const diffId of owned) await this.#restore(diffId);
    return bytes + (await this.#collectBlobs(kept.blobs));
  }

  /** A layer that the snapshot store gave up after a power loss is unpacked again from its file. */
  async #restore(diffId: Digest): Promise<void> {
    if (this.#snapshots.layer(diffId)) return;
    for (const { digest } of this.#records.blobsOf(diffId)) {
      try {
        await this.#snapshots.unpack(this.#content.path(digest), { diffId });
        log("info", "A lost layer was unpacked again", { layer: diffId });
        return;
      } catch (error) {
        log("warn", "A layer's file cannot be unpacked", { layer: diffId, why: error });
      }
    }
    log("error", "A layer is lost: images with it must be loaded or built again", {
      layer: diffId,
    });
  }

  /** As `ImageStore.blobOwners`. */
  blobOwners(): Map<string, string> {
    const owners = new Map<string, string>();
    for (const digest of this.#needed().blobs)
      owners.set(digest, "an image's manifest, or a build");
    for (const digest of this.#knownBlobs()) owners.set(digest, "a layer as it came");
    return owners;
  }

  #needed(): { layers: Set<Digest>; blobs: Set<Digest>; owned: Set<Digest> } {
    const owned = new Set<Digest>();
    const blobs = new Set<Digest>(this.#pins.keys());
    for (const { config, manifestLayers } of this.#records.rows()) {
      for (const diffId of config.rootfs.diff_ids) owned.add(diffId);
      for (const { digest } of manifestLayers) blobs.add(digest);
    }
    const layers = new Set<Digest>([...owned, ...this.#pins.keys()]);
    for (const kept of this.#keepers.map((keeper) => keeper())) {
      for (const diffId of kept.layers) layers.add(diffId);
      for (const digest of kept.blobs) blobs.add(digest);
    }
    return { layers, blobs, owned };
  }

  /** False when a container still stands on it. */
  async #removeLayer(diffId: Digest): Promise<boolean> {
    try {
      await this.#snapshots.removeLayer(diffId);
    } catch (error) {
      if (isFailure(error, "conflict")) return false;
      throw error;
    }
    this.#records.forgetTarSize(diffId);
    return true;
  }

  /** Of a layer that stays, the preferred file stays too: without it there is no tar of the layer. */
  async #sweepBlobs(diffId: Digest, needed: Set<Digest>, isGone: boolean): Promise<number> {
    const [preferred, ...others] = this.#records.blobsOf(diffId);
    if (!preferred) return 0;
    let bytes = 0;
    for (const { digest, sizeBytes } of isGone ? [preferred, ...others] : others) {
      if (needed.has(digest)) continue;
      await this.#content.remove(digest);
      this.#records.forgetBlob(diffId, digest);
      bytes += sizeBytes;
    }
    return bytes;
  }

  #knownBlobs(): Set<Digest> {
    const diffIds = [...this.#records.layersWithBlobs()];
    return new Set(diffIds.flatMap((id) => this.#records.blobsOf(id).map(({ digest }) => digest)));
  }

  /** Files that no row knows: a crash came between their arrival and their image's. */
  async #collectBlobs(kept: ReadonlySet<Digest>): Promise<number> {
    const known = this.#knownBlobs();
    const needed = this.#needed().blobs;
    const beforeMs = Date.now() - freshMs;
    let bytes = 0;
    for await (const { digest, sizeBytes, modifiedMs } of this.#content.list()) {
      const isFresh = modifiedMs > beforeMs && modifiedMs > this.#openedMs; // somebody may be on the way with it
      if (isFresh || known.has(digest) || kept.has(digest) || needed.has(digest)) continue;
      await this.#content.remove(digest);
      bytes += sizeBytes;
    }
    return bytes;
  }
}

/** The chain IDs of a stack of layers, lowest first: what Docker calls a layer. */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
  }
  return chain;
}
