/**
 * Protocol Buffers, as far as BuildKit's messages need them: a message is a table of its fields, and a
 * nested message is bytes, decoded by whoever wants it. Unknown fields are passed over.
 * Spec: https://protobuf.dev/programming-guides/encoding/
 */
import { Failure } from "../base/mod.ts";

/** What a field holds, and what it is in JavaScript. */
interface Kinds {
  text: string;
  texts: readonly string[];
  bytes: Uint8Array;
  /** Repeated bytes, or repeated nested messages. */
  blobs: readonly Uint8Array[];
  flag: boolean;
  whole: number;
  /** What a number cannot hold exactly: nanoseconds since 1970. */
  wide: bigint;
  /** Text by text. */
  map: ReadonlyMap<string, string>;
  /** Bytes, or nested messages, by text. */
  blobMap: ReadonlyMap<string, Uint8Array>;
}
type Fields = Readonly<Record<string, readonly [number: number, kind: keyof Kinds]>>;

/** A message as an object; what was not sent has the default of its kind. */
export type Message<F extends Fields> = { readonly [N in keyof F]: Kinds[F[N][1]] };

const [varint, fixed64, delimited, fixed32] = [0, 1, 2, 5] as const;
const itemsMax = 1 << 20;
/** So many bytes of a varint fit into a number exactly. */
const smallBytes = 7;
const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();

interface Field {
  readonly name: string;
  readonly number: number;
  readonly kind: keyof Kinds;
}

/** A message type of these fields, by number and kind. */
export function message<const F extends Fields>(fields: F) {
  const all = Object.entries(fields).map(([name, [number, kind]]) => ({ name, number, kind }));
  const byNumber = new Map(all.map((field) => [field.number, field]));
  return {
    /** @throws Failure "invalid" */
    decode: (bytes: Uint8Array): Message<F> => decode(all, byNumber, bytes) as Message<F>,
    encode: (value: Partial<Message<F>>): Uint8Array => encode(all, value),
  };
}

const entry = message({ key: [1, "bytes"], value: [2, "bytes"] });

/** What was not sent. One value for all messages: a list of 50,000 files has that many of them. */
const empty: Kinds = {
  text: "",
  texts: [],
  bytes: new Uint8Array(),
  blobs: [],
  flag: false,
  whole: 0,
  wide: 0n,
  map: new Map(),
  blobMap: new Map(),
};

function decode(
  fields: readonly Field[],
  byNumber: ReadonlyMap<number, Field>,
  bytes: Uint8Array,
): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const { name, kind } of fields) found[name] = empty[kind];
  const reader = new Reader(bytes);
  for (let items = 0; !reader.isAtEnd; items++) {
    if (items > itemsMax) throw new Failure("invalid", "Cannot read the message: too many fields");
    const tag = reader.small();
    const field = byNumber.get(tag >>> 3);
    const value = reader.value(tag & 7);
    if (field) set(found, field, value);
  }
  return found;
}

function set(
  into: Record<string, unknown>,
  { name, kind }: Field,
  value: bigint | Uint8Array,
): void {
  if (typeof value === "bigint") {
    if (kind === "flag") into[name] = value !== 0n;
    if (kind === "whole") into[name] = Number(value);
    if (kind === "wide") into[name] = value;
    return;
  }
  if (kind === "text") into[name] = textOf(value);
  else if (kind === "bytes") into[name] = value;
  else if (kind === "texts" || kind === "blobs") {
    if (into[name] === empty[kind]) into[name] = [];
    (into[name] as unknown[]).push(kind === "texts" ? textOf(value) : value);
  } else if (kind === "map" || kind === "blobMap") {
    const pair = entry.decode(value);
    const each = kind === "map" ? textOf(pair.value) : pair.value;
    if (into[name] === empty[kind]) into[name] = new Map();
    (into[name] as Map<string, unknown>).set(textOf(pair.key), each);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** A tag or a length: of 32 bits. */
  small(): number {
    const first = this.#bytes[this.#at];
    if (first === undefined || first >= 0x80) return Number(BigInt.asUintN(32, this.wide()));
    this.#at += 1;
    return first;
  }

  /** Signed, of 64 bits. */
  wide(): bigint {
    // Most are small: a BigInt for each byte would be most of what a long list of files costs.
    let small = 0;
    for (let at = 0, unit = 1; at < smallBytes; at++, unit *= 0x80) {
      const byte = this.#bytes[this.#at + at];
      if (byte === undefined) break;
      small += (byte & 0x7f) * unit;
      if (byte >= 0x80) continue;
      this.#at += at + 1;
      return BigInt(small);
    }
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw new Failure("invalid", "Cannot read the message: a number is cut short");
  }

  value(wire: number): bigint | Uint8Array {
    if (wire === varint) return this.wide();
    if (wire === fixed64) return this.#take(8);
    if (wire === fixed32) return this.#take(4);
    if (wire === delimited) return this.#take(this.small());
    throw new Failure("invalid", `Cannot read the message: wire type ${wire} is unknown`);
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length;
    if (length < 0 || end > this.#bytes.length) {
      throw new Failure("invalid", "Cannot read the message: a field is cut short");
    }
    const found = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return found;
  }
}

function encode(fields: readonly Field[], value: Readonly<Record<string, unknown>>): Uint8Array {
  const writer = new Writer();
  for (const { name, number, kind } of fields) {
    const each = value[name];
    if (each === undefined) continue;
    if (kind === "flag" || kind === "whole" || kind === "wide") {
      if (Number(each) !== 0) {
        writer.number(number * 8 + varint);
        writer.number(each as number);
      }
    } else if (kind === "text" || kind === "bytes") {
      const bytes = bytesOf(each as string | Uint8Array);
      if (bytes.length > 0) writer.bytes(number, bytes);
    } else if (kind === "texts" || kind === "blobs") {
      for (const one of each as readonly (string | Uint8Array)[])
        writer.bytes(number, bytesOf(one));
    } else {
      for (const [key, one] of each as ReadonlyMap<string, string | Uint8Array>) {
        writer.bytes(number, entry.encode({ key: bytesOf(key), value: bytesOf(one) }));
      }
    }
  }
  return writer.whole();
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? Buffer.from(value) : value;
}

/** Bytes that grow. */
class Writer {
  #buffer = Buffer.allocUnsafe(64);
  #length = 0;

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(2 * this.#buffer.length + bytes);
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }

  number(value: number | bigint | boolean): void {
    this.#room(10);
    let small = Number(value);
    if (Number.isSafeInteger(small) && small >= 0) {
      for (; small >= 0x80; small = Math.floor(small / 0x80)) this.#put((small % 0x80) | 0x80);
      this.#put(small);
      return;
    }
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest >= 0x80n; rest >>= 7n) this.#put(Number(rest & 0x7fn) | 0x80);
    this.#put(Number(rest));
  }

  #put(byte: number): void {
    this.#buffer[this.#length++] = byte;
  }

  bytes(field: number, bytes: Uint8Array): void {
    this.number(field * 8 + delimited);
    this.number(bytes.length);
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  whole(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }
}
