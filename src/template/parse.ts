/** Go templates, second part: words become a tree. */
import { builtinNames } from "./functions.ts";
import { lexTemplate, type Token, templateFailure } from "./lex.ts";

export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "print"; readonly pipe: Pipe }
  | {
      readonly kind: "if" | "with" | "range";
      readonly pipe: Pipe;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | { readonly kind: "template"; readonly name: string; readonly pipe: Pipe | undefined }
  | { readonly kind: "break" | "continue" };

export interface Pipe {
  /** Variables that take the value; two only in `range $i, $v := …`. */
  readonly variables: readonly string[];
  /** `:=`, not `=`. */
  readonly declares: boolean;
  /** Each is called with the value of the one before as its last argument. */
  readonly commands: readonly (readonly Operand[])[];
}

export interface Operand {
  readonly base:
    | { readonly kind: "dot" }
    | { readonly kind: "nil" }
    | { readonly kind: "variable" | "function"; readonly name: string }
    | { readonly kind: "constant"; readonly value: string | number | boolean }
    | { readonly kind: "pipe"; readonly pipe: Pipe };
  /** `.A.B` after the base. */
  readonly fields: readonly string[];
  readonly text: string;
  readonly at: number;
}

export interface Template {
  readonly source: string;
  readonly body: readonly Node[];
  /** `{{define "name"}}`. */
  readonly named: ReadonlyMap<string, readonly Node[]>;
}

/** @throws Failure "invalid", as Go words it: `template: :1: unclosed action` */
export function parseTemplate(source: string): Template {
  return new Parser(source).template();
}

type Ending = "end" | "else" | "eof";

class Parser {
  readonly #source: string;
  readonly #tokens: Token[];
  readonly #named = new Map<string, readonly Node[]>();
  #at = 0;
  /** Names that are known here; `list` forgets those of its body. */
  #variables = ["$"];

  constructor(source: string) {
    this.#source = source;
    this.#tokens = lexTemplate(source);
  }

  template(): Template {
    const [body, ending] = this.#list();
    if (ending !== "eof") throw this.#failure(`unexpected {{${ending}}}`);
    return { source: this.#source, body, named: this.#named };
  }

  #failure(why: string, at = this.#offset()) {
    return templateFailure(this.#source, at, why);
  }

  #offset(): number {
    const token = this.#tokens[this.#at];
    return token && "at" in token ? token.at : this.#source.length;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #skipSpace(): void {
    while (this.#peek()?.kind === "space") this.#at++;
  }

  #list(): [Node[], Ending] {
    const nodes: Node[] = [];
    for (;;) {
      const token = this.#tokens[this.#at++];
      if (!token) return [nodes, "eof"];
      if (token.kind === "text") {
        if (token.text !== "") nodes.push({ kind: "text", text: token.text });
        continue;
      }
      this.#skipSpace();
      const word = this.#peek();
      const name = word?.kind === "name" ? word.text : "";
      if (name === "end" || name === "else") {
        this.#at++;
        if (name === "end") this.#close("end");
        return [nodes, name];
      }
      const node = this.#action(name);
      if (node) nodes.push(node);
    }
  }

  #action(name: string): Node | undefined {
    if (name === "if" || name === "with" || name === "range") {
      this.#at++;
      return this.#control(name);
    }
    if (name === "break" || name === "continue") {
      this.#at++;
      this.#close(name);
      return { kind: name };
    }
    if (name === "template" || name === "define" || name === "block") {
      this.#at++;
      return this.#namedTemplate(name);
    }
    const pipe = this.#pipe("command");
    this.#close("command");
    return { kind: "print", pipe };
  }

  #control(kind: "if" | "with" | "range"): Node {
    const height = this.#variables.length;
    const pipe = this.#pipe(kind);
    this.#close(kind);
    const [body, ending] = this.#list();
    if (ending === "eof") throw this.#failure("unexpected EOF");
    let otherwise: Node[] = [];
    if (ending === "else") otherwise = this.#otherwise(kind);
    this.#variables.length = height;
    return { kind, pipe, body, otherwise };
  }

  /** After `{{else`: ` if …}}` opens a chain that shares the `{{end}}`. */
  #otherwise(kind: string): Node[] {
    this.#skipSpace();
    const word = this.#peek();
    if (
      word?.kind === "name" &&
      (word.text === "if" || word.text === "with") &&
      word.text === kind
    ) {
      this.#at++;
      return [this.#control(word.text)];
    }
    this.#close("else");
    const [nodes, ending] = this.#list();
    if (ending !== "end") {
      throw this.#failure(ending === "eof" ? "unexpected EOF" : `expected end; found {{else}}`);
    }
    return nodes;
  }

  #namedTemplate(kind: "template" | "define" | "block"): Node | undefined {
    this.#skipSpace();
    const word = this.#peek();
    if (word?.kind !== "string") throw this.#failure(`unexpected token in ${kind} clause`);
    this.#at++;
    this.#skipSpace();
    const pipe = this.#peek()?.kind === "close" ? undefined : this.#pipe(kind);
    this.#close(kind);
    const name = word.value;
    if (kind !== "template") {
      const outer = this.#variables;
      this.#variables = ["$"];
      const [body, ending] = this.#list();
      this.#variables = outer;
      if (ending !== "end") throw this.#failure("unexpected EOF");
      this.#named.set(name, body);
    }
    return kind === "define" ? undefined : { kind: "template", name, pipe };
  }

  #close(where: string): void {
    this.#skipSpace();
    const token = this.#peek();
    if (token?.kind !== "close") throw this.#failure(`unexpected ${shown(token)} in ${where}`);
    this.#at++;
  }

  #pipe(where: string): Pipe {
    const { variables, declares } = this.#declaration();
    const commands: Operand[][] = [];
    for (;;) {
      const command = this.#command();
      // Go forgives a pipe at the end.
      if (command.length === 0 && commands.length > 0) break;
      if (command.length === 0) throw this.#failure(`missing value for ${where}`);
      commands.push(command);
      const token = this.#peek();
      if (token?.kind !== "punctuation" || token.text !== "|") break;
      this.#at++;
    }
    return { variables, declares, commands };
  }

  #declaration(): { variables: string[]; declares: boolean } {
    const start = this.#at;
    const variables: string[] = [];
    for (;;) {
      this.#skipSpace();
      const token = this.#tokens[this.#at++];
      if (token?.kind !== "variable") break;
      variables.push(token.text);
      this.#skipSpace();
      const mark = this.#tokens[this.#at++];
      const sign = mark?.kind === "punctuation" ? mark.text : "";
      if (sign === ":=") this.#variables.push(...variables);
      else if (sign === "=") for (const name of variables) this.#requireVariable(name, start);
      if (sign === ":=" || sign === "=") return { variables, declares: sign === ":=" };
      if (sign !== ",") break;
    }
    this.#at = start;
    return { variables: [], declares: false };
  }

  #command(): Operand[] {
    const operands: Operand[] = [];
    for (;;) {
      this.#skipSpace();
      const operand = this.#operand();
      if (!operand) return operands;
      operands.push(operand);
    }
  }

  #operand(): Operand | undefined {
    const from = this.#at;
    const at = this.#offset();
    const base = this.#base();
    if (!base) return undefined;
    const fields: string[] = [];
    if (this.#tokens[from]!.kind === "field") this.#at = from;
    for (let token = this.#peek(); token?.kind === "field"; token = this.#peek()) {
      fields.push(token.text);
      this.#at++;
    }
    const next = this.#peek();
    const end = next && "at" in next ? next.at : this.#source.length;
    return { base, fields, text: this.#source.slice(at, end), at };
  }

  #base(): Operand["base"] | undefined {
    const token = this.#peek();
    if (!token) return undefined;
    if (token.kind === "punctuation" && token.text !== "." && token.text !== "(") return undefined;
    if (token.kind === "close" || token.kind === "open") return undefined;
    this.#at++;
    if (token.kind === "field") return { kind: "dot" };
    if (token.kind === "variable") {
      this.#requireVariable(token.text, token.at);
      return { kind: "variable", name: token.text };
    }
    if (token.kind === "string" || token.kind === "number") {
      return { kind: "constant", value: token.value };
    }
    if (token.kind === "name") return this.#word(token.text, token.at);
    if (token.kind === "punctuation" && token.text === ".") return { kind: "dot" };
    const pipe = this.#pipe("parenthesized pipeline");
    this.#skipSpace();
    const end = this.#tokens[this.#at++];
    if (end?.kind !== "punctuation" || end.text !== ")") {
      throw this.#failure("unclosed left paren", token.kind === "text" ? 0 : token.at);
    }
    return { kind: "pipe", pipe };
  }

  #requireVariable(name: string, at: number): void {
    if (this.#variables.includes(name)) return;
    throw this.#failure(`undefined variable ${JSON.stringify(name)}`, at);
  }

  #word(name: string, at: number): Operand["base"] {
    if (name === "true" || name === "false") return { kind: "constant", value: name === "true" };
    if (name === "nil") return { kind: "nil" };
    if (!builtinNames.has(name)) throw this.#failure(`function "${name}" not defined`, at);
    return { kind: "function", name };
  }
}

function shown(token: Token | undefined): string {
  if (!token) return "EOF";
  return "text" in token ? `"${token.text}"` : token.kind;
}
