import { Failure } from "../base/mod.ts";
import { Glob, type Step } from "./glob.ts";
import { shellPattern } from "./pattern.ts";

/** Of one text, before and after: what the kernel takes as one variable, twice over. */
export const expandedCharsMax = 256 << 10;
/** Characters of a value times those of a pattern: some milliseconds. */
const patternWorkMax = 4 << 20;
const depthMax = 100;

/** A variable's value, or undefined when it is not set. */
export type Lookup = (name: string) => string | undefined;

export interface ExpandOptions {
  readonly escape: string;
  readonly lookup: Lookup;
  /** Quotes are ordinary characters (heredocs). */
  readonly keepQuotes?: boolean;
}

export interface Expansion {
  readonly text: string;
  /** `text` split at white space outside quotes. */
  readonly words: readonly string[];
  /** Variables that were named but have no value. */
  readonly unset: ReadonlySet<string>;
}

/**
 * Expands `$v`, `${v}` and the `${v…}` forms, and takes quotes and escapes away, as Dockerfiles do.
 * @throws Failure "invalid" — a quote or brace is left open, a form is unknown, or `${v:?text}` failed;
 *   "exhausted" — the text is too long, or becomes so
 */
export function expand(text: string, options: ExpandOptions): Expansion {
  if (text.length > expandedCharsMax) throw tooLong(text);
  const expander = new Expander(text, options);
  const result = expander.until(undefined, false);
  return { ...result, unset: expander.unset };
}

interface Words {
  readonly text: string;
  readonly words: readonly string[];
}

function bad(text: string, why: string): Failure {
  return new Failure("invalid", `failed to process "${text}": ${why}`);
}

function tooLong(text: string): Failure {
  const why = `it is over ${expandedCharsMax} characters`;
  return new Failure("exhausted", `failed to process "${text.slice(0, 100)}…": ${why}`);
}

const specialNames = "@*#?-$!0";

/** A cursor over one text; the methods call each other for nested `${a:-${b}}`. */
class Expander {
  readonly unset = new Set<string>();
  readonly #text: string;
  readonly #options: ExpandOptions;
  #at = 0;
  #depth = 0;

  constructor(text: string, options: ExpandOptions) {
    this.#text = text;
    this.#options = options;
  }

  /** Reads up to `stop` (taken) or the end. `raw`: escapes stay, for patterns. */
  until(stop: string | undefined, raw: boolean): Words {
    if (++this.#depth > depthMax) throw this.#bad("it is nested too deep");
    const words = this.#words(stop, raw);
    this.#depth--;
    return words;
  }

  #words(stop: string | undefined, raw: boolean): Words {
    const out = new WordList();
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at]!;
      if (char === stop) {
        this.#at++;
        return out.end();
      }
      if (char === "$") out.split(this.#dollar());
      else if (!this.#options.keepQuotes && char === "'") out.solid(this.#single());
      else if (!this.#options.keepQuotes && char === '"') out.solid(this.#double(raw));
      else if (char === this.#options.escape) out.solid(this.#escaped(raw));
      else {
        out.split(char);
        this.#at++;
      }
      this.#check(out.text);
    }
    if (stop !== undefined) throw this.#bad(`syntax error: missing '${stop}'`);
    return out.end();
  }

  #escaped(raw: boolean): string {
    const next = this.#text[this.#at + 1] ?? "";
    this.#at += 1 + next.length;
    return raw ? this.#options.escape + next : next;
  }

  #single(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    if (end < 0) {
      throw this.#bad("unexpected end of statement while looking for matching single-quote");
    }
    const inside = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return inside;
  }

  #double(raw: boolean): string {
    let out = "";
    this.#at++;
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at]!;
      const next = this.#text[this.#at + 1] ?? "";
      if (char === '"') {
        this.#at++;
        return out;
      }
      if (char === "$") out += this.#dollar();
      else if (char === this.#options.escape && `"$${char}`.includes(next) && next !== "") {
        out += raw ? char + next : next;
        this.#at += 2;
      } else {
        out += char;
        this.#at++;
      }
      this.#check(out);
    }
    throw this.#bad("unexpected end of statement while looking for matching double-quote");
  }

  #dollar(): string {
    this.#at++;
    if (this.#text[this.#at] !== "{") {
      const name = this.#name();
      return name === "" ? "$" : (this.#get(name) ?? "");
    }
    this.#at++;
    const first = this.#text[this.#at];
    if (first === undefined) throw this.#bad("syntax error: missing '}'");
    if (first === "{" || first === "}" || first === ":") {
      throw this.#bad("syntax error: bad substitution");
    }
    return this.#braces(this.#name());
  }

  #braces(name: string): string {
    let operator = this.#text[this.#at++];
    if (operator === undefined) throw this.#bad("syntax error: missing '}'");
    if (operator === "}") return this.#get(name) ?? "";
    if (operator === "/") return this.#replace(name);
    const orEmpty = operator === ":";
    if (orEmpty) operator = this.#text[this.#at++];
    const isTrim = operator === "#" || operator === "%";
    if (!operator || !"-+?#%".includes(operator) || (orEmpty && isTrim)) {
      const form = `${orEmpty ? ":" : ""}${operator ?? ""}`;
      throw this.#bad(`unsupported modifier (${form}) in substitution`);
    }
    const word = this.until("}", isTrim).text;
    // A form that says what to do without a value makes no complaint.
    const value = isTrim ? this.#get(name) : this.#options.lookup(name);
    const missing = value === undefined || (orEmpty && value === "");
    if (isTrim) return this.#trim(value ?? "", operator as "#" | "%", word);
    if (operator === "-") return missing ? word : value;
    if (operator === "+") return missing ? "" : word;
    if (!missing) return value;
    const state = value === undefined ? "unset" : "empty";
    throw this.#bad(`${name}: ${word === "" ? `is not allowed to be ${state}` : word}`);
  }

  #trim(value: string, side: "#" | "%", word: string): string {
    const isGreedy = word.startsWith(side);
    const steps = this.#pattern(isGreedy ? word.slice(1) : word, value);
    // A suffix is the prefix of what is read backwards.
    const isPrefix = side === "#";
    const chars = isPrefix ? [...value] : [...value].reverse();
    const glob = new Glob(isPrefix ? steps : steps.toReversed());
    const rest = chars.slice(glob.prefix(chars, isGreedy ? "longest" : "shortest") ?? 0);
    return (isPrefix ? rest : rest.reverse()).join("");
  }

  #replace(name: string): string {
    const isAll = this.#text[this.#at] === "/";
    if (isAll) this.#at++;
    const pattern = this.until("/", true).text;
    const replacement = this.until("}", false).text;
    const value = this.#get(name) ?? "";
    if (pattern === "") return value;
    const glob = new Glob(this.#pattern(pattern, value));
    const chars = [...value];
    let out = "";
    let at = 0;
    do {
      const found = glob.find(chars, at);
      if (!found || (found.end === found.start && at > 0)) break;
      out += chars.slice(at, found.start).join("") + replacement;
      this.#check(out);
      at = found.end;
    } while (isAll && at < chars.length);
    return out + chars.slice(at).join("");
  }

  #pattern(pattern: string, value: string): Step[] {
    const steps = shellPattern(pattern);
    if (!steps) throw this.#bad(`invalid pattern (${pattern}) in substitution`);
    if (steps.length * value.length > patternWorkMax) {
      throw this.#bad("a pattern of that length on a value of that length takes too long");
    }
    return steps;
  }

  #check(out: string): void {
    if (out.length > expandedCharsMax) throw tooLong(this.#text);
  }

  #name(): string {
    const rest = this.#text.slice(this.#at);
    const found = /^(?:\d+|[\p{L}_][\p{L}\p{Nd}_]*)/u.exec(rest)?.[0];
    const name = found ?? (specialNames.includes(rest[0] ?? " ") ? rest[0]! : "");
    this.#at += name.length;
    return name;
  }

  #get(name: string): string | undefined {
    const value = this.#options.lookup(name);
    if (value === undefined) this.unset.add(name);
    return value;
  }

  #bad(why: string): Failure {
    return bad(this.#text, why);
  }
}

/** Collects the text and, beside it, the words that unquoted white space parts. */
class WordList {
  readonly #words: string[] = [];
  #text = "";
  #word = "";

  /** Text whose white space parts words. */
  split(part: string): void {
    this.#text += part;
    for (const piece of part.split(/(\s+)/)) {
      if (/^\s/.test(piece)) this.#flush();
      else this.#word += piece;
    }
  }

  /** Quoted text: one piece, white space and all. */
  solid(part: string): void {
    this.#text += part;
    this.#word += part;
  }

  get text(): string {
    return this.#text;
  }

  end(): Words {
    this.#flush();
    return { text: this.#text, words: this.#words };
  }

  #flush(): void {
    if (this.#word !== "") this.#words.push(this.#word);
    this.#word = "";
  }
}
