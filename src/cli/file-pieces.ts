/** A file's bytes in large pieces: each piece is one write to the engine. */
import { closeSync, openSync, readSync } from "node:fs";
import { encodeName, Failure } from "../base/mod.ts";

const pieceBytes = 512 << 10;

/**
 * Yields the first `sizeBytes` of the file, or all of it.
 * @throws Failure "not_found" | "denied", in Go's words; "conflict" — the file shrank meanwhile
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
      if (read === 0 && Number.isFinite(sizeBytes)) {
        throw new Failure("conflict", `Cannot send ${path}: it changed while it was read`, {
          hint: "Try again when nothing writes it, or leave it out with .dockerignore",
        });
      }
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
    return openSync(path.isWellFormed() ? path : encodeName(path), "r");
  } catch (cause) {
    const { code = "" } = cause as { code?: string };
    if (code === "ENOENT") {
      throw new Failure("not_found", `open ${path}: no such file or directory`, { cause });
    }
    throw new Failure("denied", `open ${path}: permission denied`, { cause });
  }
}
