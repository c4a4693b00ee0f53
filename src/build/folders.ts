import { chmodSync, chownSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { digestOf, hexOf } from "../oci/mod.ts";
import type { CacheFolder, StepCache } from "./cache.ts";
import type { TreePool } from "./tree-pool.ts";

export type Sharing = "shared" | "private" | "locked";

/** A cache folder while a RUN has it. */
export interface HeldFolder extends AsyncDisposable {
  readonly path: string;
  readonly isNew: boolean;
}

interface FolderWish {
  readonly id: string;
  readonly sharing: Sharing;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** The folders behind `RUN --mount=type=cache`, under `folders/`: they outlive builds. */
export class Folders {
  readonly #directory: string;
  readonly #cache: StepCache;
  readonly #trees: TreePool;
  readonly #holders = new Map<string, number>();
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor(directory: string, cache: StepCache, trees: TreePool) {
    this.#directory = `${directory}/folders`;
    this.#cache = cache;
    this.#trees = trees;
  }

  /** Takes a folder, making it when it is new. "locked" waits for others, "private" goes elsewhere. */
  async hold({ id: wanted, sharing, mode, uid, gid }: FolderWish): Promise<HeldFolder> {
    let id = wanted;
    if (sharing === "private") {
      for (let copy = 1; this.#holders.has(id); copy++) id = `${wanted}#${copy}`;
    }
    while (sharing === "locked" && this.#holders.has(id)) {
      await new Promise<void>((resolve) => {
        this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), resolve]);
      });
    }
    this.#holders.set(id, (this.#holders.get(id) ?? 0) + 1);
    const folder = hexOf(digestOf(id)).slice(0, 32);
    const path = `${this.#directory}/${folder}`;
    const known = this.#cache.folder(id);
    if (!known) {
      await mkdir(path, { recursive: true });
      chmodSync(path, mode);
      chownSync(path, uid, gid);
    }
    this.#cache.putFolder({ id, folder, sizeBytes: known?.sizeBytes ?? 0 });
    const release = async () => this.#release(id, folder);
    return { path, isNew: !known, [Symbol.asyncDispose]: release };
  }

  async #release(id: string, folder: string): Promise<void> {
    const path = `${this.#directory}/${folder}`;
    const sizeBytes = await this.#trees.run("measure", { path });
    this.#cache.putFolder({ id, folder, sizeBytes });
    const left = (this.#holders.get(id) ?? 1) - 1;
    if (left > 0) this.#holders.set(id, left);
    else this.#holders.delete(id);
    const waiting = this.#waiting.get(id) ?? [];
    this.#waiting.delete(id);
    for (const wake of waiting) wake();
  }

  isHeld(id: string): boolean {
    return this.#holders.has(id);
  }

  async remove({ id, folder }: Pick<CacheFolder, "id" | "folder">): Promise<void> {
    this.#cache.forgetFolder(id);
    await this.#trees.run("remove", { path: `${this.#directory}/${folder}` });
  }

  /** Removes folders that the database does not know. Tells what it did. */
  async reconcile(): Promise<string[]> {
    const known = new Set(this.#cache.folders().map(({ folder }) => folder));
    await mkdir(this.#directory, { recursive: true });
    const stray = (await readdir(this.#directory)).filter((name) => !known.has(name));
    for (const name of stray) {
      await rm(`${this.#directory}/${name}`, { recursive: true, force: true });
    }
    return stray.map((name) => `Removed the unknown build cache folder ${name}`);
  }
}
