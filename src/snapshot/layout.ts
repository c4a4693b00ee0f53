import { chmodSync, chownSync, mkdirSync, readdirSync } from "node:fs";
import { closeFile, type IdMap, open, openPath, ownerOutside, spreadBelow } from "../sys/mod.ts";

/** Where everything is below the store's directory. Numbers are in base 36: mount options are short. */
export class Layout {
  readonly layers: string;
  readonly snapshots: string;
  readonly ingest: string;
  readonly trash: string;
  /** What a snapshot without parents stands on: overlayfs wants something below. */
  readonly emptyName = "_";

  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.layers = `${directory}/layers`;
    this.snapshots = `${directory}/snapshots`;
    this.ingest = `${directory}/ingest`;
    this.trash = `${directory}/trash`;
  }

  /** Makes the directories; only root may look into them, as setuid files are in there. */
  make(): void {
    for (const path of [this.layers, this.snapshots, this.ingest, this.trash]) {
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
      lower: `${folder}/lower`,
    };
  }

  /**
   * Lets the root of a map come through to the mount point in a snapshot's folder: the runtime is that
   * user already when it goes there. All others may pass, and see nothing: every folder is closed.
   */
  openTo(folder: string, map: IdMap): void {
    const { gid } = ownerOutside(map, { uid: 0, gid: 0 }) ?? { gid: 0 };
    for (const path of [this.#directory, this.snapshots]) chmodSync(path, 0o711);
    chownSync(folder, 0, gid);
    chmodSync(folder, 0o710);
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
  /** Where the layers below are mounted, read-only, while they are compared. */
  readonly lower: string;
}
