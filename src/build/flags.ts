import { type LogicalLine, quotedWords, rangeOf } from "./lines.ts";
import { nearest, parseFailure, type Source } from "./source.ts";

/** What `--name=value` an instruction takes. */
export type FlagKinds = Readonly<Record<string, "text" | "boolean" | "list">>;

/** Flags as written: lists keep their order; a flag that is absent has no key. */
export interface Flags {
  readonly text: Readonly<Record<string, string>>;
  readonly lists: Readonly<Record<string, readonly string[]>>;
  readonly booleans: Readonly<Record<string, boolean>>;
}

export interface FlagContext {
  readonly source: Source;
  readonly line: LogicalLine;
  readonly escape: string;
  readonly keyword: string;
}

/**
 * Takes the `--flags` off the front of an instruction's arguments, which begin at `offset`.
 * @throws Failure "invalid" — an unknown, repeated or empty flag, with the nearest known one
 */
export function readFlags(
  context: FlagContext,
  kinds: FlagKinds,
  offset: number,
): { flags: Flags; offset: number } {
  const text: Record<string, string> = {};
  const lists: Record<string, string[]> = {};
  const booleans: Record<string, boolean> = {};
  let end = offset;
  for (const word of quotedWords(context.line.text.slice(offset), context.escape)) {
    if (!word.word.startsWith("--")) break;
    end = offset + word.offset + word.word.length;
    if (word.word === "--") break;
    const [name, value] = splitFlag(unquote(word.word.slice(2), context.escape));
    const refuse = (problem: string, hint?: string) => {
      const range = rangeOf(context.line, offset + word.offset, word.word.length);
      return parseFailure(context.source, range, problem, hint);
    };
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (kind === undefined) throw unknownFlag(name, kinds, context.keyword, refuse);
    if (kind === "list") {
      if (value === undefined) throw refuse(`missing a value on flag: ${name}`);
      lists[name] = [...(lists[name] ?? []), value];
      continue;
    }
    if (name in text || name in booleans) throw refuse(`duplicate flag specified: ${name}`);
    if (kind === "boolean") {
      if (value !== undefined && value !== "true" && value !== "false") {
        throw refuse(`expecting boolean value for flag ${name}, not: ${value}`);
      }
      booleans[name] = value !== "false";
    } else {
      if (value === undefined) throw refuse(`missing a value on flag: ${name}`);
      text[name] = value;
    }
  }
  return { flags: { text, lists, booleans }, offset: end };
}

function unknownFlag(
  name: string,
  kinds: FlagKinds,
  keyword: string,
  refuse: (problem: string, hint?: string) => Error,
): Error {
  const near = nearest(name, Object.keys(kinds));
  const known = Object.keys(kinds).map((flag) => `--${flag}`);
  const all = known.length === 0 ? `${keyword} takes no flags` : `It takes ${known.join(", ")}`;
  return refuse(`unknown flag: ${name}`, near ? `Did you mean --${near}?` : all);
}

function splitFlag(body: string): [name: string, value: string | undefined] {
  const equals = body.indexOf("=");
  return equals < 0 ? [body, undefined] : [body.slice(0, equals), body.slice(equals + 1)];
}

function unquote(word: string, escaper: string): string {
  let out = "";
  let quote = "";
  for (let index = 0; index < word.length; index++) {
    const char = word[index]!;
    if (char === escaper && quote !== "'") out += word[++index] ?? "";
    else if (char === quote) quote = "";
    else if (quote === "" && (char === '"' || char === "'")) quote = char;
    else out += char;
  }
  return out;
}

/** Comma-separated `key=value` pairs with CSV quotes, as in `--mount`. */
export function readPairs(text: string): [key: string, value: string | undefined][] {
  const fields = [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)];
  return fields
    .map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? "")
    .map((field) => splitFlag(field));
}
