import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { Failure, KeyedLock, log } from "../base/mod.ts";
import { type Digest, parseDigest } from "../oci/mod.ts";
import { diskFailure, run } from "../sys/mod.ts";
import type { Layout } from "./layout.ts";
import type { LayerRow, Rows } from "./rows.ts";
import { packTar } from "./tar.ts";
import type { Trash } from "./trash.ts";
import type { GrowingFile, Layer, UnpackGrowing, UnpackOptions } from "./types.ts";
import { runInWorker } from "./workers.ts";

const settleAfterMs = 2_000;
const settleTimeoutMs = 600_000;

/** The committed layers: each a directory that appears by a rename once it is whole. */
export class Layers {
  readonly #layout: Layout;
  readonly #rows: Rows;
  readonly #trash: Trash;
  readonly #lock = new KeyedLock();
  readonly #boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  #settling: NodeJS.Timeout | undefined;

  constructor(layout: Layout, rows: Rows, trash: Trash) {
    this.#layout = layout;
    this.#rows = rows;
    this.#trash = trash;
    if (this.unsettled().some(({ boot }) => boot === this.#boot)) this.#settleSoon();
  }

  async unpack(path: string, options: UnpackOptions): Promise<Layer> {
    const { diffId } = options;
    if (!diffId) return await this.#unpack(path, options);
    return await this.#lock.run(diffId, async () => {
      return this.#rows.layers.get(diffId) ?? (await this.#unpack(path, options));
    });
  }

  /** Takes no lock: a registry that sends slowly must not hold up another that has the layer too. */
  async unpackGrowing(file: GrowingFile, options: UnpackGrowing): Promise<Layer> {
    return await this.#unpack(file.path, { ...options, file });
  }

  async #unpack(
    path: string,
    { diffId, signal, hash = "beside", file }: UnpackOptions & { readonly file?: GrowingFile },
  ): Promise<Layer> {
    const root = this.makeIngest();
    try {
      const rules = { whiteouts: "overlay", devices: true, setRoot: true } as const;
      const growing = file?.growth.words;
      const job = { kind: "unpack", path, growing, root, rules, bounds: {}, hash } as const;
      const found = await runInWorker(job, { signal, growth: file?.growth });
      await file?.whole;
      const digest = parseDigest(found.digest);
      if (diffId && digest !== diffId) {
        throw new Failure("corrupt", `Cannot unpack layer ${diffId}: its tar hashes to ${digest}`);
      }
      const { sizeBytes, hasRoot } = found;
      return this.publish(root, { diffId: digest, sizeBytes, hasRoot, origin: "archive" });
    } finally {
      await this.#trash.take(root);
    }
  }

  /** A new empty directory for what is not whole yet: mode 0755, as the root of a container. */
  makeIngest(): string {
    const path = `${this.#layout.ingest}/${this.#rows.nextId().toString(36)}`;
    try {
      mkdirSync(path);
      chmodSync(path, 0o755);
    } catch (error) {
      throw diskFailure(error, "create", path);
    }
    return path;
  }

  /**
   * Makes a whole directory a layer, by rename. A layer that is there already stays, and the directory
   * is the caller's to remove. `remember` writes the row, with whatever must change along with it.
   */
  publish(
    directory: string,
    found: Layer & { readonly hasRoot: boolean; readonly timeMax?: number | undefined },
    remember: (layer: LayerRow) => void = (layer) => this.#rows.addLayer(layer),
  ): Layer {
    const known = this.#rows.layers.get(found.diffId);
    if (known) return known;
    const { diffId, sizeBytes, origin, hasRoot, timeMax } = found;
    const id = this.#rows.nextId();
    const layer = { id, diffId, sizeBytes, origin, hasRoot, timeMax, boot: this.#boot };
    try {
      renameSync(directory, this.#layout.layer(id));
      try {
        remember(layer);
      } catch (error) {
        renameSync(this.#layout.layer(id), directory); // no row, no layer
        throw error;
      }
    } catch (error) {
      throw diskFailure(error, "store layer", diffId);
    }
    this.#settleSoon();
    return layer;
  }

  tar(diffId: Digest): AsyncIterable<Uint8Array> {
    const layer = this.#rows.layers.get(diffId);
    if (layer?.origin !== "snapshot") {
      const why = layer ? "it came as an archive, which is a blob" : "it is absent";
      throw new Failure("not_found", `Cannot make the tar of layer ${diffId}: ${why}`);
    }
    const { timeMax, hasRoot } = layer;
    return packTar(this.#layout.layer(layer.id), {
      whiteouts: true,
      withRoot: hasRoot,
      ...(timeMax === undefined ? {} : { timeMax }),
    });
  }

  async remove(diffId: Digest): Promise<void> {
    const layer = this.#rows.layers.get(diffId);
    if (!layer) return;
    const [key] = this.#rows.standingOn(diffId);
    if (key !== undefined) {
      throw new Failure("conflict", `Cannot remove layer ${diffId}: "${key}" stands on it`);
    }
    this.#rows.removeLayer(diffId);
    await this.#trash.take(this.#layout.layer(layer.id));
  }

  /** The layers whose files may not be on the disk yet. */
  unsettled(): LayerRow[] {
    return [...this.#rows.layers.values()].filter(({ boot }) => boot !== undefined);
  }

  /** The layers that an earlier boot of the machine may have cut short. */
  doubtful(): LayerRow[] {
    return this.unsettled().filter(({ boot }) => boot !== this.#boot);
  }

  /** Syncs in the background, once for all the layers that come within a moment. */
  #settleSoon(): void {
    if (this.#settling) return;
    this.#settling = setTimeout(() => {
      this.#settle().catch((error) => log("warn", "layers could not be synced", { why: error }));
    }, settleAfterMs);
    this.#settling.unref();
  }

  async #settle(): Promise<void> {
    this.#settling = undefined;
    if (!existsSync(this.#layout.layers)) return; // the whole store was removed: nothing to keep
    const layers = this.unsettled().filter(({ boot }) => boot === this.#boot);
    await run(["sync", "--file-system", this.#layout.layers], { timeoutMs: settleTimeoutMs });
    this.#rows.settle(layers.map(({ diffId }) => diffId));
  }
}
