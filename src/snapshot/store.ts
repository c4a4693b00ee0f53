import type { Database } from "bun:sqlite";
import { chmodSync, chownSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { assert, Failure, KeyedLock, limits, log } from "../base/mod.ts";
import { type Digest, parseDigest } from "../oci/mod.ts";
import { atCwd, diskFailure, type OwnerMap, statAt } from "../sys/mod.ts";
import type { Change } from "./changes.ts";
import { Layers } from "./layers.ts";
import { Layout, type SnapshotPaths } from "./layout.ts";
import { Mounts } from "./mounts.ts";
import { Rows, type SnapshotRow } from "./rows.ts";
import { unpackTar } from "./tar.ts";
import { Trash } from "./trash.ts";
import type {
  CommitOptions,
  FillOptions,
  GrowingFile,
  Layer,
  SnapshotFolders,
  SnapshotStore,
  UnpackGrowing,
  UnpackOptions,
} from "./types.ts";
import { runInWorker } from "./workers.ts";

/**
 * Opens the store in `directory`, which is made when absent, with its tables in `database`. What an
 * earlier process left half done is removed; what it had mounted is known again.
 */
export async function openSnapshotStore({
  directory,
  database,
}: {
  directory: string;
  database: Database;
}): Promise<SnapshotStore> {
  const layout = new Layout(directory);
  layout.make();
  const rows = new Rows(database);
  const mounts = new Mounts(directory);
  const trash = new Trash(layout.trash);
  const done = await removeLeftovers(layout, rows, { mounts, trash });
  return new OverlayStore(layout, rows, { mounts, trash, done });
}

interface Parts {
  readonly mounts: Mounts;
  readonly trash: Trash;
}

/** Removes the directories that no row speaks of: a crash came before the row, or after its end. */
async function removeLeftovers(layout: Layout, rows: Rows, parts: Parts): Promise<string[]> {
  const { mounts, trash } = parts;
  const done: string[] = [];
  for (const name of readdirSync(layout.ingest)) {
    await trash.take(`${layout.ingest}/${name}`);
    done.push(`removed a half-made layer (${name})`);
  }
  for (const name of readdirSync(layout.roots)) layout.close(`${layout.roots}/${name}`);
  const layers = new Set([...rows.layers.values()].map(({ id }) => id));
  const snapshots = new Set([...rows.snapshots.values()].map(({ id }) => id));
  for (const id of layout.present("layers")) {
    rows.reserve(id);
    if (layers.has(id)) continue;
    await trash.take(layout.layer(id));
    done.push(`removed the files of a layer without an entry (${id})`);
  }
  for (const id of layout.present("snapshots")) {
    rows.reserve(id);
    const { folder, root, shown, lower } = layout.snapshot(id);
    await mounts.unmount(lower, { isVolatile: true });
    if (snapshots.has(id)) continue;
    for (const path of [root, shown]) await mounts.unmount(path, { isVolatile: false });
    await trash.take(folder);
    done.push(`removed the files of a snapshot without an entry (${id})`);
  }
  return done;
}

class OverlayStore implements SnapshotStore {
  readonly #layout: Layout;
  readonly #rows: Rows;
  readonly #mounts: Mounts;
  readonly #trash: Trash;
  readonly #layers: Layers;
  readonly #lock = new KeyedLock();
  #done: string[];

  constructor(layout: Layout, rows: Rows, parts: Parts & { done: string[] }) {
    this.#layout = layout;
    this.#rows = rows;
    this.#mounts = parts.mounts;
    this.#trash = parts.trash;
    this.#done = parts.done;
    this.#layers = new Layers(layout, rows, parts.trash);
  }

  layer(diffId: Digest): Layer | undefined {
    return this.#rows.layers.get(diffId);
  }

  layers(): readonly Layer[] {
    return [...this.#rows.layers.values()];
  }

  async unpack(path: string, options: UnpackOptions): Promise<Layer> {
    return await this.#layers.unpack(path, options);
  }

  async unpackGrowing(file: GrowingFile, options: UnpackGrowing): Promise<Layer> {
    return await this.#layers.unpackGrowing(file, options);
  }

  layerTar(diffId: Digest): AsyncIterable<Uint8Array> {
    return this.#layers.tar(diffId);
  }

  async removeLayer(diffId: Digest): Promise<void> {
    await this.#layers.remove(diffId);
  }

  has(key: string): boolean {
    return this.#rows.snapshots.has(key);
  }

  folders(key: string): SnapshotFolders | undefined {
    const snapshot = this.#rows.snapshots.get(key);
    if (!snapshot) return undefined;
    const { files: upper, work } = this.#layout.snapshot(snapshot.id);
    const lower = this.#lowers(snapshot).map((name) => `${this.#layout.layers}/${name}`);
    return { lower, upper, work, merged: this.#mountOf(snapshot) };
  }

  layerFolder(diffId: Digest): string | undefined {
    const layer = this.#rows.layers.get(diffId);
    return layer && this.#layout.layer(layer.id);
  }

  keys(): readonly string[] {
    return [...this.#rows.snapshots.keys()];
  }

  places() {
    const { layers, snapshots } = this.#rows;
    return {
      layers: new Map([...layers.values()].map(({ id, diffId }) => [id.toString(36), diffId])),
      snapshots: new Map([...snapshots.values()].map(({ id, key }) => [id.toString(36), key])),
    };
  }

  async prepare(
    key: string,
    parents: readonly Digest[],
    options: { volatile?: boolean } = {},
  ): Promise<void> {
    await this.#lock.run(key, async () => {
      if (this.has(key)) {
        throw new Failure("conflict", `Cannot make snapshot "${key}": there is one already`);
      }
      this.#checkParents(key, parents);
      const id = this.#rows.nextId();
      const paths = this.#layout.snapshot(id);
      try {
        const root = this.#makeDirectories(paths, parents);
        const isVolatile = options.volatile ?? false;
        this.#rows.addSnapshot({ id, key, parents: [...parents], isVolatile, root });
      } catch (error) {
        await this.#trash.take(paths.folder);
        throw diskFailure(error, "make snapshot", key);
      }
    });
  }

  async bring(key: string, directory: string, name: string): Promise<boolean> {
    return await this.#lock.run(key, async () => {
      const snapshot = this.#find(key);
      const { files } = this.#layout.snapshot(snapshot.id);
      assert(!this.#mountOf(snapshot), "what is mounted is changed through its mount");
      try {
        renameSync(directory, `${files}/${name}`);
        return true;
      } catch (error) {
        if ((error as { code?: string }).code === "EXDEV") return false;
        throw diskFailure(error, "move", directory);
      }
    });
  }

  async fill(key: string, source: AsyncIterable<Uint8Array>, options: FillOptions) {
    return await this.#lock.run(key, async () => {
      const snapshot = this.#find(key);
      const { files: upper } = this.#layout.snapshot(snapshot.id);
      await this.#detach(snapshot);
      const { rules: fill, timeMax, signal } = options;
      const { rules } = this.#packRules(snapshot, timeMax);
      const bounds = { sizeBytesMax: limits.layerBytesMax, end: "optional" } as const;
      return await runInWorker({ kind: "fill", upper, fill, rules, bounds }, { source, signal });
    });
  }

  async lay(key: string, tar: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    await this.#lock.run(key, async () => {
      const snapshot = this.#find(key);
      const { files } = this.#layout.snapshot(snapshot.id);
      assert(!this.#mountOf(snapshot), "what is mounted is changed through its mount");
      const rules = { whiteouts: "overlay", devices: true, setRoot: true } as const;
      await unpackTar(tar, files, { ...rules, sizeBytesMax: limits.layerBytesMax, signal });
    });
  }

  async mount(key: string, owners?: OwnerMap | "any"): Promise<string> {
    return await this.#lock.run(key, async () => {
      const snapshot = this.#find(key);
      const { root, shown, files, work } = this.#layout.snapshot(snapshot.id);
      const map = owners === "any" ? undefined : owners;
      const at = this.#mountOf(snapshot);
      if (at && (owners === "any" || this.#mounts.shows(at, map))) return at;
      await this.#detach(snapshot);
      const target = map ? shown : root;
      if (map) this.#layout.openTo(shown, map);
      if (snapshot.isVolatile) {
        // The kernel's mark of an unclean end: that of a volatile snapshot is nobody's loss.
        rmSync(`${work}/work/incompat`, { recursive: true, force: true });
      }
      this.#mounts.mount(
        {
          target,
          directory: this.#layout.layers,
          lowers: this.#lowers(snapshot),
          upper: {
            files: files.replace(this.#layout.snapshots, "../snapshots"),
            work: work.replace(this.#layout.snapshots, "../snapshots"),
            isVolatile: snapshot.isVolatile,
          },
        },
        map,
      );
      return target;
    });
  }

  /** Where a snapshot is mounted now. */
  #mountOf({ id }: SnapshotRow): string | undefined {
    const { root, shown } = this.#layout.snapshot(id);
    return [root, shown].find((path) => this.#mounts.has(path));
  }

  /** Unmounts, at once where nobody sees it; resolves when nothing holds on to the files any more. */
  async #detach(snapshot: SnapshotRow): Promise<void> {
    const { root, shown } = this.#layout.snapshot(snapshot.id);
    const closing = [root, shown].map((path) => this.#mounts.unmount(path, snapshot));
    this.#layout.close(shown);
    await Promise.all([...closing, this.#mounts.closed(root), this.#mounts.closed(shown)]);
  }

  async unmount(key: string): Promise<void> {
    // Detached at once; the sync that may follow holds up a mount, not a commit, which reads the files.
    const closed = await this.#lock.run(key, () => {
      const snapshot = this.#rows.snapshots.get(key);
      return snapshot && [this.#detach(snapshot)];
    });
    await closed?.[0];
  }

  async remove(key: string): Promise<void> {
    await this.#lock.run(key, async () => {
      const snapshot = this.#rows.snapshots.get(key);
      if (!snapshot) return;
      const { folder } = this.#layout.snapshot(snapshot.id);
      // Detached at once; the sync may take its time, and nobody waits for it.
      this.#detach(snapshot).catch((error) => {
        log("warn", "a snapshot could not be unmounted", { key, why: error });
      });
      try {
        this.#rows.removeSnapshot(key);
        await this.#trash.take(folder);
      } catch (error) {
        log("debug", "a snapshot's row could not be removed before its files", { key, why: error });
        // These files may be what fills the disk: once they are gone, there is room to say so.
        await this.#trash.take(folder);
        await this.#trash.emptied();
        this.#rows.removeSnapshot(key);
      }
    });
  }

  async changes(
    key: string,
    options: { mountPoints?: readonly string[] } = {},
  ): Promise<readonly Change[]> {
    const snapshot = this.#find(key);
    const upper = this.#layout.snapshot(snapshot.id).files;
    const stubs = options.mountPoints ?? [];
    return await this.#withLower(snapshot, (lower) =>
      runInWorker({ kind: "changes", upper, lower, stubs }),
    );
  }

  async usage(key: string): Promise<number> {
    const { files } = this.#layout.snapshot(this.#find(key).id);
    return await runInWorker({ kind: "measure", upper: files });
  }

  async commit(key: string, options: CommitOptions): Promise<Layer> {
    return await this.#lock.run(key, async () => {
      const snapshot = this.#find(key);
      if (options.how === "copy") return await this.#commitCopy(snapshot, options);
      const { files, folder } = this.#layout.snapshot(snapshot.id);
      await this.#detach(snapshot);
      const found = await this.#hash(snapshot, options);
      const layer = this.#layers.publish(files, found, (row) => this.#rows.turnIntoLayer(key, row));
      if (this.has(key)) this.#rows.removeSnapshot(key); // the layer was there already
      await this.#trash.take(folder);
      return layer;
    });
  }

  async #commitCopy(snapshot: SnapshotRow, options: CommitOptions): Promise<Layer> {
    const copyTo = this.#layers.makeIngest();
    try {
      const found = await this.#hash(snapshot, options, copyTo);
      copyRoot(this.#layout.snapshot(snapshot.id), copyTo);
      return this.#layers.publish(copyTo, found);
    } catch (error) {
      throw diskFailure(error, "commit snapshot", snapshot.key);
    } finally {
      await this.#trash.take(copyTo);
    }
  }

  #packRules({ id, root }: SnapshotRow, timeMax: number | undefined) {
    const hasRoot = rootOf(this.#layout.snapshot(id).files) !== root;
    const times = timeMax === undefined ? {} : { timeMax };
    return { hasRoot, rules: { whiteouts: true, withRoot: hasRoot, ...times } };
  }

  async #hash(snapshot: SnapshotRow, options: CommitOptions, copyTo?: string) {
    const { timeMax, mountPoints, filled } = options;
    const { files } = this.#layout.snapshot(snapshot.id);
    const { hasRoot, rules: plain } = this.#packRules(snapshot, timeMax);
    const found = { hasRoot, timeMax, origin: "snapshot" as const };
    if (filled) return { ...filled, diffId: parseDigest(filled.digest), ...found };
    // A copy is made with the times of its archive; what is moved has its own.
    const rules = { ...plain, settle: copyTo === undefined && timeMax !== undefined };
    const job = {
      kind: "commit",
      upper: files,
      rules,
      ...(copyTo === undefined ? {} : { copyTo }),
    } as const;
    const paths = mountPoints ?? [];
    const { digest, sizeBytes } =
      paths.length === 0
        ? await runInWorker(job)
        : await this.#withLower(snapshot, (lower) =>
            runInWorker({ ...job, stubs: { lower, paths } }),
          );
    return { diffId: parseDigest(digest), sizeBytes, ...found };
  }

  async reconcile(keys: ReadonlySet<string>): Promise<string[]> {
    const done = this.#done;
    this.#done = [];
    for (const key of this.keys()) {
      if (keys.has(key)) continue;
      await this.remove(key);
      done.push(`removed snapshot "${key}", which nothing uses`);
    }
    for (const { diffId } of this.#layers.doubtful()) {
      const [key] = this.#rows.standingOn(diffId);
      if (key === undefined) await this.#layers.remove(diffId);
      const what = key === undefined ? "removed" : `kept, for "${key}" stands on it,`;
      done.push(`${what} layer ${diffId}, which the machine's last crash may have damaged`);
    }
    return done;
  }

  #find(key: string): SnapshotRow {
    const found = this.#rows.snapshots.get(key);
    if (found) return found;
    throw new Failure("not_found", `Cannot use snapshot "${key}": there is none`);
  }

  #checkParents(key: string, parents: readonly Digest[]): void {
    const missing = parents.find((diffId) => !this.#rows.layers.has(diffId));
    if (missing) {
      throw new Failure("not_found", `Cannot make snapshot "${key}": layer ${missing} is absent`);
    }
    if (parents.length > limits.layersMax) {
      const why = `${parents.length} layers are more than ${limits.layersMax}`;
      throw new Failure("exhausted", `Cannot make snapshot "${key}": ${why}`);
    }
  }

  /** Makes a snapshot's directories; gives the owner and mode of its root, which are its parents'. */
  #makeDirectories(paths: SnapshotPaths, parents: readonly Digest[]): string {
    mkdirSync(paths.folder, 0o700);
    for (const path of [paths.files, paths.work, paths.root]) mkdirSync(path);
    const above = parents.findLast((diffId) => this.#rows.layers.get(diffId)?.hasRoot);
    if (above === undefined) chmodSync(paths.files, 0o755);
    else {
      const stat = statAt(atCwd, this.#layout.layer(this.#rows.layers.get(above)!.id));
      chownSync(paths.files, stat.uid, stat.gid);
      chmodSync(paths.files, stat.mode);
    }
    return rootOf(paths.files);
  }

  /** The directories below a snapshot, the topmost first. */
  #lowers(snapshot: SnapshotRow): string[] {
    if (snapshot.parents.length === 0) return [this.#layout.emptyName];
    const names = snapshot.parents.map((diffId) => this.#rows.layers.get(diffId)!.id.toString(36));
    // An image may hold one layer twice (an empty one, say); overlayfs refuses that, and the upper hides the lower.
    return [...new Set(names.reverse())];
  }

  /** Gives what lies below a snapshot as one directory. */
  async #withLower<T>(snapshot: SnapshotRow, use: (path: string) => Promise<T>): Promise<T> {
    const lowers = this.#lowers(snapshot);
    if (lowers.length === 1) return await use(`${this.#layout.layers}/${lowers[0]}`);
    const target = this.#layout.snapshot(snapshot.id).lower;
    return await this.#lock.run(`lower ${snapshot.key}`, async () => {
      mkdirSync(target, { recursive: true });
      this.#mounts.mount({ target, directory: this.#layout.layers, lowers });
      try {
        return await use(target);
      } finally {
        await this.#mounts.unmount(target, { isVolatile: true }); // read-only: nothing to sync
      }
    });
  }
}

function rootOf(path: string): string {
  const { mode, uid, gid } = statAt(atCwd, path);
  return `${mode.toString(8)} ${uid}:${gid}`;
}

function copyRoot({ files }: SnapshotPaths, to: string): void {
  const stat = statAt(atCwd, files);
  chownSync(to, stat.uid, stat.gid);
  chmodSync(to, stat.mode);
}
