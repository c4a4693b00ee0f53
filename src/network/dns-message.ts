/** DNS messages, as far as the embedded server needs them; pure. RFC 1035, https://www.rfc-editor.org/rfc/rfc1035. */
export const recordType = { a: 1, ptr: 12, aaaa: 28, option: 41 } as const;
export const responseCode = { none: 0, format: 1, failure: 2, name: 3, refused: 5 } as const;
const internet = 1;
const headerBytes = 12;
const truncated = 0x02;
/** As Docker's: names change when containers come and go, and clients cache. */
const ttlSeconds = 600;
/** What fits in a datagram for a client that says nothing of larger ones, and for one that does. */
export const datagramBytesMax = 512;
const extendedBytesMax = 4_096;
/** What we can take ourselves: as much as passes every wire in one piece. */
const ownBytesMax = 1_232;

export interface Question {
  /** Lower case, without the dot at its end. */
  readonly name: string;
  readonly type: number;
  /** Where the question ends in the message. */
  readonly end: number;
}

/** Reads a query with one question of class IN; undefined for anything else. */
export function readQuestion(message: Uint8Array): Question | undefined {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  if (bytes.length < headerBytes || bytes.readUInt16BE(4) !== 1) return undefined;
  const [isResponse, opcode] = [bytes[2]! & 0x80, bytes[2]! & 0x78];
  if (isResponse || opcode !== 0) return undefined;
  const labels: string[] = [];
  let at = headerBytes;
  let length = 0;
  for (;;) {
    const size = bytes[at];
    // A pointer has no business in the only name, and two high bits set.
    if (size === undefined || size > 63 || at + 1 + size > bytes.length) return undefined;
    at += 1 + size;
    if (size === 0) break;
    length += 1 + size;
    if (length > 254) return undefined;
    labels.push(
      bytes
        .subarray(at - size, at)
        .toString("latin1")
        .toLowerCase(),
    );
  }
  if (at + 4 > bytes.length || bytes.readUInt16BE(at + 2) !== internet) return undefined;
  return { name: labels.join("."), type: bytes.readUInt16BE(at), end: at + 4 };
}

/**
 * The largest datagram that the client takes, where its query has an option record: RFC 6891. As our
 * clients send them, it is the first record behind the question.
 */
export function extendedSize(query: Uint8Array, { end }: Question): number | undefined {
  const bytes = Buffer.from(query.buffer, query.byteOffset, query.byteLength);
  const isFirst = bytes.readUInt16BE(6) === 0 && bytes.readUInt16BE(8) === 0;
  if (!isFirst || bytes.readUInt16BE(10) === 0 || bytes.length < end + 11) return undefined;
  if (bytes[end] !== 0 || bytes.readUInt16BE(end + 1) !== recordType.option) return undefined;
  return Math.min(extendedBytesMax, Math.max(datagramBytesMax, bytes.readUInt16BE(end + 3)));
}

/** An option record of our own: it answers one of the client's. */
function optionRecord(): Buffer {
  const record = Buffer.alloc(11);
  record.writeUInt16BE(recordType.option, 1);
  record.writeUInt16BE(ownBytesMax, 3);
  return record;
}

/**
 * An answer to `query`: the records are addresses (4 or 16 bytes) or, for PTR, names. What a datagram
 * does not hold is cut off, and the client told to ask over TCP.
 */
export function encodeAnswer(
  query: Uint8Array,
  question: Question,
  records: readonly (Uint8Array | string)[],
  over: "udp" | "tcp" = "udp",
): Buffer {
  const extended = extendedSize(query, question);
  const tail = extended === undefined ? Buffer.alloc(0) : optionRecord();
  const sizeBytesMax = (over === "tcp" ? 65_535 : (extended ?? datagramBytesMax)) - tail.length;
  const head = Buffer.from(query.subarray(0, question.end));
  const parts = records.map((data) => encodeRecord(question.type, data));
  const kept: Buffer[] = [];
  let size = head.length;
  for (const part of parts) {
    if (size + part.length > sizeBytesMax) break;
    kept.push(part);
    size += part.length;
  }
  setHeader(head, responseCode.none);
  if (kept.length < parts.length) head[2]! |= truncated;
  head.writeUInt16BE(kept.length, 6);
  if (tail.length > 0) head.writeUInt16BE(1, 10);
  return Buffer.concat([head, ...kept, tail]);
}

/** The question of an answer, and that the rest is to be had over TCP. */
export function cutShort(answer: Uint8Array): Buffer {
  const head = Buffer.from(answer.subarray(0, questionEnd(answer)));
  head[2]! |= truncated;
  head.fill(0, 6, headerBytes);
  return head;
}

function questionEnd(message: Uint8Array): number {
  let at = headerBytes;
  while (message[at] !== 0 && message[at] !== undefined) at += 1 + message[at]!;
  return at + 5;
}

/** An answer without records that says why. */
export function encodeRefusal(query: Uint8Array, code: number): Buffer {
  const question = readQuestion(query);
  const head = Buffer.from(query.subarray(0, question?.end ?? headerBytes));
  if (!question) head.writeUInt16BE(0, 4);
  setHeader(head, code);
  return head;
}

function setHeader(head: Buffer, code: number): void {
  const wantsRecursion = head[2]! & 0x01;
  head[2] = 0x80 | wantsRecursion;
  head[3] = 0x80 | code;
  head.fill(0, 6, headerBytes); // No answers, authorities or additional records, unless set.
}

function encodeRecord(type: number, data: Uint8Array | string): Buffer {
  const body = typeof data === "string" ? encodeName(data) : Buffer.from(data);
  const head = Buffer.alloc(headerBytes);
  head.writeUInt16BE(0xc00c, 0); // The name is the question's.
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(internet, 4);
  head.writeUInt32BE(ttlSeconds, 6);
  head.writeUInt16BE(body.length, 10);
  return Buffer.concat([head, body]);
}

export function encodeName(name: string): Buffer {
  const labels = name.split(".").filter(Boolean);
  const parts = labels.flatMap((label) => {
    const bytes = Buffer.from(label.slice(0, 63), "latin1");
    return [Buffer.of(bytes.length), bytes];
  });
  return Buffer.concat([...parts, Buffer.of(0)]);
}

/** `2.0.17.172.in-addr.arpa` as `172.17.0.2`, and the same for ip6.arpa; undefined for other names. */
export function reverseAddress(name: string): string | undefined {
  const v4 = /^((?:\d{1,3}\.){4})in-addr\.arpa$/.exec(name)?.[1];
  if (v4) return v4.split(".").filter(Boolean).reverse().join(".");
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1];
  if (!v6) return undefined;
  const digits = v6.split(".").filter(Boolean).reverse().join("");
  return digits.match(/.{4}/g)!.join(":");
}

/** A query as a client sends it; for tests and for those who ask. */
export function encodeQuery(id: number, name: string, type: number): Buffer {
  const head = Buffer.alloc(headerBytes);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(0x0100, 2);
  head.writeUInt16BE(1, 4);
  const tail = Buffer.alloc(4);
  tail.writeUInt16BE(type, 0);
  tail.writeUInt16BE(internet, 2);
  return Buffer.concat([head, encodeName(name), tail]);
}

/** The addresses in an answer, of the records A and AAAA; none from what cannot be read. */
export function readAddresses(answer: Uint8Array): Uint8Array[] {
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  const found: Uint8Array[] = [];
  try {
    let at = questionEnd(bytes);
    for (let left = bytes.readUInt16BE(6); left > 0; left--) {
      while (bytes[at] !== 0 && bytes[at]! < 0xc0) at += 1 + bytes[at]!;
      at += bytes[at] === 0 ? 1 : 2;
      const [type, length] = [bytes.readUInt16BE(at), bytes.readUInt16BE(at + 8)];
      const data = bytes.subarray(at + 10, at + 10 + length);
      const size = type === recordType.a ? 4 : type === recordType.aaaa ? 16 : 0;
      if (size > 0 && data.length === size) found.push(data);
      at += 10 + length;
    }
  } catch {
    return found; // It ends before it should.
  }
  return found;
}
