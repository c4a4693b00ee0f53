import { Failure } from "../base/mod.ts";
import { blockBytes, readNumber } from "./block.ts";
import type { Segment } from "./header.ts";

/**
 * The maps of sparse files: GNU's old header, and its PAX forms 0.0, 0.1 and 1.0.
 * Spec: https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html
 */

const broken = (why: string) =>
  new Failure("corrupt", `Cannot read the archive: a sparse file's map ${why}`);

/** Reads `count` pairs of offset and length of 12 bytes each; a blank pair ends the list. */
export function readOldSegments(block: Buffer, at: number, count: number): Segment[] {
  const segments: Segment[] = [];
  for (let index = 0; index < count; index++) {
    const from = at + index * 24;
    if (block[from] === 0 || block[from + 12] === 0) break;
    segments.push({
      offset: readNumber(block, from, 12),
      length: readNumber(block, from + 12, 12),
    });
  }
  return segments;
}

/** The comma-separated numbers of `GNU.sparse.map` (0.1) or of the repeated records (0.0). */
export function parseSegments(numbers: readonly string[]): Segment[] {
  const segments: Segment[] = [];
  if (numbers.length % 2 !== 0) throw broken("has a number too few");
  for (let at = 0; at < numbers.length; at += 2) {
    segments.push({ offset: parseCount(numbers[at]!), length: parseCount(numbers[at + 1]!) });
  }
  return segments;
}

export function parseCount(text: string): number {
  if (/^[0-9]+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw broken(`holds "${text.slice(0, 20)}", which is no number`);
}

/** The map of format 1.0, which stands at the head of the data as lines of decimal numbers. */
export class SparseMap {
  readonly #numbers: string[] = [];
  #line = "";

  /** Takes one block; gives the segments once the map is whole (the rest of that block is filler). */
  push(block: Buffer): Segment[] | undefined {
    const lines = (this.#line + block.toString("latin1", 0, blockBytes)).split("\n");
    this.#line = lines.pop()!;
    for (const line of lines) {
      this.#numbers.push(line);
      const wanted = 1 + 2 * parseCount(this.#numbers[0]!);
      if (this.#numbers.length === wanted) return parseSegments(this.#numbers.slice(1));
    }
    if (this.#line.length > 20) throw broken("has a line that is too long");
    return undefined;
  }
}

/** Checks a map against the file's size and the bytes that the archive holds. @throws "corrupt" */
export function checkSegments(
  segments: readonly Segment[],
  sizeBytes: number,
  dataBytes: number,
): Segment[] {
  let end = 0;
  let total = 0;
  for (const { offset, length } of segments) {
    if (offset < end) throw broken("overlaps itself");
    end = offset + length;
    total += length;
  }
  if (end > sizeBytes) throw broken("leads past the end of the file");
  if (total !== dataBytes) throw broken("does not fit the data");
  return segments.filter(({ length }) => length > 0);
}
