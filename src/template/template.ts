/**
 * Go templates, as `--format` takes them: a template is parsed once and run for each row.
 * Spec: https://pkg.go.dev/text/template
 */
import { assert, Failure } from "../base/mod.ts";
import { callFunction } from "./functions.ts";
import { templateFailure } from "./lex.ts";
import { type Node, type Operand, type Pipe, parseTemplate, type Template } from "./parse.ts";
import {
  goText,
  isMap,
  isTrue,
  nilMap,
  nilNamed,
  noValue,
  omitted,
  Row,
  typedAs,
} from "./values.ts";

export { Row } from "./values.ts";
export { parseTemplate, type Template };

const stepsMax = 10_000_000;

/**
 * Runs a template over a row or a JSON value. `isHeading` leaves words alone that functions would
 * change.
 * @throws Failure "invalid" as Go words it: `template: :1:2: executing "" at <.Foo>: …`
 */
export function runTemplate(
  template: Template,
  data: unknown,
  { isHeading = false }: { isHeading?: boolean } = {},
): string {
  const run = new Run(template, isHeading);
  run.list(template.body, { dot: data, scope: [["$", data]] });
  return run.text;
}

type Scope = [name: string, value: unknown][];
interface Place {
  readonly dot: unknown;
  readonly scope: Scope;
}
type Leaving = "break" | "continue" | undefined;

class Run {
  text = "";
  readonly #template: Template;
  readonly #isHeading: boolean;
  #steps = 0;
  #depth = 0;

  constructor(template: Template, isHeading: boolean) {
    this.#template = template;
    this.#isHeading = isHeading;
  }

  list(nodes: readonly Node[], place: Place): Leaving {
    const height = place.scope.length;
    for (const node of nodes) {
      if (++this.#steps > stepsMax) throw new Failure("exhausted", "template: it takes too long");
      const leaving = this.#node(node, place);
      if (leaving) {
        place.scope.length = height;
        return leaving;
      }
    }
    place.scope.length = height;
    return undefined;
  }

  #node(node: Node, place: Place): Leaving {
    switch (node.kind) {
      case "text":
        this.text += node.text;
        return undefined;
      case "print": {
        const value = this.#pipe(node.pipe, place);
        if (node.pipe.variables.length === 0) this.text += goText(value);
        return undefined;
      }
      case "break":
      case "continue":
        return node.kind;
      case "template":
        this.#named(node.name, node.pipe ? this.#pipe(node.pipe, place) : noValue);
        return undefined;
      case "range":
        return this.#range(node, place);
      default: {
        const height = place.scope.length;
        const value = this.#pipe(node.pipe, place);
        const dot = node.kind === "with" && isTrue(value) ? value : place.dot;
        const leaving = this.list(isTrue(value) ? node.body : node.otherwise, { ...place, dot });
        place.scope.length = height;
        return leaving;
      }
    }
  }

  #named(name: string, data: unknown): void {
    const body = this.#template.named.get(name);
    if (!body) {
      const at = this.#template.source.indexOf(name) - 1;
      const text = `{{template ${JSON.stringify(name)}}}`;
      const where = `template: :1:${at}: executing "" at <${text}>`;
      throw new Failure("invalid", `${where}: template ${JSON.stringify(name)} not defined`);
    }
    if (++this.#depth > 1000)
      throw new Failure("exhausted", "template: exceeded maximum template depth");
    this.list(body, { dot: data, scope: [["$", data]] });
    this.#depth--;
  }

  #range(node: Node & { kind: "if" | "with" | "range" }, place: Place): Leaving {
    const { pipe, body, otherwise } = node;
    const height = place.scope.length;
    const value = this.#pipe({ ...pipe, variables: [] }, place);
    const pairs = this.#pairs(value, pipe);
    if (pairs.length === 0) return this.list(otherwise, place);
    for (const [key, item] of pairs) {
      if (pipe.variables.length === 1) place.scope.push([pipe.variables[0]!, item]);
      else if (pipe.variables.length === 2) {
        place.scope.push([pipe.variables[0]!, key], [pipe.variables[1]!, item]);
      }
      const leaving = this.list(body, { dot: item, scope: place.scope });
      place.scope.length = height;
      if (leaving === "break") break;
    }
    return undefined;
  }

  #pairs(value: unknown, pipe: Pipe): [unknown, unknown][] {
    if (value === null || value === undefined || value === noValue) return [];
    if (Array.isArray(value)) return value.map((item, at) => [at, item]);
    if (typeof value === "number") return Array.from({ length: value }, (_, at) => [at, at]);
    if (isMap(value)) {
      return Object.keys(value)
        .sort()
        .map((key) => [key, value[key]]);
    }
    const last = pipe.commands.at(-1)![0]!;
    throw this.#failure(last, `range can't iterate over ${goText(value)}`);
  }

  #pipe(pipe: Pipe, place: Place): unknown {
    let value: unknown;
    let hasValue = false;
    for (const command of pipe.commands) {
      value = this.#command(command, place, hasValue ? [value] : []);
      hasValue = true;
    }
    for (const name of pipe.variables) {
      if (pipe.declares) place.scope.push([name, value]);
      else {
        const slot = place.scope.findLast(([known]) => known === name);
        if (!slot) throw new Failure("invalid", `template: :1: undefined variable "${name}"`);
        slot[1] = value;
      }
    }
    return value;
  }

  #command(command: readonly Operand[], place: Place, piped: unknown[]): unknown {
    const [first, ...others] = command;
    assert(first, "a command has an operand");
    if (first.base.kind === "function") {
      return this.#function(first, { others, place, piped, whole: command });
    }
    if (first.base.kind === "nil") throw this.#failure(first, "nil is not a command");
    const args = () => [...others.map((other) => this.#operand(other, place)), ...piped];
    return this.#operand(first, place, others.length + piped.length > 0 ? args() : undefined);
  }

  #function(
    first: Operand,
    call: {
      others: readonly Operand[];
      place: Place;
      piped: unknown[];
      whole: readonly Operand[];
    },
  ): unknown {
    const name = (first.base as { name: string }).name;
    const { others, place, piped } = call;
    const isLazy = name === "and" || name === "or";
    const args: unknown[] = [];
    for (const other of others) {
      const value = this.#operand(other, place);
      if (isLazy && isTrue(value) === (name === "or")) return value;
      args.push(value);
    }
    try {
      const value = callFunction(name, [...args, ...piped], this.#isHeading);
      return this.#fields(first, value, undefined);
    } catch (error) {
      if (!(error instanceof Failure) || error.message.startsWith("template:")) throw error;
      const text = call.whole.map((operand) => operand.text).join(" ");
      throw this.#failure({ ...first, text }, `error calling ${name}: ${error.message}`);
    }
  }

  #operand(operand: Operand, place: Place, args?: unknown[]): unknown {
    return this.#fields(operand, this.#base(operand, place), args);
  }

  #base(operand: Operand, place: Place): unknown {
    const { base } = operand;
    if (base.kind === "dot") return place.dot;
    if (base.kind === "nil") return null;
    if (base.kind === "constant") return base.value;
    if (base.kind === "pipe") return this.#pipe(base.pipe, { ...place });
    const { name } = base;
    if (base.kind === "function") return callFunction(name, [], this.#isHeading);
    const slot = place.scope.findLast(([known]) => known === name);
    if (!slot) {
      throw templateFailure(this.#template.source, operand.at, `undefined variable "${name}"`);
    }
    return slot[1];
  }

  #fields(operand: Operand, from: unknown, args: unknown[] | undefined): unknown {
    let value = from;
    operand.fields.forEach((name, at) => {
      const isLast = at === operand.fields.length - 1;
      value = this.#field(operand, value, name);
      if (typeof value === "function") value = value(...((isLast ? args : undefined) ?? []));
      else if (isLast && args !== undefined && !this.#isHeading) {
        throw this.#failure(operand, `${name} is not a method but has arguments`);
      }
    });
    if (operand.fields.length === 0 && args !== undefined && operand.base.kind !== "function") {
      throw this.#failure(operand, `can't give argument to non-function ${operand.text}`);
    }
    return value;
  }

  #field(operand: Operand, value: unknown, name: string): unknown {
    if (value instanceof Row) {
      if (value.has(name)) return value.get(name);
      throw this.#failure(operand, `can't evaluate field ${name} in type ${value.typeName}`);
    }
    if (isMap(value)) {
      if (Object.hasOwn(value, name)) {
        return value[name] === null ? nilNamed(name) : typedAs(value[name], name);
      }
      // Maps of strings (labels, options) have keys that only their author knows.
      const known = omitted(name);
      if (known && !isTextMap(value)) return known.value;
      if (value === nilMap || isTextMap(value)) return noValue;
      throw this.#failure(operand, `map has no entry for key "${name}"`);
    }
    if (value === null || value === undefined || value === noValue) {
      throw this.#failure(operand, `nil pointer evaluating interface {}.${name}`);
    }
    throw this.#failure(operand, `can't evaluate field ${name} in type interface {}`);
  }

  #failure(operand: Operand, why: string): Failure {
    const before = this.#template.source.slice(0, operand.at).split("\n");
    const column = before.at(-1)!.length + chainOffset(operand);
    const text = operand.text.trim();
    const where = `template: :${before.length}:${column}: executing "" at <${text}>`;
    return new Failure("invalid", `${where}: ${why}`);
  }
}

/** Where Go says that a chain is: at its second name. */
function chainOffset({ base, fields }: Operand): number {
  return base.kind === "dot" && fields.length > 1 ? fields[0]!.length + 1 : 0;
}

function isTextMap(value: Record<string, unknown>): boolean {
  const values = Object.values(value);
  return values.length > 0 && values.every((each) => typeof each === "string");
}
