import { Failure } from "../base/mod.ts";
import { mistake } from "./hcl-scan.ts";
import type { Expression, ForExpression, Place, TemplatePart } from "./hcl-syntax.ts";
import { equal, isList, isMap, numberOf, textOf, truthOf, typeName, type Value } from "./values.ts";

/** What names stand for. */
export interface Scope {
  variable(name: string): Value | undefined;
  /** Undefined: there is no such function. */
  call(name: string, args: readonly Value[]): Value | undefined;
  /** Told of each step, so that there is an end to them. @throws Failure "exhausted" */
  tick(): void;
}

/** The scope with more names. */
export function within(scope: Scope, names: Readonly<Record<string, Value>>): Scope {
  return {
    variable: (name) => (Object.hasOwn(names, name) ? names[name] : scope.variable(name)),
    call: (name, args) => scope.call(name, args),
    tick: () => scope.tick(),
  };
}

/** @throws Failure "invalid" with file and line */
export function evaluate(expression: Expression, scope: Scope): Value {
  scope.tick();
  switch (expression.kind) {
    case "literal":
      return expression.value;
    case "template":
      return template(expression.parts, scope, expression);
    case "variable":
      return variable(expression, scope);
    case "index":
      return indexed(evaluate(expression.on, scope), evaluate(expression.key, scope), expression);
    case "splat": {
      const on = evaluate(expression.on, scope);
      const items = isList(on) ? on : on === null ? [] : [on];
      return items.map((item) =>
        expression.keys.reduce((each, key) => indexed(each, evaluate(key, scope), key), item),
      );
    }
    case "call":
      return called(expression, scope);
    case "unary":
      return unary(expression, scope);
    case "binary":
      return binary(expression, scope);
    case "conditional": {
      const test = truth(evaluate(expression.test, scope), expression);
      return evaluate(test ? expression.yes : expression.no, scope);
    }
    case "list":
      return expression.items.map((item) => evaluate(item, scope));
    case "object":
      return Object.fromEntries(
        expression.items.map(([key, value]) => [
          text(evaluate(key, scope), key),
          evaluate(value, scope),
        ]),
      );
    case "for":
      return made(expression, scope, expression);
  }
}

function variable(
  { name, ...place }: Extract<Expression, { kind: "variable" }>,
  scope: Scope,
): Value {
  const value = scope.variable(name);
  if (value !== undefined) return value;
  throw mistake(place, `there is no variable "${name}"`);
}

function indexed(on: Value, key: Value, place: Place): Value {
  if (isList(on)) {
    const at = numberOf(key);
    const value = at === undefined ? undefined : on[at];
    if (value !== undefined) return value;
    throw mistake(place, `a list of ${on.length} has nothing at ${JSON.stringify(key)}`);
  }
  const name = textOf(key);
  if (isMap(on) && name !== undefined) {
    if (Object.hasOwn(on, name)) return on[name]!;
    throw mistake(place, `the object has no "${name}"`);
  }
  throw mistake(place, `${typeName(on)} has no parts`);
}

function called(call: Extract<Expression, { kind: "call" }>, scope: Scope): Value {
  const { name, isSpread } = call;
  if (name === "try" || name === "can") return attempted(call, scope);
  let args = call.args.map((each) => evaluate(each, scope));
  if (isSpread) {
    const last = args.at(-1)!;
    if (!isList(last)) throw mistake(call, `${typeName(last)} before ... is no list`);
    args = [...args.slice(0, -1), ...last];
  }
  let value: Value | undefined;
  try {
    value = scope.call(name, args);
  } catch (error) {
    if (error instanceof Failure && !/^\S+:\d+: /.test(error.message)) {
      throw mistake(call, `${name}(): ${error.message}`, error.hint);
    }
    throw error;
  }
  if (value !== undefined) return value;
  throw mistake(call, `there is no function "${name}"`);
}

/** `try(a, b)` is the first that has a value, `can(a)` whether it has one. */
function attempted({ name, args, ...place }: Extract<Expression, { kind: "call" }>, scope: Scope) {
  let last: unknown = mistake(place, `${name}() needs an argument`);
  for (const each of args) {
    try {
      const value = evaluate(each, scope);
      return name === "can" ? true : value;
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== "invalid") throw error;
      last = error;
    }
  }
  if (name === "can" && args.length > 0) return false;
  throw last;
}

function unary(
  { operator, operand, ...place }: Extract<Expression, { kind: "unary" }>,
  scope: Scope,
): Value {
  const value = evaluate(operand, scope);
  return operator === "!" ? !truth(value, place) : -number(value, place);
}

function binary(expression: Extract<Expression, { kind: "binary" }>, scope: Scope): Value {
  const { operator } = expression;
  const left = evaluate(expression.left, scope);
  if (operator === "&&" || operator === "||") {
    const isDecided = truth(left, expression) === (operator === "||");
    if (isDecided) return operator === "||";
    return truth(evaluate(expression.right, scope), expression);
  }
  const right = evaluate(expression.right, scope);
  if (operator === "==") return equal(left, right);
  if (operator === "!=") return !equal(left, right);
  return arithmetic(operator, number(left, expression), number(right, expression));
}

function arithmetic(operator: string, a: number, b: number): Value {
  switch (operator) {
    case "<":
      return a < b;
    case "<=":
      return a <= b;
    case ">":
      return a > b;
    case ">=":
      return a >= b;
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return a / b;
    default:
      return a % b;
  }
}

/** The names and values that a `for` goes through. */
function* rounds(
  { keyName, valueName }: Pick<ForExpression, "keyName" | "valueName">,
  over: Value,
  place: Place,
): Generator<Record<string, Value>> {
  if (!isList(over) && !isMap(over))
    throw mistake(place, `${typeName(over)} cannot be gone through`);
  for (const [key, value] of Object.entries(over)) {
    const shown = isList(over) ? Number(key) : key;
    yield { [valueName]: value as Value, ...(keyName === undefined ? {} : { [keyName]: shown }) };
  }
}

function made(loop: ForExpression, scope: Scope, place: Place): Value {
  const list: Value[] = [];
  const map: Record<string, Value> = {};
  for (const names of rounds(loop, evaluate(loop.over, scope), place)) {
    const inner = within(scope, names);
    if (loop.when && !truth(evaluate(loop.when, inner), loop.when)) continue;
    const value = evaluate(loop.value, inner);
    if (!loop.key) list.push(value);
    else {
      const key = text(evaluate(loop.key, inner), loop.key);
      const known = Object.hasOwn(map, key) ? (map[key] as readonly Value[]) : [];
      if (!loop.isGrouped && Object.hasOwn(map, key)) {
        throw mistake(loop.key, `"${key}" comes twice`, "Put ... behind the value to make lists");
      }
      map[key] = loop.isGrouped ? [...known, value] : value;
    }
  }
  return loop.key ? map : list;
}

function template(parts: readonly TemplatePart[], scope: Scope, place: Place): Value {
  // `"${list}"` alone is the list itself.
  const [only] = parts;
  if (parts.length === 1 && only?.kind === "value") return evaluate(only.value, scope);
  return parts.map((part) => partText(part, scope, place)).join("");
}

function partText(part: TemplatePart, scope: Scope, place: Place): string {
  const all = (parts: readonly TemplatePart[], inner: Scope) =>
    parts.map((each) => partText(each, inner, place)).join("");
  switch (part.kind) {
    case "text":
      return part.text;
    case "value":
      return text(evaluate(part.value, scope), part.value);
    case "if":
      return all(truth(evaluate(part.test, scope), part.test) ? part.yes : part.no, scope);
    case "for": {
      const turns = [...rounds(part, evaluate(part.over, scope), part.over)];
      return turns.map((names) => all(part.body, within(scope, names))).join("");
    }
  }
}

function text(value: Value, place: Place): string {
  const found = textOf(value);
  if (found !== undefined) return found;
  throw mistake(place, `expected a string, found ${typeName(value)}`);
}

function number(value: Value, place: Place): number {
  const found = numberOf(value);
  if (found !== undefined) return found;
  throw mistake(place, `expected a number, found ${typeName(value)}`);
}

function truth(value: Value, place: Place): boolean {
  const found = truthOf(value);
  if (found !== undefined) return found;
  throw mistake(place, `expected true or false, found ${typeName(value)}`);
}
