import type { Database } from "bun:sqlite";
import { decompress } from "../archive/mod.ts";
import { isFailure, log } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import {
  type Digest,
  digestOf,
  formatImageConfig,
  type HistoryEntry,
  hostPlatform,
  type ImageConfig,
  isDigest,
  type Platform,
  type RunConfig,
} from "../oci/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import { planArchive } from "./archive-plan.ts";
import { findImage, newName, noSuchImage } from "./find.ts";
import { historyOf, tagsOf } from "./history.ts";
import type { Inner } from "./inner.ts";
import { type Kept, Layers } from "./layers.ts";
import {
  fetchLayers,
  type Loaded,
  type LoadOptions,
  sniffFile,
  storeLayer,
  type Tools,
  takeFile,
  withArchive,
  withScratch,
} from "./load.ts";
import type { PlannedImage } from "./planned.ts";
import { choosePrunable, isNeeded } from "./prune.ts";
import { familiar, type ImageRow, isCanonical, type LayerBlob, Records } from "./records.ts";
import { planRemoval, type RemovalPlan, type Users } from "./remove.ts";
import { chooseSaved, layerFile, type SavedImage, saveImages } from "./save.ts";
import type { HistoryRow, Image, ImageStore, LayerFile, Removal, Report } from "./types.ts";

interface Parts {
  readonly database: Database;
  readonly content: ContentStore;
  readonly snapshots: SnapshotStore;
}

/** Opens the store: its tables are made when absent. What a crash left is for `collect`. */
export async function openImageStore(parts: Parts): Promise<ImageStore> {
  return openSqliteStore(parts);
}

/** The same, for the rest of this folder. */
export function openSqliteStore({ database, ...stores }: Parts): SqliteImageStore {
  return new SqliteImageStore({ records: new Records(database), ...stores });
}

type Listener = (action: string, id: Digest, name: string) => void;

export class SqliteImageStore implements ImageStore {
  readonly #tools: Tools;
  readonly #records: Records;
  readonly #layers: Layers;
  readonly #listeners: Listener[] = [];
  /** Image objects by row, so that a list of many is made once. */
  readonly #made = new Map<Digest, Image>();

  constructor(tools: Tools) {
    this.#tools = tools;
    this.#records = tools.records;
    this.#layers = new Layers(tools.records, tools.content, tools.snapshots);
  }

  onEvent(listener: Listener): void {
    this.#listeners.push(listener);
  }

  keepAlso(keeper: () => Kept): void {
    this.#layers.keepAlso(keeper);
  }

  /** What pull and push work with. */
  inner(): Inner {
    return {
      ...this.#tools,
      layers: this.#layers,
      get: (id) => this.#get(id),
      insert: async (image, blobs) => {
        await this.#layers.own(image.diffIds, () => {
          const { names } = image;
          this.#rename(() => this.#records.insert([image], blobs), names);
          if (image.replaces) this.#records.replaceManifest(image.id, image.manifest);
        });
        this.#made.delete(image.id);
        return this.#get(image.id);
      },
      name: (id, name) => {
        if (!this.#records.row(id)) return;
        this.#rename(() => this.#records.name(name, id), [name]);
      },
      tell: (action, id, name) => this.#tell(action, id, name),
    };
  }

  list(): readonly Image[] {
    return [...this.#records.rows()].map((row) => this.#image(row));
  }

  resolve(reference: string): Image {
    return this.#get(findImage(this.#records, reference));
  }

  find(reference: string): Image | undefined {
    try {
      return this.resolve(reference);
    } catch (error) {
      if (isFailure(error, "not_found") || isFailure(error, "invalid")) return undefined;
      throw error;
    }
  }

  tag(id: Digest, reference: string): void {
    const name = newName(reference);
    this.#get(id);
    this.#rename(() => this.#records.name(name, id), [name]);
    this.#tell("tag", id, familiar(name));
  }

  history(id: Digest): readonly HistoryRow[] {
    return historyOf(this.#records, this.#tools.snapshots, this.#get(id).id);
  }

  async add(
    config: ImageConfig,
    options: { tags?: readonly string[]; parent?: Digest } = {},
  ): Promise<Image> {
    const { tags = [], parent } = options;
    return await this.#insert(config, { names: tags.map(newName), parent });
  }

  async commit(options: Parameters<ImageStore["commit"]>[0]): Promise<Image> {
    const { parent, layer, reference } = options;
    const { author, comment, createdBy } = options;
    const below = parent?.config;
    const step = { created: now(), author, created_by: createdBy, comment };
    const config: ImageConfig = {
      ...(below ?? hostPlatform()),
      created: step.created,
      ...(author ? { author } : {}),
      config: options.config,
      history: [...(below?.history ?? []), entryOf(step)],
      rootfs: { type: "layers", diff_ids: [...(below?.rootfs.diff_ids ?? []), layer] },
    };
    const names = reference ? [newName(reference)] : [];
    return await this.#insert(config, { names, parent: parent?.id });
  }

  async load(
    archivePath: string,
    options: LoadOptions,
  ): Promise<{ image: Image; tags: readonly string[] }[]> {
    const source = { path: archivePath, isSpent: options.isSpent ?? false };
    return await withArchive(this.#tools, source, async (archive, scratch) => {
      const images = await planArchive(archive, options.platform);
      const before = new Set(this.#tools.snapshots.layers().map(({ diffId }) => diffId));
      const diffIds = images.flatMap(({ config }) => config.rootfs.diff_ids);
      const pin = this.#layers.pin([...diffIds, ...images.flatMap(digestsOf)]);
      let isStored = false;
      try {
        const from = { archive, images, scratch };
        const loaded = await fetchLayers(this.#tools, from, options);
        await this.#store(loaded, options.report);
        isStored = true;
      } finally {
        pin[Symbol.dispose]();
        // Of a load that failed nothing stays: layers that were here before are others' to remove.
        if (!isStored) await this.#layers.discard(images, before);
      }
      return images.map(({ id, names }) => {
        this.#tell("load", id, id);
        return { image: this.#get(id), tags: names.map(familiar).sort() };
      });
    });
  }

  async #store({ images, blobs }: Loaded, report: Report): Promise<void> {
    const rows = images.map((image) => ({ ...image, config: image.configBytes }));
    const diffIds = images.flatMap(({ config }) => config.rootfs.diff_ids);
    await this.#layers.own(diffIds, () => {
      const names = images.flatMap((image) => image.names);
      for (const { id, names: own } of images) this.#tellMoved(own, id, report);
      this.#rename(() => this.#records.insert(rows, blobs), names);
    });
    for (const { id } of images) this.#made.delete(id);
  }

  #tellMoved(names: readonly string[], id: Digest, report: Report): void {
    for (const name of names) {
      const old = this.#records.byName(name);
      if (old === undefined || old === id) continue;
      const what = `The image ${familiar(name)} already exists, renaming the old one with ID ${old}`;
      report({ stream: `${what} to empty string\n` });
    }
  }

  async *save(
    references: readonly string[],
    options: { platform?: Platform } = {},
  ): AsyncGenerator<Uint8Array, void> {
    const images = chooseSaved(this.#tools, references, options.platform);
    const pin = this.#layers.pin(images.flatMap((image) => this.#digestsSaved(image)));
    try {
      yield* saveImages(this.#tools, images);
      for (const { id } of images) this.#tell("save", id, id);
    } finally {
      pin[Symbol.dispose]();
      // An image that was removed meanwhile left its layers to us.
      const gone = images.filter(({ id }) => !this.#records.row(id));
      await this.#layers.sweep(gone.flatMap(({ diffIds }) => diffIds));
    }
  }

  async layerFile(diffId: Digest): Promise<LayerFile> {
    const { mediaType, blob } = await layerFile(this.#tools, diffId);
    return { mediaType, ...blob };
  }

  async *layerTar(diffId: Digest): AsyncGenerator<Uint8Array, void> {
    yield* decompress((await this.layerFile(diffId)).read());
  }

  #digestsSaved({ id, diffIds }: SavedImage): Digest[] {
    const manifest = this.#records.row(id)?.manifestLayers ?? [];
    return [...diffIds, ...manifest.map(({ digest }) => digest)];
  }

  async import(
    archivePath: string,
    options: {
      reference?: string;
      changes: RunConfig;
      message: string;
      platform: Platform;
    },
  ): Promise<Image> {
    const names = options.reference ? [newName(options.reference)] : [];
    const { content, snapshots } = this.#tools;
    const before = new Set(snapshots.layers().map(({ diffId }) => diffId));
    const how = await sniffFile(archivePath);
    const blob = await withScratch(content, async (scratch) => {
      const path = `${scratch}/layer`;
      await takeFile(archivePath, path);
      return await storeLayer(this.#tools, { path, how, unpack: true });
    });
    const created = now();
    const comment = options.message || "Imported from -";
    const config: ImageConfig = {
      ...options.platform,
      created,
      config: options.changes,
      history: [{ created, comment }],
      rootfs: { type: "layers", diff_ids: [blob.diffId] },
    };
    let image: Image;
    try {
      image = await this.#insert(config, { names, blobs: [blob] });
    } catch (error) {
      await this.#layers.discard([{ layers: [blob], config }], before);
      throw error;
    }
    this.#tell("import", image.id, options.reference ? familiar(names[0]!) : image.id);
    return image;
  }

  async #insert(
    config: ImageConfig,
    from: {
      names: readonly string[];
      parent?: Digest | undefined;
      blobs?: readonly LayerBlob[];
    },
  ): Promise<Image> {
    const bytes = formatImageConfig(config);
    const id = digestOf(bytes);
    const { names, parent, blobs = [] } = from;
    await this.#layers.own(config.rootfs.diff_ids, () => {
      const row = { id, config: bytes, names, parent: parent === id ? undefined : parent };
      this.#rename(() => this.#records.insert([row], blobs), names);
    });
    this.#made.delete(id);
    for (const name of names) this.#tell("tag", id, familiar(name));
    return this.#get(id);
  }

  async remove(
    reference: string,
    options: { force: boolean; noPrune: boolean; users: Users },
  ): Promise<Removal[]> {
    return (await this.#carryOut(planRemoval(this.#records, reference, options))).removals;
  }

  async prune(options: {
    all: boolean;
    isDry?: boolean;
    filters: ReadonlyMap<string, readonly string[]>;
    users: Users;
  }): Promise<{ removed: Removal[]; reclaimedBytes: number }> {
    const removed: Removal[] = [];
    let reclaimedBytes = 0;
    const how = { force: false, noPrune: false, users: options.users };
    for (const { id, reference } of choosePrunable(this.#records, options)) {
      if (!this.#records.row(id)) continue; // gone with its child
      let plan: RemovalPlan;
      try {
        plan = planRemoval(this.#records, reference, how);
      } catch (error) {
        if (isNeeded(error)) continue;
        throw error;
      }
      if (options.isDry) {
        removed.push(reference === id ? { deleted: id } : { untagged: reference });
        continue;
      }
      const { removals, bytes } = await this.#carryOut(plan);
      removed.push(...removals);
      reclaimedBytes += bytes;
    }
    return { removed, reclaimedBytes };
  }

  async #carryOut(plan: RemovalPlan): Promise<{ removals: Removal[]; bytes: number }> {
    const { names, ids, lines } = plan;
    const diffIds = ids.flatMap((id) => this.#records.row(id)?.config.rootfs.diff_ids ?? []);
    for (const line of lines) {
      // While it is there to be asked for its labels; nobody hears of it before it is gone.
      if (!("untagged" in line)) continue;
      this.#tell("untag", line.id, line.id);
      this.#made.delete(line.id);
    }
    this.#records.remove(names, ids);
    for (const id of ids) this.#made.delete(id);
    for (const line of lines) {
      if (!("untagged" in line) && !line.layer) this.#tell("delete", line.deleted, line.deleted);
    }
    const { bytes, held } = await this.#layers.sweep(diffIds);
    const removals = lines.flatMap((line): Removal[] => {
      if ("untagged" in line) return [{ untagged: line.untagged }];
      return line.layer && held.has(line.layer) ? [] : [{ deleted: line.deleted }];
    });
    return { removals, bytes };
  }

  blobOwners(): ReadonlyMap<string, string> {
    return this.#layers.blobOwners();
  }

  async collect(keep: {
    layers: ReadonlySet<Digest>;
    blobs: ReadonlySet<Digest>;
  }): Promise<number> {
    const bytes = await this.#layers.collect(keep);
    this.#made.clear(); // a layer may be back, and with it the size
    return bytes;
  }

  /** Runs a change that gives names, after which those that lost one are made anew. */
  #rename(change: () => void, names: readonly string[]): void {
    for (const name of names) {
      const id = this.#records.byName(name);
      if (id) this.#made.delete(id);
    }
    change();
    for (const name of names) {
      const id = this.#records.byName(name);
      if (id) this.#made.delete(id);
    }
  }

  #get(id: Digest): Image {
    const row = this.#records.row(id);
    if (!row) throw noSuchImage(id);
    return this.#image(row);
  }

  #image(row: ImageRow): Image {
    const known = this.#made.get(row.id);
    if (known) return known;
    const { id, config, taggedMs, parent, manifest } = row;
    const { snapshots } = this.#tools;
    const sizes = config.rootfs.diff_ids.map((diffId) => snapshots.layer(diffId)?.sizeBytes ?? 0);
    const names = this.#records.namesOf(id);
    const image: Image = {
      id,
      config,
      tags: tagsOf(this.#records, id),
      repoDigests: names.filter(isCanonical).map(familiar).sort(),
      sizeBytes: sizes.reduce((sum, size) => sum + size, 0),
      lastTaggedMs: taggedMs,
      ...(parent ? { parent } : {}),
      ...(manifest ? { manifest } : {}),
    };
    this.#made.set(id, image);
    return image;
  }

  #tell(action: string, id: Digest, name: string): void {
    for (const listener of this.#listeners) {
      try {
        listener(action, id, name);
      } catch (error) {
        log("error", "A listener of image events failed", { action, why: error });
      }
    }
  }
}

const now = () => new Date().toISOString();

function entryOf(step: Record<string, string>): HistoryEntry {
  return Object.fromEntries(Object.entries(step).filter(([, value]) => value !== ""));
}

/** The layers and the files of layers that an image in an archive brings. */
function digestsOf({ layers }: PlannedImage): Digest[] {
  return layers.flatMap(({ diffId, descriptor }) =>
    descriptor && isDigest(descriptor.digest) ? [diffId, descriptor.digest] : [diffId],
  );
}
