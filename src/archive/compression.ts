import type { Transform } from "node:stream";
import { Failure } from "../base/mod.ts";
import { ZstdFrames } from "./zstd-frames.ts";

/** Loaded when something is compressed: it takes 3 MB and, of a short command, time. */
const zlib = () => require("node:zlib") as typeof import("node:zlib");

export type Compression = "plain" | "gzip" | "zstd" | "bzip2" | "xz";

/** Bytes that `sniffCompression` wants to see. */
export const magicBytes = 6;

/** Tells by the first bytes how a file is compressed; what it does not know is "plain". */
export function sniffCompression(first: Uint8Array): Compression {
  const hex = Buffer.from(first.subarray(0, magicBytes)).toString("hex");
  if (hex.startsWith("1f8b")) return "gzip";
  if (hex.startsWith("28b52ffd") || /^5.2a4d18/.test(hex)) return "zstd"; // or a skippable frame
  if (hex.startsWith("425a68")) return "bzip2";
  if (hex.startsWith("fd377a585a00")) return "xz";
  return "plain";
}

export interface DecompressOptions {
  /** Bytes that may come out. */
  readonly sizeBytesMax?: number;
  /** Bytes out for each byte in, once more than 1 GiB came out. Default: 1100, deflate's greatest. */
  readonly ratioMax?: number;
  /**
   * Sends the bytes through a program's stdin and gives its stdout: for bzip2 and xz, which have no
   * decoder here. Absent: those are "unsupported".
   */
  readonly through?: (
    argv: readonly [string, ...string[]],
    source: AsyncIterable<Uint8Array>,
  ) => AsyncIterable<Uint8Array>;
}

const freeBytes = 1 << 30;
const pieceBytes = 256 << 10;

/**
 * The plain bytes of a stream, whatever it is compressed with. A source may use its buffer again when it is
 * asked for the next chunk: what is yielded may then be gone as well.
 * @throws Failure "corrupt" (also when cut short) | "exhausted" (a bomb) | "unsupported"
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  options: DecompressOptions = {},
): AsyncGenerator<Uint8Array, void> {
  const count = new Expansion(options);
  const peeked = await peek(source, count);
  const how = sniffCompression(peeked.first);
  for await (const chunk of plain(how, peeked.all, options.through)) {
    count.add(chunk.length);
    yield chunk;
  }
}

/** Counts what goes into a decoder and comes out of it, and stops a bomb. */
export class Expansion {
  readonly #sizeBytesMax: number;
  readonly #ratioMax: number;
  #out = 0;
  /** Bytes that went in. */
  in = 0;

  constructor({ sizeBytesMax, ratioMax }: DecompressOptions = {}) {
    this.#sizeBytesMax = sizeBytesMax ?? Number.MAX_SAFE_INTEGER;
    this.#ratioMax = ratioMax ?? 1100;
  }

  /** Counts bytes that came out. @throws Failure "exhausted" */
  add(bytes: number): void {
    this.#out += bytes;
    const isBomb = this.#out > freeBytes && this.#out > this.in * this.#ratioMax;
    if (this.#out <= this.#sizeBytesMax && !isBomb) return;
    throw new Failure("exhausted", `Cannot decompress: more than ${this.#out} bytes come out`);
  }
}

/** The stream with its first bytes known, and its bytes counted. */
async function peek(source: AsyncIterable<Uint8Array>, count: { in: number }) {
  const iterator = source[Symbol.asyncIterator]();
  const parts: Uint8Array[] = [];
  for (let size = 0; size < magicBytes; ) {
    const next = await iterator.next();
    if (next.done) break;
    size += next.value.length;
    parts.push(size < magicBytes ? new Uint8Array(next.value) : next.value);
  }
  async function* all(): AsyncGenerator<Uint8Array, void> {
    try {
      for (const part of parts) {
        count.in += part.length;
        yield part;
      }
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
        count.in += next.value.length;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { first: Buffer.concat(parts), all: all() };
}

function plain(
  how: Compression,
  source: AsyncIterable<Uint8Array>,
  through: DecompressOptions["through"],
): AsyncIterable<Uint8Array> {
  if (how === "plain") return source;
  const kept = copied(source); // a decoder has several chunks at once
  if (how === "gzip") return transform(kept, zlib().createGunzip({ chunkSize: pieceBytes }));
  if (how === "zstd") return plainOfZstd(kept);
  if (through) return through([how, "-dc"], kept);
  throw new Failure("unsupported", `Cannot decompress ${how} here`, {
    hint: "Decompress it first, or use gzip or zstd",
  });
}

async function* copied(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of source) yield new Uint8Array(chunk);
}

async function* plainOfZstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const frames = new ZstdFrames();
  async function* followed(): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of source) {
      frames.push(chunk);
      yield chunk;
    }
  }
  yield* transform(followed(), zlib().createZstdDecompress({ chunkSize: pieceBytes }));
  if (!frames.isWhole) throw new Failure("corrupt", "Cannot decompress: the stream ends too soon");
}

/** Sends a stream through one of zlib's, with its errors as Failures and those of the source as they are. */
async function* transform(
  source: AsyncIterable<Uint8Array>,
  stream: Transform,
): AsyncGenerator<Uint8Array, void> {
  const { pipeline, Readable } = require("node:stream") as typeof import("node:stream");
  let failure: unknown;
  pipeline(Readable.from(source, { objectMode: true, highWaterMark: 2 }), stream, (error) => {
    failure = error;
  });
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("corrupt", `Cannot decompress: ${why}`, { cause });
  }
  if (failure instanceof Failure) throw failure;
}

/** The header of every gzip we write: no name, no time, an unknown system. */
const gzipHeader = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);

/** The same bytes in pieces of one size: deflate's result depends on how its input is cut. */
async function* cutEvenly(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void> {
  let piece = Buffer.allocUnsafe(pieceBytes);
  let used = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      const take = Math.min(chunk.length - at, pieceBytes - used);
      piece.set(chunk.subarray(at, at + take), used);
      at += take;
      used += take;
      if (used < pieceBytes) continue;
      yield piece;
      piece = Buffer.allocUnsafe(pieceBytes);
      used = 0;
    }
  }
  if (used > 0) yield piece.subarray(0, used);
}

/** Compresses, always the same way: the same bytes in give the same bytes out. */
export async function* gzip(
  source: AsyncIterable<Uint8Array>,
  level = 6,
): AsyncGenerator<Uint8Array, void> {
  const { crc32 } = zlib();
  const sum = { crc: 0, size: 0 };
  async function* summed(): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of cutEvenly(source)) {
      sum.crc = crc32(chunk, sum.crc);
      sum.size += chunk.length;
      yield chunk;
    }
  }
  yield gzipHeader;
  yield* transform(summed(), zlib().createDeflateRaw({ level, chunkSize: pieceBytes }));
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(sum.crc >>> 0, 0);
  trailer.writeUInt32LE(sum.size % 2 ** 32, 4);
  yield trailer;
}
