/** The modules that a Go program says it was built from. https://pkg.go.dev/debug/buildinfo */
import type { Package, Read } from "./packages.ts";
import { purlOf } from "./packages-url.ts";

const magic = Buffer.from("\xff Go buildinf:", "latin1");
const sectionsMax = 1_000;
const namesBytesMax = 1 << 20;
const infoBytesMax = 16 << 20;
/** Bit of the flags: the texts stand in the section itself, as since Go 1.18. */
const inlineFlag = 2;
const sentinelBytes = 16;

export function* readGo(read: Read, source: string): Generator<Package> {
  const info = sectionOf(read, ".go.buildinfo");
  if (!info?.subarray(0, magic.length).equals(magic) || info.length < 32) return;
  if ((info[15]! & inlineFlag) === 0) return;
  const version = textAt(info, 32);
  const modules = version && textAt(info, version.end);
  if (!version || !modules) return;
  yield* modulesIn(modules.bytes, source);
  yield goPackage("stdlib", version.bytes.toString("utf8").replace(/^go/, ""), source);
}

/** A section of an ELF file, by its name. https://man7.org/linux/man-pages/man5/elf.5.html */
function sectionOf(read: Read, wanted: string): Buffer | undefined {
  const head = Buffer.from(read(0, 64));
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const [isWide, isBig] = [head[4] === 2, head[5] === 2];
  const short = (bytes: Buffer, at: number) =>
    isBig ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at);
  const word = (bytes: Buffer, at: number) =>
    isBig ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at);
  const long = (bytes: Buffer, at: number) =>
    Number(isBig ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at));
  const start = isWide ? long(head, 0x28) : word(head, 0x20);
  const counts = isWide ? 0x3a : 0x2e;
  const [size, count, names] = [0, 2, 4].map((at) => short(head, counts + at)) as [
    number,
    number,
    number,
  ];
  const sizeMin = isWide ? 64 : 40;
  if (size < sizeMin || count > sectionsMax || names >= count) return undefined;
  const table = Buffer.from(read(start, size * count));
  if (table.length < size * count) return undefined;
  const bytesOf = (at: number, bound: number) => {
    const [offset, length] = isWide
      ? [long(table, at + 0x18), long(table, at + 0x20)]
      : [word(table, at + 0x10), word(table, at + 0x14)];
    return Buffer.from(read(offset, Math.min(length, bound)));
  };
  const text = bytesOf(names * size, namesBytesMax);
  for (let at = 0; at < table.length; at += size) {
    const name = word(table, at);
    const end = text.indexOf(0, name);
    if (end < 0 || text.toString("latin1", name, end) !== wanted) continue;
    return bytesOf(at, infoBytesMax);
  }
  return undefined;
}

/** A length as a varint, then as many bytes. */
function textAt(program: Buffer, start: number): { bytes: Buffer; end: number } | undefined {
  let [length, shift, at] = [0, 0, start];
  for (;;) {
    const byte = program[at++];
    if (byte === undefined || shift > 28) return undefined;
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
    shift += 7;
  }
  if (at + length > program.length) return undefined;
  return { bytes: program.subarray(at, at + length), end: at + length };
}

/** Lines of `dep<TAB>path<TAB>version<TAB>sum`; `=>` replaces the line before it. */
function* modulesIn(bytes: Buffer, source: string): Generator<Package> {
  const isFramed = bytes.length > 2 * sentinelBytes;
  const text = isFramed ? bytes.subarray(sentinelBytes, -sentinelBytes).toString("utf8") : "";
  let last: Package | undefined;
  for (const line of text.split("\n")) {
    const [kind, path = "", version = ""] = line.split("\t");
    if (kind === "=>" && path !== "") last = goPackage(path, version, source);
    else if (kind === "mod" || kind === "dep") {
      if (last) yield last;
      last = path === "" ? undefined : goPackage(path, version, source);
    }
  }
  if (last) yield last;
}

function goPackage(path: string, version: string, source: string): Package {
  const slash = path.lastIndexOf("/");
  const [namespace, name] = [path.slice(0, Math.max(0, slash)), path.slice(slash + 1)];
  const known = version === "(devel)" ? "" : version;
  const purl = purlOf({ type: "golang", namespace, name, version: known });
  return { name: path, version: known, purl, license: "", source };
}
