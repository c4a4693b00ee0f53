import { decompress, magicBytes, sniffCompression } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import { unpackTar } from "../snapshot/mod.ts";
import { closeFile, open, pathOf, readInto } from "../sys/mod.ts";
import { Root } from "./rooted.ts";

/** What to unpack where. */
export interface UnpackWish {
  /** The folder that holds the archive, and its path there. */
  readonly root: string;
  readonly path: string;
  readonly targetRoot: string;
  readonly target: string;
  /** Of all that comes out; undefined: as the archive says. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly signal: AbortSignal;
}

/** True when the file is a tar, compressed or not: ADD unpacks those and copies all else. */
export async function isTar(root: string, path: string): Promise<boolean> {
  using folder = new Root(root);
  const file = folder.open(path, open.readOnly | open.nonBlock);
  if (file === undefined) return false;
  try {
    const head = new Uint8Array(512);
    const length = readInto(file, head, 0);
    const how = sniffCompression(head.subarray(0, Math.min(length, magicBytes)));
    if (how === "plain") return isTarHeader(head.subarray(0, length));
    // What is compressed this way is an archive, or would be the first file that is not.
    if (how === "bzip2" || how === "xz") return true;
    return isTarHeader(await firstBytes(pathOf(file)));
  } finally {
    closeFile(file);
  }
}

/** The first 512 bytes of a compressed file; none when it is not what it looks like. */
async function firstBytes(path: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of decompress(Bun.file(path).stream())) {
      parts.push(new Uint8Array(chunk.subarray(0, 512)));
      size += chunk.length;
      if (size >= 512) break;
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return new Uint8Array();
  }
  return Buffer.concat(parts).subarray(0, 512);
}

/** The checksum is what every dialect of tar has. Two blocks of zeros are an empty archive. */
function isTarHeader(head: Uint8Array): boolean {
  if (head.length < 512) return false;
  const stored = Number.parseInt(Buffer.from(head.subarray(148, 156)).toString("latin1"), 8);
  const sum = head.reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 32 : byte), 0);
  return stored === sum;
}

/** Unpacks an archive of the context into a folder of the image. @throws Failure as `unpackTar` */
export async function unpackInto(wish: UnpackWish): Promise<void> {
  using folder = new Root(wish.root);
  const file = folder.open(wish.path, open.readOnly | open.nonBlock);
  if (file === undefined) {
    throw new Failure("conflict", `Cannot unpack "${wish.path}": it changed during the build`);
  }
  try {
    await unpackTar(pathOf(file), wish.targetRoot, {
      into: wish.target,
      devices: true,
      signal: wish.signal,
      ...(wish.owner ? { owner: wish.owner } : {}),
    });
  } finally {
    closeFile(file);
  }
}
