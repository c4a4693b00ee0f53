import type { FileHandle } from "node:fs/promises";
import { type DigestAlgorithm, DigestHasher } from "../oci/mod.ts";

const pieceBytes = 512 << 10;

/** Chunks are garbage at once, outside of the heap that the collector watches: it is told in time. */
const sweepBytes = 48 << 20;
let unsweptBytes = 0;

function sweep(sizeBytes: number): void {
  unsweptBytes += sizeBytes;
  if (unsweptBytes < sweepBytes) return;
  unsweptBytes = 0;
  Bun.gc(true);
}

/** Lets the event loop turn between pieces. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** How far a file has come, and the hash so far. */
export type Progress = { readonly hasher: DigestHasher; sizeBytes: number };

/** The hash of a file as far as it goes, to be continued. */
export async function hashWhole(file: FileHandle, algorithm: DigestAlgorithm): Promise<Progress> {
  const hasher = new DigestHasher(algorithm);
  const piece = Buffer.allocUnsafe(pieceBytes);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) return { hasher, sizeBytes: at };
    hasher.update(piece.subarray(0, bytesRead));
    at += bytesRead;
    await turn();
  }
}

/**
 * Writes chunks of any size at a file's end in large pieces and hashes them: one piece is written by
 * another thread while the next is gathered. `progress` says what is in the file, never more.
 */
export class PieceWriter {
  readonly #file: FileHandle;
  readonly #progress: Progress;
  #piece: Buffer = Buffer.allocUnsafe(pieceBytes);
  #spare: Buffer | undefined;
  #used = 0;
  #writing: Promise<void> = Promise.resolve();
  #sizeBytes: number;

  constructor(file: FileHandle, progress: Progress) {
    this.#file = file;
    this.#progress = progress;
    this.#sizeBytes = progress.sizeBytes;
  }

  /** With what is still in memory. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const take = Math.min(chunk.length - at, pieceBytes - this.#used);
      this.#piece.set(take === chunk.length ? chunk : chunk.subarray(at, at + take), this.#used);
      at += take;
      this.#used += take;
      this.#sizeBytes += take;
      if (this.#used === pieceBytes) await this.#flush();
    }
  }

  /** Settles when all is in the file. */
  async end(): Promise<void> {
    if (this.#used > 0) await this.#flush();
    await this.#writing;
  }

  async #flush(): Promise<void> {
    await this.#writing;
    sweep(this.#used);
    const full = this.#piece.subarray(0, this.#used);
    const buffer = this.#piece;
    this.#writing = this.#store(full).then(() => {
      this.#spare = buffer;
    });
    this.#writing.catch(() => {}); // seen by the next await of it; here, only not unhandled
    this.#piece = this.#spare ?? Buffer.allocUnsafe(pieceBytes);
    this.#spare = undefined;
    this.#used = 0;
  }

  async #store(bytes: Uint8Array): Promise<void> {
    const start = this.#progress.sizeBytes;
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, start + at);
      at += bytesWritten;
    }
    this.#progress.hasher.update(bytes);
    this.#progress.sizeBytes += bytes.length;
  }
}
