import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { Failure, isFailure, limits } from "../base/mod.ts";
import { unpackTar } from "../snapshot/mod.ts";
import { unmountNow } from "../sys/mod.ts";
import { mountTmpfs } from "./memory-folder.ts";
import { newId } from "./tools.ts";
import type { TakenContext } from "./types.ts";

/** What came of it is kept meanwhile, for when it turns out larger: so much in memory, the rest in a file. */
const keptBytesMax = 2 << 20;
const pieceBytes = 256 << 10;
/** Of the memory that is available, a context in memory takes at most this part. */
const memoryShare = 1 / 8;
const filesMax = 262_144;
/** Contexts in memory at a time. */
const inMemoryMax = 2;

/** What is unpacked in memory: small files cost a disk much, memory little. */
export interface IntakeBounds {
  /** As it comes, packed. */
  readonly uploadBytesMax: number;
  /** Unpacked; one that grows beyond goes to the disk. */
  readonly tmpfsBytesMax: number;
}

const boundsOfDaemon = { uploadBytesMax: 256 << 20, tmpfsBytesMax: 512 << 20 };

async function tmpfsBytes({ tmpfsBytesMax }: IntakeBounds): Promise<number> {
  const text = await Bun.file("/proc/meminfo").text();
  const available = Number(/^MemAvailable:\s*(\d+)/m.exec(text)?.[1] ?? 0) * 1024;
  return Math.max(16 << 20, Math.min(tmpfsBytesMax, Math.floor(available * memoryShare)));
}

/** Unpacks uploaded build contexts under `work/`; in memory when they are small. */
export class Intake {
  readonly #directory: string;
  readonly #bounds: IntakeBounds;
  #inMemory = 0;

  constructor(directory: string, bounds: IntakeBounds = boundsOfDaemon) {
    this.#directory = directory;
    this.#bounds = bounds;
  }

  /**
   * Unpacks a tar, compressed or not. No bytes at all are an empty context.
   * @throws Failure "invalid" (a hostile entry) | "corrupt" | "exhausted"
   */
  async take(
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    sizeBytes = 0,
  ): Promise<TakenContext> {
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
      await rm(`${path}.spool`, { force: true });
      await rm(path, { recursive: true, force: true, maxRetries: 3 });
    };
    try {
      await using upload = new Upload(body, `${path}.spool`);
      if (await upload.isEmpty()) return { path, [Symbol.asyncDispose]: dispose };
      const options = { signal, sizeBytesMax: limits.layerBytesMax };
      const mayFit = sizeBytes <= this.#bounds.uploadBytesMax;
      if (mayFit && this.#inMemory < inMemoryMax) {
        this.#inMemory++;
        isMounted = true;
        // A file's head says how large it is: what holds more goes to the disk before it came.
        const sizeBytesMax = await tmpfsBytes(this.#bounds);
        mountTmpfs(path, `size=${sizeBytesMax},nr_inodes=${filesMax},mode=755`);
        try {
          const small = upload.small(this.#bounds.uploadBytesMax);
          await unpackTar(small, path, { signal, sizeBytesMax });
          await upload.forget();
          return { path, [Symbol.asyncDispose]: dispose };
        } catch (error) {
          if (!isFailure(error, "exhausted")) throw error;
          await close(); // it is large, or small only while it is packed
        }
      }
      await unpackTar(upload.all(), path, options);
      return { path, isOnDisk: true, [Symbol.asyncDispose]: dispose };
    } catch (error) {
      await dispose();
      throw error;
    }
  }
}

/**
 * The bytes of an upload, in pieces. They can be taken as those of a small one while they come, and once more when it turns out large.
 */
class Upload implements AsyncDisposable {
  readonly #reader: AsyncGenerator<Uint8Array, void>;
  readonly #spoolPath: string;
  /** What was taken as of a small one: its beginning, and a file with what followed. */
  #kept: Uint8Array[] = [];
  #spool: FileHandle | undefined;
  #isOver = false;
  #takenBytes = 0;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(body: AsyncIterable<Uint8Array>, spoolPath: string) {
    this.#reader = piecesOf(body);
    this.#spoolPath = spoolPath;
  }

  async isEmpty(): Promise<boolean> {
    return (await this.#keepNext()) === undefined;
  }

  /** @throws Failure "exhausted" when more than `sizeBytesMax` came */
  async *small(sizeBytesMax: number): AsyncGenerator<Uint8Array, void> {
    yield* this.#kept.slice();
    for (;;) {
      const piece = await this.#keepNext();
      if (!piece) return;
      if (this.#takenBytes > sizeBytesMax) {
        throw new Failure("exhausted", `Cannot unpack more than ${sizeBytesMax} bytes in memory`);
      }
      yield piece;
    }
  }

  /** From the first byte on; `small` is not read any more. */
  async *all(): AsyncGenerator<Uint8Array, void> {
    await this.#reading; // what `small` had asked for last
    for (let piece = this.#kept.shift(); piece; piece = this.#kept.shift()) yield piece;
    if (this.#spool) yield* bytesOf(this.#spool);
    await this.forget();
    for (let piece = await this.#next(); piece; piece = await this.#next()) yield piece;
  }

  /** Nothing is kept from here on, not even what is being read: an open file would end the daemon. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.forget();
  }

  /** Lets go of what was kept. */
  async forget(): Promise<void> {
    this.#kept = [];
    const spool = this.#spool;
    this.#spool = undefined;
    await spool?.close();
    if (spool) await rm(this.#spoolPath, { force: true });
  }

  #keepNext(): Promise<Uint8Array | undefined> {
    const reading = this.#next().then(async (piece) => {
      if (piece) await this.#keep(piece);
      return piece;
    });
    this.#reading = reading.catch(() => {}); // who asked hears of it
    return reading;
  }

  async #keep(piece: Uint8Array): Promise<void> {
    this.#takenBytes += piece.length;
    if (!this.#spool && this.#takenBytes <= keptBytesMax) {
      this.#kept.push(new Uint8Array(piece));
      return;
    }
    if (this.#isOver) return;
    this.#spool ??= await open(this.#spoolPath, "wx+", 0o600);
    if (this.#isOver) await this.forget();
    else await writeAll(this.#spool, piece);
  }

  async #next(): Promise<Uint8Array | undefined> {
    return (await this.#reader.next()).value ?? undefined;
  }
}

/**
 * What a client sends in thousands of small chunks, in pieces of a message to a worker. Each is gone when the
 * next is asked for: a gigabyte leaves no gigabyte to collect.
 */
export async function* piecesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const reader = body[Symbol.asyncIterator]();
  let rest: Uint8Array | undefined;
  const piece = Buffer.allocUnsafeSlow(pieceBytes);
  for (;;) {
    let size = 0;
    while (size < piece.length) {
      const chunk = rest ?? (await reader.next()).value;
      rest = undefined;
      if (!chunk) break;
      const part = chunk.subarray(0, piece.length - size);
      piece.set(part, size);
      size += part.length;
      if (part.length < chunk.length) rest = chunk.subarray(part.length);
    }
    if (size === 0) return;
    yield piece.subarray(0, size);
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
  }
}

/** A file from its beginning. Each piece is gone when the next is asked for. */
async function* bytesOf(file: FileHandle): AsyncGenerator<Uint8Array, void> {
  const piece = Buffer.allocUnsafeSlow(pieceBytes);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}
