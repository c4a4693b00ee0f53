import { encodeName, Failure } from "../base/mod.ts";
import { blockBytes, checksums, paddingOf } from "./block.ts";
import { type EntryType, noXattrs, type TarFields, type TarHeader } from "./header.ts";
import { paxRecord, paxTime } from "./pax.ts";

const flagOf: Readonly<Record<EntryType, string>> = {
  file: "0",
  link: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** Two blocks of zeros: what stands at the end of an archive. */
export const tarEnd: Uint8Array = new Uint8Array(2 * blockBytes);

/** An entry to be written; without `body`, the header's size must be 0 or absent. */
export interface TarInput {
  readonly header: TarFields;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
}

/** The zeros that follow a body of `sizeBytes`. */
export function tarPadding(sizeBytes: number): Uint8Array {
  return tarEnd.subarray(0, paddingOf(sizeBytes));
}

/**
 * The blocks before an entry's body: ustar, with a PAX header only where ustar cannot say it (long or
 * non-ASCII names, nanoseconds, large numbers, xattrs). The same header gives the same bytes, always.
 * @throws Failure "invalid" — a field that no tar can hold
 */
export function tarHeader(fields: TarFields): Uint8Array {
  const header = withDefaults(fields);
  const path = header.type === "directory" ? `${header.path}/` : header.path;
  const records: Buffer[] = [];
  const names = nameFields(path, records);
  const block = Buffer.alloc(blockBytes);
  names.name.copy(block, 0);
  names.prefix.copy(block, 345);
  writeOctal(block, 100, 8, header.mode & 0o7777);
  number(records, "uid", block, { at: 108, length: 8, value: header.uid });
  number(records, "gid", block, { at: 116, length: 8, value: header.gid });
  number(records, "size", block, { at: 124, length: 12, value: header.sizeBytes });
  time(records, block, header);
  block[156] = flagOf[header.type].charCodeAt(0);
  text(records, "linkpath", block, { at: 157, length: 100, value: header.linkPath });
  block.write("ustar\x0000", 257, "latin1");
  text(records, "uname", block, { at: 265, length: 31, value: header.userName });
  text(records, "gname", block, { at: 297, length: 31, value: header.groupName });
  writeOctal(block, 329, 8, header.deviceMajor);
  writeOctal(block, 337, 8, header.deviceMinor);
  if (header.xattrs.size > 0) attributes(records, header);
  sealBlock(block);
  return records.length === 0 ? block : Buffer.concat([extendedHeader(path, records), block]);
}

/**
 * A whole tar as chunks of 64 KiB and more. The order is the caller's: sort where the result must not
 * depend on it. There is no clock and no state in it.
 * @throws Failure "corrupt" — a body is shorter or longer than its header says
 */
export async function* writeTar(
  entries: AsyncIterable<TarInput> | Iterable<TarInput>,
): AsyncGenerator<Uint8Array, void> {
  let parts: Uint8Array[] = [];
  let held = 0;
  const hold = (part: Uint8Array) => {
    parts.push(part);
    held += part.length;
  };
  function* flush(atLeast: number): Generator<Uint8Array, void> {
    if (held < atLeast || held === 0) return;
    yield parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    parts = [];
    held = 0;
  }
  for await (const { header, body } of entries) {
    const whole = body instanceof Uint8Array ? body : undefined;
    const sizeBytes = header.sizeBytes ?? whole?.length ?? 0;
    hold(tarHeader({ ...header, sizeBytes }));
    let left = sizeBytes;
    if (whole) {
      left -= whole.length;
      if (left === 0) hold(whole);
    } else if (body) {
      for await (const part of body as AsyncIterable<Uint8Array>) {
        left -= part.length;
        if (left < 0) break;
        // A source may reuse its buffer: small parts are copied, large ones leave at once.
        hold(part.length >= chunkBytes ? part : Buffer.from(part));
        yield* flush(chunkBytes);
      }
    }
    if (left !== 0) {
      throw new Failure("corrupt", `Cannot archive "${header.path}": its size is not ${sizeBytes}`);
    }
    hold(tarPadding(sizeBytes));
    yield* flush(chunkBytes);
  }
  hold(tarEnd);
  yield* flush(0);
}

const chunkBytes = 64 << 10;

function withDefaults(fields: TarFields): Omit<TarHeader, "segments"> {
  return {
    type: "file",
    linkPath: "",
    mode: fields.type === "directory" ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    userName: "",
    groupName: "",
    sizeBytes: 0,
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: noXattrs,
    ...fields,
  };
}

interface Place<Value> {
  readonly at: number;
  readonly length: number;
  readonly value: Value;
}

const nothing = Buffer.alloc(0);

/** The name whole, or split at a slash into prefix and name, or cut with the whole in a record. */
function nameFields(path: string, records: Buffer[]): { name: Buffer; prefix: Buffer } {
  const bytes = encodeName(path);
  if (isAscii(path)) {
    if (bytes.length <= 100) return { name: bytes, prefix: nothing };
    const slash = bytes.lastIndexOf(0x2f, Math.min(155, bytes.length - 2));
    if (slash > 0 && bytes.length - slash - 1 <= 100) {
      return { name: bytes.subarray(slash + 1), prefix: bytes.subarray(0, slash) };
    }
  }
  if (!path.isWellFormed()) records.push(paxRecord("hdrcharset", "BINARY"));
  records.push(paxRecord("path", bytes));
  return { name: asciiOf(path).subarray(0, 100), prefix: nothing };
}

function text(records: Buffer[], key: string, block: Buffer, place: Place<string>): void {
  const { at, length, value } = place;
  if (value === "") return;
  const bytes = encodeName(value);
  if (bytes.length > length || !isAscii(value)) records.push(paxRecord(key, bytes));
  asciiOf(value).copy(block, at, 0, length);
}

function attributes(records: Buffer[], { xattrs }: Pick<TarHeader, "xattrs">): void {
  for (const [name, value] of [...xattrs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (name.includes("=")) throw new Failure("invalid", `Cannot archive xattr "${name}"`);
    records.push(paxRecord(`SCHILY.xattr.${name}`, value));
  }
}

function number(records: Buffer[], key: string, block: Buffer, place: Place<number>): void {
  const { at, length, value } = place;
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new Failure("invalid", `Cannot archive a file whose ${key} is ${value}`);
  }
  const fits = value < 8 ** (length - 1);
  if (!fits) records.push(paxRecord(key, String(value)));
  writeOctal(block, at, length, fits ? value : 0);
}

function time(records: Buffer[], block: Buffer, header: Omit<TarHeader, "segments">): void {
  const { mtimeSeconds, mtimeNanoseconds } = header;
  const fits = mtimeSeconds >= 0 && mtimeSeconds < 8 ** 11;
  if (!fits || mtimeNanoseconds !== 0) {
    records.push(paxRecord("mtime", paxTime(mtimeSeconds, mtimeNanoseconds)));
  }
  writeOctal(block, 136, 12, fits ? mtimeSeconds : 0);
}

function writeOctal(block: Buffer, at: number, length: number, value: number): void {
  let rest = value;
  for (let place = at + length - 2; place >= at; place--) {
    block[place] = 0x30 + (rest % 8);
    rest = Math.floor(rest / 8);
  }
  if (rest > 0) throw new Failure("invalid", `Cannot archive the number ${value}`);
}

function sealBlock(block: Buffer): void {
  writeOctal(block, 148, 7, checksums(block).unsigned);
  block[155] = 0x20;
}

/** The PAX header and its records. Its own name is for tars that do not know PAX and unpack it. */
function extendedHeader(path: string, records: Buffer[]): Buffer {
  const body = Buffer.concat(records);
  const block = Buffer.alloc(blockBytes);
  const base = path.replace(/\/+$/, "").split("/").at(-1) ?? "";
  asciiOf(`PaxHeaders.0/${base}`).copy(block, 0, 0, 100);
  writeOctal(block, 100, 8, 0o644);
  writeOctal(block, 108, 8, 0);
  writeOctal(block, 116, 8, 0);
  writeOctal(block, 124, 12, body.length);
  writeOctal(block, 136, 12, 0);
  block[156] = 0x78;
  block.write("ustar\x0000", 257, "latin1");
  writeOctal(block, 329, 8, 0);
  writeOctal(block, 337, 8, 0);
  sealBlock(block);
  return Buffer.concat([block, body, tarPadding(body.length)]);
}

const isAscii = (name: string) => /^[\x01-\x7f]*$/.test(name);
const asciiOf = (name: string) => Buffer.from(name.replace(/[^\x01-\x7f]/g, "_"), "latin1");
