/** Bake files joined: variables and functions of all, and the targets and groups they define. */
import { closest, Failure } from "../base/mod.ts";
import { callFunction } from "./functions.ts";
import { evaluate, type Scope, within } from "./hcl-evaluate.ts";
import { mistake } from "./hcl-scan.ts";
import type { Block, Body, Expression } from "./hcl-syntax.ts";
import { attributeName, mergeTargets, readAttribute, type Target } from "./target.ts";
import { isList, isMap, textOf, typeName, type Value } from "./values.ts";
import { readVariable } from "./variable.ts";

/** What a file defines, in whatever format it is written. */
export interface BakeFile {
  readonly body: Body;
  /** Targets and groups of a Compose file, which need no evaluation. */
  readonly targets?: ReadonlyMap<string, Target>;
  readonly groups?: ReadonlyMap<string, readonly string[]>;
}

export interface Variable {
  readonly name: string;
  readonly description: string;
  readonly value: Value;
}

export interface Model {
  readonly targets: ReadonlyMap<string, Target>;
  readonly groups: ReadonlyMap<string, readonly string[]>;
  readonly variables: readonly Variable[];
}

const stepsMax = 1_000_000;
const variantsMax = 1_000;
const namePattern = /^[a-zA-Z0-9_-]+$/;

/** Evaluates all files; later ones add to earlier ones. @throws Failure "invalid" with file and line */
export function evaluateFiles(
  files: readonly BakeFile[],
  {
    environment,
    builtIns,
  }: { environment: Readonly<Record<string, string>>; builtIns: Readonly<Record<string, Value>> },
): Model {
  return new Evaluation(files, environment, builtIns).run();
}

class Evaluation implements Scope {
  readonly #files: readonly BakeFile[];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #builtIns: Readonly<Record<string, Value>>;
  readonly #values = new Map<string, Value>();
  readonly #open = new Set<string>();
  #steps = 0;
  #depth = 0;

  constructor(
    files: readonly BakeFile[],
    environment: Readonly<Record<string, string>>,
    builtIns: Readonly<Record<string, Value>>,
  ) {
    this.#files = files;
    this.#environment = environment;
    this.#builtIns = builtIns;
  }

  run(): Model {
    const own = new Map<string, Target>();
    const groups = new Map<string, readonly string[]>();
    for (const file of this.#files) {
      for (const [name, target] of file.targets ?? []) {
        own.set(name, mergeTargets(own.get(name) ?? {}, target));
      }
      for (const [name, members] of file.groups ?? []) {
        groups.set(name, [...new Set([...(groups.get(name) ?? []), ...members])]);
      }
      for (const block of file.body.blocks) this.#block(block, own, groups);
    }
    const targets = new Map([...own.keys()].map((name) => [name, inherit(name, own, [])] as const));
    const variables = this.#blocks("variable").map((block) => this.#variable(block));
    return { targets, groups, variables };
  }

  tick(): void {
    if (++this.#steps > stepsMax) throw new Failure("exhausted", "the bake files take too long");
  }

  variable(name: string): Value | undefined {
    const known = this.#values.get(name) ?? this.#builtIns[name];
    if (known !== undefined) return known;
    if (name === "target") return this.#targetValues();
    const expression = this.#global(name);
    const block = this.#blocks("variable").findLast(({ labels }) => labels[0] === name);
    if (!expression && !block) return undefined;
    const place = block ?? expression!;
    if (this.#open.has(name)) throw mistake(place, `the variable "${name}" needs itself`);
    this.#open.add(name);
    const value = block
      ? readVariable(block, { scope: this, given: this.#environment[name] })
      : evaluate(expression!, this);
    this.#open.delete(name);
    this.#values.set(name, value);
    return value;
  }

  call(name: string, args: readonly Value[]): Value | undefined {
    const block = this.#blocks("function").findLast(({ labels }) => labels[0] === name);
    if (!block) return callFunction(name, args);
    if (++this.#depth > 100) throw mistake(block, `the function "${name}" calls itself too often`);
    const { params, variadic_params: rest, result } = Object.fromEntries(block.body.attributes);
    if (!result) throw mistake(block, `the function "${name}" has no result`);
    const names = params ? namesIn(params) : [];
    const [more] = rest ? namesIn(rest) : [];
    if (args.length < names.length || (args.length > names.length && more === undefined)) {
      throw new Failure("invalid", `it takes ${names.length} values, not ${args.length}`);
    }
    const given = names.map((each, at) => [each, args[at]!] as const);
    const own = Object.fromEntries(
      more === undefined ? given : [...given, [more, args.slice(names.length)]],
    );
    const value = evaluate(result, within(this, own));
    this.#depth--;
    return value;
  }

  #blocks(type: string): Block[] {
    return this.#files.flatMap(({ body }) => body.blocks.filter((block) => block.type === type));
  }

  #global(name: string): Expression | undefined {
    return this.#files.map(({ body }) => body.attributes.get(name)).findLast(Boolean);
  }

  #variable(block: Block): Variable {
    const name = block.labels[0] ?? "";
    const written = block.body.attributes.get("description");
    const description = written ? (textOf(evaluate(written, this)) ?? "") : "";
    return { name, description, value: this.variable(name) ?? null };
  }

  /** `target.app.tags` in an expression: what the target's own block says. */
  #targetValues(): Value {
    const found: Record<string, Value> = {};
    for (const block of this.#blocks("target")) {
      const attributes = block.body.attributes;

      const one = {};
      for (const [name, expression] of attributes) {
        Object.defineProperty(one, name, {
          enumerable: true,
          get: () => evaluate(expression, this),
        });
      }
      found[block.labels[0] ?? ""] = one;
    }
    return found;
  }

  #block(block: Block, targets: Map<string, Target>, groups: Map<string, readonly string[]>): void {
    const { type, labels } = block;
    if (type === "variable" || type === "function") return;
    if (type !== "target" && type !== "group") {
      const near = closest(type, ["target", "group", "variable", "function"]);
      throw mistake(block, `there is no block "${type}"`, near && `Did you mean ${near}?`);
    }
    const [name = ""] = labels;
    checkName(block, name);
    if (type === "group") {
      const members = block.body.attributes.get("targets");
      const list = members ? evaluate(members, this) : [];
      if (!isList(list)) throw mistake(block, "targets must be a list");
      const names = list.map((each) => textOf(each) ?? "");
      groups.set(name, [...new Set([...(groups.get(name) ?? []), ...names])]);
      return;
    }
    const matrix = block.body.attributes.get("matrix");
    if (!matrix) {
      targets.set(name, mergeTargets(targets.get(name) ?? {}, this.#target(block, this)));
      return;
    }
    groups.set(name, this.#variants(block, matrix, targets));
  }

  /** One target for each combination of the matrix's values; the block's name is the group of them. */
  #variants(block: Block, matrix: Expression, targets: Map<string, Target>): string[] {
    const values = evaluate(matrix, this);
    const named = block.body.attributes.get("name");
    if (!isMap(values)) throw mistake(matrix, `matrix must be an object, not ${typeName(values)}`);
    if (!named) throw mistake(block, "a target with a matrix needs a name");
    let rows: Record<string, Value>[] = [{}];
    for (const [key, list] of Object.entries(values)) {
      if (!isList(list)) throw mistake(matrix, `matrix.${key} must be a list`);
      rows = rows.flatMap((row) => list.map((value) => ({ ...row, [key]: value })));
      if (rows.length > variantsMax)
        throw mistake(matrix, `the matrix has over ${variantsMax} variants`);
    }
    return rows.map((row) => {
      const scope = within(this, row);
      const name = textOf(evaluate(named, scope)) ?? "";
      checkName(block, name);
      targets.set(name, mergeTargets(targets.get(name) ?? {}, this.#target(block, scope)));
      return name;
    });
  }

  #target(block: Block, scope: Scope): Target {
    const target: Record<string, unknown> = {};
    for (const [written, expression] of block.body.attributes) {
      if (written === "matrix" || written === "name") continue;
      try {
        const name = attributeName(written);
        const value = readAttribute(name, evaluate(expression, scope));
        if (value !== undefined) target[name] = value;
      } catch (error) {
        if (!(error instanceof Failure) || /^\S+:\d+: /.test(error.message)) throw error;
        throw mistake(expression, error.message, error.hint);
      }
    }
    return target as Target;
  }
}

function checkName(block: Block, name: string): void {
  if (namePattern.test(name)) return;
  throw mistake(block, `invalid name "${name}"`, "Names have letters, digits, - and _");
}

function namesIn(expression: Expression): string[] {
  const items = expression.kind === "list" ? expression.items : [expression];
  return items.map((item) => {
    if (item.kind === "variable") return item.name;
    const only = item.kind === "template" ? item.parts[0] : undefined;
    if (only?.kind === "text") return only.text;
    throw mistake(item, "parameters are names");
  });
}

/** A target on top of those that it inherits from, in their order. */
function inherit(name: string, own: ReadonlyMap<string, Target>, path: readonly string[]): Target {
  const target = own.get(name);
  if (!target) {
    const near = closest(name, [...own.keys()]);
    throw new Failure(
      "invalid",
      `failed to find target ${name}`,
      near ? { hint: `Did you mean ${near}?` } : {},
    );
  }
  if (path.includes(name)) {
    throw new Failure("invalid", `infinite loop: ${[...path, name].join(" inherits ")}`);
  }
  const { inherits = [], ...rest } = target;
  const below = inherits.map((parent) => inherit(parent, own, [...path, name]));
  return [...below, rest].reduce<Target>(mergeTargets, {});
}
