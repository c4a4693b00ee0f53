import { batchBytesMax, listSegments, type Place, readFully, Segment } from "./log-cursor.ts";
import { type LogRecord, midLine, recordKind } from "./log-format.ts";
import type { OutputQuery } from "./types.ts";

/** Where reading begins, and in which streams a line is under way there, the rest of which is skipped. */
export interface Start {
  readonly place: Place;
  readonly isMidLine: { readonly 1: boolean; readonly 2: boolean };
}

type Streams = Pick<OutputQuery, "stdout" | "stderr">;
const newline = 10;
const recordsAtOnce = 4096;
const noLine = { 1: false, 2: false } as const;
const beginning: Place = { segment: 1, offset: 0, record: 0 };

/** The stream that a record's bytes are of. A header owns bytes only where the index was lost. */
export function streamOf({ kind }: LogRecord): 1 | 2 {
  return kind === recordKind.stderr ? 2 : 1;
}

/** Finds where a query's answer begins. `tail` lines before the end, and nothing before `sinceNs`. */
export async function findStart(directory: string, query: OutputQuery): Promise<Start> {
  const numbers = await listSegments(directory);
  const [oldest] = numbers;
  if (oldest === undefined) return { place: beginning, isMidLine: noLine };
  const since =
    query.sinceNs === undefined ? undefined : await findTime(directory, numbers, query.sinceNs);
  const tail =
    query.tail === undefined
      ? undefined
      : await findTail(directory, numbers, { streams: query, count: query.tail });
  const first: Place = { segment: oldest, offset: 0, record: 0 };
  const place = [first, since, tail].reduce<Place>(
    (later, one) => (one && isBefore(later, one) ? one : later),
    first,
  );
  // The place that `tail` found is at the start of a line already, by what it counted.
  return { place, isMidLine: await linesUnderWay(directory, place) };
}

function isBefore(a: Place, b: Place): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}

/** The first record that is not older than `sinceNs`; the end when there is none. */
async function findTime(
  directory: string,
  numbers: readonly number[],
  sinceNs: bigint,
): Promise<Place> {
  for (const number of [...numbers].reverse()) {
    using segment = Segment.open(directory, number);
    if (!segment) continue;
    const [header] = await segment.records(0, 1);
    const isOldest = number === numbers[0];
    if (header && header.timeNs >= sinceNs && !isOldest) continue;
    // The end as it is now: what comes while we search is younger than what was asked for.
    const end = segment.sizeBytes;
    const record = await searchTime(segment, sinceNs);
    const [found] = await segment.records(record, 1);
    if (found) return { segment: number, offset: found.offset, record };
    return { segment: number, offset: end, record: Math.max(0, record - 1) };
  }
  return beginning;
}

/** Binary search: times grow, except where somebody set the clock. */
async function searchTime(segment: Segment, sinceNs: bigint): Promise<number> {
  let [low, high] = [0, segment.recordCount];
  while (low < high) {
    const middle = (low + high) >> 1;
    const [record] = await segment.records(middle, 1);
    if (!record || record.timeNs >= sinceNs) high = middle;
    else low = middle + 1;
  }
  return low;
}

type Count = { readonly streams: Streams; readonly count: number };

/** Walks back from the end over `count` lines of the streams that are asked for. */
async function findTail(
  directory: string,
  numbers: readonly number[],
  { streams, count }: Count,
): Promise<Place> {
  const walk = { left: count, isFirst: { 1: true, 2: true } };
  let place = beginning;
  for (const number of [...numbers].reverse()) {
    using segment = Segment.open(directory, number);
    if (!segment) break;
    // Counted before the size is taken: a record too early does no harm, one too late would.
    const record = Math.max(0, segment.recordCount - 2);
    const size = segment.sizeBytes;
    if (count <= 0) return { segment: number, offset: size, record };
    const found = await walkBack(segment, { size, streams, walk });
    if (found) return { segment: number, ...found };
    place = { segment: number, offset: 0, record: 0 };
  }
  return place;
}

interface Walk {
  left: number;
  readonly isFirst: { 1: boolean; 2: boolean };
}

async function walkBack(
  segment: Segment,
  { size, streams, walk }: { size: number; streams: Streams; walk: Walk },
): Promise<{ offset: number; record: number } | undefined> {
  let end = size;
  for (let upTo = segment.recordCount; upTo > 0; upTo -= recordsAtOnce) {
    const from = Math.max(0, upTo - recordsAtOnce);
    const records = await segment.records(from, upTo - from);
    for (let at = records.length - 1; at >= 0; at--) {
      const record = records[at]!;
      const begin = Math.min(record.offset, end);
      const { kind } = record;
      const isWanted = (kind === 1 && streams.stdout) || (kind === 2 && streams.stderr);
      if (isWanted && begin < end) {
        const range = { begin, end, stream: streamOf(record), walk };
        const offset = await countBack(segment, range);
        if (offset !== undefined) return { offset, record: from + at };
      }
      end = begin;
    }
  }
  return undefined;
}

/** Counts the lines that end in [begin, end) of a stream; the place after the one too many. */
async function countBack(
  segment: Segment,
  range: { begin: number; end: number; stream: 1 | 2; walk: Walk },
): Promise<number | undefined> {
  const { begin, stream, walk } = range;
  for (let end = range.end; end > begin; ) {
    const from = Math.max(begin, end - batchBytesMax);
    const bytes = Buffer.allocUnsafe(end - from);
    const length = await readFully(segment.data, bytes, from);
    let at = length - 1;
    // The last line of a stream counts, with or without its newline.
    if (walk.isFirst[stream] && length > 0) {
      walk.isFirst[stream] = false;
      if (walk.left === 0) return from + length;
      walk.left--;
      if (bytes[at] === newline) at--;
    }
    for (; at >= 0; at--) {
      at = bytes.lastIndexOf(newline, at);
      if (at < 0) break;
      if (walk.left === 0) return from + at + 1;
      walk.left--;
    }
    end = from;
  }
  return undefined;
}

/** Looks back from a place: does a line of each stream go on there that began before? */
async function linesUnderWay(directory: string, place: Place): Promise<{ 1: boolean; 2: boolean }> {
  using segment = Segment.open(directory, place.segment);
  if (!segment) return noLine;
  const result: { 1?: boolean; 2?: boolean } = {};
  const byte = Buffer.alloc(1);
  let end = place.offset;
  const isKnown = () => result[1] !== undefined && result[2] !== undefined;
  for (let upTo = place.record + 1; upTo > 0 && !isKnown(); upTo -= recordsAtOnce) {
    const from = Math.max(0, upTo - recordsAtOnce);
    const records = await segment.records(from, upTo - from);
    for (const record of records.reverse()) {
      const stream = streamOf(record);
      if (record.kind === recordKind.run) {
        return { 1: result[1] ?? false, 2: result[2] ?? false };
      }
      if ((record.kind & 0xff) === recordKind.header) {
        result[1] ??= (record.kind & midLine[1]) !== 0;
        result[2] ??= (record.kind & midLine[2]) !== 0;
      } else if (record.offset < end && result[stream] === undefined) {
        await readFully(segment.data, byte, end - 1);
        result[stream] = byte[0] !== newline;
      }
      end = Math.min(end, record.offset);
    }
  }
  return { 1: result[1] ?? false, 2: result[2] ?? false };
}
