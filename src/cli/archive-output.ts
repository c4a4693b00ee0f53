/** Archives to a file or to stdout, and from a file or stdin. */
import type { Bytes } from "../api/client.ts";
import { Failure } from "../base/mod.ts";
import { write } from "./output.ts";

/**
 * Writes an archive to `path` (whole or not at all), or to stdout when it is "".
 * @throws Failure "invalid" — stdout is a terminal, which an archive would garble
 */
export async function writeArchive(path: string, open: () => Promise<Bytes>): Promise<void> {
  if (path === "") {
    const { isatty } = require("node:tty") as typeof import("node:tty");
    if (isatty(1)) {
      throw new Failure(
        "invalid",
        "cowardly refusing to save to a terminal. Use the -o flag or redirect",
      );
    }
    for await (const bytes of await open()) await write(bytes);
    return;
  }
  const { rename, rm } = require("node:fs/promises") as typeof import("node:fs/promises");
  await checkOutput(path);
  const bytes = await open();
  const temporary = `${path}.${process.pid}.partial`;
  const sink = Bun.file(temporary).writer();
  try {
    for await (const part of bytes) {
      sink.write(part);
      await sink.flush();
    }
    await sink.end();
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    const { code, message } = cause as { code?: string; message: string };
    if (code === "ENOENT" || code === "EACCES" || code === "ENOSPC") {
      throw new Failure("invalid", `Cannot write "${path}": ${message}`, { cause });
    }
    throw cause;
  }
}

/** A rename would put a file in a device's place. @throws Failure "invalid" in Docker's words */
async function checkOutput(path: string): Promise<void> {
  const { stat } = require("node:fs/promises") as typeof import("node:fs/promises");
  const { dirname } = require("node:path") as typeof import("node:path");
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isFile()) {
    throw new Failure("invalid", `invalid output path: "${path}" must be a regular file`);
  }
  const folder = dirname(path);
  const above = await stat(folder).catch(() => undefined);
  if (!above?.isDirectory()) {
    throw new Failure("invalid", `invalid output path: directory "${folder}" does not exist`);
  }
}

/** The bytes of a file, or of stdin for "" and "-". @throws Failure "not_found" | "invalid" */
export async function openArchive(path: string): Promise<Bytes> {
  if (path === "" || path === "-") {
    const { isatty } = require("node:tty") as typeof import("node:tty");
    if (isatty(0)) throw new Failure("invalid", "requested load from stdin, but stdin is empty");
    return Bun.stdin.stream();
  }
  const { stat } = require("node:fs/promises") as typeof import("node:fs/promises");
  // Pipes and devices serve as well: `lading load -i <(zstd -d < x.tar.zst)`.
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new Failure("not_found", `open ${path}: no such file or directory`);
  if (found.isDirectory()) throw new Failure("invalid", `read ${path}: is a directory`);
  const { filePieces } = require("./file-pieces.ts") as typeof import("./file-pieces.ts");
  return filePieces(path);
}
