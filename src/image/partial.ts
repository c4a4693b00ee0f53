import type { FileHandle } from "node:fs/promises";
import { algorithmOf, type Descriptor, type Digest, DigestHasher } from "../oci/mod.ts";
import type { Growth } from "../snapshot/mod.ts";

const pieceBytes = 256 << 10;

/** A file that grows, with the hash of what is in it. Writes go on while the next piece is gathered. */
export class Partial {
  readonly #file: FileHandle;
  readonly #growth: Growth;
  #hasher: DigestHasher;
  /** One is filled while the other is written. */
  #piece = Buffer.allocUnsafe(pieceBytes);
  #other = Buffer.allocUnsafe(pieceBytes);
  #used = 0;
  #writing: Promise<unknown> = Promise.resolve();
  sizeBytes = 0;

  private constructor(file: FileHandle, digest: Digest, growth: Growth) {
    this.#file = file;
    this.#growth = growth;
    this.#hasher = new DigestHasher(algorithmOf(digest));
  }

  /** Goes on where the file ends; `growth` is told how much is there. */
  static async of(
    file: FileHandle,
    { size, digest }: Descriptor,
    growth: Growth,
  ): Promise<Partial> {
    const partial = new Partial(file, digest, growth);
    if ((await file.stat()).size > size) await file.truncate(0);
    const piece = Buffer.allocUnsafe(pieceBytes);
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, pieceBytes, partial.sizeBytes);
      if (bytesRead === 0) break;
      partial.#hasher.update(piece.subarray(0, bytesRead));
      partial.sizeBytes += bytesRead;
    }
    growth.tell(partial.sizeBytes);
    return partial;
  }

  async push(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const take = Math.min(chunk.length - at, pieceBytes - this.#used);
      this.#piece.set(chunk.subarray(at, at + take), this.#used);
      at += take;
      this.#used += take;
      this.sizeBytes += take;
      if (this.#used === pieceBytes) await this.flush(false);
    }
  }

  /** Gives what is gathered to the file; with `wait`, until it is there. */
  async flush(wait = true): Promise<void> {
    await this.#writing;
    if (this.#used > 0) {
      const full = this.#piece.subarray(0, this.#used);
      this.#hasher.update(full);
      this.#writing = this.#write(full, this.sizeBytes);
      this.#writing.catch(() => {}); // seen by the next await of it
      [this.#piece, this.#other] = [this.#other, this.#piece];
      this.#used = 0;
    }
    if (wait) await this.#writing;
  }

  async #write(bytes: Uint8Array, endBytes: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      // The file is open for appending.
      at += (await this.#file.write(bytes, at, bytes.length - at)).bytesWritten;
    }
    this.#growth.tell(endBytes);
  }

  /** The registry begins at the start again. */
  async restart(): Promise<void> {
    this.#growth.tell(0, "broken");
    await this.#file.truncate(0);
    this.#hasher = new DigestHasher(this.#hasher.algorithm);
    this.sizeBytes = 0;
  }

  digest(): Digest {
    return this.#hasher.digest();
  }
}
