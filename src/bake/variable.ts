import { evaluate, type Scope, within } from "./hcl-evaluate.ts";
import { mistake } from "./hcl-scan.ts";
import type { Block, Expression } from "./hcl-syntax.ts";
import { isList, isMap, numberOf, textOf, truthOf, typeName, type Value } from "./values.ts";

/**
 * A variable's value: what the environment gives, else its default; as its type says, and checked.
 * @throws Failure "invalid" with file and line
 */
export function readVariable(
  block: Block,
  { scope, given }: { scope: Scope; given: string | undefined },
): Value {
  const { attributes, blocks } = block.body;
  const [name = ""] = block.labels;
  const written = attributes.get("default");
  const type = attributes.get("type");
  const fallback = written ? evaluate(written, scope) : undefined;
  const value = given === undefined ? (fallback ?? "") : fromText(given, { type, fallback, block });
  const typed =
    type && given === undefined && fallback !== undefined ? converted(value, type) : value;
  for (const { type: kind, body } of blocks) {
    const condition = body.attributes.get("condition");
    if (kind !== "validation" || !condition) continue;
    if (truthOf(evaluate(condition, within(scope, { [name]: typed }))) === true) continue;
    const message = body.attributes.get("error_message");
    const why = message ? textOf(evaluate(message, within(scope, { [name]: typed }))) : undefined;
    throw mistake(block, why ?? `the variable "${name}" has a value that is not allowed`);
  }
  return typed;
}

/** The environment has strings: they become what the type or the default is. */
function fromText(
  text: string,
  {
    type,
    fallback,
    block,
  }: { type: Expression | undefined; fallback: Value | undefined; block: Block },
): Value {
  const refuse = (wanted: string) =>
    mistake(
      block,
      `the variable "${block.labels[0]}" must be ${wanted}, not ${JSON.stringify(text)}`,
    );
  const kind = type ? kindOf(type) : undefined;
  if (kind === "bool" || (!kind && typeof fallback === "boolean")) {
    const found = truthOf(text.toLowerCase()) ?? { "1": true, "0": false }[text];
    if (found === undefined) throw refuse("true or false");
    return found;
  }
  if (kind === "number" || (!kind && typeof fallback === "number")) {
    const found = numberOf(text);
    if (found === undefined) throw refuse("a number");
    return found;
  }
  if (kind === undefined || kind === "string" || kind === "any") return text;
  const isListKind = kind === "list" || kind === "set" || kind === "tuple";
  if (isListKind && !text.trim().startsWith("[")) return converted(text.split(","), type!);
  try {
    return converted(JSON.parse(text) as Value, type!);
  } catch {
    throw refuse(isListKind ? "a list (a,b or JSON)" : "an object in JSON");
  }
}

/** `string`, `list(number)`, `object({…})`: the outermost word. */
function kindOf(type: Expression): string {
  if (type.kind === "variable") return type.name;
  if (type.kind === "call") return type.name;
  const [only] = type.kind === "template" ? type.parts : [];
  return only?.kind === "text" ? (/^\w+/.exec(only.text)?.[0] ?? "any") : "any";
}

function converted(value: Value, type: Expression): Value {
  const refuse = () => mistake(type, `expected ${kindOf(type)}, found ${typeName(value)}`);
  const inner = type.kind === "call" ? type.args[0] : undefined;
  switch (kindOf(type)) {
    case "string":
      return (
        textOf(value) ??
        (() => {
          throw refuse();
        })()
      );
    case "number":
      return (
        numberOf(value) ??
        (() => {
          throw refuse();
        })()
      );
    case "bool":
      return (
        truthOf(value) ??
        (() => {
          throw refuse();
        })()
      );
    case "list":
    case "set":
      if (!isList(value)) throw refuse();
      return inner ? value.map((each) => converted(each, inner)) : value;
    case "tuple":
      if (!isList(value)) throw refuse();
      return value;
    case "map":
    case "object":
      if (!isMap(value)) throw refuse();
      return value;
    default:
      return value;
  }
}
