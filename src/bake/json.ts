/** Bake files in JSON: the same blocks; strings are templates. */
import { Failure } from "../base/mod.ts";
import { parseTemplate } from "./hcl-parse.ts";
import type { Block, Body, Expression } from "./hcl-syntax.ts";
import { isList, isMap, type Value, type ValueMap } from "./values.ts";

const blockTypes = ["target", "group", "variable", "function"];

/** @throws Failure "invalid" */
export function parseJsonFile(text: string, file: string): Body {
  let value: Value;
  try {
    value = JSON.parse(text) as Value;
  } catch (cause) {
    throw new Failure("invalid", `${file}: ${(cause as Error).message}`, { cause });
  }
  if (!isMap(value)) throw new Failure("invalid", `${file}:1: a bake file is an object`);
  return bodyOf(value, file, blockTypes);
}

function bodyOf(value: ValueMap, file: string, blocks: readonly string[]): Body {
  const place = { file, line: 1 };
  const found: Block[] = [];
  const attributes = new Map<string, Expression>();
  for (const [key, each] of Object.entries(value)) {
    if (!blocks.includes(key)) attributes.set(key, expressionOf(each, file));
    else if (key === "validation") {
      for (const one of isList(each) ? each : [each]) {
        if (isMap(one))
          found.push({ ...place, type: key, labels: [], body: bodyOf(one, file, []) });
      }
    } else if (isMap(each)) {
      for (const [name, body] of Object.entries(each)) {
        if (!isMap(body)) throw new Failure("invalid", `${file}:1: ${key} "${name}" is no object`);
        const inner = bodyOf(body, file, ["validation"]);
        found.push({ ...place, type: key, labels: [name], body: inner });
      }
    }
  }
  return { attributes, blocks: found };
}

function expressionOf(value: Value, file: string): Expression {
  const place = { file, line: 1 };
  if (typeof value === "string") return parseTemplate(value, file);
  if (isList(value)) {
    return { kind: "list", items: value.map((each) => expressionOf(each, file)), ...place };
  }
  if (!isMap(value)) return { kind: "literal", value, ...place };
  const items = Object.entries(value).map(([key, each]) => {
    return [{ kind: "literal", value: key, ...place }, expressionOf(each, file)] as [
      Expression,
      Expression,
    ];
  });
  return { kind: "object", items, ...place };
}
