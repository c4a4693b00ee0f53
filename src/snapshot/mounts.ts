import { close } from "node:fs";
import { listMounts, open, openPath, unmountNow } from "../sys/mod.ts";
import { mountOverlay, type OverlayMount } from "./overlay.ts";

/** What is mounted below a directory, and the unmounting of it without waiting for a disk. */
export class Mounts {
  readonly #mounted: Set<string>;
  #lastClose: Promise<void> = Promise.resolve();
  readonly #closing = new Map<string, Promise<void>>();

  constructor(directory: string) {
    const below = listMounts().filter(({ target }) => target.startsWith(`${directory}/`));
    this.#mounted = new Set(below.map(({ target }) => target));
  }

  /** The mount points, as absolute paths. */
  list(): readonly string[] {
    return [...this.#mounted];
  }

  has(target: string): boolean {
    return this.#mounted.has(target);
  }

  mount(overlay: OverlayMount): void {
    mountOverlay(overlay);
    this.#mounted.add(overlay.target);
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
