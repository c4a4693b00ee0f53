import type { Database } from "bun:sqlite";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { opendir, readdir, rm } from "node:fs/promises";
import { Failure, KeyedLock, log } from "../base/mod.ts";
import { closeFile, diskFailure, errnoOf, open, openPath, pathOf } from "../sys/mod.ts";
import { copyRoot, openFolder } from "./copy-tree.ts";
import { hasMounts, mountLocal, parseLocalOptions, unmountLocal } from "./local-mount.ts";
import { Rows, type VolumeRow } from "./rows.ts";
import { walkTree } from "./tree-thread.ts";
import type { Volume, VolumeSpec, VolumeStore } from "./types.ts";

const trashName = ".trash";
const nameShape = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/;

/**
 * Opens the store: volume NAME is `directory/NAME/_data`. Removals that a crash cut short are ended.
 */
export async function openVolumeStore({
  database,
  directory,
}: {
  database: Database;
  directory: string;
}): Promise<VolumeStore> {
  mkdirSync(`${directory}/${trashName}`, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o711);
  const store = new LocalVolumeStore(new Rows(database), directory);
  store.endRemovals();
  return store;
}

class LocalVolumeStore implements VolumeStore {
  readonly #rows: Rows;
  readonly #directory: string;
  readonly #lock = new KeyedLock();
  #trashCount = 0;

  constructor(rows: Rows, directory: string) {
    this.#rows = rows;
    this.#directory = directory;
  }

  list(): readonly Volume[] {
    return this.#rows
      .all()
      .filter(({ isGoing }) => !isGoing)
      .map((row) => this.#volume(row))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): Volume {
    return this.#volume(this.#row("get", name));
  }

  async create(spec: VolumeSpec): Promise<Volume> {
    const name = spec.name ?? randomBytes(32).toString("hex");
    const { driver = "local", labels = {}, options = {} } = spec;
    checkName(name);
    if (driver !== "local" && driver !== "") {
      const why = `error looking up volume plugin ${driver}: plugin "${driver}" not found`;
      throw new Failure("not_found", `create ${name}: ${why}`);
    }
    parseLocalOptions(name, options);
    return await this.#lock.run(name, () => {
      const known = this.#rows.get(name);
      if (known) return this.#same(known, options);
      const row: VolumeRow = {
        name,
        driver: "local",
        createdAt: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
        labels,
        options,
        anonymous: spec.anonymous ?? spec.name === undefined,
        isFilling: false,
        isGoing: false,
      };
      this.#rows.add(row);
      try {
        this.#makeDirectory(name);
      } catch (error) {
        this.#rows.remove(name);
        throw error;
      }
      return this.#volume(row);
    });
  }

  #same(known: VolumeRow, options: Readonly<Record<string, string>>): Volume {
    const text = (map: Readonly<Record<string, string>>) =>
      JSON.stringify(Object.entries(map).sort());
    if (Object.keys(options).length === 0 || text(options) === text(known.options)) {
      return this.#volume(known);
    }
    throw new Failure("conflict", `create ${known.name}: volume name must be unique`, {
      hint: "A volume of this name exists with other options",
    });
  }

  async remove(name: string, _: { force: boolean }): Promise<void> {
    await this.#lock.run(name, () => {
      this.#row("get", name);
      const users = this.#rows.users(name);
      if (users.length > 0) {
        const why = `volume is in use - [${users.join(", ")}]`;
        throw new Failure("conflict", `remove ${name}: ${why}`);
      }
      this.#delete(name);
    });
  }

  /** Takes the directory away at once, and its files in the background. */
  #delete(name: string): void {
    const path = `${this.#directory}/${name}`;
    unmountLocal(`${path}/_data`);
    if (hasMounts(path)) {
      throw new Failure("conflict", `remove ${name}: something is mounted in "${path}"`);
    }
    this.#rows.setGoing(name);
    this.#discard(path);
    this.#rows.remove(name);
  }

  #discard(path: string): void {
    const trash = `${this.#directory}/${trashName}/${process.pid}-${Date.now()}-${this.#trashCount++}`;
    try {
      renameSync(path, trash);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return;
      throw diskFailure(error, "remove", path);
    }
    void emptyTrash(trash);
  }

  /** What a crash left: volumes half removed, and their files. */
  endRemovals(): void {
    for (const { name } of this.#rows.all().filter(({ isGoing }) => isGoing)) this.#delete(name);
    const trash = `${this.#directory}/${trashName}`;
    for (const name of readdirSync(trash)) void emptyTrash(`${trash}/${name}`);
  }

  async acquire(name: string, containerId: string): Promise<string> {
    return await this.#lock.run(name, async () => {
      const row = this.#row("get", name);
      const target = this.#mountpoint(name);
      const wasUser = this.#rows.users(name).includes(containerId);
      this.#rows.addUser(name, containerId);
      try {
        await this.#makeReady(row, target);
      } catch (error) {
        if (!wasUser) this.#letGo(row, containerId);
        throw error;
      }
      return target;
    });
  }

  async #makeReady(row: VolumeRow, target: string): Promise<void> {
    this.#makeDirectory(row.name);
    const mount = parseLocalOptions(row.name, row.options);
    if (mount) await mountLocal(mount, target);
    if (!row.isFilling) return;
    // The copy into it was cut short: it starts again from nothing, unless somebody works in it.
    const isOurs = this.#rows.users(row.name).length <= 1;
    const names = isOurs ? await readdir(target) : [];
    for (const name of names) await rm(`${target}/${name}`, { recursive: true, force: true });
    this.#rows.setFilling(row.name, false);
  }

  async release(name: string, containerId: string): Promise<void> {
    await this.#lock.run(name, () => {
      const row = this.#rows.get(name);
      if (row) this.#letGo(row, containerId);
    });
  }

  #letGo({ name, options }: VolumeRow, containerId: string): void {
    this.#rows.removeUser(name, containerId);
    const isMine = Object.keys(options).length > 0;
    if (isMine && this.#rows.users(name).length === 0) unmountLocal(this.#mountpoint(name));
  }

  usersOf(name: string): readonly string[] {
    return this.#rows.users(name);
  }

  async usage(name: string): Promise<number> {
    this.#row("get", name);
    return await walkTree({ kind: "measure", path: this.#mountpoint(name) });
  }

  async populate(name: string, rootfs: string, path: string): Promise<void> {
    await this.#lock.run(name, async () => {
      this.#row("get", name);
      const target = this.#mountpoint(name);
      if (!(await isEmpty(target))) return;
      const source = await lookInto(rootfs, path);
      if (source === "absent") return;
      if (source === "empty") return copyOwnership(rootfs, path, target);
      this.#rows.setFilling(name, true);
      await walkTree({ kind: "copy", rootfs, path, target });
      this.#rows.setFilling(name, false);
    });
  }

  async reconcile(containerIds: ReadonlySet<string>): Promise<string[]> {
    const done: string[] = [];
    for (const row of this.#rows.all()) {
      const { name } = row;
      await this.#lock.run(name, () => {
        this.#makeDirectory(name);
        for (const user of this.#rows.users(name)) {
          if (containerIds.has(user)) continue;
          this.#letGo(row, user);
          done.push(`released volume ${name} from container ${user.slice(0, 12)}, which is gone`);
        }
      });
    }
    return done;
  }

  #makeDirectory(name: string): void {
    const path = this.#mountpoint(name);
    if (existsSync(path)) return;
    try {
      mkdirSync(path, { recursive: true });
      chmodSync(`${this.#directory}/${name}`, 0o701);
      chmodSync(path, 0o755);
    } catch (error) {
      throw diskFailure(error, "create", path);
    }
  }

  #row(call: string, name: string): VolumeRow {
    const row = this.#rows.get(name);
    if (row && !row.isGoing) return row;
    throw new Failure("not_found", `${call} ${name.slice(0, 300)}: no such volume`);
  }

  #mountpoint(name: string): string {
    return `${this.#directory}/${name}/_data`;
  }

  #volume({ name, driver, createdAt, labels, options, anonymous }: VolumeRow): Volume {
    const mountpoint = this.#mountpoint(name);
    return { name, driver, createdAt, mountpoint, labels, options, anonymous };
  }
}

function checkName(name: string): void {
  if (name.length === 1) {
    const why = "volume name is too short, names should be at least two alphanumeric characters";
    throw new Failure("invalid", `create ${name}: ${why}`);
  }
  if (nameShape.test(name)) return;
  const shown = name.slice(0, 300);
  throw new Failure(
    "invalid",
    `create ${shown}: "${shown}" includes invalid characters for a local volume name, only ` +
      '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, ' +
      "use absolute path",
  );
}

async function emptyTrash(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    log("warn", "files of a removed volume are left", { path, why: error });
  }
}

/** True when nothing is in a directory; looked up by another thread. */
async function isEmpty(path: string): Promise<boolean> {
  const folder = await opendir(path).catch((error) => {
    throw diskFailure(error, "open", path);
  });
  try {
    return (await folder.read()) === null;
  } finally {
    await folder.close();
  }
}

/** What an image has at a path, as a process in it would find it. */
async function lookInto(rootfs: string, path: string): Promise<"absent" | "empty" | "full"> {
  const folder = openSource(rootfs, path);
  if (folder === undefined) return "absent";
  try {
    return (await isEmpty(pathOf(folder))) ? "empty" : "full";
  } finally {
    closeFile(folder);
  }
}

function openSource(rootfs: string, path: string): number | undefined {
  const root = openPath(rootfs, open.path | open.directory);
  try {
    return openFolder(root, path);
  } catch (error) {
    // A file there, or a link to nothing, gives nothing to copy.
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  } finally {
    closeFile(root);
  }
}

function copyOwnership(rootfs: string, path: string, target: string): void {
  const from = openSource(rootfs, path);
  if (from === undefined) return;
  try {
    const to = openPath(target, open.readOnly | open.directory);
    try {
      copyRoot(from, to);
    } finally {
      closeFile(to);
    }
  } finally {
    closeFile(from);
  }
}
