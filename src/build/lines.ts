import type { Slices } from "./slices.ts";
import { type Position, parseFailure, type Range, type Source } from "./source.ts";

/** One `<<EOF` document. */
export interface Heredoc {
  readonly name: string;
  readonly content: string;
  /** The name was not quoted: variables in the content are expanded. */
  readonly expand: boolean;
  /** `<<-`: leading tabs are cut. */
  readonly chomp: boolean;
}

/** One instruction's text with its continuation lines joined, and where each part of it stood. */
export interface LogicalLine {
  readonly text: string;
  /** Offsets in `text` at which a new physical line begins. Sorted. */
  readonly pieces: readonly { readonly offset: number; readonly position: Position }[];
  /** The whole of it, heredocs included. */
  readonly range: Range;
  readonly heredocs: readonly Heredoc[];
  /** The comment lines right above, without "#" and the space after it. */
  readonly comments: readonly string[];
}

/** The `# name=value` lines at the top. */
export interface Directives {
  readonly escape: "\\" | "`";
  readonly syntax?: string;
  readonly check?: string;
  /** How many lines they take. */
  readonly lines: number;
}

export interface Document {
  readonly source: Source;
  readonly directives: Directives;
  readonly lines: readonly LogicalLine[];
  /** Numbers of lines with nothing on them inside an instruction. */
  readonly emptyContinuations: readonly number[];
}

/** Bytes in a Dockerfile; BuildKit has the same bound. */
export const dockerfileBytesMax = 4 << 20;
/** One a line of the image's history; and the checks of a file take their time. */
export const instructionsMax = 10_000;
const linesOfSlice = 1_000;

/** Where `offset` of a logical line is in the file. */
export function positionOf(line: LogicalLine, offset: number): Position {
  let piece = line.pieces[0]!;
  for (const candidate of line.pieces) {
    if (candidate.offset <= offset) piece = candidate;
  }
  const { line: number, column } = piece.position;
  return { line: number, column: column + offset - piece.offset };
}

/** The range of the `length` characters at `offset`. */
export function rangeOf(line: LogicalLine, offset: number, length: number): Range {
  return {
    start: positionOf(line, offset),
    end: positionOf(line, offset + Math.max(1, length) - 1),
  };
}

/** Splits a Dockerfile into logical lines. @throws Failure "invalid" with the line */
export function* readLines(text: string, name: string): Slices<Document> {
  const lines: string[] = [];
  for (let at = text.startsWith("\uFEFF") ? 1 : 0; ; ) {
    const end = text.indexOf("\n", at);
    const line = text.slice(at, end < 0 ? text.length : end);
    lines.push(line.endsWith("\r") ? line.slice(0, -1) : line);
    if (end < 0) break;
    at = end + 1;
    if (lines.length % linesOfSlice === 0) yield;
  }
  const source = { name, lines };
  const directives = readDirectives(source);
  return yield* new Splitter(source, directives).split();
}

const directiveShape = /^\s*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/;

function readDirectives(source: Source): Directives {
  const found: Record<string, string> = {};
  for (const [index, line] of source.lines.entries()) {
    const [, key, value] = directiveShape.exec(line) ?? [];
    const name = key?.toLowerCase();
    if (!name || !["escape", "syntax", "check"].includes(name)) break;
    const range = wholeLine(source, index + 1);
    if (name in found) {
      throw parseFailure(source, range, `only one ${name} parser directive can be used`);
    }
    if (name === "escape" && value !== "\\" && value !== "`") {
      const problem = `invalid escape token '${value}' does not match \` or \\`;
      throw parseFailure(source, range, problem);
    }
    found[name] = value!;
  }
  const lines = Object.keys(found).length;
  return { ...found, lines, escape: (found["escape"] ?? "\\") as Directives["escape"] };
}

function wholeLine(source: Source, line: number): Range {
  const text = source.lines[line - 1] ?? "";
  const start = text.length - text.trimStart().length + 1;
  return { start: { line, column: start }, end: { line, column: Math.max(start, text.length) } };
}

const isComment = (line: string) => /^\s*#/.test(line);
const takesHeredoc = /^\s*(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\b/i;

/** Reads the lines one by one; a class because continuation and heredocs move the same cursor. */
class Splitter {
  readonly #source: Source;
  readonly #directives: Directives;
  readonly #continued: RegExp;
  readonly #emptyContinuations: number[] = [];
  #next = 0;

  constructor(source: Source, directives: Directives) {
    this.#source = source;
    this.#directives = directives;
    this.#continued = directives.escape === "\\" ? /\\[ \t]*$/ : /`[ \t]*$/;
  }

  *split(): Slices<Document> {
    const lines: LogicalLine[] = [];
    let comments: string[] = [];
    while (this.#next < this.#source.lines.length) {
      yield;
      const line = this.#source.lines[this.#next]!;
      if (line.trim() === "" || isComment(line)) {
        this.#next++;
        if (line.trim() === "" || this.#next <= this.#directives.lines) comments = [];
        else comments.push(line.replace(/^\s*#\s?/, "").trim());
      } else {
        if (lines.length === instructionsMax) throw this.#tooMany();
        lines.push({ ...(yield* this.#logicalLine()), comments });
        comments = [];
      }
    }
    const directives = this.#directives;
    const emptyContinuations = this.#emptyContinuations;
    return { source: this.#source, directives, lines, emptyContinuations };
  }

  #tooMany(): Error {
    const range = wholeLine(this.#source, this.#next + 1);
    const problem = `more than ${instructionsMax} instructions`;
    return parseFailure(this.#source, range, problem, "Part it into several images");
  }

  *#logicalLine(): Slices<Omit<LogicalLine, "comments">> {
    const first = this.#next;
    const pieces: LogicalLine["pieces"][number][] = [];
    let text = "";
    let more = true;
    while (more && this.#next < this.#source.lines.length) {
      if (this.#next % linesOfSlice === 0) yield;
      const line = this.#source.lines[this.#next++]!;
      const isFirst = pieces.length === 0;
      if (!isFirst && isComment(line)) continue;
      if (!isFirst && line.trim() === "") {
        this.#emptyContinuations.push(this.#next);
        continue;
      }
      more = this.#continued.test(line);
      const body = more ? line.replace(this.#continued, "") : line;
      const column = isFirst ? body.length - body.trimStart().length : 0;
      pieces.push({ offset: text.length, position: { line: this.#next, column: column + 1 } });
      text += body.slice(column);
    }
    const heredocs = takesHeredoc.test(text) ? yield* this.#heredocs(text, first + 1) : [];
    const start = pieces[0]!.position;
    const end = wholeLine(this.#source, this.#next).end;
    return { text: text.trimEnd(), pieces, range: { start, end }, heredocs };
  }

  *#heredocs(text: string, line: number): Slices<Heredoc[]> {
    const documents: Heredoc[] = [];
    for (const word of heredocWords(text, this.#directives.escape)) {
      const parts: string[] = [];
      for (;;) {
        if (this.#next % linesOfSlice === 0) yield;
        const next = this.#source.lines[this.#next++];
        if (next === undefined) {
          this.#next = this.#source.lines.length;
          const range = wholeLine(this.#source, line);
          const hint = `Put a line that holds nothing but ${word.name} at its end`;
          throw parseFailure(this.#source, range, "unterminated heredoc", hint);
        }
        const body = word.chomp ? next.replace(/^\t+/, "") : next;
        if (body === word.name) break;
        // A chomped document keeps its tabs here: a shell that gets it whole cuts them itself.
        parts.push(`${next}\n`);
      }
      documents.push({ ...word, content: parts.join("") });
    }
    return documents;
  }
}

/** The content without the tabs that `<<-` cuts. */
export function chomped(heredoc: Heredoc): string {
  return heredoc.chomp ? heredoc.content.replace(/^\t+/gm, "") : heredoc.content;
}

const heredocShape = /^\d*<<(-?)\s*([^<\s]+)$/;

/** True when a word of an instruction stands for a heredoc, and of what name. */
export function heredocWord(word: string): Omit<Heredoc, "content"> | undefined {
  const [, dash, quoted] = heredocShape.exec(word) ?? [];
  if (quoted === undefined) return undefined;
  const name = quoted.replace(/\\(.)|["']/g, "$1");
  return name === "" ? undefined : { name, expand: name === quoted, chomp: dash === "-" };
}

function heredocWords(text: string, escaper: string): Omit<Heredoc, "content">[] {
  if (!text.includes("<<")) return [];
  return splitQuoted(text, escaper).flatMap(({ word }) => heredocWord(word) ?? []);
}

interface QuotedWord {
  readonly word: string;
  readonly offset: number;
}

/** Words between white space; quotes and escapes keep white space inside a word and stay in it. */
export function splitQuoted(text: string, escaper: string): QuotedWord[] {
  return [...quotedWords(text, escaper)];
}

/** As `splitQuoted`, for who wants the first ones of a long text. */
export function* quotedWords(text: string, escaper: string): Generator<QuotedWord, void> {
  // All other characters say nothing: an engine of patterns passes over them faster.
  const telling = /[\s"'\\`]/g;
  let start = -1;
  let quote = "";
  let next = 0;
  while (next < text.length) {
    telling.lastIndex = next;
    const index = telling.exec(text)?.index ?? text.length;
    if (start < 0 && index > next) start = next;
    if (index === text.length) break;
    const char = text[index]!;
    next = index + 1;
    if (char !== '"' && char !== "'" && char !== "\\" && char !== "`") {
      if (quote !== "") continue;
      if (start >= 0) yield { word: text.slice(start, index), offset: start };
      start = -1;
      continue;
    }
    if (start < 0) start = index;
    if (char === escaper && quote !== "'") next++;
    else if (char === quote) quote = "";
    else if (quote === "" && (char === '"' || char === "'")) quote = char;
  }
  if (start >= 0) yield { word: text.slice(start), offset: start };
}
