import { mkdirSync, readdirSync } from "node:fs";
import { closeFile, open, openPath, spreadBelow } from "../sys/mod.ts";

/** Where everything is below the store's directory. Numbers are in base 36: mount options are short. */
export class Layout {
  readonly layers: string;
  readonly snapshots: string;
  readonly ingest: string;
  readonly trash: string;
  /** What a snapshot without parents stands on: overlayfs wants something below. */
  readonly emptyName = "_";

  constructor(directory: string) {
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
