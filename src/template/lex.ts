/** Go templates (https://pkg.go.dev/text/template), first part: the words inside `{{ }}`. */
import { Failure } from "../base/mod.ts";

export type Token =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "open" | "close"; readonly at: number }
  | { readonly kind: "field" | "variable" | "name"; readonly text: string; readonly at: number }
  | { readonly kind: "string"; readonly value: string; readonly text: string; readonly at: number }
  | { readonly kind: "number"; readonly value: number; readonly text: string; readonly at: number }
  | { readonly kind: "punctuation"; readonly text: string; readonly at: number }
  | { readonly kind: "space"; readonly at: number };

/** An error of the template's author, in Go's form. */
export function templateFailure(source: string, at: number, why: string): Failure {
  const line = source.slice(0, at).split("\n").length;
  return new Failure("invalid", `template: :${line}: ${why}`);
}

const punctuation = /^(:=|\||\(|\)|=|,)/;

/** @throws Failure "invalid" */
export function lexTemplate(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < source.length) {
    const open = source.indexOf("{{", at);
    const text = source.slice(at, open === -1 ? undefined : open);
    if (open === -1) {
      tokens.push({ kind: "text", text });
      break;
    }
    const trimsLeft = /^-[ \t\r\n]/.test(source.slice(open + 2, open + 4));
    tokens.push({ kind: "text", text: trimsLeft ? text.trimEnd() : text });
    at = open + 2 + (trimsLeft ? 2 : 0);
    const comment = /^\s*\/\*[\s\S]*?\*\/\s*?(?= -\}\}|\}\})/.exec(source.slice(at));
    if (comment) at += comment[0].length;
    else {
      tokens.push({ kind: "open", at });
      at = lexAction(source, at, tokens);
      tokens.push({ kind: "close", at });
    }
    const end = /^\s-\}\}\s*|^\}\}/.exec(source.slice(at));
    if (!end)
      throw templateFailure(
        source,
        at,
        comment ? "comment ends before closing delimiter" : "unclosed action",
      );
    at += end[0].length;
  }
  return tokens;
}

/** Reads tokens up to `}}`, whose offset (or that of ` -}}`) it returns. */
function lexAction(source: string, from: number, tokens: Token[]): number {
  let at = from;
  while (at < source.length) {
    const rest = source.slice(at, at + 4);
    if (rest.startsWith("}}") || /^\s-\}\}/.test(rest)) return at;
    const [token, size] = lexOne(source, at);
    tokens.push(token);
    at += size;
  }
  throw templateFailure(source, source.length, "unclosed action");
}

function lexOne(source: string, at: number): [Token, number] {
  const rest = source.slice(at);
  const take = (rule: RegExp): string | undefined => rule.exec(rest)?.[0];
  const space = take(/^\s+?(?=-\}\})|^\s+/);
  if (space) {
    // ` -}}` keeps its space: it belongs to the delimiter.
    return [
      { kind: "space", at },
      /^\s+-\}\}/.test(rest) ? Math.max(1, space.length - 1) : space.length,
    ];
  }
  const field = take(/^\.[\p{L}_][\p{L}\p{N}_]*/u);
  if (field) return [{ kind: "field", text: field.slice(1), at }, field.length];
  const variable = take(/^\$[\p{L}\p{N}_]*/u);
  if (variable) return [{ kind: "variable", text: variable, at }, variable.length];
  const number = take(/^[+-]?(0x[0-9a-fA-F]+|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)/);
  if (number) return [{ kind: "number", value: Number(number), text: number, at }, number.length];
  const name = take(/^[\p{L}_][\p{L}\p{N}_]*/u);
  if (name) return [{ kind: "name", text: name, at }, name.length];
  if (rest === ".") throw templateFailure(source, at, `illegal number syntax: "."`);
  if (rest[0] === ".") return [{ kind: "punctuation", text: ".", at }, 1];
  const mark = take(punctuation);
  if (mark) return [{ kind: "punctuation", text: mark, at }, mark.length];
  return lexQuoted(source, at);
}

function lexQuoted(source: string, at: number): [Token, number] {
  const quote = source[at]!;
  const rest = source.slice(at);
  const rules: Record<string, [RegExp, string]> = {
    '"': [/^"(?:[^"\\\n]|\\.)*"/, "unterminated quoted string"],
    "'": [/^'(?:[^'\\\n]|\\.)*'/, "unterminated character constant"],
    "`": [/^`[^`]*`/, "unterminated raw quoted string"],
  };
  const rule = rules[quote];
  if (!rule) {
    const point = quote.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
    throw templateFailure(source, at, `bad character U+${point} '${quote}'`);
  }
  const text = rule[0].exec(rest)?.[0];
  if (text === undefined) throw templateFailure(source, at, rule[1]);
  const inner = text.slice(1, -1);
  const value = quote === "`" ? inner : unquoted(inner);
  if (quote === "'") {
    return [{ kind: "number", value: value.codePointAt(0) ?? 0, text, at }, text.length];
  }
  return [{ kind: "string", value, text, at }, text.length];
}

const escapes: Record<string, string> = {
  n: "\n",
  t: "\t",
  r: "\r",
  a: "\x07",
  b: "\b",
  f: "\f",
  v: "\v",
};

function unquoted(text: string): string {
  return text.replace(
    /\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)/g,
    (_whole, code: string) => {
      if (/^[xuU]./.test(code)) return String.fromCodePoint(Number.parseInt(code.slice(1), 16));
      if (/^[0-7]{3}$/.test(code)) return String.fromCharCode(Number.parseInt(code, 8));
      return escapes[code] ?? code;
    },
  );
}
