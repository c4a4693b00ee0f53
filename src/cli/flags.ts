/**
 * Flags as Docker's users know them (Go's pflag): `--flag=value`, `--flag value`, `-it`, `-n5`, `--`.
 * A command's flags are a table; the parsed values have the types that the table says.
 */
import { closest, Failure } from "../base/mod.ts";
import { parseDurationNs, parseSizeBytes } from "./units.ts";

export type FlagKind =
  | "bool"
  | "string"
  | "list"
  | "int"
  | "decimal"
  | "bytes"
  | "endless"
  | "duration";

/** One flag. A list may be given many times; bytes take `512m`, endless takes -1 too, durations `1m30s` (nanoseconds). */
export interface Flag {
  readonly kind: FlagKind;
  readonly short?: string;
  readonly about: string;
  /** The word that help shows for the value; the kind's own when absent. */
  readonly word?: string;
  readonly default?: string | number | boolean;
  /** Refuses a bad value while flags are read. @throws Failure "invalid" */
  readonly check?: (value: string) => void;
  /** The value of `--flag` alone; another one then needs `=`. */
  readonly bare?: string;
  /** Another spelling of that flag: what is given here is set there. */
  readonly sameAs?: string;
  /** Taken, but not shown in help. */
  readonly hidden?: boolean;
}

export type FlagTable = Readonly<Record<string, Flag>>;

type ValueOf<K extends FlagKind> = K extends "bool"
  ? boolean
  : K extends "list"
    ? string[]
    : K extends "string"
      ? string
      : number;

/** The values by flag name; flags that were not given have their default or the kind's zero. */
export type FlagValues<T extends FlagTable> = { [Name in keyof T]: ValueOf<T[Name]["kind"]> };

export interface Parsed<T extends FlagTable> {
  readonly flags: FlagValues<T>;
  readonly args: string[];
  /** Names of the flags that were given. */
  readonly given: ReadonlySet<string>;
}

type Value = string | number | boolean | string[];
const zero: Record<FlagKind, Value> = {
  bool: false,
  string: "",
  list: "",
  int: 0,
  decimal: 0,
  bytes: 0,
  endless: 0,
  duration: 0,
};

/**
 * Reads `argv`. With `interspersed` false the first word that is no flag ends the flags, as in
 * `run IMAGE COMMAND --its-flag`.
 * @throws Failure "invalid" in pflag's words
 */
export function parseFlags<T extends FlagTable>(
  argv: readonly string[],
  table: T,
  { interspersed = true }: { interspersed?: boolean } = {},
): Parsed<T> {
  const values: Record<string, Value> = {};
  for (const name in table) {
    const flag = table[name]!;
    values[name] = flag.kind === "list" ? [] : (flag.default ?? zero[flag.kind]);
  }
  const given = new Set<string>();
  const args: string[] = [];
  const set = (named: string, text: string): void => {
    const name = table[named]!.sameAs ?? named;
    given.add(name);
    setValue(values, name, { flag: table[name]!, text });
  };
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (word === "--") {
      args.push(...argv.slice(at + 1));
      break;
    }
    if (word.startsWith("--")) at += takeLong(word, { table, next: argv[at + 1], set });
    else if (word.length > 1 && word[0] === "-") {
      at += takeShort(word, { table, next: argv[at + 1], set });
    } else if (interspersed) args.push(word);
    else {
      args.push(...argv.slice(at));
      break;
    }
  }
  return { flags: values as FlagValues<T>, args, given };
}

interface Reading {
  readonly table: FlagTable;
  readonly next: string | undefined;
  readonly set: (name: string, text: string) => void;
}

/** Returns how many further words were used up: 0 or 1. */
function takeLong(word: string, { table, next, set }: Reading): number {
  const equals = word.indexOf("=");
  const name = word.slice(2, equals === -1 ? undefined : equals);
  const flag = Object.hasOwn(table, name) ? table[name] : undefined;
  if (!flag) throw new Failure("invalid", `unknown flag: --${name}`, nearest(name, table));
  if (equals !== -1) set(name, word.slice(equals + 1));
  else if (flag.kind === "bool") set(name, "true");
  else if (flag.bare !== undefined) set(name, flag.bare);
  else {
    if (next === undefined) throw new Failure("invalid", `flag needs an argument: --${name}`);
    set(name, next);
    return 1;
  }
  return 0;
}

function takeShort(word: string, { table, next, set }: Reading): number {
  for (let at = 1; at < word.length; at++) {
    const letter = word[at]!;
    const name = Object.keys(table).find((key) => table[key]!.short === letter);
    if (name === undefined) {
      throw new Failure("invalid", `unknown shorthand flag: '${letter}' in -${word.slice(at)}`);
    }
    if (word[at + 1] === "=") {
      set(name, word.slice(at + 2));
      return 0;
    }
    if (table[name]!.kind === "bool") {
      set(name, "true");
      continue;
    }
    if (at + 1 < word.length) {
      set(name, word.slice(at + 1));
      return 0;
    }
    if (next === undefined) {
      throw new Failure("invalid", `flag needs an argument: '${letter}' in -${word.slice(at)}`);
    }
    set(name, next);
    return 1;
  }
  return 0;
}

function setValue(
  values: Record<string, Value>,
  name: string,
  { flag, text }: { flag: Flag; text: string },
): void {
  try {
    flag.check?.(text);
    if (flag.kind === "list") (values[name] as string[]).push(text);
    else values[name] = convert(flag.kind, text);
  } catch (cause) {
    const shown = flag.short ? `-${flag.short}, --${name}` : `--${name}`;
    const why = (cause as Error).message;
    const message = `invalid argument ${JSON.stringify(text)} for "${shown}" flag: ${why}`;
    throw new Failure("invalid", message, { cause });
  }
}

function convert(kind: Exclude<FlagKind, "list">, text: string): Value {
  if (kind === "string") return text;
  if (kind === "bytes") return parseSizeBytes(text);
  if (kind === "endless") return text === "-1" ? -1 : parseSizeBytes(text);
  if (kind === "duration") return parseDurationNs(text);
  if (kind === "bool") {
    if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
    if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
    throw new Failure(
      "invalid",
      `strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }
  if (kind === "decimal") {
    if (/^\d*\.?\d+$/.test(text)) return Number(text);
    throw new Failure("invalid", `failed to parse ${text} as a rational number`);
  }
  if (!/^[+-]?(\d+|0x[0-9a-fA-F]+)$/.test(text)) {
    throw new Failure(
      "invalid",
      `strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }
  return Number(text);
}

function nearest(name: string, table: FlagTable): { hint?: string } {
  const shown = Object.keys(table).filter((key) => !table[key]!.hidden);
  const best = closest(name, shown);
  return best === undefined ? {} : { hint: `Did you mean --${best}?` };
}
