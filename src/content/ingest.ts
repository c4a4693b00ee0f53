import type { FileHandle } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import { type Digest, type DigestAlgorithm, DigestHasher } from "../oci/mod.ts";

const pieceBytes = 512 << 10;

/** Lets the event loop turn between pieces: a source that is always ready would hold it for long. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Writes a stream to an empty file and hashes it on the way, in large pieces: one is written by
 * another thread while the next is gathered.
 * @throws Failure "exhausted" — more than `sizeBytesMax`, or the disk is full
 */
export async function writeHashed(
  bytes: AsyncIterable<Uint8Array>,
  file: FileHandle,
  { sizeBytesMax, algorithm }: { sizeBytesMax: number; algorithm?: DigestAlgorithm | undefined },
): Promise<{ digest: Digest; sizeBytes: number }> {
  const hasher = new DigestHasher(algorithm);
  let sizeBytes = 0;
  let piece = Buffer.allocUnsafe(pieceBytes);
  let used = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = async () => {
    await writing;
    const full = piece.subarray(0, used);
    hasher.update(full);
    writing = writeAll(file, full);
    writing.catch(() => {}); // seen by the next await of it; here, only not unhandled
    piece = Buffer.allocUnsafe(pieceBytes);
    used = 0;
    await turn();
  };
  for await (const chunk of bytes) {
    sizeBytes += chunk.length;
    if (sizeBytes > sizeBytesMax) {
      throw new Failure("exhausted", `Cannot store the blob: it is over ${sizeBytesMax} bytes`);
    }
    for (let at = 0; at < chunk.length; ) {
      const take = Math.min(chunk.length - at, pieceBytes - used);
      piece.set(take === chunk.length ? chunk : chunk.subarray(at, at + take), used);
      at += take;
      used += take;
      if (used === pieceBytes) await flush();
    }
  }
  if (used > 0) await flush();
  await writing;
  return { digest: hasher.digest(), sizeBytes };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at);
    at += bytesWritten;
  }
}

/** The digest of a file, read in pieces off the event loop. */
export async function hashFile(
  file: FileHandle,
  algorithm: DigestAlgorithm | undefined,
): Promise<Digest> {
  const hasher = new DigestHasher(algorithm);
  const piece = Buffer.allocUnsafe(pieceBytes);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) return hasher.digest();
    hasher.update(piece.subarray(0, bytesRead));
    at += bytesRead;
    await turn();
  }
}

/** Refuses bytes that are not what was asked for. */
export function expect(expected: Digest | undefined, found: Digest): void {
  if (expected === undefined || expected === found) return;
  throw new Failure("corrupt", `Cannot store blob ${expected}: its bytes hash to ${found}`);
}
