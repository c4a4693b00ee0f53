/** Netlink's wire format as pure functions: netlink(7), https://man7.org/linux/man-pages/man7/netlink.7.html. */
import { Failure } from "../base/mod.ts";

export const flag = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dumpInterrupted: 0x10,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  dump: 0x300,
} as const;

/** Message types of every netlink family. */
export const control = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Buffer;
}

/** What to ask for; the conversation adds the sequence number. `subject` is named in errors. */
export interface NetlinkRequest {
  readonly type: number;
  readonly flags: number;
  readonly body: Uint8Array;
  readonly what: string;
  readonly subject: string;
}

const headerBytes = 16;
const align = (length: number) => (length + 3) & ~3;

/** One message, padded to four bytes, so that several can follow each other in one datagram. */
export function encodeMessage(message: NetlinkMessage | (NetlinkRequest & { sequence: number })) {
  const { type, flags, sequence, body } = message;
  const bytes = Buffer.alloc(align(headerBytes + body.length));
  bytes.writeUInt32LE(headerBytes + body.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence, 8);
  bytes.set(body, headerBytes);
  return bytes;
}

/** Splits a datagram into messages. @throws Failure "corrupt" — a length that leads nowhere */
export function decodeMessages(bytes: Uint8Array): NetlinkMessage[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at + headerBytes <= view.length) {
    const length = view.readUInt32LE(at);
    if (length < headerBytes || at + length > view.length) {
      throw new Failure("corrupt", `Cannot read a netlink message: its length is ${length}`);
    }
    messages.push({
      type: view.readUInt16LE(at + 4),
      flags: view.readUInt16LE(at + 6),
      sequence: view.readUInt32LE(at + 8),
      body: view.subarray(at + headerBytes, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** One attribute, padded. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(4 + value.length));
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, 4);
  return bytes;
}

/** An attribute made of attributes. */
export function nested(type: number, ...parts: Uint8Array[]): Buffer {
  return attribute(type | 0x8000, Buffer.concat(parts));
}

export const text = (type: number, value: string) => attribute(type, Buffer.from(`${value}\0`));
export const uint8 = (type: number, value: number) => attribute(type, Buffer.of(value));
export const uint32 = (type: number, value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return attribute(type, bytes);
};
/** Big-endian, as nftables wants its numbers. */
export const uint32be = (type: number, value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return attribute(type, bytes);
};

/** Attributes by type; of a type that is there twice, the last one. */
export function decodeAttributes(bytes: Uint8Array, offset = 0): Map<number, Buffer> {
  return new Map(attributesIn(bytes, offset));
}

/** The values of attributes that make a list, whose types say nothing. */
export function decodeList(bytes: Uint8Array): Buffer[] {
  return [...attributesIn(bytes, 0)].map(([, value]) => value);
}

function* attributesIn(bytes: Uint8Array, offset: number): Generator<[number, Buffer]> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = offset;
  while (at + 4 <= view.length) {
    const length = view.readUInt16LE(at);
    if (length < 4 || at + length > view.length) return;
    yield [view.readUInt16LE(at + 2) & 0x3fff, view.subarray(at + 4, at + length)];
    at += align(length);
  }
}

/** An attribute's text without the NUL at its end. */
export function readText(value: Uint8Array | undefined): string {
  return value ? Buffer.from(value).toString("utf8").replace(/\0+$/, "") : "";
}
