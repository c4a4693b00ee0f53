import { log } from "../base/mod.ts";
import { LogCursor, type Piece, type Place } from "./log-cursor.ts";
import { recordKind } from "./log-format.ts";
import { findStart, type Start, streamOf } from "./log-start.ts";
import type { Chunk, OutputQuery } from "./types.ts";

const newline = 10;

/** A log that still grows. */
export interface GrowingLog {
  /** The end of what is there now. */
  end(): Place;
  /** Resolves with true once there is more than `position`; false when there never will be. */
  beyond(position: number, signal: AbortSignal | undefined): Promise<boolean>;
  /** While a reader is here, the segment it reads is kept for it, for a time. */
  join(reader: { readonly segment: number }): { moved(): void; leave(): void };
}

/**
 * Reads a log as the query says. What it begins with is settled when this is called, not when the first
 * chunk is asked for. A chunk may end in the middle of a line; the line goes on in the next chunk of that
 * stream.
 */
export function readLog(
  directory: string,
  query: OutputQuery,
  { growing, run }: { growing?: GrowingLog; run?: Place | undefined } = {},
): AsyncIterable<Chunk> {
  const known =
    typeof query.from === "object"
      ? query.from
      : query.from === "now"
        ? growing?.end()
        : query.from === "run"
          ? run
          : undefined;
  if (query.from === "now" && !known) return nothing();
  const start = known
    ? Promise.resolve({ place: known, isMidLine: { 1: false, 2: false } })
    : findStart(directory, query);
  start.catch(() => undefined); // whoever iterates hears of it
  if (!query.follow || !growing) return chunks(directory, query, { start });
  // From now on, and not only once the first chunk is asked for, nothing is dropped unread.
  const reader: Reader = { segment: known?.segment ?? 0 };
  return chunks(directory, query, { start, growing, reader, presence: growing.join(reader) });
}

interface Reader {
  segment: number;
}

interface Source {
  readonly start: Promise<Start>;
  /** Those who follow have all three. */
  readonly growing?: GrowingLog;
  readonly reader?: Reader;
  readonly presence?: ReturnType<GrowingLog["join"]>;
}

async function* nothing(): AsyncGenerator<Chunk> {}

async function* chunks(
  directory: string,
  query: OutputQuery,
  { start, growing, reader, presence }: Source,
): AsyncGenerator<Chunk> {
  const { place, isMidLine } = await start;
  const cursor = new LogCursor(directory, place);
  const filter = lineFilter(query, { ...isMidLine });
  const until = untilSignal(query);
  try {
    for (;;) {
      const position = cursor.position;
      const pieces = await cursor.next();
      if (reader) reader.segment = cursor.segment;
      presence?.moved();
      tellSkipped(directory, cursor);
      const last = pieces.at(-1);
      for (const piece of pieces) {
        if (until.isPast(piece)) return;
        const chunk = filter(piece);
        if (chunk) yield piece === last ? { ...chunk, next: cursor.place } : chunk;
        if (query.signal?.aborted) return;
      }
      if (pieces.length > 0 || cursor.position !== position) continue;
      if (!growing || until.signal?.aborted) return;
      if (!(await growing.beyond(cursor.position, until.signal))) {
        if (until.signal?.aborted) return;
        // It has ended: what came between our last look and its end is still to be read.
        if (cursor.position >= endOf(growing)) return;
      }
    }
  } finally {
    until.cancel();
    presence?.leave();
    cursor.close();
  }
}

function endOf(growing: GrowingLog): number {
  const { segment, offset } = growing.end();
  return segment * 2 ** 32 + offset;
}

function tellSkipped(directory: string, cursor: LogCursor): void {
  if (cursor.skippedSegments === 0) return;
  log("warn", "A reader was too slow for a log: part of it was dropped unread", {
    directory,
    segments: cursor.skippedSegments,
  });
  cursor.skippedSegments = 0;
}

/** Only the streams that were asked for, and of a line that began before the start nothing. */
function lineFilter(
  { stdout, stderr }: OutputQuery,
  isMidLine: { 1: boolean; 2: boolean },
): (piece: Piece) => Chunk | undefined {
  return ({ record, bytes }) => {
    const stream = streamOf(record);
    if (record.kind === recordKind.run) {
      isMidLine[1] = false;
      isMidLine[2] = false;
    }
    if (!(stream === 1 ? stdout : stderr)) return undefined;
    let from = 0;
    if (isMidLine[stream]) {
      const end = bytes.indexOf(newline);
      if (end < 0) return undefined;
      isMidLine[stream] = false;
      from = end + 1;
    }
    if (from >= bytes.length) return undefined;
    return { stream, timeNs: record.timeNs, bytes: from === 0 ? bytes : bytes.subarray(from) };
  };
}

/** Ends reading at `untilNs`: at the first younger record, and when that time comes. */
function untilSignal({ untilNs, signal }: OutputQuery) {
  if (untilNs === undefined) return { isPast: () => false, signal, cancel: () => {} };
  const isPast = ({ record }: Piece) => record.timeNs > untilNs;
  const over = new AbortController();
  const leftMs = Math.max(0, Number(untilNs / 1_000_000n) - Date.now());
  const timer = setTimeout(() => over.abort(), Math.min(leftMs, 2 ** 31 - 1));
  const all = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
  return { isPast, signal: all, cancel: () => clearTimeout(timer) };
}
