import { mkdir, rm } from "node:fs/promises";
import { Failure, isFailure, limits } from "../base/mod.ts";
import { unpackTar } from "../snapshot/mod.ts";
import { unmountNow } from "../sys/mod.ts";
import { mountTmpfs } from "./memory-folder.ts";
import { newId } from "./tools.ts";
import type { TakenContext } from "./types.ts";

/** An upload of at most this size is unpacked in memory: small files cost a disk much, memory little. */
const uploadBytesMax = 8 << 20;
const pieceBytes = 256 << 10;
/** What such a context may take unpacked; one that grows beyond goes to the disk. */
const tmpfsOptions = "size=64m,nr_inodes=32768,mode=755";
/** Contexts in memory at a time. */
const inMemoryMax = 2;

/** Unpacks uploaded build contexts under `work/`; in memory when they are small. */
export class Intake {
  readonly #directory: string;
  #inMemory = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Unpacks a tar, compressed or not. No bytes at all are an empty context.
   * @throws Failure "invalid" (a hostile entry) | "corrupt" | "exhausted"
   */
  async take(body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<TakenContext> {
    const path = `${this.#directory}/work/context-${newId()}`;
    await mkdir(path, { recursive: true, mode: 0o755 });
    let isMounted = false;
    const close = async () => {
      if (isMounted) {
        isMounted = false;
        this.#inMemory--;
        unmountNow(path, { detach: true });
      }
    };
    const dispose = async () => {
      await close();
      await rm(path, { recursive: true, force: true, maxRetries: 3 });
    };
    try {
      const upload = new Upload(body);
      if (await upload.isEmpty()) return { path, [Symbol.asyncDispose]: dispose };
      const options = { signal, sizeBytesMax: limits.layerBytesMax };
      if (this.#inMemory < inMemoryMax) {
        this.#inMemory++;
        isMounted = true;
        mountTmpfs(path, tmpfsOptions);
        try {
          await unpackTar(upload.small(uploadBytesMax), path, options);
          return { path, [Symbol.asyncDispose]: dispose };
        } catch (error) {
          if (!isFailure(error, "exhausted")) throw error;
          await close(); // it is large, or small only while it is packed
        }
      }
      await unpackTar(upload.all(), path, options);
      return { path, [Symbol.asyncDispose]: dispose };
    } catch (error) {
      await dispose();
      throw error;
    }
  }
}

/**
 * The bytes of an upload, in pieces of a message to a worker: clients send thousands of small chunks.
 * They can be taken as those of a small one while they come, and once more when it turns out large.
 */
class Upload {
  readonly #reader: AsyncIterator<Uint8Array>;
  /** What was taken as of a small one. */
  #kept: Uint8Array[] = [];
  #rest: Uint8Array | undefined;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#reader = body[Symbol.asyncIterator]();
  }

  async isEmpty(): Promise<boolean> {
    return (await this.#keepNext()) === undefined;
  }

  /** @throws Failure "exhausted" when more than `sizeBytesMax` came */
  async *small(sizeBytesMax: number): AsyncGenerator<Uint8Array, void> {
    let sizeBytes = 0;
    for (let at = 0; ; at++) {
      const piece = this.#kept[at] ?? (await this.#keepNext());
      if (!piece) return;
      sizeBytes += piece.length;
      if (sizeBytes > sizeBytesMax) {
        throw new Failure("exhausted", `Cannot unpack more than ${sizeBytesMax} bytes in memory`);
      }
      yield piece;
    }
  }

  /** From the first byte on; `small` is not read any more. */
  async *all(): AsyncGenerator<Uint8Array, void> {
    await this.#reading; // what `small` had asked for last
    for (let piece = this.#kept.shift(); piece; piece = this.#kept.shift()) yield piece;
    for (let piece = await this.#next(); piece; piece = await this.#next()) yield piece;
  }

  #keepNext(): Promise<Uint8Array | undefined> {
    const reading = this.#next().then((piece) => {
      if (piece) this.#kept.push(piece);
      return piece;
    });
    this.#reading = reading.catch(() => {}); // who asked hears of it
    return reading;
  }

  async #next(): Promise<Uint8Array | undefined> {
    const piece = Buffer.allocUnsafeSlow(pieceBytes);
    let size = 0;
    while (size < piece.length) {
      const chunk = this.#rest ?? (await this.#reader.next()).value;
      this.#rest = undefined;
      if (!chunk) break;
      const part = chunk.subarray(0, piece.length - size);
      piece.set(part, size);
      size += part.length;
      if (part.length < chunk.length) this.#rest = chunk.subarray(part.length);
    }
    return size > 0 ? piece.subarray(0, size) : undefined;
  }
}
