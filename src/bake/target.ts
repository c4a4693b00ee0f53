/** One target of a bake file: how an image is built. https://docs.docker.com/build/bake/reference/ */
import { closest, Failure } from "../base/mod.ts";
import { isList, isMap, textOf, truthOf, typeName, type Value, type ValueMap } from "./values.ts";

export type Texts = Readonly<Record<string, string>>;

/** What a target says; what it leaves open has the builder's default. */
export interface Target {
  readonly annotations?: readonly string[];
  readonly args?: Readonly<Record<string, string | null>>;
  readonly attest?: readonly string[];
  readonly "cache-from"?: readonly string[];
  readonly "cache-to"?: readonly string[];
  readonly call?: string;
  readonly context?: string;
  readonly contexts?: Texts;
  readonly description?: string;
  readonly dockerfile?: string;
  readonly "dockerfile-inline"?: string;
  readonly entitlements?: readonly string[];
  readonly "extra-hosts"?: Texts;
  readonly inherits?: readonly string[];
  readonly labels?: Readonly<Record<string, string | null>>;
  readonly network?: string;
  readonly "no-cache"?: boolean;
  readonly "no-cache-filter"?: readonly string[];
  readonly output?: readonly string[];
  readonly platforms?: readonly string[];
  readonly pull?: boolean;
  readonly secret?: readonly string[];
  readonly "shm-size"?: string;
  readonly ssh?: readonly string[];
  readonly tags?: readonly string[];
  readonly target?: string;
  readonly ulimits?: readonly string[];
}

type Kind = "text" | "truth" | "texts" | "options" | "map" | "open-map";

/** How each attribute is written. Options are strings or objects: `"type=local"`, `{ type = "local" }`. */
export const attributes: Readonly<Record<keyof Target, Kind>> = {
  annotations: "texts",
  args: "open-map",
  attest: "options",
  "cache-from": "options",
  "cache-to": "options",
  call: "text",
  context: "text",
  contexts: "map",
  description: "text",
  dockerfile: "text",
  "dockerfile-inline": "text",
  entitlements: "texts",
  "extra-hosts": "map",
  inherits: "texts",
  labels: "open-map",
  network: "text",
  "no-cache": "truth",
  "no-cache-filter": "texts",
  output: "options",
  platforms: "texts",
  pull: "truth",
  secret: "options",
  "shm-size": "text",
  ssh: "options",
  tags: "texts",
  target: "text",
  ulimits: "texts",
};

/** Other spellings that files and --set have. */
const aliases: Readonly<Record<string, keyof Target>> = {
  platform: "platforms",
  secrets: "secret",
  outputs: "output",
  annotation: "annotations",
  allow: "entitlements",
  tag: "tags",
  ulimit: "ulimits",
};

/** An attribute by its name. @throws Failure "invalid" with a suggestion */
export function attributeName(name: string): keyof Target {
  const found =
    aliases[name] ?? (Object.hasOwn(attributes, name) ? (name as keyof Target) : undefined);
  if (found) return found;
  const near = closest(name, Object.keys(attributes));
  throw new Failure("invalid", `a target has no attribute "${name}"`, {
    hint: near ? `Did you mean ${near}?` : `Attributes are ${Object.keys(attributes).join(", ")}`,
  });
}

/** A value as the attribute has it; undefined for null, which says nothing. @throws Failure "invalid" */
export function readAttribute(name: keyof Target, value: Value): Target[keyof Target] | undefined {
  if (value === null) return undefined;
  const refuse = (wanted: string): never => {
    throw new Failure("invalid", `${name} must be ${wanted}, not ${typeName(value)}`);
  };
  switch (attributes[name]) {
    case "text":
      return textOf(value) ?? refuse("a string");
    case "truth":
      return truthOf(value) ?? refuse("true or false");
    case "texts":
      return isList(value) ? value.flatMap(itemText) : refuse("a list of strings");
    case "options":
      return isList(value) ? value.flatMap(optionText) : refuse("a list");
    default:
      return isMap(value) ? mapOf(name, value) : refuse("an object");
  }
}

function itemText(value: Value): string[] {
  if (value === null) return [];
  const text = textOf(value);
  if (text !== undefined) return [text];
  throw new Failure("invalid", `expected a string in a list, found ${typeName(value)}`);
}

/** `{ type = "local", dest = "x" }` as `type=local,dest=x`, quoted as CSV where that is needed. */
function optionText(value: Value): string[] {
  if (value === null || !isMap(value)) return itemText(value);
  const fields = Object.entries(value).flatMap(([key, each]) => {
    const text = textOf(each);
    if (each === null) return [];
    if (text === undefined) throw new Failure("invalid", `${key} must be a string`);
    const field = `${key}=${text}`;
    return [/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field];
  });
  return [fields.join(",")];
}

function mapOf(name: keyof Target, value: ValueMap): Record<string, string | null> {
  const isOpen = attributes[name] === "open-map";
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]): [string, string | null][] => {
      if (each === null) return isOpen && name === "args" ? [[key, null]] : [];
      const text = textOf(each);
      if (text === undefined) throw new Failure("invalid", `${name}.${key} must be a string`);
      return [[key, text]];
    }),
  );
}

/** Lists that grow when a target inherits; the others are replaced. */
const growing: readonly (keyof Target)[] = ["annotations", "attest", "entitlements", "cache-from"];

/** The one target with what the other says on top. */
export function mergeTargets(below: Target, above: Target): Target {
  const merged: Record<string, unknown> = { ...below };
  for (const [name, value] of Object.entries(above) as [keyof Target, never][]) {
    const known = below[name];
    const kind = attributes[name];
    if (kind === "map" || kind === "open-map")
      merged[name] = { ...(known as object), ...(value as object) };
    else if (growing.includes(name) && known) {
      merged[name] = [
        ...new Set([...(known as readonly string[]), ...(value as readonly string[])]),
      ];
    } else merged[name] = value;
  }
  return merged as Target;
}
