import { closeSync } from "node:fs";
import { readAvailable } from "../sys/mod.ts";
import type { Output } from "./output.ts";
import type { Pump } from "./pump.ts";
import type { Chunk, OutputQuery } from "./types.ts";

/** How long output waits for its first reader, and for the next one when a reader has left. */
const graceMs = 1_000;
const readBytesMax = 256 << 10;
const readable = 1;
const scratch = Buffer.alloc(readBytesMax);

interface Source {
  readonly file: number;
  readonly stream: 1 | 2;
  readonly token: number;
  isOpen: boolean;
}

/** Output that nobody keeps: handed to all who read now, as slowly as the slowest of them takes it. */
export class DirectOutput implements Output {
  readonly #pump: Pump;
  readonly #sources: Source[];
  readonly #readers = new Set<Reader>();
  readonly #onReleased: () => void;
  #isDiscarding = false;
  #hasEnded = false;
  #isLeaving = false;
  #grace: ReturnType<typeof setTimeout> | undefined;
  #wake = Promise.withResolvers<void>();

  /** The descriptors are ours from here on. `onReleased` is called when they have been closed. */
  constructor(
    pump: Pump,
    files: readonly { file: number; stream: 1 | 2 }[],
    onReleased: () => void,
  ) {
    this.#pump = pump;
    this.#onReleased = onReleased;
    this.#sources = files.map((one) => ({ ...one, token: pump.number(), isOpen: true }));
    this.#awaitReaders();
    for (const source of this.#sources) void this.#carry(source);
  }

  read(query: OutputQuery): AsyncIterable<Chunk> {
    const reader = new Reader(query);
    if (this.#isLeaving || this.#sources.every(({ isOpen }) => !isOpen)) {
      reader.end();
      return reader.chunks(() => {});
    }
    this.#readers.add(reader);
    clearTimeout(this.#grace);
    void this.#stopDiscarding();
    return reader.chunks(() => {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.#awaitReaders();
    });
  }

  async finish(): Promise<void> {
    this.#hasEnded = true;
    // Those who wait for more look once more: what is there now is all there is.
    for (const { token, file, isOpen } of this.#sources) {
      if (isOpen) this.#pump.forget(token, file);
    }
    if (this.#isDiscarding) this.#closeAll();
  }

  async leave(): Promise<void> {
    this.#isLeaving = true;
    this.#closeAll();
  }

  #awaitReaders(): void {
    clearTimeout(this.#grace);
    this.#grace = setTimeout(() => {
      if (this.#readers.size > 0) return;
      if (this.#hasEnded) this.#closeAll();
      else this.#discard();
    }, graceMs);
    this.#grace.unref();
  }

  #discard(): void {
    if (this.#isDiscarding) return;
    this.#isDiscarding = true;
    for (const { token, file, isOpen } of this.#sources) {
      if (!isOpen) continue;
      this.#pump.forget(token, file);
      this.#pump.discard(token, file);
    }
  }

  async #stopDiscarding(): Promise<void> {
    if (this.#isDiscarding) {
      const open = this.#sources.filter(({ isOpen }) => isOpen);
      await Promise.all(open.map(({ token, file }) => this.#pump.keep(token, file)));
      this.#isDiscarding = false;
    }
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  async #carry(source: Source): Promise<void> {
    while (source.isOpen) {
      if (this.#readers.size === 0 || this.#isDiscarding) {
        await this.#wake.promise;
        continue;
      }
      const length = readAvailable(source.file, scratch);
      if (length === 0 || (length === "waits" && this.#hasEnded)) break;
      if (length === "waits") {
        await this.#pump.ready(source.token, source.file, readable);
        continue;
      }
      // A copy of the right size: the scratch space is for the next read.
      const bytes = Buffer.from(scratch.subarray(0, length));
      const chunk = { stream: source.stream, timeNs: BigInt(Date.now()) * 1_000_000n, bytes };
      await Promise.all([...this.#readers].map((reader) => reader.push(chunk)));
    }
    this.#close(source);
  }

  #closeAll(): void {
    for (const source of this.#sources) this.#close(source);
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  #close(source: Source): void {
    if (!source.isOpen) return;
    source.isOpen = false;
    // Where the pump's thread reads, that thread closes: the number may be another file's at once.
    if (this.#isDiscarding) this.#pump.closeDiscarded(source.token, source.file);
    else {
      this.#pump.forget(source.token, source.file);
      closeSync(source.file);
    }
    if (this.#sources.some(({ isOpen }) => isOpen)) return;
    clearTimeout(this.#grace);
    for (const reader of this.#readers) reader.end();
    this.#onReleased();
  }
}

/** One who reads: holds one chunk at a time, and lets its giver wait until that was taken. */
class Reader {
  readonly #query: OutputQuery;
  #chunk: Chunk | undefined;
  #isOver = false;
  #arrived = Promise.withResolvers<void>();
  #taken = Promise.withResolvers<void>();

  constructor(query: OutputQuery) {
    this.#query = query;
    const { signal } = query;
    if (signal?.aborted) this.end();
    else signal?.addEventListener("abort", () => this.#stop(), { once: true });
  }

  /** Resolves when the reader has come back for the next one, or is gone. */
  async push(chunk: Chunk): Promise<void> {
    const isWanted = chunk.stream === 1 ? this.#query.stdout : this.#query.stderr;
    if (!isWanted) return;
    // Both streams push: the second waits for the first.
    while (this.#chunk && !this.#isOver) await this.#taken.promise;
    if (this.#isOver) return;
    this.#chunk = chunk;
    this.#taken = Promise.withResolvers();
    this.#arrived.resolve();
    await this.#taken.promise;
  }

  /** No more comes; what is here already is still handed out. */
  end(): void {
    this.#isOver = true;
    this.#arrived.resolve();
  }

  #stop(): void {
    this.#chunk = undefined;
    this.end();
    this.#taken.resolve();
  }

  async *chunks(leave: () => void): AsyncGenerator<Chunk> {
    try {
      for (;;) {
        const chunk = this.#chunk;
        if (chunk) {
          yield chunk;
          if (this.#chunk === chunk) this.#chunk = undefined;
          this.#arrived = Promise.withResolvers();
          if (this.#isOver) this.#arrived.resolve();
          this.#taken.resolve();
          await Promise.resolve();
          continue;
        }
        if (this.#isOver) return;
        await this.#arrived.promise;
      }
    } finally {
      this.#stop();
      leave();
    }
  }
}
