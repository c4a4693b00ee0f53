import { type TarHeader, tarEnd, tarHeader, tarPadding } from "../archive/mod.ts";
import type { PackSink } from "./pack.ts";
import type { Unpacker } from "./unpack.ts";

const zeros = new Uint8Array(1 << 20);

/**
 * A tar as bytes: small pieces are gathered, large ones passed on as they are. What `write` gets is a
 * view that lives until it returns. `finish` writes what is left and the archive's end.
 */
export class TarSink implements PackSink {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #gathered: Buffer;
  #used = 0;
  #sizeBytes = 0;
  /** Bytes of file content so far, holes included. */
  contentBytes = 0;
  entries = 0;

  constructor(write: (bytes: Uint8Array) => void, gatherBytes = 256 << 10) {
    this.#write = write;
    this.#gathered = Buffer.allocUnsafe(gatherBytes);
  }

  entry(header: TarHeader): void {
    this.entries++;
    this.#sizeBytes = header.sizeBytes;
    this.contentBytes += header.sizeBytes;
    this.#put(tarHeader(header));
  }

  data(bytes: Uint8Array): void {
    this.#put(bytes);
  }

  hole(_offset: number, sizeBytes: number): void {
    for (let left = sizeBytes; left > 0; left -= zeros.length) {
      this.#put(left < zeros.length ? zeros.subarray(0, left) : zeros);
    }
  }

  end(): void {
    this.#put(tarPadding(this.#sizeBytes));
    this.#sizeBytes = 0;
  }

  finish(): void {
    this.#put(tarEnd);
    this.#flush();
  }

  #put(bytes: Uint8Array): void {
    if (bytes.length >= this.#gathered.length) {
      this.#flush();
      this.#write(bytes);
      return;
    }
    if (this.#used + bytes.length > this.#gathered.length) this.#flush();
    this.#gathered.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  #flush(): void {
    if (this.#used > 0) this.#write(this.#gathered.subarray(0, this.#used));
    this.#used = 0;
  }
}

/**
 * Copies what it gets below a directory while it is packed: what the tar's hash says is what the copy
 * holds, even where the source goes on changing. Times keep their nanoseconds in the copy alone.
 */
export class CopySink implements PackSink {
  readonly #tar: TarSink;
  readonly #copy: Unpacker;

  constructor(tar: TarSink, copy: Unpacker) {
    this.#tar = tar;
    this.#copy = copy;
  }

  entry(header: TarHeader): void {
    this.#tar.entry({ ...header, mtimeNanoseconds: 0 });
    this.#copy.take({ kind: "entry", header });
  }

  data(bytes: Uint8Array, offset: number): void {
    this.#tar.data(bytes);
    this.#copy.take({ kind: "data", bytes, offset });
  }

  hole(offset: number, sizeBytes: number): void {
    this.#tar.hole(offset, sizeBytes);
  }

  end(): void {
    this.#tar.end();
    this.#copy.take({ kind: "end" });
  }
}
