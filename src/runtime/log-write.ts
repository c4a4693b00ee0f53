import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { readInto, realTimeNs, spliceAvailable, type Transfer, writeAt } from "../sys/mod.ts";
import {
  dataPath,
  decodeRecords,
  encodeRecord,
  indexPath,
  type LogRecord,
  midLine,
  positionOf,
  recordBytes,
  recordKind,
  segmentNumbers,
  segmentSizes,
} from "./log-format.ts";

/** Bytes that came within this time of each other share a record. */
const mergeNs = 1_000_000n;
const spliceBytesMax = 1 << 20;
const spliceBytesMin = 4096;
const newline = 10;

type Stream = 1 | 2;

/** Appends to a log by moving bytes from pipes. Every call blocks its thread: for the pump alone. */
export class LogWriter {
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #segmentsMax: number;
  #segments: number[];
  #data = -1;
  #index = -1;
  #sizeBytes = 0;
  #recordCount = 0;
  #last: LogRecord = { timeNs: 0n, offset: 0, kind: 0 };
  /** A record stands behind the kept ones that no bytes followed yet. */
  #hasSpare = false;
  /** Where each stream's bytes ended last in this segment; -1: none are in it. */
  #ends = { 1: -1, 2: -1 };
  #isMidLine = { 1: false, 2: false };

  /** Opens a log, or makes it. `isNewRun`: a process starts, rather than that we come back to one. */
  constructor(directory: string, { bytesMax, isNewRun }: { bytesMax: number; isNewRun: boolean }) {
    this.#directory = directory;
    const { segmentBytes, segmentsMax } = segmentSizes(bytesMax);
    this.#segmentBytes = segmentBytes;
    this.#segmentsMax = segmentsMax;
    mkdirSync(directory, { recursive: true });
    this.#segments = segmentNumbers(readdirSync(directory));
    if (this.#segments.length === 0) this.#begin(1);
    else this.#reopen(this.#segments.at(-1)!);
    if (isNewRun) {
      this.#forgetLines();
      if (this.#sizeBytes > 0) this.#note(recordKind.run, realTimeNs());
    }
  }

  get position(): number {
    return positionOf(this.#segments.at(-1)!, this.#sizeBytes);
  }

  /** The segment to be dropped before another can begin, or undefined while there is room. */
  get tooOld(): number | undefined {
    if (!this.#isFull || this.#segments.length < this.#segmentsMax) return undefined;
    return this.#segments[0];
  }

  get #isFull(): boolean {
    return this.#sizeBytes + this.#recordCount * recordBytes >= this.#segmentBytes;
  }

  /** Forgets the oldest segment; whoever has it open can still read it. */
  dropOldest(): void {
    const oldest = this.#segments.shift();
    if (oldest === undefined) return;
    rmSync(dataPath(this.#directory, oldest), { force: true });
    rmSync(indexPath(this.#directory, oldest), { force: true });
  }

  /**
   * Moves what is in a pipe to the end of the log: how many bytes, 0 at the pipe's end, "waits" when it is
   * empty. To be called only while nothing is `tooOld`.
   */
  take(pipe: number, stream: Stream): Transfer {
    if (this.#isFull) this.#begin(this.#segments.at(-1)! + 1);
    const now = realTimeNs();
    const sinceNs = now - this.#last.timeNs;
    const isNear = this.#last.kind === stream && sinceNs >= 0n && sinceNs < mergeNs;
    const isSame = isNear && !this.#hasSpare;
    if (!isSame) this.#write({ kind: stream, timeNs: now });
    const room = this.#segmentBytes - this.#sizeBytes;
    const moved = spliceAvailable(pipe, this.#data, {
      bytesMax: Math.max(spliceBytesMin, Math.min(spliceBytesMax, room)),
      toOffset: this.#sizeBytes,
    });
    if (typeof moved !== "number" || moved === 0) return moved;
    if (!isSame) this.#keep({ kind: stream, timeNs: now });
    this.#sizeBytes += moved;
    this.#ends[stream] = this.#sizeBytes;
    return moved;
  }

  close(): void {
    if (this.#data === -1) return;
    closeSync(this.#data);
    closeSync(this.#index);
    this.#data = -1;
  }

  /** Writes a record where the next one goes; without `#keep` the one after it overwrites it. */
  #write({ kind, timeNs }: { kind: number; timeNs: bigint }): void {
    const record = encodeRecord({ timeNs, offset: this.#sizeBytes, kind });
    writeAt(this.#index, record, this.#recordCount * recordBytes);
    this.#hasSpare = true;
  }

  #keep({ kind, timeNs }: { kind: number; timeNs: bigint }): void {
    this.#last = { kind, timeNs, offset: this.#sizeBytes };
    this.#recordCount++;
    this.#hasSpare = false;
  }

  #note(kind: number, timeNs: bigint): void {
    this.#write({ kind, timeNs });
    this.#keep({ kind, timeNs });
  }

  #begin(segment: number): void {
    const open = this.#data === -1 ? this.#isMidLine : this.#midLines();
    this.close();
    this.#hasSpare = false;
    // The index first: whoever sees the data finds the header.
    this.#index = openSync(indexPath(this.#directory, segment), "w+", 0o600);
    this.#isMidLine = open;
    this.#sizeBytes = 0;
    this.#recordCount = 0;
    this.#ends = { 1: -1, 2: -1 };
    const bits = (open[1] ? midLine[1] : 0) | (open[2] ? midLine[2] : 0);
    this.#note(recordKind.header | bits, realTimeNs());
    this.#data = openSync(dataPath(this.#directory, segment), "w+", 0o600);
    if (this.#segments.at(-1) !== segment) this.#segments.push(segment);
  }

  #reopen(segment: number): void {
    this.#data = openSync(dataPath(this.#directory, segment), "r+");
    this.#index = openSync(indexPath(this.#directory, segment), "a+");
    closeSync(this.#index);
    this.#index = openSync(indexPath(this.#directory, segment), "r+");
    this.#sizeBytes = fstatSync(this.#data).size;
    const bytes = Buffer.alloc(fstatSync(this.#index).size);
    const records = decodeRecords(bytes.subarray(0, readInto(this.#index, bytes, 0)));
    this.#hasSpare = true;
    const used = records.filter(({ kind, offset }, index) => {
      return index === 0 || offset < this.#sizeBytes || kind === recordKind.run;
    });
    this.#recordCount = used.length;
    if (used.length === 0) this.#note(recordKind.header, realTimeNs());
    const header = used[0]?.kind ?? 0;
    this.#isMidLine = { 1: (header & midLine[1]) !== 0, 2: (header & midLine[2]) !== 0 };
    used.forEach(({ kind, offset }, index) => {
      if (kind === recordKind.run) this.#forgetLines();
      const end = used[index + 1]?.offset ?? this.#sizeBytes;
      if ((kind === 1 || kind === 2) && end > offset) this.#ends[kind] = end;
    });
  }

  #forgetLines(): void {
    this.#isMidLine = { 1: false, 2: false };
    this.#ends = { 1: -1, 2: -1 };
  }

  #midLines(): { 1: boolean; 2: boolean } {
    const byte = Buffer.alloc(1);
    const isOpen = (stream: Stream) => {
      const end = this.#ends[stream];
      if (end <= 0) return this.#isMidLine[stream];
      return readInto(this.#data, byte, end - 1) === 1 && byte[0] !== newline;
    };
    return { 1: isOpen(1), 2: isOpen(2) };
  }
}
