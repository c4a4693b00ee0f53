import { chmodSync, chownSync, mkdirSync, readdirSync, rmdirSync } from "node:fs";
import {
  closeFile,
  errnoOf,
  type IdMap,
  open,
  openPath,
  ownerOutside,
  spreadBelow,
} from "../sys/mod.ts";

/** Where everything is below the store's directory. Numbers are in base 36: mount options are short. */
export class Layout {
  readonly layers: string;
  readonly snapshots: string;
  readonly ingest: string;
  readonly trash: string;
  /** Mount points that others than root may come through to. */
  readonly roots: string;
  /** What a snapshot without parents stands on: overlayfs wants something below. */
  readonly emptyName = "_";

  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.layers = `${directory}/layers`;
    this.snapshots = `${directory}/snapshots`;
    this.ingest = `${directory}/ingest`;
    this.trash = `${directory}/trash`;
    this.roots = `${directory}/roots`;
  }

  /** Makes the directories; only root may look into them, as setuid files are in there. */
  make(): void {
    for (const path of [this.layers, this.snapshots, this.ingest, this.trash, this.roots]) {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    }
    // New layers keep away from where old ones were: ext4 is slow with inodes that were freed just now.
    for (const path of [this.ingest, this.snapshots]) {
      const folder = openPath(path, open.readOnly | open.directory);
      spreadBelow(folder);
      closeFile(folder);
    }
    mkdirSync(`${this.layers}/${this.emptyName}`, { recursive: true, mode: 0o755 });
  }

  layer(id: number): string {
    return `${this.layers}/${id.toString(36)}`;
  }

  snapshot(id: number): SnapshotPaths {
    const folder = `${this.snapshots}/${id.toString(36)}`;
    return {
      folder,
      files: `${folder}/files`,
      work: `${folder}/work`,
      root: `${folder}/root`,
      shown: `${this.roots}/${id.toString(36)}`,
      lower: `${folder}/lower`,
    };
  }

  /**
   * Makes a mount point that the root of a map can come through to: the runtime is that user already when
   * it goes there. It is away from the snapshot's files, as a program in those that is setuid root is the
   * host's root's on the disk: whoever broke out as the map's root must not come by it.
   */
  openTo(shown: string, map: IdMap): void {
    const { gid } = ownerOutside(map, { uid: 0, gid: 0 }) ?? { gid: 0 };
    mkdirSync(shown, { recursive: true, mode: 0o700 });
    for (const path of [this.#directory, this.roots]) {
      chownSync(path, 0, gid);
      chmodSync(path, 0o710);
    }
  }

  /** Removes such a mount point; none, and one that is in use, are fine. */
  close(shown: string): void {
    try {
      rmdirSync(shown);
    } catch (error) {
      if (!["ENOENT", "EBUSY", "ENOTEMPTY"].includes(errnoOf(error) ?? "")) throw error;
    }
  }

  /** The numbers of the directories that are there. */
  present(folder: "layers" | "snapshots"): number[] {
    return readdirSync(this[folder])
      .filter((name) => /^[0-9a-z]{1,10}$/.test(name))
      .map((name) => Number.parseInt(name, 36));
  }
}

export interface SnapshotPaths {
  readonly folder: string;
  /** The upper directory. */
  readonly files: string;
  readonly work: string;
  /** Where it is mounted. */
  readonly root: string;
  /** Where it is mounted with the owners of a map. */
  readonly shown: string;
  /** Where the layers below are mounted, read-only, while they are compared. */
  readonly lower: string;
}
