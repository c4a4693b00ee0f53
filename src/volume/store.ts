import type { Database } from "bun:sqlite";
import { randomBytes } from "node:crypto";
import { Failure, KeyedLock } from "../base/mod.ts";
import { openPlugins, type Plugins } from "../plugin/mod.ts";
import { canMapOwners } from "../sys/mod.ts";
import { Directories } from "./directories.ts";
import { copyOwnership, isEmpty, lookInto } from "./image-files.ts";
import { hasMounts, parseLocalOptions, unmountLocal } from "./local-mount.ts";
import { Mounting, within } from "./mounting.ts";
import { checkName } from "./names.ts";
import { findDrivers, PluginDriver } from "./plugin-driver.ts";
import { newRow, Rows, type VolumeRow } from "./rows.ts";
import { Snapshots } from "./snapshots.ts";
import { walkTree } from "./tree-thread.ts";
import type { Fill, Volume, VolumeSpec, VolumeStore } from "./types.ts";

/**
 * Opens the store: volume NAME is `directory/NAME/_data`. Removals and renames that a crash cut short
 * are ended.
 */
export async function openVolumeStore({
  database,
  directory,
  plugins = openPlugins(),
}: {
  database: Database;
  directory: string;
  plugins?: Plugins;
}): Promise<VolumeStore> {
  const store = new Store(new Rows(database), new Directories(directory), plugins);
  store.endChanges();
  return store;
}

/** Who mounts a volume in order to read or fill it: no container has such a name. */
const ourselves = "lading";

class Store implements VolumeStore {
  readonly #rows: Rows;
  readonly #directories: Directories;
  readonly #plugins: Plugins;
  readonly #lock = new KeyedLock();
  readonly #snapshots: Snapshots;
  readonly #mounting: Mounting;
  #readers = 0;

  constructor(rows: Rows, directories: Directories, plugins: Plugins) {
    this.#rows = rows;
    this.#directories = directories;
    this.#plugins = plugins;
    this.#snapshots = new Snapshots(directories);
    this.#mounting = new Mounting(rows, directories, plugins);
  }

  list(): readonly Volume[] {
    return this.#rows
      .all()
      .filter(({ isGoing }) => !isGoing)
      .map((row) => this.#volume(row))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  names(): readonly string[] {
    return this.#rows.all().map(({ name }) => name);
  }

  get(name: string): Volume {
    return this.#volume(this.#row("get", name));
  }

  async inspect(name: string): Promise<Volume & { readonly status?: unknown }> {
    if (!this.#rows.get(name)) await this.refresh();
    const driver = this.#mounting.driverOf(this.#row("get", name));
    if (!driver) return this.get(name);
    const { mountpoint, status } = await driver.get(name);
    await this.#mounting.notePlace(driver, name, mountpoint);
    return { ...this.get(name), ...(status === undefined ? {} : { status }) };
  }

  async refresh(): Promise<string[]> {
    const { drivers, warnings } = await findDrivers(this.#plugins);
    for (const driver of drivers) {
      try {
        for (const volume of await driver.list()) {
          if (this.#rows.get(volume.name)) continue;
          this.#rows.add(newRow({ name: volume.name, driver: driver.name }, volume.createdAt));
          await this.#mounting.notePlace(driver, volume.name, volume.mountpoint);
        }
      } catch (error) {
        warnings.push(`list ${driver.name}: ${(error as Error).message}`);
      }
    }
    return warnings;
  }

  async create(spec: VolumeSpec): Promise<Volume> {
    const name = spec.name ?? randomBytes(32).toString("hex");
    const { driver = "", options = {} } = spec;
    checkName(name);
    // A name without a driver may be that of a volume which a plugin has.
    if (driver === "" && !this.#rows.get(name)) await this.refresh();
    const isLocal = driver === "" || driver === "local";
    return await this.#lock.run(name, async () => {
      const known = this.#rows.get(name);
      if (known) return this.#same(known, driver);
      if (isLocal) parseLocalOptions(name, options);
      const anonymous = spec.anonymous ?? spec.name === undefined;
      const row = newRow({ ...spec, name, anonymous, driver: isLocal ? "local" : driver });
      await (isLocal ? this.#createLocal(row) : this.#createByPlugin(row));
      return this.#volume(row);
    });
  }

  /** As Docker: whoever makes a volume that is there gets it, whatever options they ask for. */
  #same(known: VolumeRow, driver: string): Volume {
    if (driver === "" || driver === known.driver) return this.#volume(known);
    const { name } = known;
    const taken = `driver '${known.driver}' already has volume '${name}'`;
    throw new Failure("conflict", `create ${name}: ${taken}: volume name must be unique`);
  }

  #createLocal(row: VolumeRow): void {
    this.#rows.add(row);
    try {
      this.#directories.make(row.name);
    } catch (error) {
      this.#rows.remove(row.name);
      throw error;
    }
  }

  /** First the plugin, then the row: a crash in between leaves what `refresh` finds again. */
  async #createByPlugin(row: VolumeRow): Promise<void> {
    const driver = new PluginDriver(this.#plugins, row.driver);
    try {
      await driver.create(row.name, row.options);
      const { mountpoint } = await driver.get(row.name);
      this.#rows.add(row);
      await this.#mounting.notePlace(driver, row.name, mountpoint);
    } catch (error) {
      throw within(`create ${row.name}`, error);
    }
  }

  async createFilled(spec: VolumeSpec, fill: Fill): Promise<Volume> {
    const name = spec.name ?? randomBytes(32).toString("hex");
    checkName(name);
    this.#refuseTaken(name);
    const staged = this.#directories.stage();
    try {
      await fill(`${staged}/_data`);
      return await this.#lock.run(name, () => {
        this.#refuseTaken(name);
        const row = newRow({ ...spec, name, driver: "local", options: {} });
        // Going until it is whole: a crash before the last line leaves nothing of it.
        this.#rows.add({ ...row, isGoing: true });
        this.#directories.move(staged, this.#directories.path(name));
        this.#rows.setGoing(name, false);
        return this.#volume(row);
      });
    } catch (error) {
      if (this.#rows.get(name)?.isGoing) this.#rows.remove(name);
      this.#directories.discard(staged);
      throw error;
    }
  }

  #refuseTaken(name: string): void {
    if (!this.#rows.get(name)) return;
    throw new Failure("conflict", `create ${name}: a volume of this name exists`);
  }

  async remove(name: string, { force }: { force: boolean }): Promise<void> {
    await this.#lock.run(name, async () => {
      const row = this.#row("get", name);
      this.#refuseUsed("remove", name, this.usersOf(name));
      this.#refuseUsed("remove", name, this.#rows.mounts.of(name));
      const driver = this.#mounting.driverOf(row);
      if (!driver) return this.#delete(name);
      try {
        await driver.remove(name);
      } catch (error) {
        if (!force) throw within(`remove ${name}`, error);
      }
      this.#rows.remove(name);
    });
  }

  #refuseUsed(what: string, name: string, users: readonly string[]): void {
    if (users.length === 0) return;
    const why = users.some((user) => user.startsWith(ourselves))
      ? "volume is being copied"
      : `volume is in use - [${users.join(", ")}]`;
    throw new Failure("conflict", `${what} ${name}: ${why}`);
  }

  /** Takes the directory away at once, and its files in the background. */
  #delete(name: string): void {
    const path = this.#directories.path(name);
    unmountLocal(this.#directories.files(name));
    if (hasMounts(path)) {
      throw new Failure("conflict", `remove ${name}: something is mounted in "${path}"`);
    }
    this.#rows.setGoing(name, true);
    this.#directories.discard(path);
    this.#rows.remove(name);
  }

  async rename(name: string, to: string): Promise<Volume> {
    checkName(to);
    const [first, second] = [name, to].sort() as [string, string];
    if (first === second) return this.get(name);
    return await this.#lock.run(first, () =>
      this.#lock.run(second, () => {
        const row = this.#row("get", name);
        if (this.#mounting.driverOf(row)) throw notHere("rename", row);
        this.#refuseUsed("rename", name, this.usersOf(name));
        this.#refuseUsed("rename", name, this.#rows.mounts.of(name));
        this.#refuseTaken(to);
        this.#rows.rename(name, to);
        this.#directories.rename(name, to);
        this.#rows.endRename(name);
        return this.get(to);
      }),
    );
  }

  /** What a crash left: volumes half removed, made or renamed, and their files. */
  endChanges(): void {
    for (const { name, to } of this.#rows.renames()) {
      this.#directories.rename(name, to);
      this.#rows.endRename(name);
    }
    for (const row of this.#rows.all()) {
      // Who filled or read a volume is gone.
      for (const user of this.#rows.mounts.of(row.name)) {
        if (user.startsWith(ourselves)) void this.#mounting.unmount(row, user);
      }
      if (row.isGoing) this.#delete(row.name);
    }
    this.#directories.emptyTrash();
  }

  async acquire(name: string, containerId: string): Promise<void> {
    await this.#lock.run(name, () => {
      this.#row("get", name);
      this.#rows.users.add(name, containerId);
    });
  }

  async release(name: string, containerId: string): Promise<void> {
    await this.#lock.run(name, async () => {
      const row = this.#rows.get(name);
      if (!row) return;
      await this.#mounting.unmount(row, containerId);
      this.#rows.users.remove(name, containerId);
    });
  }

  async mount(name: string, containerId: string): Promise<string> {
    return await this.#lock.run(name, () =>
      this.#mounting.mount(this.#row("get", name), containerId),
    );
  }

  async unmount(name: string, containerId: string): Promise<void> {
    await this.#lock.run(name, async () => {
      const row = this.#rows.get(name);
      if (row) await this.#mounting.unmount(row, containerId);
    });
  }

  usersOf(name: string): readonly string[] {
    return this.#rows.users.of(name);
  }

  async usage(name: string): Promise<number> {
    const row = this.#row("get", name);
    if (this.#mounting.driverOf(row)) return -1;
    return await walkTree({ kind: "measure", path: this.#directories.files(name) });
  }

  async populate(name: string, from: Parameters<VolumeStore["populate"]>[1]): Promise<void> {
    const { rootfs, path } = from;
    const source = await lookInto(rootfs, path);
    if (source === "absent") return;
    await this.#lock.run(name, async () => {
      const row = this.#row("get", name);
      const user = `${ourselves}-${from.containerId}`;
      const target = await this.#mounting.mount(row, user);
      try {
        if (!(await isEmpty(target))) return;
        const owners = from.owners && canMapOwners(target, from.owners) ? from.owners : undefined;
        if (source === "empty") return copyOwnership(rootfs, path, { target, owners });
        this.#rows.setFilling(name, true);
        await walkTree({ kind: "copy", rootfs, path, target, owners });
        this.#rows.setFilling(name, false);
      } finally {
        await this.#mounting.unmount(row, user);
      }
    });
  }

  async withFiles<T>(name: string, use: (directory: string) => Promise<T>): Promise<T> {
    const user = `${ourselves}-${this.#readers++}`;
    const directory = await this.mount(name, user);
    try {
      return await use(directory);
    } finally {
      await this.unmount(name, user);
    }
  }

  copyOf(directory: string): Fill {
    return (target) => walkTree({ kind: "copy", rootfs: directory, path: "/", target });
  }

  snapshots(name: string) {
    this.#row("get", name);
    return this.#snapshots.list(name);
  }

  async takeSnapshot(name: string, snapshot: string) {
    this.#ownFiles("snapshot", name);
    return await this.withFiles(name, () => this.#snapshots.take(name, snapshot));
  }

  async restoreSnapshot(name: string, snapshot: string): Promise<void> {
    await this.#lock.run(name, async () => {
      this.#ownFiles("restore", name);
      this.#refuseUsed("restore", name, this.#rows.mounts.of(name));
      await this.#snapshots.restore(name, snapshot);
    });
  }

  async removeSnapshot(name: string, snapshot: string): Promise<void> {
    await this.#lock.run(name, () => {
      this.#row("get", name);
      this.#snapshots.remove(name, snapshot);
    });
  }

  /** @throws "unsupported" — the files of the volume are a plugin's, or on another file system */
  #ownFiles(what: string, name: string): void {
    const row = this.#row("get", name);
    if (row.driver !== "local" || Object.keys(row.options).length > 0) throw notHere(what, row);
  }

  async reconcile(
    containerIds: ReadonlySet<string>,
    running: ReadonlySet<string>,
  ): Promise<string[]> {
    const done: string[] = [];
    for (const row of this.#rows.all()) {
      const { name } = row;
      await this.#lock.run(name, async () => {
        if (row.driver === "local") this.#directories.make(name);
        for (const user of this.#rows.mounts.of(name)) {
          if (!running.has(user)) await this.#mounting.unmount(row, user);
        }
        for (const user of this.#rows.users.of(name)) {
          if (containerIds.has(user)) continue;
          this.#rows.users.remove(name, user);
          done.push(`released volume ${name} from container ${user.slice(0, 12)}, which is gone`);
        }
      });
    }
    return done;
  }

  #row(call: string, name: string): VolumeRow {
    const row = this.#rows.get(name);
    if (row && !row.isGoing) return row;
    throw new Failure("not_found", `${call} ${name.slice(0, 300)}: no such volume`);
  }

  #volume(row: VolumeRow): Volume {
    const { name, driver, createdAt, labels, options, anonymous } = row;
    const place = this.#mounting.placeOf(row);
    return { name, driver, createdAt, ...place, labels, options, anonymous };
  }
}

function notHere(what: string, { name, driver }: VolumeRow): Failure {
  const where = driver === "local" ? "not on the engine's disk" : `those of the driver ${driver}`;
  return new Failure("unsupported", `Cannot ${what} volume ${name}: its files are ${where}`);
}
