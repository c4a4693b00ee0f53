/** The functions that bake files may call. https://github.com/docker/buildx/blob/master/docs/bake-stdlib.md */
import { createHash, randomUUID } from "node:crypto";
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { format } from "./functions-format.ts";
import {
  equal,
  isList,
  isMap,
  numberOf,
  textOf,
  truthOf,
  typeName,
  type Value,
  type ValueMap,
} from "./values.ts";

type Args = readonly Value[];
type Call = (...args: Args) => Value;

const fail = (problem: string): never => {
  throw new Failure("invalid", problem);
};
const bytesMax = 1 << 22;
const itemsMax = 100_000;

const text = (value: Value | undefined): string =>
  textOf(value ?? null) ?? fail(`expected a string, found ${typeName(value ?? null)}`);
const number = (value: Value | undefined): number =>
  numberOf(value ?? null) ?? fail(`expected a number, found ${typeName(value ?? null)}`);
const truth = (value: Value | undefined): boolean =>
  truthOf(value ?? null) ?? fail(`expected true or false, found ${typeName(value ?? null)}`);
const list = (value: Value | undefined): readonly Value[] =>
  value !== undefined && isList(value)
    ? value
    : fail(`expected a list, found ${typeName(value ?? null)}`);
const map = (value: Value | undefined): ValueMap =>
  value !== undefined && isMap(value)
    ? value
    : fail(`expected an object, found ${typeName(value ?? null)}`);
const hash = (how: string) => (value: Value) => createHash(how).update(text(value)).digest("hex");
const distinct = (items: readonly Value[]) =>
  items.filter((item, at) => items.findIndex((other) => equal(item, other)) === at);
const has = (items: readonly Value[], value: Value) => items.some((item) => equal(item, value));

function flatten(items: readonly Value[]): Value[] {
  return items.flatMap((item): Value[] => (isList(item) ? flatten(item) : [item]));
}

/** RE2 has no look-around and no back references: neither is taken, for both can take for ever. */
function pattern(value: Value, flags: string): RegExp {
  const source = text(value);
  if (/\(\?<?[=!]|\\[1-9]/.test(source)) fail("look-around and back references are not supported");
  const [, options = "", rest = source] = /^\(\?([ims]+)\)(.*)$/s.exec(source) ?? [];
  try {
    return new RegExp(rest.replaceAll("(?P<", "(?<"), `u${flags}${options}`);
  } catch {
    return fail(`${JSON.stringify(source)} is no regular expression`);
  }
}

function captures(match: RegExpExecArray): Value {
  if (match.groups) return { ...match.groups } as ValueMap;
  return match.length > 1 ? match.slice(1).map((each) => each ?? null) : match[0];
}

const texts: Readonly<Record<string, Call>> = {
  upper: (a) => text(a).toUpperCase(),
  lower: (a) => text(a).toLowerCase(),
  title: (a) => text(a).replace(/(^|\s)\S/gu, (letter) => letter.toUpperCase()),
  trim: (a, b) => {
    const cut = new Set(text(b));
    const letters = [...text(a)];
    while (letters.length > 0 && cut.has(letters[0]!)) letters.shift();
    while (letters.length > 0 && cut.has(letters.at(-1)!)) letters.pop();
    return letters.join("");
  },
  trimspace: (a) => text(a).trim(),
  trimprefix: (a, b) => (text(a).startsWith(text(b)) ? text(a).slice(text(b).length) : text(a)),
  trimsuffix: (a, b) =>
    text(b) !== "" && text(a).endsWith(text(b)) ? text(a).slice(0, -text(b).length) : text(a),
  chomp: (a) => text(a).replace(/[\r\n]+$/, ""),
  indent: (a, b) => text(b).replaceAll("\n", `\n${" ".repeat(Math.min(number(a), 1_000))}`),
  replace: (a, b, c) => text(a).replaceAll(text(b), () => text(c)),
  regex_replace: (a, b, c) =>
    text(a).replace(
      pattern(b!, "g"),
      text(c).replace(/\$\{(\w+)\}/g, (_, name: string) =>
        /^\d+$/.test(name) ? `$${name}` : `$<${name}>`,
      ),
    ),
  regex: (a, b) => {
    const match = pattern(a!, "").exec(text(b));
    return match ? captures(match) : fail("the pattern does not match");
  },
  regexall: (a, b) => [...text(b).matchAll(pattern(a!, "g"))].map((match) => captures(match)),
  split: (a, b) => text(b).split(text(a)),
  join: (a, ...lists) => lists.flatMap((each) => list(each).map(text)).join(text(a)),
  strlen: (a) => [...text(a)].length,
  substr: (a, b, c) => {
    const letters = [...text(a)];
    const from = number(b) < 0 ? letters.length + number(b) : number(b);
    return letters.slice(from, number(c) < 0 ? undefined : from + number(c)).join("");
  },
  reverse: (a) => [...text(a)].reverse().join(""),
  sanitize: (a) => text(a).replace(/[^a-zA-Z0-9_-]+/g, "_"),
  format: (a, ...args) => format(text(a), args),
  formatlist: (a, ...args) => {
    const length = Math.max(1, ...args.filter(isList).map((each) => each.length));
    return Array.from({ length }, (_, at) =>
      format(
        text(a),
        args.map((each) => (isList(each) ? (each[at] ?? null) : each)),
      ),
    );
  },
  base64encode: (a) => Buffer.from(text(a)).toString("base64"),
  base64decode: (a) => Buffer.from(text(a), "base64").toString("utf8"),
  urlencode: (a) => encodeURIComponent(text(a)).replaceAll("%20", "+"),
  jsonencode: (a) => JSON.stringify(a),
  jsondecode: (a) => {
    try {
      return JSON.parse(text(a)) as Value;
    } catch {
      return fail("it is no JSON");
    }
  },
  csvdecode: (a) => {
    const [head = [], ...rows] = text(a)
      .trim()
      .split(/\r?\n/)
      .map((line) => line.split(","));
    return rows.map((row) => Object.fromEntries(head.map((key, at) => [key, row[at] ?? ""])));
  },
  md5: hash("md5"),
  sha1: hash("sha1"),
  sha256: hash("sha256"),
  sha512: hash("sha512"),
  uuidv4: () => randomUUID(),
  basename: (a) => posix.basename(text(a)),
  dirname: (a) => posix.dirname(text(a)),
  homedir: () => process.env["HOME"] ?? "",
  timestamp: () => `${new Date().toISOString().slice(0, 19)}Z`,
};

const numbers: Readonly<Record<string, Call>> = {
  add: (a, b) => number(a) + number(b),
  subtract: (a, b) => number(a) - number(b),
  multiply: (a, b) => number(a) * number(b),
  divide: (a, b) => number(a) / number(b),
  modulo: (a, b) => number(a) % number(b),
  negate: (a) => -number(a),
  abs: (a) => Math.abs(number(a)),
  absolute: (a) => Math.abs(number(a)),
  ceil: (a) => Math.ceil(number(a)),
  floor: (a) => Math.floor(number(a)),
  int: (a) => Math.trunc(number(a)),
  log: (a, b) => Math.log(number(a)) / Math.log(number(b)),
  pow: (a, b) => number(a) ** number(b),
  signum: (a) => Math.sign(number(a)),
  max: (...all) => Math.max(...all.map(number)),
  min: (...all) => Math.min(...all.map(number)),
  parseint: (a, b) => {
    const value = Number.parseInt(text(a), number(b));
    return Number.isNaN(value) ? fail(`${JSON.stringify(a)} is no number`) : value;
  },
  greaterthan: (a, b) => number(a) > number(b),
  greaterthanorequalto: (a, b) => number(a) >= number(b),
  lessthan: (a, b) => number(a) < number(b),
  lessthanorequalto: (a, b) => number(a) <= number(b),
  equal: (a, b) => equal(a!, b!),
  notequal: (a, b) => !equal(a!, b!),
  and: (a, b) => truth(a) && truth(b),
  or: (a, b) => truth(a) || truth(b),
  not: (a) => !truth(a),
};

const lists: Readonly<Record<string, Call>> = {
  length: (a) => {
    if (typeof a === "string") return [...a].length;
    return a !== undefined && isMap(a) ? Object.keys(a).length : list(a).length;
  },
  concat: (...all) => all.flatMap((each) => [...list(each)]),
  contains: (a, b) => has(list(a), b!),
  index: (a, b) => {
    if (a !== undefined && isMap(a)) return a[text(b)] ?? fail("there is no such key");
    return list(a)[number(b)] ?? fail("there is nothing at this place");
  },
  indexof: (a, b) => {
    const at = list(a).findIndex((item) => equal(item, b!));
    return at < 0 ? fail("the list does not have it") : at;
  },
  hasindex: (a, b) =>
    a !== undefined && isMap(a) ? Object.hasOwn(a, text(b)) : list(a)[number(b)] !== undefined,
  element: (a, b) =>
    list(a).at(number(b) % Math.max(1, list(a).length)) ?? fail("the list is empty"),
  slice: (a, b, c) => list(a).slice(number(b), c === undefined ? undefined : number(c)),
  sort: (a) => list(a).map(text).sort(),
  reverselist: (a) => [...list(a)].reverse(),
  distinct: (a) => distinct(list(a)),
  compact: (a) => list(a).filter((item) => item !== "" && item !== null),
  flatten: (a) => flatten(list(a)),
  coalesce: (...all) => all.find((each) => each !== null && each !== "") ?? fail("all are empty"),
  coalescelist: (...all) => all.find((each) => list(each).length > 0) ?? fail("all are empty"),
  chunklist: (a, b) => {
    const size = number(b) < 1 ? itemsMax : number(b);
    const items = list(a);
    return Array.from({ length: Math.ceil(items.length / size) }, (_, at) =>
      items.slice(at * size, (at + 1) * size),
    );
  },
  range: (...args) => {
    const [from, to] =
      args.length === 1 ? [0, number(args[0])] : [number(args[0]), number(args[1])];
    const step = args[2] === undefined ? (to < from ? -1 : 1) : number(args[2]);
    const length = step === 0 ? 0 : Math.max(0, Math.ceil((to - from) / step));
    if (length > itemsMax) fail(`a range of ${length} is too long`);
    return Array.from({ length }, (_, at) => from + at * step);
  },
  setunion: (...all) => distinct(all.flatMap((each) => [...list(each)])),
  setintersection: (a, ...all) =>
    distinct(list(a)).filter((item) => all.every((each) => has(list(each), item))),
  setsubtract: (a, b) => distinct(list(a)).filter((item) => !has(list(b), item)),
  setsymmetricdifference: (a, b) => [
    ...distinct(list(a)).filter((item) => !has(list(b), item)),
    ...distinct(list(b)).filter((item) => !has(list(a), item)),
  ],
  sethaselement: (a, b) => has(list(a), b!),
  setproduct: (...all) => {
    const size = all.reduce<number>((product, each) => product * list(each).length, 1);
    if (size > itemsMax) fail(`a product of ${size} is too large`);
    return all.reduce<Value[][]>(
      (rows, each) => rows.flatMap((row) => list(each).map((item) => [...row, item])),
      [[]],
    );
  },
  keys: (a) => Object.keys(map(a)).sort(),
  values: (a) =>
    Object.keys(map(a))
      .sort()
      .map((key) => map(a)[key]!),
  lookup: (a, b, c) =>
    Object.hasOwn(map(a), text(b)) ? map(a)[text(b)]! : (c ?? fail("no such key")),
  merge: (...all) => Object.assign({}, ...all.map((each) => (each === null ? {} : map(each)))),
  zipmap: (a, b) => Object.fromEntries(list(a).map((key, at) => [text(key), list(b)[at] ?? null])),
};

const all = new Map(Object.entries({ ...texts, ...numbers, ...lists }));

/** Calls a function of the library; undefined when there is none of this name. @throws Failure "invalid" */
export function callFunction(name: string, args: Args): Value | undefined {
  const call = all.get(name);
  if (!call) return undefined;
  const value = call(...args);
  if (typeof value === "string" && value.length > bytesMax) fail("its result is too long");
  return value;
}
