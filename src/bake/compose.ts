/** The services of a Compose file that are built, as targets. https://docs.docker.com/build/bake/compose-file/ */
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { attributeName, mergeTargets, readAttribute, type Target } from "./target.ts";
import { isList, isMap, textOf, type Value, type ValueMap } from "./values.ts";

export interface ComposeTargets {
  readonly targets: ReadonlyMap<string, Target>;
  readonly groups: ReadonlyMap<string, readonly string[]>;
}

type Environment = Readonly<Record<string, string>>;

/** `folder`: where the file is; its paths begin there. @throws Failure "invalid" */
export function composeTargets(
  text: string,
  { file, folder, environment }: { file: string; folder: string; environment: Environment },
): ComposeTargets {
  let parsed: Value;
  try {
    parsed = Bun.YAML.parse(text) as Value;
  } catch (cause) {
    throw new Failure("invalid", `${file}: ${(cause as Error).message}`, { cause });
  }
  const value = interpolated(parsed ?? {}, { file, environment });
  const services = isMap(value) ? (value["services"] ?? {}) : {};
  if (!isMap(services)) throw new Failure("invalid", `${file}: services must be an object`);
  const root = isMap(value) ? value : {};
  const targets = new Map<string, Target>();
  for (const [service, about] of Object.entries(services)) {
    if (!isMap(about) || about["build"] === undefined || about["build"] === null) continue;
    targets.set(service.replaceAll(".", "_"), serviceTarget(about, { root, file, folder }));
  }
  return { targets, groups: new Map([["default", [...targets.keys()]]]) };
}

interface Place {
  readonly root: ValueMap;
  readonly file: string;
  readonly folder: string;
}

function serviceTarget(service: ValueMap, place: Place): Target {
  const written = service["build"]!;
  const build: ValueMap = isMap(written) ? written : { context: written };
  const context = textOf(build["context"] ?? ".") ?? ".";
  const inline = build["dockerfile_inline"];
  const image = textOf(service["image"] ?? null);
  const tags = [...(image ? [image] : []), ...texts(build["tags"])];
  const given: Record<string, Value | undefined> = {
    context: pathOf(context, place.folder),
    dockerfile: build["dockerfile"],
    "dockerfile-inline": inline,
    contexts: contextsOf(build["additional_contexts"], place.folder),
    args: pairs(build["args"], "="),
    labels: pairs(build["labels"], "="),
    "cache-from": build["cache_from"],
    "cache-to": build["cache_to"],
    "extra-hosts": pairs(build["extra_hosts"], /[=:]/),
    network: build["network"],
    "no-cache": build["no_cache"],
    pull: build["pull"],
    platforms: build["platforms"] ?? (service["platform"] ? [service["platform"]] : undefined),
    entitlements: build["entitlements"],
    "shm-size": build["shm_size"],
    ssh: Array.isArray(build["ssh"]) ? build["ssh"] : listOf(pairs(build["ssh"], "=")),
    secret: secretsOf(build["secrets"], place),
    target: build["target"],
    ulimits: ulimitsOf(build["ulimits"]),
    tags: tags.length > 0 ? tags : undefined,
  };
  const own = read(given, place.file);
  const extra = build["x-bake"];
  return isMap(extra ?? null) ? mergeTargets(own, bakeExtension(extra as ValueMap, place)) : own;
}

function read(given: Readonly<Record<string, Value | undefined>>, file: string): Target {
  const target: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    try {
      const found = readAttribute(attributeName(name), value);
      if (found !== undefined) target[attributeName(name)] = found;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw new Failure(
        "invalid",
        `${file}: ${error.message}`,
        error.hint ? { hint: error.hint } : {},
      );
    }
  }
  return target as Target;
}

/** `x-bake` has bake's attributes; a string stands for a list of one. */
function bakeExtension(extra: ValueMap, { file }: Place): Target {
  const lists = ["tags", "cache-from", "cache-to", "secret", "ssh", "platforms", "output"];
  const given = Object.entries(extra).map(([key, value]) => {
    return [key, lists.includes(key) && !isList(value) ? [value] : value] as const;
  });
  return read(Object.fromEntries(given), file);
}

function texts(value: Value | undefined): string[] {
  return value !== undefined && isList(value) ? value.flatMap((each) => textOf(each) ?? []) : [];
}

function pathOf(path: string, folder: string): string {
  if (path.startsWith("/") || /^[\w-]+:\/\/|^git@/.test(path)) return path;
  return posix.join(folder, path) || ".";
}

/** A map, or a list of `key=value`; a key alone takes its value from the environment at the build. */
function pairs(value: Value | undefined, separator: string | RegExp): ValueMap | undefined {
  if (value === undefined || value === null) return undefined;
  if (isMap(value)) return value;
  return Object.fromEntries(
    texts(value).map((text) => {
      const at = text.search(typeof separator === "string" ? new RegExp(separator) : separator);
      return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

function listOf(map: ValueMap | undefined): Value | undefined {
  return (
    map &&
    Object.entries(map).map(([key, value]) => (value === null ? key : `${key}=${textOf(value)}`))
  );
}

function contextsOf(value: Value | undefined, folder: string): ValueMap | undefined {
  const found = pairs(value, "=");
  return (
    found &&
    Object.fromEntries(
      Object.entries(found).map(([name, each]) => {
        const text = textOf(each) ?? "";
        const service = /^service:(.+)$/.exec(text)?.[1];
        return [name, service ? `target:${service.replaceAll(".", "_")}` : pathOf(text, folder)];
      }),
    )
  );
}

/** Secrets by name: where the file's top level says that they are. */
function secretsOf(value: Value | undefined, { root, folder }: Place): Value | undefined {
  if (value === undefined || !isList(value)) return undefined;
  const known = isMap(root["secrets"] ?? null) ? (root["secrets"] as ValueMap) : {};
  return value.map((each) => {
    const name = isMap(each) ? (textOf(each["source"] ?? "") ?? "") : (textOf(each) ?? "");
    const id = isMap(each) ? (textOf(each["target"] ?? name) ?? name) : name;
    const about = isMap(known[name] ?? null) ? (known[name] as ValueMap) : {};
    const file = textOf(about["file"] ?? null);
    const variable = textOf(about["environment"] ?? null);
    if (file) return `id=${id},src=${pathOf(file, folder)}`;
    return variable ? `id=${id},env=${variable}` : `id=${id}`;
  });
}

function ulimitsOf(value: Value | undefined): Value | undefined {
  if (value === undefined || !isMap(value)) return undefined;
  return Object.entries(value).map(([name, each]) =>
    isMap(each)
      ? `${name}=${textOf(each["soft"] ?? "")}:${textOf(each["hard"] ?? "")}`
      : `${name}=${textOf(each)}`,
  );
}

interface Interpolation {
  readonly file: string;
  readonly environment: Environment;
}

function interpolated(value: Value, how: Interpolation): Value {
  if (typeof value === "string") return variables(value, how);
  if (isList(value)) return value.map((each) => interpolated(each, how));
  if (!isMap(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, interpolated(each, how)]),
  );
}

/** `$v ${v} ${v:-else} ${v-else} ${v:?error} ${v:+then} $$`. https://docs.docker.com/reference/compose-file/interpolation/ */
function variables(text: string, { file, environment }: Interpolation): string {
  const shape = /\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-?+])([^{}]*))?\})/g;
  return text.replace(shape, (_, dollar, plain, name = plain, operator = "", rest = "") => {
    if (dollar) return "$";
    const value = environment[name];
    const isSet = value !== undefined && !(operator.startsWith(":") && value === "");
    switch (operator.at(-1)) {
      case "-":
        return isSet ? value : rest;
      case "+":
        return isSet ? rest : "";
      case "?":
        if (isSet) return value;
        throw new Failure(
          "invalid",
          `${file}: required variable ${name} is missing a value: ${rest}`,
        );
      default:
        return value ?? "";
    }
  });
}

/** `NAME=value` lines of a `.env` file. */
export function parseEnvironment(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const [, name, value = ""] =
      /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined) continue;
    const [, quoted] = /^(?:"(.*)"|'(.*)')$/.exec(value) ?? [];
    found[name] = quoted ?? value.replace(/\s+#.*$/, "").replace(/^'(.*)'$/, "$1");
  }
  return found;
}
