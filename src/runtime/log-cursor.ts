import { closeSync, existsSync, fstatSync, openSync, read, readdirSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { promisify } from "node:util";
import { errnoOf, readCached } from "../sys/mod.ts";
import {
  dataPath,
  decodeRecords,
  indexPath,
  type LogRecord,
  positionOf,
  recordBytes,
  recordKind,
  segmentNumbers,
} from "./log-format.ts";
import type { LogPlace } from "./types.ts";

const readFromDisk = promisify(read);
const indexBytesMax = 64 << 10;
export const batchBytesMax = 256 << 10;

/** A stretch of bytes that belong to one record; none where the record says that a process starts. */
export interface Piece {
  readonly record: LogRecord;
  readonly bytes: Buffer;
}

/** Fills `into` from an open file without ever keeping this thread from other work for long. */
export async function readFully(file: number, into: Buffer, offset: number): Promise<number> {
  let length = 0;
  while (length < into.length) {
    const rest = into.subarray(length);
    const cached = readCached(file, rest, offset + length);
    const count =
      cached === "waits"
        ? (await readFromDisk(file, rest, 0, rest.length, offset + length)).bytesRead
        : cached;
    if (count === 0) break;
    length += count;
  }
  return length;
}

/** One open segment. */
export class Segment implements Disposable {
  readonly number: number;
  readonly data: number;
  readonly index: number;

  private constructor(number: number, data: number, index: number) {
    this.number = number;
    this.data = data;
    this.index = index;
  }

  /** Undefined when there is none with this number: not yet, or not any more. */
  static open(directory: string, number: number): Segment | undefined {
    let data: number;
    try {
      data = openSync(dataPath(directory, number), "r");
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
    try {
      return new Segment(number, data, openSync(indexPath(directory, number), "r"));
    } catch (error) {
      closeSync(data);
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  get sizeBytes(): number {
    return fstatSync(this.data).size;
  }

  get recordCount(): number {
    return Math.floor(fstatSync(this.index).size / recordBytes);
  }

  async records(from: number, count: number): Promise<LogRecord[]> {
    const bytes = Buffer.alloc(Math.min(count, indexBytesMax / recordBytes) * recordBytes);
    const length = await readFully(this.index, bytes, from * recordBytes);
    return decodeRecords(bytes.subarray(0, length));
  }

  [Symbol.dispose](): void {
    closeSync(this.data);
    closeSync(this.index);
  }
}

/** As `listSegments`, at once. */
export function listSegmentsNow(directory: string): number[] {
  try {
    return segmentNumbers(readdirSync(directory));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** The segments that a log has now, oldest first. */
export async function listSegments(directory: string): Promise<number[]> {
  try {
    return segmentNumbers(await readdir(directory));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** The segment, the offset in its bytes, and the record that owns that offset. */
export type Place = LogPlace;

/** Reads a log forward. It can stay behind while the log grows and drops its oldest segments. */
export class LogCursor {
  readonly #directory: string;
  #segment: Segment | undefined;
  #number: number;
  #offset: number;
  #record: number;
  /** Bytes that were dropped before they could be read: segments, at least. */
  skippedSegments = 0;

  constructor(directory: string, place: Place) {
    this.#directory = directory;
    this.#number = place.segment;
    this.#offset = place.offset;
    this.#record = place.record;
    this.#segment = Segment.open(directory, place.segment);
  }

  get segment(): number {
    return this.#number;
  }

  get position(): number {
    return positionOf(this.#number, this.#offset);
  }

  get place(): Place {
    return { segment: this.#number, offset: this.#offset, record: this.#record };
  }

  /** What comes next, at most `batchBytesMax` bytes; nothing when all that is there was read. */
  async next(): Promise<Piece[]> {
    for (;;) {
      this.#segment ??= Segment.open(this.#directory, this.#number);
      if (!this.#segment && !(await this.#skip())) return [];
      if (!this.#segment) continue;
      // Asked before the size is: what a sealed segment holds then is all it ever will.
      const isSealed = this.#hasNext();
      const end = this.#segment.sizeBytes;
      if (this.#offset < end) return await this.#readTo(end);
      if (!isSealed) return [];
      this.#enter(this.#number + 1);
    }
  }

  close(): void {
    this.#segment?.[Symbol.dispose]();
    this.#segment = undefined;
  }

  #enter(number: number): void {
    this.close();
    this.#number = number;
    this.#offset = 0;
    this.#record = 0;
  }

  /** Nothing is added to a segment once there is another, or once it was dropped. */
  #hasNext(): boolean {
    const isLast = !existsSync(dataPath(this.#directory, this.#number + 1));
    return !isLast || !existsSync(dataPath(this.#directory, this.#number));
  }

  /** Our segment is gone: goes on with the oldest after it. False when there is none. */
  async #skip(): Promise<boolean> {
    const later = (await listSegments(this.#directory)).find((number) => number > this.#number);
    if (later === undefined) return false;
    this.skippedSegments += later - this.#number;
    this.#enter(later);
    return true;
  }

  async #readTo(end: number): Promise<Piece[]> {
    const segment = this.#segment!;
    const records = await segment.records(this.#record, indexBytesMax / recordBytes);
    let until = Math.min(end, this.#offset + batchBytesMax);
    const isCut = records.length === indexBytesMax / recordBytes;
    if (isCut) until = Math.min(until, Math.max(records.at(-1)!.offset, this.#offset));
    const bytes = Buffer.allocUnsafeSlow(until - this.#offset);
    const length = await readFully(segment.data, bytes, this.#offset);
    const pieces = split(records, bytes.subarray(0, length), this.#offset);
    const reached = this.#offset + length;
    // A record at the very end may yet be overwritten by another: it is read again next time.
    let used = 0;
    while ((records[used + 1]?.offset ?? reached) < reached) used++;
    this.#record += used;
    this.#offset = reached;
    return pieces;
  }
}

/** Cuts bytes that start at `offset` where records begin. What no record owns is stdout's. */
function split(records: readonly LogRecord[], bytes: Buffer, offset: number): Piece[] {
  if (records.length === 0) return [{ record: unknownRecord, bytes }];
  const pieces: Piece[] = [];
  const end = offset + bytes.length;
  records.forEach((record, at) => {
    const from = at === 0 ? offset : Math.max(record.offset, offset);
    const to = Math.min(records[at + 1]?.offset ?? end, end);
    const isRun = record.kind === recordKind.run && record.offset >= offset && record.offset < end;
    if (isRun) pieces.push({ record, bytes: bytes.subarray(0, 0) });
    if (to > from) pieces.push({ record, bytes: bytes.subarray(from - offset, to - offset) });
  });
  return pieces;
}

const unknownRecord: LogRecord = { timeNs: 0n, offset: 0, kind: recordKind.stdout };
