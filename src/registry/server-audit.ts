import { appendFile, rename, stat } from "node:fs/promises";
import { log } from "../base/mod.ts";
import { errnoOf } from "../sys/mod.ts";
import type { RefusedAccess, RegistryEvent } from "./server-call.ts";

const fileBytesMax = 64 << 20;
const waitingMax = 10_000;

/**
 * Writes one line of JSON for each event to a file, in order; a full file becomes `<path>.1`. Lines are
 * gathered while the disk is slow; when too many wait, the registry's log says how many were lost.
 */
export class Audit {
  readonly #path: string;
  #lines: string[] = [];
  #lost = 0;
  #writing: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  tell(event: RegistryEvent | RefusedAccess): void {
    if (this.#lines.length >= waitingMax) this.#lost++;
    else this.#lines.push(`${JSON.stringify({ at: new Date().toISOString(), ...event })}\n`);
    this.#writing ??= this.#write();
  }

  /** Settles when all lines are written. */
  async close(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  async #write(): Promise<void> {
    await Promise.resolve(); // gather what this turn of the event loop tells
    while (this.#lines.length > 0) {
      const lines = this.#lines;
      this.#lines = [];
      try {
        await this.#rotate();
        await appendFile(this.#path, lines.join(""), { mode: 0o600 });
      } catch (error) {
        log("error", "Cannot write the audit log", {
          path: this.#path,
          lines: lines.length,
          error,
        });
      }
    }
    if (this.#lost > 0) log("error", "Cannot keep up with the audit log", { lost: this.#lost });
    this.#lost = 0;
    this.#writing = undefined;
  }

  async #rotate(): Promise<void> {
    const found = await stat(this.#path).catch((error) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    });
    if ((found?.size ?? 0) >= fileBytesMax) await rename(this.#path, `${this.#path}.1`);
  }
}
