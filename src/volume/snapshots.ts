import { existsSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import type { Directories } from "./directories.ts";
import { checkSnapshotName } from "./names.ts";
import { walkTree } from "./tree-thread.ts";
import type { VolumeSnapshot } from "./types.ts";

const snapshotsMax = 1_000;

/** The states of volumes that were kept. A snapshot's directory gets its name when it is whole. */
export class Snapshots {
  readonly #directories: Directories;

  constructor(directories: Directories) {
    this.#directories = directories;
  }

  list(name: string): VolumeSnapshot[] {
    return this.#directories.snapshots(name);
  }

  /** @throws "invalid" | "conflict" — there is one of that name | "exhausted" — there are too many */
  async take(name: string, snapshot: string): Promise<VolumeSnapshot> {
    checkSnapshotName(snapshot);
    const target = this.#directories.snapshot(name, snapshot);
    const refuseTaken = () => {
      if (!existsSync(target)) return;
      throw new Failure("conflict", `snapshot ${snapshot} of volume ${name} exists already`);
    };
    refuseTaken();
    if (this.list(name).length >= snapshotsMax) {
      throw new Failure("exhausted", `Cannot keep over ${snapshotsMax} snapshots of ${name}`);
    }
    await this.#copied(this.#directories.files(name), (staged) => {
      refuseTaken();
      this.#directories.makeSnapshotFolder(name);
      this.#directories.move(staged, target);
    });
    return this.list(name).find((each) => each.name === snapshot)!;
  }

  /** @throws "not_found" */
  async restore(name: string, snapshot: string): Promise<void> {
    const source = `${this.#existing(name, snapshot)}/_data`;
    await this.#copied(source, (staged) => {
      this.#directories.exchange(name, staged);
      this.#directories.discard(staged);
    });
  }

  /** @throws "not_found" */
  remove(name: string, snapshot: string): void {
    this.#directories.discard(this.#existing(name, snapshot));
  }

  #existing(name: string, snapshot: string): string {
    checkSnapshotName(snapshot);
    const path = this.#directories.snapshot(name, snapshot);
    if (existsSync(path)) return path;
    throw new Failure("not_found", `volume ${name} has no snapshot ${snapshot}`);
  }

  async #copied(source: string, use: (staged: string) => void): Promise<void> {
    const staged = this.#directories.stage();
    try {
      await walkTree({ kind: "copy", rootfs: source, path: "/", target: `${staged}/_data` });
      use(staged);
    } catch (error) {
      this.#directories.discard(staged);
      throw error;
    }
  }
}
