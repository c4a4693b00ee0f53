import { close, existsSync, rmdirSync } from "node:fs";
import { listMounts, type OwnerMap, open, openPath, unmountNow } from "../sys/mod.ts";
import { mountMapped, mountOverlay, type OverlayMount, sourceOf } from "./overlay.ts";

/** What is mounted below a directory, and the unmounting of it without waiting for a disk. */
export class Mounts {
  /** With what each mount is called, which says whose owners it shows. */
  readonly #mounted: Map<string, string>;
  readonly #base: string;
  #lastClose: Promise<void> = Promise.resolve();
  readonly #closing = new Map<string, Promise<void>>();

  /** `base`: of all mount points, and of all files that are mounted. */
  constructor(base: string) {
    this.#base = base;
    // A crash may have left it.
    unmountNow(this.#mapped, { detach: true });
    if (existsSync(this.#mapped)) rmdirSync(this.#mapped);
    const below = listMounts().filter(({ target }) => target.startsWith(`${base}/`));
    this.#mounted = new Map(below.map(({ target, source }) => [target, source]));
  }

  /** In a closed folder: who is root of the map could write to layers through it. */
  get #mapped(): string {
    return `${this.#base}/snapshots/_mapped`;
  }

  /** The mount points, as absolute paths. */
  list(): readonly string[] {
    return [...this.#mounted.keys()];
  }

  has(target: string): boolean {
    return this.#mounted.has(target);
  }

  /** Whether it is mounted, and shows these owners. */
  shows(target: string, owners: OwnerMap | undefined): boolean {
    return this.#mounted.get(target) === sourceOf(owners);
  }

  mount(wanted: Omit<OverlayMount, "source">, owners?: OwnerMap): void {
    const overlay = { ...wanted, source: sourceOf(owners) };
    if (owners) mountMapped(overlay, { base: this.#base, at: this.#mapped, owners });
    else mountOverlay(overlay);
    this.#mounted.set(overlay.target, overlay.source);
  }

  /**
   * Unmounts; not mounted is fine. The kernel syncs the whole file system under an overlay that is not
   * volatile, 30 ms and more, in whoever lets go of it last. So this holds on to the root, detaches the
   * mount (which then is fast), and lets go on another thread; one after the other, as each sync makes
   * the next one short. Resolves when that is done.
   */
  async unmount(target: string, { isVolatile }: { isVolatile: boolean }): Promise<void> {
    if (!this.#mounted.has(target)) return;
    this.#mounted.delete(target);
    if (isVolatile) {
      unmountNow(target, { detach: true });
      return;
    }
    const held = openPath(target, open.path | open.directory);
    unmountNow(target, { detach: true });
    this.#lastClose = this.#lastClose.then(() => closeElsewhere(held));
    const closed = this.#lastClose.finally(() => this.#closing.delete(target));
    this.#closing.set(target, closed);
    await closed;
  }

  /** Resolves when what was unmounted last from there is let go: a new mount would meet it. */
  async closed(target: string): Promise<void> {
    await this.#closing.get(target);
  }
}

/** close(2) on a thread of the pool. An error would be one of a write; a directory has none. */
function closeElsewhere(file: number): Promise<void> {
  return new Promise((resolve) => close(file, () => resolve()));
}
