import { type Code, Failure } from "../base/mod.ts";

/** A place in a Dockerfile; both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** From the first character to the last, both inside. */
export interface Range {
  readonly start: Position;
  readonly end: Position;
}

/** A Dockerfile as it was written: what errors point into. */
export interface Source {
  /** As the user called it: `Dockerfile`, `docker/api.Dockerfile`. */
  readonly name: string;
  readonly lines: readonly string[];
}

/**
 * The Failure for a mistake in a Dockerfile: the form that Docker's users know, then the place, the
 * line itself and a mark under what is wrong.
 */
export function parseFailure(
  source: Source,
  range: Range,
  problem: string,
  hint?: string,
): Failure {
  const message = `dockerfile parse error on line ${range.start.line}: ${problem}`;
  const options = hint === undefined ? {} : { hint };
  return new Failure("invalid", `${message}\n${excerpt(source, range)}`, options);
}

/** A command of the Dockerfile that ran and did not succeed. */
export class CommandFailure extends Failure {
  readonly exitCode: number;

  constructor(message: string, exitCode: number, extra: { hint?: string; cause?: unknown } = {}) {
    super("invalid", message, extra);
    this.exitCode = exitCode;
  }
}

/** A Failure whose fault is one word of its instruction. */
export class WordFailure extends Failure {
  readonly word: string;

  constructor(code: Code, message: string, { word, hint }: { word: string; hint?: string }) {
    super(code, message, hint === undefined ? {} : { hint });
    this.word = word;
  }
}

/** Where a word stands in an instruction; the instruction itself when it is not found as written. */
function rangeOfWord({ lines }: Source, range: Range, word: string): Range {
  for (let line = range.start.line; line <= range.end.line; line++) {
    const from = line === range.start.line ? range.start.column : 0;
    const at = word === "" ? -1 : (lines[line - 1] ?? "").indexOf(word, from);
    if (at < 0) continue;
    return { start: { line, column: at + 1 }, end: { line, column: at + word.length } };
  }
  return range;
}

/** The same Failure with the place in the Dockerfile under its message; other errors pass through. */
export function locate(error: unknown, source: Source, range: Range): unknown {
  if (!(error instanceof Failure) || error.message.includes("\n --> ")) return error;
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  const extra = { cause: error.cause ?? error, ...hint };
  const place = error instanceof WordFailure ? rangeOfWord(source, range, error.word) : range;
  const message = `${error.message}\n${excerpt(source, place)}`;
  if (error instanceof CommandFailure) return new CommandFailure(message, error.exitCode, extra);
  return new Failure(error.code, message, extra);
}

/** The marked line, as compilers print it. */
export function excerpt(source: Source, { start, end }: Range): string {
  const text = source.lines[start.line - 1] ?? "";
  const number = String(start.line);
  const gutter = " ".repeat(number.length);
  const last = end.line === start.line ? end.column : text.length;
  const width = Math.max(1, Math.min(last, text.length) - start.column + 1);
  // Tabs stay tabs, so that the mark stands under its word whatever a terminal makes of them.
  const before = text.slice(0, start.column - 1).replace(/[^\t]/g, " ");
  return [
    ` --> ${source.name}:${start.line}:${start.column}`,
    `${gutter} |`,
    `${number} | ${text.slice(0, excerptWidthMax)}`,
    `${gutter} | ${before.slice(0, excerptWidthMax)}${"^".repeat(Math.min(width, excerptWidthMax))}`,
  ].join("\n");
}

const excerptWidthMax = 500;

/** The known word that `word` was meant to be, if one is near enough (two edits, fewer for short words). */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const bound = word.length <= 3 ? 1 : 2;
  const ranked = known
    .map((candidate) => [distance(word.toLowerCase(), candidate.toLowerCase()), candidate] as const)
    .sort((a, b) => a[0] - b[0]);
  const best = ranked[0];
  return best && best[0] <= bound ? best[1] : undefined;
}

/** Edits (insert, delete, replace, swap of neighbours) from one word to another. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 99;
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(
        rows[i - 1]![j]! + 1,
        row[j - 1]! + 1,
        rows[i - 1]![j - 1]! + (same ? 0 : 1),
      );
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, rows[i - 2]![j - 2]! + 1);
      row.push(cost);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
