import { randomBytes } from "node:crypto";
import { Failure } from "../base/mod.ts";

const waitMs = 10 * 60_000;
const waitingMax = 256;

/** Results of builds that a client is to fetch: each once, and not for ever. */
export class Outbox {
  readonly #waiting = new Map<string, { open: () => AsyncIterable<Uint8Array>; end: () => void }>();

  /** Keeps a result until it is fetched; gives its handle. `closed`: it was, or nobody came for it. */
  put(open: () => AsyncIterable<Uint8Array>, closed: () => void): string {
    if (this.#waiting.size >= waitingMax) {
      throw new Failure("exhausted", `Cannot keep a result: ${waitingMax} wait to be fetched`);
    }
    const handle = randomBytes(16).toString("hex");
    const timer = setTimeout(() => {
      this.#waiting.delete(handle);
      closed();
    }, waitMs);
    timer.unref();
    const end = () => {
      clearTimeout(timer);
      closed();
    };
    this.#waiting.set(handle, { open, end });
    return handle;
  }

  /** The bytes of a result; afterwards it is gone. @throws "not_found" */
  async *fetch(handle: string): AsyncGenerator<Uint8Array, void> {
    const found = this.#waiting.get(handle);
    if (!found) {
      throw new Failure("not_found", `No such result of a build: ${handle.slice(0, 100)}`, {
        hint: "A result can be fetched once, within ten minutes",
      });
    }
    this.#waiting.delete(handle);
    try {
      yield* found.open();
    } finally {
      found.end();
    }
  }

  has(handle: string): boolean {
    return this.#waiting.has(handle);
  }
}
