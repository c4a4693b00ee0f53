import { readdirSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { log } from "../base/mod.ts";

const backlogMax = 200;

/**
 * Removes directories in the background, one at a time, on another thread. What is in the trash when
 * the process ends goes when the next one starts.
 */
export class Trash {
  readonly #directory: string;
  #count = 0;
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(directory: string) {
    this.#directory = directory;
    for (const name of readdirSync(directory)) this.#remove(`${directory}/${name}`);
  }

  /** Takes a directory away at once; its files go soon. Waits only where very many wait already. */
  async take(path: string): Promise<void> {
    const name = `${this.#directory}/${process.pid}-${Date.now()}-${this.#count++}`;
    try {
      renameSync(path, name);
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") return;
      throw error;
    }
    this.#remove(name);
    if (this.#waiting > backlogMax) await this.#last;
  }

  /** Resolves when all that was taken so far is gone. */
  async emptied(): Promise<void> {
    await this.#last;
  }

  #remove(path: string): void {
    this.#waiting++;
    this.#last = this.#last.then(async () => {
      try {
        await rm(path, { recursive: true, force: true });
      } catch (error) {
        log("warn", "files could not be removed", { path, why: error });
      } finally {
        this.#waiting--;
      }
    });
  }
}
