import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { log } from "../base/mod.ts";
import { closeFile, diskFailure, errnoOf, open, openPath, renameAt } from "../sys/mod.ts";
import type { VolumeSnapshot } from "./types.ts";

const trashName = ".trash";

/**
 * The directories of the volumes: `NAME/_data` for the files, `NAME/snapshots/SNAPSHOT/_data` for what
 * was kept of them, and `.trash` for what is half made or being removed, which each start empties.
 */
export class Directories {
  readonly #root: string;
  #count = 0;

  constructor(root: string) {
    this.#root = root;
    mkdirSync(`${root}/${trashName}`, { recursive: true, mode: 0o700 });
    // What is setuid root in a volume is the host's root's: nobody else shall come by it.
    chmodSync(root, 0o700);
  }

  path(name: string): string {
    return `${this.#root}/${name}`;
  }

  files(name: string): string {
    return `${this.#root}/${name}/_data`;
  }

  /** Makes the directory of a volume's files, unless it is there. */
  make(name: string): void {
    if (!existsSync(this.files(name))) makeFiles(this.path(name));
  }

  /** An empty directory with `_data` in it, that has no name yet. */
  stage(): string {
    const path = this.#unnamed();
    makeFiles(path);
    return path;
  }

  /** Takes a directory away at once, and its files in the background. Absent is fine. */
  discard(path: string): void {
    const trash = this.#unnamed();
    try {
      renameSync(path, trash);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return;
      throw diskFailure(error, "remove", path);
    }
    void emptyTrash(trash);
  }

  /** What a crash left. */
  emptyTrash(): void {
    const trash = `${this.#root}/${trashName}`;
    for (const name of readdirSync(trash)) void emptyTrash(`${trash}/${name}`);
  }

  /** Gives what was staged its name; the name is free. */
  move(path: string, target: string): void {
    try {
      renameSync(path, target);
    } catch (error) {
      throw diskFailure(error, "rename", target);
    }
  }

  /** Ends a rename that was recorded. */
  rename(name: string, to: string): void {
    if (existsSync(this.path(name)) && !existsSync(this.path(to))) {
      this.move(this.path(name), this.path(to));
    }
  }

  /** Changes two directories of files in one step. */
  exchange(name: string, staged: string): void {
    const flags = open.path | open.directory;
    const [mine, other] = [openPath(this.path(name), flags), openPath(staged, flags)];
    try {
      renameAt([other, "_data"], [mine, "_data"], 2);
    } finally {
      closeFile(mine);
      closeFile(other);
    }
  }

  snapshot(name: string, snapshot: string): string {
    return `${this.path(name)}/snapshots/${snapshot}`;
  }

  /** The oldest first. */
  snapshots(name: string): VolumeSnapshot[] {
    const folder = `${this.path(name)}/snapshots`;
    if (!existsSync(folder)) return [];
    const found = readdirSync(folder).map((snapshot) => {
      // Set when `_data` was made in it, and never again.
      const { mtimeMs } = statSync(`${folder}/${snapshot}`);
      return { name: snapshot, createdAt: new Date(mtimeMs).toISOString() };
    });
    return found.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  }

  makeSnapshotFolder(name: string): void {
    mkdirSync(`${this.path(name)}/snapshots`, { recursive: true, mode: 0o700 });
  }

  #unnamed(): string {
    return `${this.#root}/${trashName}/${process.pid}-${Date.now()}-${this.#count++}`;
  }
}

function makeFiles(path: string): void {
  const files = `${path}/_data`;
  try {
    mkdirSync(files, { recursive: true });
    chmodSync(path, 0o701);
    chmodSync(files, 0o755);
  } catch (error) {
    throw diskFailure(error, "create", files);
  }
}

async function emptyTrash(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    log("warn", "files of a removed volume are left", { path, why: error });
  }
}
