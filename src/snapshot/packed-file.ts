import { createReadStream } from "node:fs";
import { decompress, Expansion, magicBytes, sniffCompression } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import { closeFile, filterThrough, Inflater, open, openPath, readInto } from "../sys/mod.ts";
import type { Growth } from "./growth.ts";

export interface PackedFile {
  readonly path: string;
  /** The file is still being written. */
  readonly growth?: Growth | undefined;
  /** Throws when the bytes are no longer wanted. */
  readonly abort: () => void;
}

const pieceBytes = 256 << 10;
/** What zlib's stream left behind is let go after so many bytes: the runtime by itself waits far longer. */
const collectBytes = 4 << 20;

/**
 * Gives the plain bytes of a file, however it is compressed, to `take`, in pieces whose life ends with the
 * call. Blocks its thread: for workers.
 * @throws Failure "corrupt" | "exhausted" (a bomb) | "unavailable" — the file broke off while it grew
 */
export async function readPacked(
  file: PackedFile,
  take: (plain: Uint8Array) => void,
): Promise<void> {
  const fd = openPath(file.path, open.readOnly);
  try {
    const how = sniffCompression(readFirst(fd, file));
    if (how === "plain") {
      for (const piece of pieces(fd, file)) take(piece);
      return;
    }
    const inflater = how === "gzip" ? Inflater.open() : undefined;
    if (inflater) inflate(inflater, pieces(fd, file), take);
    else await viaStream(file.growth ? copies(fd, file) : streamOf(file.path), take);
  } finally {
    closeFile(fd);
  }
}

function readFirst(fd: number, { growth, abort }: PackedFile): Uint8Array {
  for (let size = 0; growth && size < magicBytes && growth.state === "grows"; ) {
    growth.wait(size, abort);
    size = growth.sizeBytes;
  }
  const first = Buffer.alloc(magicBytes);
  return first.subarray(0, readInto(fd, first, 0));
}

function inflate(
  inflater: Inflater,
  packed: Iterable<Uint8Array>,
  take: (plain: Uint8Array) => void,
): void {
  const expansion = new Expansion();
  for (const piece of packed) {
    expansion.in += piece.length;
    for (const plain of inflater.push(piece)) {
      expansion.add(plain.length);
      take(plain);
    }
  }
  if (!inflater.isWhole) {
    throw new Failure("corrupt", "Cannot decompress: the gzip stream ends too soon");
  }
}

/** The file's bytes, as far as they are there; views of one buffer. */
function* pieces(fd: number, { growth, abort }: PackedFile): Generator<Uint8Array, void> {
  const buffer = Buffer.allocUnsafe(pieceBytes);
  for (let at = 0; ; ) {
    growth?.wait(at, abort);
    const isOver = growth?.state !== "grows";
    if (growth?.state === "broken") throw new Failure("unavailable", "The file broke off");
    const most = growth ? Math.min(pieceBytes, growth.sizeBytes - at) : pieceBytes;
    const got = most > 0 ? readInto(fd, buffer.subarray(0, most), at) : 0;
    if (got > 0) yield buffer.subarray(0, got);
    else if (isOver) return;
    at += got;
  }
}

async function* copies(fd: number, file: PackedFile): AsyncGenerator<Uint8Array, void> {
  for (const piece of pieces(fd, file)) yield new Uint8Array(piece);
}

const streamOf = (path: string): AsyncIterable<Uint8Array> =>
  createReadStream(path, { highWaterMark: pieceBytes });

async function viaStream(
  packed: AsyncIterable<Uint8Array>,
  take: (plain: Uint8Array) => void,
): Promise<void> {
  let sinceCollected = 0;
  for await (const plain of decompress(packed, { through: filterThrough })) {
    sinceCollected += plain.length;
    if (sinceCollected > collectBytes) {
      sinceCollected = 0;
      Bun.gc(true);
    }
    take(plain);
  }
}
