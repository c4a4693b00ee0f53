import type { Scanner } from "./hcl-scan.ts";
import type { Expression, TemplatePart } from "./hcl-syntax.ts";

/** Reads an expression inside `${…}`. */
type ReadExpression = (scanner: Scanner) => Expression;

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  '"': '"',
  "\\": "\\",
};

interface Style {
  /** Where the template ends; undefined: with the text. */
  readonly end: string | undefined;
  readonly escapes: boolean;
}

/** The parts of a template up to its end, which is taken. */
export function readTemplate(scanner: Scanner, style: Style, read: ReadExpression): TemplatePart[] {
  const reader = new TemplateReader(scanner, style, read);
  const parts = reader.parts([]);
  if (reader.word !== undefined) scanner.fail(`%{ ${reader.word} } without its beginning`);
  if (style.end !== undefined) scanner.expect(style.end);
  return parts;
}

class TemplateReader {
  readonly #scanner: Scanner;
  readonly #style: Style;
  readonly #read: ReadExpression;
  /** The `%{ word }` that ended the last parts. */
  word: string | undefined;

  constructor(scanner: Scanner, style: Style, read: ReadExpression) {
    this.#scanner = scanner;
    this.#style = style;
    this.#read = read;
  }

  parts(ends: readonly string[]): TemplatePart[] {
    const scanner = this.#scanner;
    const parts: TemplatePart[] = [];
    let text = "";
    const flush = () => {
      if (text !== "") parts.push({ kind: "text", text });
      text = "";
    };
    this.word = undefined;
    for (;;) {
      const isOver = this.#style.end !== undefined && scanner.peek(this.#style.end);
      if (isOver || scanner.isEnd) break;
      if (scanner.take("$${")) text += "${";
      else if (scanner.take("%%{")) text += "%{";
      else if (scanner.take("${")) {
        const trims = scanner.take("~");
        if (trims) text = text.trimEnd();
        flush();
        parts.push({ kind: "value", value: this.#inner() });
        this.#close();
      } else if (scanner.take("%{")) {
        if (scanner.take("~")) text = text.trimEnd();
        flush();
        scanner.skip(true);
        const word = scanner.name() ?? "";
        if (word === "if") parts.push(this.#if());
        else if (word === "for") parts.push(this.#for());
        else {
          if (!ends.includes(word)) this.#scanner.fail(`unexpected %{ ${word} }`);
          this.#close();
          this.word = word;
          return parts;
        }
      } else if (this.#style.escapes && scanner.take("\\")) text += this.#escape();
      else text += this.#character();
    }
    if (ends.length > 0) scanner.fail(`%{ ${ends.at(-1)} } is missing`);
    flush();
    return parts;
  }

  #character(): string {
    const scanner = this.#scanner;
    const character = String.fromCodePoint(scanner.text.codePointAt(scanner.at)!);
    if (this.#style.escapes && character === "\n") scanner.fail("a string ends on its line");
    scanner.at += character.length;
    return character;
  }

  #inner(): Expression {
    const value = this.#read(this.#scanner);
    this.#scanner.skip(true);
    return value;
  }

  /** The end of `${` or `%{`; "~" takes away the space behind it. */
  #close(): void {
    const scanner = this.#scanner;
    scanner.skip(true);
    const trims = scanner.take("~");
    scanner.expect("}");
    if (trims) scanner.match(/[ \t]*\n?[ \t]*/);
  }

  #if(): TemplatePart {
    const test = this.#inner();
    this.#close();
    const yes = this.parts(["else", "endif"]);
    const no = this.word === "else" ? this.parts(["endif"]) : [];
    this.word = undefined;
    return { kind: "if", test, yes, no };
  }

  #for(): TemplatePart {
    const scanner = this.#scanner;
    const { keyName, valueName } = readForNames(scanner);
    const over = this.#inner();
    this.#close();
    const body = this.parts(["endfor"]);
    this.word = undefined;
    return { kind: "for", keyName, valueName, over, body };
  }

  #escape(): string {
    const scanner = this.#scanner;
    const code = scanner.match(/u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}/);
    if (code) {
      const number = Number.parseInt(code.slice(1), 16);
      if (number <= 0x10ffff) return String.fromCodePoint(number);
      scanner.fail(`\\${code} is no character`);
    }
    const character = scanner.text[scanner.at++] ?? "";
    return escapes[character] ?? scanner.fail(`\\${character} is no escape`);
  }
}

/** `for v in` or `for k, v in`, after the "for". */
export function readForNames(scanner: Scanner): { keyName: string | undefined; valueName: string } {
  scanner.skip(true);
  const first = scanner.name() ?? scanner.fail("expected a name after for");
  scanner.skip(true);
  let second: string | undefined;
  if (scanner.take(",")) {
    scanner.skip(true);
    second = scanner.name() ?? scanner.fail("expected a name after the comma");
    scanner.skip(true);
  }
  if (scanner.name() !== "in") scanner.fail("expected in");
  return { keyName: second === undefined ? undefined : first, valueName: second ?? first };
}
