/**
 * MessagePack, as far as fluentd's protocol needs it: lists, maps of strings, numbers, a time.
 * Spec: https://github.com/msgpack/msgpack/blob/master/spec.md
 */

/** A list of parts that are encoded already. */
export function packList(parts: readonly Uint8Array[]): Buffer {
  if (parts.length > 15) throw new RangeError("Cannot pack a list of over 15");
  return Buffer.concat([Uint8Array.of(0x90 | parts.length), ...parts]);
}

type Entry = readonly [key: string, value: string | Uint8Array];

/** Entries of maps that are always the same, encoded once. */
export interface Packed {
  readonly count: number;
  readonly bytes: Uint8Array;
}

export function packEntries(entries: readonly Entry[]): Packed {
  const parts = entries.flatMap(([key, value]) => [packText(key), packText(value)]);
  return { count: entries.length, bytes: Buffer.concat(parts) };
}

export function packMap(...parts: readonly Packed[]): Buffer {
  const head = Buffer.alloc(3);
  head.writeUInt8(0xde, 0);
  head.writeUInt16BE(
    parts.reduce((sum, { count }) => sum + count, 0),
    1,
  );
  return Buffer.concat([head, ...parts.map(({ bytes }) => bytes)]);
}

export function packText(text: string | Uint8Array): Buffer {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  const head = Buffer.alloc(5);
  head.writeUInt8(0xdb, 0);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** Whole seconds, or with nanoseconds as fluentd's EventTime. */
export function packTime(timeNs: bigint, isPrecise: boolean): Buffer {
  const seconds = Number(timeNs / 1_000_000_000n);
  const bytes = Buffer.alloc(isPrecise ? 10 : 5);
  if (!isPrecise) {
    bytes.writeUInt8(0xce, 0);
    bytes.writeUInt32BE(seconds, 1);
    return bytes;
  }
  bytes.writeUInt16BE(0xd700, 0);
  bytes.writeUInt32BE(seconds, 2);
  bytes.writeUInt32BE(Number(timeNs % 1_000_000_000n), 6);
  return bytes;
}
