/** From bake files to the targets that are to be built. */
import { posix } from "node:path";
import { closest, Failure } from "../base/mod.ts";
import { composeTargets } from "./compose.ts";
import { parseHcl } from "./hcl-parse.ts";
import { parseJsonFile } from "./json.ts";
import { type BakeFile, evaluateFiles, type Model } from "./model.ts";
import { attributeName, attributes, mergeTargets, readAttribute, type Target } from "./target.ts";
import type { Value } from "./values.ts";

/** A file as it was read. */
export interface SourceFile {
  /** As the user called it. */
  readonly name: string;
  readonly text: string;
}

export interface Bake {
  /** What was asked for: each group with its targets. */
  readonly groups: ReadonlyMap<string, readonly string[]>;
  /** The targets that are built, those that others need among them, in the order of the files. */
  readonly targets: ReadonlyMap<string, Target>;
  /** Those that were asked for themselves, or by a group. */
  readonly asked: readonly string[];
}

interface Options {
  readonly environment: Readonly<Record<string, string>>;
  readonly builtIns: Readonly<Record<string, Value>>;
}

/** The files that are read when none is named, in this order. */
export const defaultFiles = [
  "compose.yaml",
  "compose.yml",
  "docker-compose.yml",
  "docker-compose.yaml",
  "docker-bake.json",
  "docker-bake.hcl",
  "docker-bake.override.json",
  "docker-bake.override.hcl",
] as const;

/** Reads files: HCL, JSON or Compose by their names, else by what they are. @throws Failure "invalid" */
export function readModel(files: readonly SourceFile[], options: Options): Model {
  return evaluateFiles(
    files.map((file) => parseFile(file, options)),
    options,
  );
}

function parseFile({ name, text }: SourceFile, { environment }: Options): BakeFile {
  if (/\.ya?ml$/.test(name)) {
    const folder = posix.dirname(name);
    const found = composeTargets(text, { file: name, folder, environment });
    return { body: { attributes: new Map(), blocks: [] }, ...found };
  }
  const isJson =
    name.endsWith(".json") || (!name.endsWith(".hcl") && text.trimStart().startsWith("{"));
  return { body: isJson ? parseJsonFile(text, name) : parseHcl(text, name) };
}

/** The targets that names stand for, changed by `--set`. @throws Failure "invalid" | "not_found" */
export function chooseTargets(
  model: Model,
  names: readonly string[],
  sets: readonly string[],
): Bake {
  const wanted = names.length > 0 ? names : ["default"];
  const chosen: string[] = [];
  const visit = (name: string, path: readonly string[]) => {
    const members = model.groups.get(name);
    if (members) {
      if (path.includes(name)) throw new Failure("invalid", `group "${name}" contains itself`);
      for (const member of members) visit(member, [...path, name]);
      // A target may have its group's name.
      if (!model.targets.has(name) || members.length > 0) return;
    }
    if (!model.targets.has(name)) throw unknown(model, name);
    if (!chosen.includes(name)) chosen.push(name);
  };
  for (const name of wanted) visit(name, []);
  const overrides = sets.map((text) => parseSet(text));
  for (const { pattern, text } of overrides) {
    if ([...model.targets.keys()].some((name) => pattern.test(name))) continue;
    throw new Failure("invalid", `could not find any target matching '${text.split(".")[0]}'`);
  }
  const targets = new Map<string, Target>();
  const take = (name: string, path: readonly string[]) => {
    if (targets.has(name)) return;
    const found = model.targets.get(name);
    if (!found) throw unknown(model, name);
    if (path.includes(name))
      throw new Failure("invalid", `infinite loop: ${[...path, name].join(" needs ")}`);
    const target = overridden(name, found, overrides);
    for (const needed of neededBy(target)) take(needed, [...path, name]);
    targets.set(name, target);
  };
  for (const name of chosen) take(name, []);
  return { groups: groupsOf(model, wanted, chosen), targets, asked: chosen };
}

function groupsOf(model: Model, wanted: readonly string[], chosen: readonly string[]) {
  const groups = new Map<string, readonly string[]>();
  groups.set(
    "default",
    wanted.length === 1 && wanted[0] === "default"
      ? (model.groups.get("default") ?? chosen)
      : wanted,
  );
  for (const name of wanted) {
    const members = model.groups.get(name);
    if (members) groups.set(name, members);
  }
  return groups;
}

function unknown(model: Model, name: string): Failure {
  const all = [...model.targets.keys(), ...model.groups.keys()];
  const near = closest(name, all);
  const known = all.length > 0 ? `Known are ${all.join(", ")}` : "The files define none";
  return new Failure("not_found", `failed to find target ${name}`, {
    hint: near ? `Did you mean ${near}?` : known,
  });
}

/** The targets whose results a target uses: `contexts = { base = "target:base" }`. */
export function neededBy({ contexts = {} }: Target): string[] {
  return Object.values(contexts).flatMap((place) => /^target:(.+)$/.exec(place)?.[1] ?? []);
}

interface Override {
  readonly text: string;
  readonly pattern: RegExp;
  readonly name: keyof Target;
  /** Of a map: `args.VERSION=1`. */
  readonly key: string | undefined;
  readonly value: string;
  readonly adds: boolean;
}

/** `app.args.VERSION=1`, `*.platform=linux/arm64`, `app.tags+=b`. @throws Failure "invalid" */
function parseSet(text: string): Override {
  const [, target, written = "", plus = "", value = ""] =
    /^([^.=]+)\.([^=]+?)(\+?)=(.*)$/s.exec(text) ?? [];
  if (target === undefined) {
    throw new Failure("invalid", `invalid override ${text}, expected target.name=value`);
  }
  const dot = written.indexOf(".");
  const name = attributeName(dot < 0 ? written : written.slice(0, dot));
  const kind = attributes[name];
  const isMap = kind === "map" || kind === "open-map";
  const key = dot < 0 ? undefined : written.slice(dot + 1);
  if (isMap !== (key !== undefined)) {
    throw new Failure(
      "invalid",
      `invalid override ${text}: ${name} ${isMap ? "needs a key" : "has no keys"}`,
      {
        hint: isMap ? `As target.${name}.KEY=value` : `As target.${name}=value`,
      },
    );
  }
  const source = target
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return { text, pattern: new RegExp(`^${source}$`), name, key, value, adds: plus === "+" };
}

function overridden(name: string, target: Target, overrides: readonly Override[]): Target {
  let result: Target = target;
  const replaced = new Set<string>();
  for (const { pattern, name: attribute, key, value, adds } of overrides) {
    if (!pattern.test(name)) continue;
    const kind = attributes[attribute];
    if (key !== undefined) result = mergeTargets(result, { [attribute]: { [key]: value } });
    else if (kind === "texts" || kind === "options") {
      // The first one replaces what the file says; more of the same add to it.
      const known = adds || replaced.has(attribute) ? ((result[attribute] as string[]) ?? []) : [];
      replaced.add(attribute);
      const more = value === "" ? [] : [value];
      result = { ...result, [attribute]: [...known, ...more] };
    } else result = { ...result, [attribute]: readAttribute(attribute, value) };
  }
  return result;
}

/** What `--print` shows. */
export function printed({ groups, targets }: Bake): object {
  return {
    group: Object.fromEntries([...groups].map(([name, members]) => [name, { targets: members }])),
    target: Object.fromEntries(
      [...targets].map(([name, target]) => {
        const { inherits: _, ...rest } = target;
        const file = rest["dockerfile-inline"] === undefined ? { dockerfile: "Dockerfile" } : {};
        return [name, { context: ".", ...file, ...rest }];
      }),
    ),
  };
}
