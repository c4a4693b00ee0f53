/** A file's bytes in large pieces: each piece is one write to the engine. */
import { closeSync, openSync, readSync } from "node:fs";
import { Failure } from "../base/mod.ts";

const pieceBytes = 512 << 10;

/**
 * Yields the first `sizeBytes` of the file, or all of it. It ends early when the file shrank meanwhile.
 * @throws Failure "not_found" | "denied", in Go's words
 */
export async function* filePieces(
  path: string,
  sizeBytes = Number.POSITIVE_INFINITY,
): AsyncGenerator<Uint8Array> {
  const file = open(path);
  try {
    for (let at = 0; at < sizeBytes; ) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, sizeBytes - at));
      const read = readSync(file, piece, 0, piece.length, null);
      if (read === 0) return;
      at += read;
      yield piece.subarray(0, read);
    }
  } finally {
    closeSync(file);
  }
}

function open(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    const { code = "" } = cause as { code?: string };
    if (code === "ENOENT") {
      throw new Failure("not_found", `open ${path}: no such file or directory`, { cause });
    }
    throw new Failure("denied", `open ${path}: permission denied`, { cause });
  }
}
