/**
 * The settings of the daemon from its flags and from `daemon.json`. What the file says is turned into
 * what the flags would say; all else knows flags alone.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { closest, Failure, fileFailure } from "./base/mod.ts";
import { type DaemonKey, daemonKeys, keyOf } from "./daemon-keys.ts";

/** By flag, its values in order. */
export type Settings = ReadonlyMap<string, readonly string[]>;

const defaultFile = "/etc/lading/daemon.json";
const fileBytesMax = 1 << 20;

export interface Read {
  readonly settings: Settings;
  /** Settings without effect, and why. */
  readonly warnings: readonly string[];
}

/**
 * Flags and file, joined. @throws Failure "invalid" — unknown, refused, of a wrong type, or said twice
 * and differently; "not_found" — the file that a flag names
 */
export function readSettings(argv: readonly string[]): Read {
  const flags = readFlags(argv);
  if (flags.has("help")) return { settings: flags, warnings: [] };
  const path = flags.get("config-file")?.at(-1);
  const file = readFile(path ?? defaultFile, path === undefined);
  for (const [flag, values] of file) {
    const said = flags.get(flag);
    if (said === undefined || said.join("\n") === values.join("\n")) continue;
    throw new Failure(
      "invalid",
      `Cannot start an engine: "${flag}" stands in ${path ?? defaultFile} and on the command line ` +
        `(from flag: ${said.join(", ")}, from file: ${values.join(", ")})`,
      { hint: "Say it in one of the two places" },
    );
  }
  const settings = new Map([...file, ...flags]);
  return { settings, warnings: judge(settings) };
}

function judge(settings: Settings): string[] {
  const warnings: string[] = [];
  for (const each of daemonKeys) {
    const values = settings.get(each.flag);
    const isOff = each.kind === "switch" && values?.at(-1) === "false";
    if (values === undefined) continue;
    const name = keyOf(each) ?? each.flag;
    if (each.ignored) warnings.push(`"${name}" has no effect: ${each.ignored}`);
    const isEmpty = isOff || values.every((value) => value === "");
    if (each.refused && !isEmpty && !isCgroupfs(values)) {
      throw new Failure("invalid", `Cannot heed "${name}": ${each.refused}`, {
        hint: "Take it out",
      });
    }
  }
  return warnings;
}

const isCgroupfs = (values: readonly string[]) =>
  values.every((value) => value === "native.cgroupdriver=cgroupfs");

// ── the command line ──

/** Names that are older, or ours. */
const aliases: Readonly<Record<string, string>> = {
  runtime: "default-runtime",
  graph: "data-root",
};

function readFlags(argv: readonly string[]): Map<string, string[]> {
  const switches = daemonKeys.filter(({ kind }) => kind === "switch");
  const long = new Set([...switches.map(({ flag }) => `--${flag}`), "--help"]);
  // A bare --debug is --debug=true, as Go's flags have it.
  const args = argv.map((word) =>
    word === "-D"
      ? "--debug=true"
      : word === "-h"
        ? "--help=true"
        : long.has(word)
          ? `${word}=true`
          : word,
  );
  const options: Flags = {
    help: { type: "string", multiple: true },
  };
  for (const { flag, short } of daemonKeys) {
    options[flag] = { type: "string", multiple: true, ...(short ? { short } : {}) };
  }
  for (const name of Object.keys(aliases)) options[name] = { type: "string", multiple: true };
  const found = new Map<string, string[]>();
  for (const [name, values = []] of Object.entries(parsed(args, options))) {
    const flag = aliases[name] ?? name;
    const key = daemonKeys.find((each) => each.flag === flag);
    const all = values.map((value) => (key ? checkFlag(key, value) : value));
    const isMany = key?.kind === "list" || key?.kind === "pairs";
    found.set(flag, isMany ? all : all.slice(-1));
  }
  return found;
}

type Flags = Record<string, { type: "string"; multiple: true; short?: string }>;

function parsed(args: string[], options: Flags): Record<string, string[]> {
  try {
    return parseArgs({ args, options }).values as Record<string, string[]>;
  } catch (cause) {
    const said = (cause as Error).message.split(". ")[0]!;
    const unknown = /Unknown option '-*([^'=]+)/.exec(said)?.[1] ?? "";
    const near = closest(
      unknown,
      daemonKeys.map(({ flag }) => flag),
    );
    throw new Failure("invalid", `Cannot start an engine: ${said}`, {
      hint: near ? `Did you mean --${near}?` : `See "lading daemon --help"`,
      cause,
    });
  }
}

function checkFlag({ flag, kind }: DaemonKey, value: string): string {
  const where = `--${flag} "${value.slice(0, 100)}"`;
  if (kind === "switch" && !/^(true|false|1|0|t|f)$/i.test(value)) {
    throw new Failure("invalid", `Cannot use ${where}: it takes true or false`);
  }
  if (kind === "switch") return /^(true|1|t)$/i.test(value) ? "true" : "false";
  if (kind === "count" && !/^-?\d{1,9}$/.test(value)) {
    throw new Failure("invalid", `Cannot use ${where}: it takes a whole number`);
  }
  if (kind === "pairs" && !/^[^=]+=/.test(value)) {
    throw new Failure("invalid", `Cannot use ${where}: it takes NAME=VALUE`);
  }
  return value;
}

// ── the file ──

function readFile(path: string, mayBeAbsent: boolean): Map<string, string[]> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const isAbsent = (cause as NodeJS.ErrnoException).code === "ENOENT";
    if (isAbsent && mayBeAbsent) return new Map();
    throw fileFailure(`read the settings in "${path}"`, cause, {
      hint: `Name another file with --config-file, or leave it out for ${defaultFile}`,
    });
  }
  if (text.length > fileBytesMax) throw new Failure("invalid", `Cannot use ${path}: over 1 MiB`);
  return readDaemonFile(text, path);
}

/** What the file's text would be as flags. @throws Failure "invalid" */
export function readDaemonFile(text: string, path: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  if (text.trim() === "") return found;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Failure("invalid", `Cannot read ${path}: it is not JSON: ${why}`, { cause });
  }
  if (!isObject(json)) throw new Failure("invalid", `Cannot read ${path}: it is no JSON object`);
  for (const [name, value] of Object.entries(json)) {
    for (const [flag, values] of flagsOf(name, value, path)) found.set(flag, values);
  }
  return found;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function wrong(name: string, path: string, wanted: string): Failure {
  return new Failure("invalid", `Cannot use "${name}" in ${path}: it takes ${wanted}`);
}

/** Keys whose values are objects, as the flags that say the same. */
const shapes: Readonly<
  Record<
    string,
    (value: Record<string, unknown>, fail: (what: string) => Failure) => [string, string[]][]
  >
> = {
  proxies: (value, fail) =>
    Object.entries(value).map(([key, proxy]) => {
      if (!/^(https?|no)-proxy$/.test(key) || typeof proxy !== "string") {
        throw fail('"http-proxy", "https-proxy" and "no-proxy", each a string');
      }
      return [key, [proxy]];
    }),
  runtimes: (value, fail) => [
    ["add-runtime", Object.entries(value).map((each) => runtime(each, fail))],
  ],
  "default-ulimits": (value, fail) => [
    ["default-ulimit", Object.entries(value).map((each) => ulimit(each, fail))],
  ],
  builder: (value, fail) => builder(value, fail),
};

type Fail = (what: string) => Failure;

function runtime([name, value]: [string, unknown], fail: Fail): string {
  if (!isObject(value)) throw fail(`{"path": PATH} for "${name}"`);
  if (!/^[\w.-]+$/.test(name)) throw fail(`names of letters, digits and "_.-", not "${name}"`);
  const { path, runtimeArgs: args = [], ...rest } = shimless(value);
  if (typeof path !== "string" || path === "" || path.startsWith("[")) {
    throw fail(`{"path": PATH} for "${name}"`);
  }
  const isPlain = Array.isArray(args) && args.every((each) => typeof each === "string");
  if (!isPlain || Object.keys(rest).length > 0) {
    throw fail(`a program for "${name}": {"path": PATH, "runtimeArgs": [ARGUMENT]}`);
  }
  return `${name}=${args.length === 0 ? path : JSON.stringify([path, ...args])}`;
}

/** Docker's other way of saying it: its shim for runc, with the program as an option. */
function shimless(value: Record<string, unknown>): Record<string, unknown> {
  const { runtimeType = "", options = {}, ...rest } = value;
  if (!isObject(options)) return value;
  const { BinaryName: path, ...others } = options;
  if (runtimeType === "io.containerd.runc.v2") return { ...rest, ...others, path };
  return runtimeType === "" ? { ...rest, ...options } : value;
}

function ulimit([name, value]: [string, unknown], fail: Fail): string {
  const { Name = name, Soft = 0, Hard = 0 } = isObject(value) ? value : { Soft: "" };
  if (Name !== name || !Number.isInteger(Soft) || !Number.isInteger(Hard)) {
    throw fail(`{"Name": "${name}", "Soft": 1024, "Hard": 2048} for "${name}"`);
  }
  return `${name}=${Soft}:${Hard}`;
}

function builder(value: Record<string, unknown>, fail: Fail): [string, string[]][] {
  const { gc = {}, ...others } = value;
  if (!isObject(gc) || Object.keys(others).length > 0) throw fail('"gc" alone, an object');
  const { enabled = true, defaultKeepStorage, defaultMaxUsedSpace, ...rest } = gc;
  const bytes = defaultMaxUsedSpace ?? defaultKeepStorage;
  if (Object.keys(rest).length > 0 || typeof enabled !== "boolean") {
    throw fail('of "gc" the keys "enabled", "defaultKeepStorage" and "defaultMaxUsedSpace"');
  }
  if (bytes !== undefined && typeof bytes !== "string") throw fail('a size as "20GB" to keep');
  if (!enabled) return [["build-cache-max", ["1024t"]]];
  return bytes === undefined ? [] : [["build-cache-max", [bytes]]];
}

function flagsOf(name: string, value: unknown, path: string): [string, string[]][] {
  const fail = (what: string) => wrong(name, path, what);
  const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
  if (shape) {
    if (!isObject(value)) throw fail("an object");
    return shape(value, fail);
  }
  const key = daemonKeys.find((each) => keyOf(each) === name);
  if (!key) throw unknownKey(name, path);
  return [[key.flag, valuesOf(key, value, fail)]];
}

function unknownKey(name: string, path: string): Failure {
  const names = [...daemonKeys.flatMap((key) => keyOf(key) ?? []), ...Object.keys(shapes)];
  const flag = daemonKeys.find((each) => each.flag === name);
  const near = (flag && keyOf(flag)) ?? closest(name, names);
  return new Failure("invalid", `Cannot use ${path}: unknown key "${name.slice(0, 100)}"`, {
    hint: near ? `Did you mean "${near}"?` : "The manual lists the keys, page daemon",
  });
}

function valuesOf(key: DaemonKey, value: unknown, fail: Fail): string[] {
  switch (key.kind) {
    case "switch":
      if (typeof value !== "boolean") throw fail("true or false");
      return [String(value)];
    case "count":
      if (!Number.isInteger(value)) throw fail("a whole number");
      return [String(value)];
    case "bytes":
      if (typeof value !== "string" && !Number.isInteger(value)) throw fail('a size as "64m"');
      return [String(value)];
    case "text":
      if (typeof value !== "string") throw fail("a string");
      return [value];
    case "pairs":
      if (!isObject(value)) throw fail("an object of strings");
      return Object.entries(value).map(([name, each]) => {
        if (typeof each === "object") throw fail("an object of strings");
        return `${name}=${each}`;
      });
    case "list":
      if (!Array.isArray(value)) throw fail("a list of strings");
      return value.map((each) => listed(key, each, fail));
  }
}

function listed({ flag }: DaemonKey, each: unknown, fail: Fail): string {
  if (typeof each === "string") return each;
  if (flag !== "default-address-pool" || !isObject(each)) throw fail("a list of strings");
  const { base, size, ...others } = each;
  if (typeof base === "string" && Number.isInteger(size) && Object.keys(others).length === 0) {
    return `base=${base},size=${size}`;
  }
  throw fail('a list of {"base": "10.9.0.0/16", "size": 24}');
}
