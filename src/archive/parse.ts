import { Failure, limits } from "../base/mod.ts";
import { blockBytes, checksums, isZero, paddingOf, readName, readNumber } from "./block.ts";
import {
  type EntryType,
  noXattrs,
  type Segment,
  type TarBounds,
  type TarHeader,
} from "./header.ts";
import { parsePax } from "./pax.ts";
import { PaxFields } from "./pax-fields.ts";
import { checkSegments, readOldSegments, SparseMap } from "./sparse.ts";

/** What a parser saw. The bytes of "data" are a view of the chunk that was pushed: use them at once. */
export type TarEvent =
  | { readonly kind: "entry"; readonly header: TarHeader }
  /** A piece of the entry's content, at `offset` in the file. Holes of a sparse file are left out. */
  | { readonly kind: "data"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "end" };

/** Of what fills the last record, mostly zeros: a bomb may hide there, which no entry speaks of. */
const pastBytesMax = 64 << 20;
const end: TarEvent = { kind: "end" };
const corrupt = (why: string) => new Failure("corrupt", `Cannot read the archive: ${why}`);

const typeOf: Readonly<Record<string, EntryType>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  S: "file",
  "1": "link",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  D: "directory",
  "6": "fifo",
};

/**
 * Reads a tar of any dialect (ustar, PAX, GNU, star, V7) from chunks as they come, without I/O. Global
 * PAX headers are read and have no effect, as in Go's reader, so that a layer means here what it
 * means to every other engine.
 */
export class TarParser {
  readonly #bounds: Required<TarBounds>;
  readonly #held = Buffer.allocUnsafe(blockBytes);
  #heldBytes = 0;
  /** What the next block is: a header, a part of an extension, a part of a sparse map, or the end. */
  #next: "header" | "extension" | "oldMap" | "newMap" | "finished" = "header";
  #extension = { type: "", sizeBytes: 0, parts: [] as Buffer[], gotBytes: 0 };
  #fields = new PaxFields();
  #sparse:
    | { header: TarHeader; dataBytes: number; segments: Segment[]; map: SparseMap }
    | undefined;
  #mapBytes = 0;
  #skipBytes = 0;
  /** Of what is skipped, what comes after the last entry's content. */
  #paddingBytes = 0;
  #dataBytes = 0;
  #offset = 0;
  #segments: readonly Segment[] | undefined;
  #segment = 0;
  #entries = 0;
  #totalBytes = 0;
  #pastBytes = 0;

  constructor(bounds: TarBounds = {}) {
    this.#bounds = {
      entriesMax: bounds.entriesMax ?? limits.archiveEntriesMax,
      pathBytesMax: bounds.pathBytesMax ?? limits.pathBytesMax,
      headerBytesMax: bounds.headerBytesMax ?? 1 << 20,
      sizeBytesMax: bounds.sizeBytesMax ?? limits.layerBytesMax,
      end: bounds.end ?? "required",
    };
  }

  /** True once the archive's end was seen; what is pushed after it is ignored. */
  get isFinished(): boolean {
    return this.#next === "finished";
  }

  /** Takes the next chunk. @throws Failure "corrupt" | "invalid" | "exhausted" (a bound) */
  *push(input: Uint8Array): Generator<TarEvent, void> {
    const chunk = Buffer.from(input.buffer, input.byteOffset, input.length);
    let at = 0;
    while (at < chunk.length && this.#next !== "finished") {
      const leftBytes = chunk.length - at;
      if (this.#dataBytes > 0) {
        const take = Math.min(leftBytes, this.#dataBytes);
        yield* this.#data(chunk.subarray(at, at + take));
        at += take;
      } else if (this.#skipBytes > 0) {
        const take = Math.min(leftBytes, this.#skipBytes);
        this.#skipBytes -= take;
        at += take;
      } else if (this.#heldBytes === 0 && leftBytes >= blockBytes) {
        yield* this.#block(chunk.subarray(at, at + blockBytes));
        at += blockBytes;
      } else {
        const take = Math.min(leftBytes, blockBytes - this.#heldBytes);
        chunk.copy(this.#held, this.#heldBytes, at, at + take);
        this.#heldBytes += take;
        at += take;
        if (this.#heldBytes < blockBytes) return;
        this.#heldBytes = 0;
        yield* this.#block(this.#held);
      }
    }
    this.#pastBytes += chunk.length - at;
    if (this.#pastBytes > pastBytesMax)
      throw exhausted(`it has over ${pastBytesMax} bytes behind its end`);
  }

  /** Says that nothing follows. @throws Failure "corrupt" — the archive was cut short */
  finish(): void {
    if (this.#next === "finished") return;
    const isOptional = this.#bounds.end === "optional";
    const isBetween =
      this.#next === "header" &&
      this.#heldBytes === 0 &&
      this.#dataBytes === 0 &&
      // Who writes no end may leave out the last padding too: the docker CLI does, with `build -f`.
      this.#skipBytes <= (isOptional ? this.#paddingBytes : 0) &&
      this.#fields.isEmpty;
    if (isBetween && isOptional) return;
    throw corrupt(this.#entries === 0 ? "it is not a whole tar" : "it ends too soon");
  }

  *#data(bytes: Buffer): Generator<TarEvent, void> {
    let at = 0;
    while (at < bytes.length) {
      const segment = this.#segments?.[this.#segment];
      const leftBytes = segment
        ? segment.offset + segment.length - this.#offset
        : bytes.length - at;
      const take = Math.min(leftBytes, bytes.length - at);
      yield { kind: "data", offset: this.#offset, bytes: bytes.subarray(at, at + take) };
      at += take;
      this.#offset += take;
      if (segment && take === leftBytes) {
        this.#segment++;
        this.#offset = this.#segments![this.#segment]?.offset ?? this.#offset;
      }
    }
    this.#dataBytes -= bytes.length;
    if (this.#dataBytes === 0) yield end;
  }

  *#block(block: Buffer): Generator<TarEvent, void> {
    switch (this.#next) {
      case "header":
        return yield* this.#header(block);
      case "extension":
        return this.#extend(block);
      case "oldMap":
        return yield* this.#oldMap(block);
      case "newMap":
        return yield* this.#newMap(block);
      case "finished":
    }
  }

  *#header(block: Buffer): Generator<TarEvent, void> {
    if (block[0] === 0 && isZero(block)) {
      if (!this.#fields.isEmpty) throw corrupt("an extended header stands before nothing");
      this.#next = "finished";
      return;
    }
    this.#checkSum(block);
    const flag = String.fromCharCode(block[156]!);
    const sizeBytes = readNumber(block, 124, 12);
    if (sizeBytes < 0) throw corrupt("a size is negative");
    if (++this.#entries > this.#bounds.entriesMax) {
      throw exhausted(`it has more than ${this.#bounds.entriesMax} entries`);
    }
    this.#paddingBytes = 0;
    if ("xgXLK".includes(flag)) return this.#startExtension(flag, sizeBytes);
    if (flag === "V") {
      this.#skipBytes = sizeBytes + paddingOf(sizeBytes); // a volume's label: no entry
      return;
    }
    const type = typeOf[flag];
    if (!type) throw new Failure("unsupported", `Cannot read the archive: entry type "${flag}"`);
    yield* this.#entry(block, type, flag);
  }

  /** Whoever gave some other file by mistake is told so, and not what is wrong with its "header". */
  #checkSum(block: Buffer): void {
    const isNoTar = this.#entries === 0 && !/^[ 0-7\0]*$/.test(block.toString("latin1", 148, 156));
    if (isNoTar) throw corrupt("it is not a tar");
    const sum = readNumber(block, 148, 8);
    const { unsigned, signed } = checksums(block);
    if (sum !== unsigned && sum !== signed) throw corrupt("a header's checksum is wrong");
  }

  #startExtension(type: string, sizeBytes: number): void {
    if (sizeBytes > this.#bounds.headerBytesMax) {
      throw exhausted(`an extended header is over ${this.#bounds.headerBytesMax} bytes`);
    }
    this.#extension = { type, sizeBytes, parts: [], gotBytes: 0 };
    if (sizeBytes > 0) this.#next = "extension";
  }

  #extend(block: Buffer): void {
    const extension = this.#extension;
    extension.parts.push(Buffer.from(block));
    extension.gotBytes += blockBytes;
    if (extension.gotBytes < extension.sizeBytes) return;
    this.#next = "header";
    const bytes = Buffer.concat(extension.parts).subarray(0, extension.sizeBytes);
    extension.parts = [];
    if (extension.type === "g") parsePax(bytes);
    else if (extension.type === "L") this.#fields.set("path", untilNul(bytes));
    else if (extension.type === "K") this.#fields.set("linkpath", untilNul(bytes));
    else for (const [key, value] of parsePax(bytes)) this.#fields.set(key, value);
  }

  *#entry(block: Buffer, type: EntryType, flag: string): Generator<TarEvent, void> {
    const fields = this.#fields;
    if (!fields.isEmpty) this.#fields = new PaxFields();
    const archivedBytes = fields.size ?? readNumber(block, 124, 12);
    const header = makeHeader(block, type, fields);
    this.#checkPaths(header);
    if (flag === "D") this.#skipBytes = archivedBytes + paddingOf(archivedBytes);
    if (header.type !== "file") {
      yield { kind: "entry", header: { ...header, sizeBytes: 0 } };
      yield end;
      return;
    }
    const map = flag === "S" ? "oldMap" : fields.sparseForm;
    if (!map) return yield* this.#begin({ ...header, sizeBytes: archivedBytes }, archivedBytes);
    const sizeBytes = flag === "S" ? readNumber(block, 483, 12) : fields.realSize;
    if (sizeBytes === undefined || sizeBytes < 0) throw corrupt("a sparse file has no size");
    const segments = flag === "S" ? readOldSegments(block, 386, 4) : fields.segments;
    const whole = { ...header, sizeBytes };
    this.#sparse = { header: whole, dataBytes: archivedBytes, segments, map: new SparseMap() };
    this.#mapBytes = 0;
    const isMore = flag === "S" ? block[482] !== 0 : map === "newMap";
    if (!isMore) return yield* this.#beginSparse();
    this.#next = map === "newMap" ? "newMap" : "oldMap";
  }

  #checkPaths({ path, linkPath, type }: TarHeader): void {
    const most = this.#bounds.pathBytesMax;
    if (Math.max(path.length, linkPath.length) * 3 > most) {
      const bytes = Math.max(Buffer.byteLength(path), Buffer.byteLength(linkPath));
      if (bytes > most)
        throw new Failure("invalid", `Cannot read the archive: a path of ${bytes} bytes`);
    }
    if (path.includes("\0") || linkPath.includes("\0")) throw corrupt("a name holds a NUL byte");
    if (path === "") throw corrupt("an entry has no name");
    if (linkPath === "" && (type === "link" || type === "symlink")) {
      throw corrupt(`link "${path}" has no target`);
    }
  }

  *#oldMap(block: Buffer): Generator<TarEvent, void> {
    this.#countMap();
    this.#sparse!.segments.push(...readOldSegments(block, 0, 21));
    if (block[504] === 0) yield* this.#beginSparse();
  }

  *#newMap(block: Buffer): Generator<TarEvent, void> {
    this.#countMap();
    const sparse = this.#sparse!;
    sparse.dataBytes -= blockBytes;
    if (sparse.dataBytes < 0) throw corrupt("a sparse file's map is longer than the file");
    const segments = sparse.map.push(block);
    if (!segments) return;
    sparse.segments = segments;
    yield* this.#beginSparse();
  }

  #countMap(): void {
    this.#mapBytes += blockBytes;
    if (this.#mapBytes > this.#bounds.headerBytesMax) {
      throw exhausted(`a sparse file's map is over ${this.#bounds.headerBytesMax} bytes`);
    }
  }

  *#beginSparse(): Generator<TarEvent, void> {
    const { header, dataBytes, segments } = this.#sparse!;
    this.#sparse = undefined;
    this.#next = "header";
    const checked = checkSegments(segments, header.sizeBytes, dataBytes);
    yield* this.#begin({ ...header, segments: checked }, dataBytes);
  }

  *#begin(header: TarHeader, dataBytes: number): Generator<TarEvent, void> {
    this.#totalBytes += header.sizeBytes;
    if (this.#totalBytes > this.#bounds.sizeBytesMax) {
      throw exhausted(`its files are over ${this.#bounds.sizeBytesMax} bytes`);
    }
    this.#segments = header.segments;
    this.#segment = 0;
    this.#offset = header.segments?.[0]?.offset ?? 0;
    this.#dataBytes = dataBytes;
    this.#paddingBytes = paddingOf(dataBytes);
    this.#skipBytes = this.#paddingBytes;
    yield { kind: "entry", header };
    if (dataBytes === 0) yield end;
  }
}

function exhausted(why: string): Failure {
  return new Failure("exhausted", `Cannot read the archive: ${why}`);
}

function untilNul(bytes: Buffer): Buffer {
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}

/** The header of a block, with the fields of the extended headers before it in place of its own. */
function makeHeader(block: Buffer, type: EntryType, fields: PaxFields): TarHeader {
  const isUstar = block.toString("latin1", 257, 262) === "ustar";
  const prefix = isUstar && block[262] === 0 ? readName(block, 345, 155) : "";
  const name = fields.path ?? readName(block, 0, 100);
  const whole = prefix && fields.path === undefined ? `${prefix}/${name}` : name;
  const isFolder = type === "file" && whole.endsWith("/"); // V7 has no other way to say it
  const isDevice = type === "char" || type === "block";
  const isLink = type === "link" || type === "symlink";
  return {
    path: whole.endsWith("/") ? trimSlashes(whole) : whole,
    type: isFolder ? "directory" : type,
    linkPath: isLink ? (fields.linkPath ?? readName(block, 157, 100)) : "",
    mode: readNumber(block, 100, 8) & 0o7777,
    uid: checkId(fields.uid ?? readNumber(block, 108, 8)),
    gid: checkId(fields.gid ?? readNumber(block, 116, 8)),
    userName: fields.userName ?? (isUstar ? readName(block, 265, 32) : ""),
    groupName: fields.groupName ?? (isUstar ? readName(block, 297, 32) : ""),
    sizeBytes: 0,
    mtimeSeconds: fields.mtime?.seconds ?? readNumber(block, 136, 12),
    mtimeNanoseconds: fields.mtime?.nanoseconds ?? 0,
    deviceMajor: isDevice ? readNumber(block, 329, 8) : 0,
    deviceMinor: isDevice ? readNumber(block, 337, 8) : 0,
    xattrs: fields.xattrs ?? noXattrs,
  };
}

function trimSlashes(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed === "" ? "/" : trimmed;
}

function checkId(id: number): number {
  if (id >= 0 && id < 0xffff_ffff) return id;
  throw corrupt(`owner ${id} is out of range`);
}
