/** Bodies that are too large for memory, as files that go when the request does. */
import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { Failure } from "../base/mod.ts";

/** Below it a buffer may be the one that Node cuts small ones from. */
const ownBufferBytesMin = 16 << 10;
const batchBytes = 1 << 20;

/** A folder of one request under the API's directory. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/** A new empty folder; removed, with all in it, when it is disposed of. */
export async function openScratch(directory: string): Promise<Scratch> {
  const path = `${directory}/${randomUUID()}`;
  await mkdir(path, { mode: 0o700 });
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 3 }),
  };
}

/**
 * Writes all of `bytes`, which nobody else uses, to the new file `path` and tells its size. Reading goes on
 * while the disk writes.
 * @throws Failure "exhausted" — more than `sizeBytesMax`, or no space left
 */
export async function spool(
  bytes: AsyncIterable<Uint8Array>,
  path: string,
  sizeBytesMax: number,
): Promise<number> {
  await using file = await open(path, "wx", 0o600);
  // Two buffers, one filling while the other is written, and no garbage.
  let filling = Buffer.allocUnsafeSlow(batchBytes);
  let resting = Buffer.allocUnsafeSlow(batchBytes);
  let used = 0;
  let size = 0;
  let writing: Promise<void> = Promise.resolve();
  let spent: ArrayBufferLike | undefined;
  for await (const piece of bytes) {
    // What a socket gave at once is several pieces: the buffer goes when the first of another comes.
    if (spent !== piece.buffer) giveBack(spent);
    spent = piece.buffer;
    size += piece.length;
    if (size > sizeBytesMax) {
      throw new Failure("exhausted", `Cannot take the upload: it is over ${sizeBytesMax} bytes`);
    }
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + batchBytes - used);
      filling.set(part, used);
      used += part.length;
      at += part.length;
      if (used < batchBytes) break;
      await writing;
      writing = writeAll(file, filling, path);
      writing.catch(() => {}); // it is awaited before the next batch, or at the end
      [filling, resting] = [resting, filling];
      used = 0;
    }
  }
  await writing;
  await writeAll(file, filling.subarray(0, used), path);
  return size;
}

/** Ends a buffer now: the collector of garbage does not see how much lies outside of its heap. */
function giveBack(buffer: ArrayBufferLike | undefined): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= ownBufferBytesMin) buffer.transfer(0);
}

async function writeAll(file: FileHandle, bytes: Uint8Array, path: string): Promise<void> {
  try {
    let rest = bytes;
    while (rest.length > 0) {
      const { bytesWritten } = await file.write(rest);
      rest = rest.subarray(bytesWritten);
    }
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== "ENOSPC" && code !== "EDQUOT") {
      throw new Failure("internal", `Cannot write the upload to ${path}: ${message}`, { cause });
    }
    throw new Failure("exhausted", "Cannot take the upload: no space left on device", {
      hint: `Free space where ${path.split("/").slice(0, -2).join("/")} is, for example by a prune`,
      cause,
    });
  }
}
