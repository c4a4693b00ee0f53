import { Scanner } from "./hcl-scan.ts";
import type { Block, Body, Expression } from "./hcl-syntax.ts";
import { readForNames, readTemplate } from "./hcl-template.ts";

const depthMax = 100;
const operators: readonly (readonly string[])[] = [
  ["||"],
  ["&&"],
  ["==", "!="],
  ["<=", ">=", "<", ">"],
  ["+", "-"],
  ["*", "/", "%"],
];

/** Reads a file's text. @throws Failure "invalid" with file and line */
export function parseHcl(text: string, file: string): Body {
  const parser = new Parser(new Scanner(text.replace(/^\ufeff/, ""), file));
  return parser.body(true);
}

/** A string of JSON is a template. */
export function parseTemplate(text: string, file: string): Expression {
  const scanner = new Scanner(text, file);
  const parser = new Parser(scanner);
  const place = scanner.place();
  const style = { end: undefined, escapes: false };
  const parts = readTemplate(scanner, style, () => parser.expression());
  return { kind: "template", parts, ...place };
}

class Parser {
  readonly #scanner: Scanner;
  #depth = 0;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  body(isFile: boolean): Body {
    const scanner = this.#scanner;
    const attributes = new Map<string, Expression>();
    const blocks: Block[] = [];
    for (;;) {
      scanner.skip(true);
      if (isFile ? scanner.isEnd : scanner.take("}")) return { attributes, blocks };
      const place = scanner.place();
      const name = scanner.name() ?? this.#quoted() ?? scanner.fail("expected a name");
      scanner.skip(false);
      if (scanner.peek("=") && !scanner.peek("==")) {
        scanner.take("=");
        if (attributes.has(name)) scanner.fail(`"${name}" is set twice`);
        attributes.set(
          name,
          this.#deeper(() => this.expression(false)),
        );
        scanner.skip(false);
        if (!scanner.isEnd && !scanner.peek("\n") && !scanner.peek("}")) {
          scanner.fail(`the value of "${name}" does not end here`);
        }
      } else blocks.push({ ...place, type: name, ...this.#block() });
    }
  }

  #block(): Pick<Block, "labels" | "body"> {
    const scanner = this.#scanner;
    const labels: string[] = [];
    for (;;) {
      scanner.skip(false);
      const label = this.#quoted() ?? scanner.name();
      if (label === undefined) break;
      labels.push(label);
    }
    scanner.expect("{");
    return { labels, body: this.#deeper(() => this.body(false)) };
  }

  #quoted(): string | undefined {
    const text = this.#scanner.match(/"(?:[^"\\\n]|\\.)*"/);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as string;
    } catch {
      return this.#scanner.fail(`${text} is no name`);
    }
  }

  #deeper<T>(read: () => T): T {
    if (++this.#depth > depthMax) this.#scanner.fail("it is nested too deeply");
    const value = read();
    this.#depth--;
    return value;
  }

  /** `lines`: line ends are spaces, as within brackets. */
  expression(lines = true): Expression {
    return this.#deeper(() => this.#conditional(lines));
  }

  #conditional(lines: boolean): Expression {
    const scanner = this.#scanner;
    const test = this.#binary(0, lines);
    scanner.skip(lines);
    if (!scanner.take("?")) return test;
    const place = scanner.place();
    const yes = this.expression(lines);
    scanner.skip(lines);
    scanner.expect(":");
    return { kind: "conditional", test, yes, no: this.expression(lines), ...place };
  }

  #binary(level: number, lines: boolean): Expression {
    const scanner = this.#scanner;
    const words = operators[level];
    if (!words) return this.#unary(lines);
    let left = this.#binary(level + 1, lines);
    for (;;) {
      scanner.skip(lines);
      const place = scanner.place();
      const operator = words.find((word) => scanner.take(word));
      if (operator === undefined) return left;
      const right = this.#binary(level + 1, lines);
      left = { kind: "binary", operator, left, right, ...place };
    }
  }

  #unary(lines: boolean): Expression {
    const scanner = this.#scanner;
    scanner.skip(lines);
    const place = scanner.place();
    const operator = ["!", "-"].find((word) => scanner.take(word));
    if (operator === undefined) return this.#postfix();
    return { kind: "unary", operator, operand: this.#deeper(() => this.#unary(lines)), ...place };
  }

  #postfix(): Expression {
    const scanner = this.#scanner;
    let on = this.#term();
    for (;;) {
      const place = scanner.place();
      if (scanner.take(".*") || scanner.take("[*]")) {
        on = { kind: "splat", on, keys: this.#keys(), ...place };
        continue;
      }
      const key = this.#key();
      if (!key) return on;
      on = { kind: "index", on, key, ...place };
    }
  }

  #keys(): Expression[] {
    const keys: Expression[] = [];
    for (let key = this.#key(); key; key = this.#key()) keys.push(key);
    return keys;
  }

  /** `.name`, `.0` or `[expression]` */
  #key(): Expression | undefined {
    const scanner = this.#scanner;
    const place = scanner.place();
    if (scanner.peek("...")) return undefined;
    if (scanner.take(".")) {
      const digits = scanner.match(/\d+/);
      const value = digits === undefined ? scanner.name() : Number(digits);
      if (value === undefined) return scanner.fail("expected a name after the dot");
      return { kind: "literal", value, ...place };
    }
    if (!scanner.take("[")) return undefined;
    const key = this.expression();
    scanner.skip(true);
    scanner.expect("]");
    return key;
  }

  #term(): Expression {
    const scanner = this.#scanner;
    const place = scanner.place();
    if (scanner.take('"')) {
      const style = { end: '"', escapes: true };
      const parts = readTemplate(scanner, style, () => this.expression());
      return { kind: "template", parts, ...place };
    }
    if (scanner.peek("<<")) return this.#heredoc();
    const number = scanner.match(/\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/);
    if (number !== undefined) return { kind: "literal", value: Number(number), ...place };
    if (scanner.take("(")) {
      const inner = this.expression();
      scanner.skip(true);
      scanner.expect(")");
      return inner;
    }
    if (scanner.take("[")) return this.#list();
    if (scanner.take("{")) return this.#object();
    const name = scanner.name() ?? scanner.fail("expected a value");
    if (name === "true" || name === "false" || name === "null") {
      const value = name === "null" ? null : name === "true";
      return { kind: "literal", value, ...place };
    }
    if (scanner.peek("(")) return this.#call(name);
    return { kind: "variable", name, ...place };
  }

  #call(first: string): Expression {
    const scanner = this.#scanner;
    const place = scanner.place();
    scanner.expect("(");
    const args: Expression[] = [];
    let isSpread = false;
    for (;;) {
      scanner.skip(true);
      if (scanner.take(")")) break;
      if (isSpread) scanner.fail("nothing may follow ...");
      args.push(this.expression());
      scanner.skip(true);
      isSpread = scanner.take("...");
      scanner.skip(true);
      if (!scanner.peek(")")) scanner.expect(",");
    }
    return { kind: "call", name: first, args, isSpread, ...place };
  }

  #list(): Expression {
    const scanner = this.#scanner;
    const place = scanner.place();
    scanner.skip(true);
    if (scanner.match(/for\b(?!\s*[=:,\]])/) !== undefined) {
      const { keyName, valueName } = readForNames(scanner);
      const over = this.expression();
      scanner.skip(true);
      scanner.expect(":");
      const value = this.expression();
      const when = this.#when("]");
      const rest = { keyName, valueName, over, value, when, key: undefined, isGrouped: false };
      return { kind: "for", ...rest, ...place };
    }
    const items: Expression[] = [];
    for (;;) {
      scanner.skip(true);
      if (scanner.take("]")) return { kind: "list", items, ...place };
      items.push(this.expression());
      scanner.skip(true);
      if (!scanner.peek("]")) scanner.expect(",");
    }
  }

  #when(end: string): Expression | undefined {
    const scanner = this.#scanner;
    scanner.skip(true);
    const when = scanner.match(/if\b/) === undefined ? undefined : this.expression();
    scanner.skip(true);
    scanner.expect(end);
    return when;
  }

  #object(): Expression {
    const scanner = this.#scanner;
    const place = scanner.place();
    scanner.skip(true);
    if (scanner.match(/for\b(?!\s*[=:])/) !== undefined) {
      const { keyName, valueName } = readForNames(scanner);
      const over = this.expression();
      scanner.skip(true);
      scanner.expect(":");
      const key = this.expression();
      scanner.skip(true);
      scanner.expect("=>");
      const value = this.expression();
      scanner.skip(true);
      const isGrouped = scanner.take("...");
      const when = this.#when("}");
      return { kind: "for", keyName, valueName, over, key, value, when, isGrouped, ...place };
    }
    const items: [Expression, Expression][] = [];
    for (;;) {
      scanner.skip(true);
      if (scanner.take("}")) return { kind: "object", items, ...place };
      const key = this.#objectKey();
      scanner.skip(true);
      if (!scanner.take("=")) scanner.expect(":");
      items.push([key, this.expression(false)]);
      scanner.skip(false);
      if (!scanner.take(",") && !scanner.peek("\n") && !scanner.peek("}")) {
        scanner.fail("expected a comma or a new line");
      }
    }
  }

  /** A bare name stands for itself. */
  #objectKey(): Expression {
    const scanner = this.#scanner;
    const place = scanner.place();
    const start = scanner.at;
    const name = scanner.name();
    scanner.skip(false);
    if (
      name !== undefined &&
      /^(?:=(?!=)|:)/.test(scanner.text.slice(scanner.at, scanner.at + 2))
    ) {
      return { kind: "literal", value: name, ...place };
    }
    scanner.at = start;
    return this.expression();
  }

  #heredoc(): Expression {
    const scanner = this.#scanner;
    const place = scanner.place();
    const [, dash = "", word = ""] =
      /^<<(-?)([\w-]+)/.exec(scanner.match(/<<-?[\w-]+/) ?? "") ?? [];
    scanner.match(/[ \t\r]*/);
    scanner.expect("\n");
    const end = new RegExp(`^[ \\t]*${word}[ \\t\\r]*$`, "m").exec(scanner.text.slice(scanner.at));
    if (!end) return scanner.fail(`the document does not end with ${word}`);
    const text = scanner.text.slice(scanner.at, scanner.at + end.index);
    const line = place.line;
    scanner.at += end.index + end[0].length;
    const inner = new Scanner(dash === "" ? text : unindented(text), scanner.file);
    const parser = new Parser(inner);
    const style = { end: undefined, escapes: false };
    const parts = readTemplate(inner, style, () => parser.expression());
    return { kind: "template", parts, file: scanner.file, line };
  }
}

/** As much space as all lines begin with goes. */
function unindented(text: string): string {
  const lines = text.split("\n");
  const used = lines.filter((line) => line.trim() !== "");
  const width = Math.min(...used.map((line) => line.length - line.trimStart().length), 1_000);
  return lines.map((line) => line.slice(Math.min(width, line.length))).join("\n");
}
