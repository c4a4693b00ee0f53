import { type FileHandle, open } from "node:fs/promises";
import { cleanPath, magicBytes, sniffCompression, TarParser } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import { diskFailure, punchHole } from "../sys/mod.ts";

/** A file inside an archive: where its bytes stand. */
export interface ArchiveEntry {
  readonly path: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

const entriesMax = 100_000;
const linksMax = 10;
const blockBytes = 512;
const windowBytes = 64 << 10;
const pieceBytes = 1 << 20;
/** What is given back at a time starts and ends where large pages do, or they would stay. */
const spentBytes = 4 << 20;

const corrupt = (why: string) => new Failure("corrupt", `Cannot read the archive: ${why}`);

/**
 * A plain tar on disk, of which only the headers were read: its files are reached by offset. Links are
 * followed within the archive's own names, so that none leads out.
 */
export class ArchiveFile {
  readonly #file: FileHandle;
  readonly #files: Map<string, ArchiveEntry>;
  readonly #links: Map<string, string>;
  #isSpent: boolean;

  private constructor(
    file: FileHandle,
    found: {
      files: Map<string, ArchiveEntry>;
      links: Map<string, string>;
      isSpent: boolean;
    },
  ) {
    this.#file = file;
    this.#files = found.files;
    this.#links = found.links;
    this.#isSpent = found.isSpent;
  }

  /**
   * `isSpent`: nobody needs the file afterwards, so `copy` may take its bytes out.
   * @throws Failure "corrupt" (no tar, or cut short) | "invalid" | "exhausted" | "not_found"
   */
  static async open(path: string, { isSpent }: { isSpent: boolean }): Promise<ArchiveFile> {
    const file = await openFile(path, isSpent ? "r+" : "r");
    try {
      const { files, links } = await scan(file);
      return new ArchiveFile(file, { files, links, isSpent });
    } catch (error) {
      await file.close();
      throw diskFailure(error, "read", path);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  /** The file of that name; undefined when there is none. */
  find(path: string): ArchiveEntry | undefined {
    let name = cleanPath(path);
    for (let hops = 0; hops < linksMax; hops++) {
      const found = this.#files.get(name);
      if (found) return found;
      const target = this.#links.get(name);
      if (target === undefined) return undefined;
      name = target;
    }
    throw corrupt(`"${path.slice(0, 200)}" is behind more than ${linksMax} links`);
  }

  /** @throws Failure "not_found" */
  get(path: string): ArchiveEntry {
    const found = this.find(path);
    if (found) return found;
    throw new Failure("not_found", `Cannot find "${path.slice(0, 200)}" in the archive`);
  }

  /** A small file, whole. @throws Failure "exhausted" */
  async bytes(entry: ArchiveEntry, sizeBytesMax: number): Promise<Uint8Array> {
    if (entry.sizeBytes > sizeBytesMax) {
      const why = `it has ${entry.sizeBytes} bytes, the bound is ${sizeBytesMax}`;
      throw new Failure("exhausted", `Cannot read "${entry.path.slice(0, 200)}": ${why}`);
    }
    const bytes = Buffer.alloc(entry.sizeBytes);
    await readFully(this.#file, bytes, entry.offset);
    return bytes;
  }

  /** The file's bytes from an offset of its own on. */
  async *stream(entry: ArchiveEntry, from: number): AsyncGenerator<Uint8Array, void> {
    for (let at = from; at < entry.sizeBytes; ) {
      const part = Buffer.allocUnsafe(Math.min(pieceBytes, entry.sizeBytes - at));
      await readFully(this.#file, part, entry.offset + at);
      at += part.length;
      yield part;
    }
  }

  /** How the file is compressed. */
  async sniff(entry: ArchiveEntry) {
    const first = Buffer.alloc(Math.min(magicBytes, entry.sizeBytes));
    await readFully(this.#file, first, entry.offset);
    return sniffCompression(first);
  }

  /**
   * Copies the file out to a new file, off the event loop; `told` hears the bytes so far. With `isLast`
   * nobody reads the entry again: what was copied may go at once, and the copy takes its place in memory.
   */
  async copy(
    entry: ArchiveEntry,
    target: string,
    {
      told,
      signal,
      isLast,
    }: { told: (bytes: number) => void; signal: AbortSignal; isLast: boolean },
  ): Promise<void> {
    const file = await openFile(target, "wx");
    try {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, Math.max(1, entry.sizeBytes)));
      let givenBack = Math.ceil(entry.offset / spentBytes) * spentBytes;
      for (let at = 0; at < entry.sizeBytes; ) {
        signal.throwIfAborted();
        const part = piece.subarray(0, Math.min(piece.length, entry.sizeBytes - at));
        await readFully(this.#file, part, entry.offset + at);
        if (isLast) givenBack = this.#giveBack(givenBack, entry.offset + at + part.length);
        await writeFully(file, part);
        at += part.length;
        told(at);
      }
    } catch (error) {
      throw diskFailure(error, "copy", entry.path);
    } finally {
      await file.close();
    }
  }

  /** Gives back what is spent between two offsets, in whole steps; tells how far. */
  #giveBack(start: number, end: number): number {
    const last = Math.floor(end / spentBytes) * spentBytes;
    if (!this.#isSpent || last <= start) return start;
    this.#isSpent = punchHole(this.#file.fd, start, last - start);
    return last;
  }
}

async function openFile(path: string, flags = "r"): Promise<FileHandle> {
  return await open(path, flags, 0o600).catch((error) => {
    throw diskFailure(error, "open", path);
  });
}

async function readFully(file: FileHandle, bytes: Buffer, offset: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, offset + at);
    if (bytesRead === 0) throw corrupt("it ends too soon");
    at += bytesRead;
  }
}

async function writeFully(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at);
    at += bytesWritten;
  }
}

/** Walks from header to header. An archive that stops after an entry is whole, as for Go's reader. */
async function scan(file: FileHandle) {
  const files = new Map<string, ArchiveEntry>();
  const links = new Map<string, string>();
  const { size } = await file.stat();
  const window = new Window(file);
  let count = 0;
  for (let at = 0; at < size; ) {
    const found = await nextHeader(window, at, size);
    if (!found) break;
    if (++count > entriesMax) {
      throw new Failure("exhausted", `Cannot read the archive: more than ${entriesMax} entries`);
    }
    const { header, offset } = found;
    const path = cleanPath(header.path);
    if (header.segments) throw corrupt(`"${path}" is a sparse file, which no image archive has`);
    files.delete(path);
    links.delete(path);
    if (header.type === "file") files.set(path, { path, offset, sizeBytes: header.sizeBytes });
    else if (header.type === "link") links.set(path, cleanPath(header.linkPath));
    else if (header.type === "symlink") links.set(path, besides(path, header.linkPath));
    if (offset + header.sizeBytes > size) throw corrupt("it ends too soon");
    at = offset + Math.ceil(header.sizeBytes / blockBytes) * blockBytes;
  }
  return { files, links };
}

/** The name that a symbolic link at `path` leads to. */
function besides(path: string, target: string): string {
  const folder = path.split("/").slice(0, -1).join("/");
  return cleanPath(target.startsWith("/") ? target : `${folder}/${target}`);
}

async function nextHeader(window: Window, start: number, size: number) {
  const parser = new TarParser({ entriesMax });
  for (let at = start; at < size; at += blockBytes) {
    const block = await window.block(at);
    if (block.length < blockBytes) break;
    for (const event of parser.push(block)) {
      if (event.kind === "entry") return { header: event.header, offset: at + blockBytes };
    }
    if (parser.isFinished) return undefined;
  }
  throw corrupt(start === 0 ? "it is not a tar" : "it ends too soon");
}

/** Blocks of a file, read some at a time. */
class Window {
  readonly #file: FileHandle;
  #bytes = Buffer.alloc(0);
  #start = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async block(at: number): Promise<Buffer> {
    const inside = at - this.#start;
    if (inside < 0 || inside + blockBytes > this.#bytes.length) {
      const bytes = Buffer.allocUnsafe(windowBytes);
      const { bytesRead } = await this.#file.read(bytes, 0, windowBytes, at);
      this.#bytes = bytes.subarray(0, bytesRead);
      this.#start = at;
    }
    return this.#bytes.subarray(at - this.#start, at - this.#start + blockBytes);
  }
}
