/**
 * A log is a row of segments: `00000001.log` with the bytes of both streams as they came, and
 * `00000001.idx` with records that say which bytes are whose, and when they came.
 *
 * A record tells where something begins, and is written before its bytes are: whatever moment the writer
 * is killed at, the bytes behind the last record belong to that record. A record without bytes behind it
 * is overwritten by the next.
 */

/** Bytes of one record: time (8), offset in the segment (4), kind (4). */
export const recordBytes = 16;

export const recordKind = {
  stdout: 1,
  stderr: 2,
  /** A process starts: what came before it and ended within a line is no part of its first line. */
  run: 3,
  /** First in each segment; `midLine` bits say in which streams a line goes on. */
  header: 4,
} as const;

/** With `recordKind.header`: the stream's line began in an earlier segment. */
export const midLine = { 1: 1 << 8, 2: 1 << 9 } as const;

export interface LogRecord {
  readonly timeNs: bigint;
  readonly offset: number;
  readonly kind: number;
}

export function encodeRecord({ timeNs, offset, kind }: LogRecord): Uint8Array {
  const bytes = Buffer.alloc(recordBytes);
  bytes.writeBigUInt64LE(timeNs, 0);
  bytes.writeUInt32LE(offset, 8);
  bytes.writeUInt32LE(kind, 12);
  return bytes;
}

/** The whole records in `bytes`; a torn last one is left out. */
export function decodeRecords(bytes: Buffer): LogRecord[] {
  const count = Math.floor(bytes.length / recordBytes);
  return Array.from({ length: count }, (_, index) => {
    const at = index * recordBytes;
    return {
      timeNs: bytes.readBigUInt64LE(at),
      offset: bytes.readUInt32LE(at + 8),
      kind: bytes.readUInt32LE(at + 12),
    };
  });
}

/** Sizes that keep a log within `bytesMax`, two segments at least. */
export function segmentSizes(bytesMax: number): { segmentBytes: number; segmentsMax: number } {
  const segmentBytes = Math.max(4096, Math.min(16 << 20, Math.floor(bytesMax / 4)));
  return { segmentBytes, segmentsMax: Math.max(2, Math.floor(bytesMax / segmentBytes)) };
}

/** A place in a log as one number that grows: the segment, then the offset in it. */
export function positionOf(segment: number, offset: number): number {
  return segment * 2 ** 32 + offset;
}

export function dataPath(directory: string, segment: number): string {
  return `${directory}/${String(segment).padStart(8, "0")}.log`;
}

export function indexPath(directory: string, segment: number): string {
  return `${directory}/${String(segment).padStart(8, "0")}.idx`;
}

/** The numbers of the segments among the names of a directory, oldest first. */
export function segmentNumbers(names: readonly string[]): number[] {
  const numbers = names.flatMap((name) => {
    const match = /^(\d{8,})\.log$/.exec(name);
    return match ? [Number(match[1])] : [];
  });
  return numbers.sort((a, b) => a - b);
}
