/** Go templates: the functions that Go and Docker give them. */
import { Failure } from "../base/mod.ts";
import { formatText } from "./printf.ts";
import { goJson, goText, isMap, isTrue, noValue, Row } from "./values.ts";

type Function = (...args: unknown[]) => unknown;

function refuse(why: string): never {
  throw new Failure("invalid", why);
}

/** The type's name as Go's errors have it. */
export function goType(value: unknown): string {
  if (value === null || value === undefined || value === noValue) return "nil";
  if (value instanceof Row) return value.typeName;
  if (Array.isArray(value)) return "[]interface {}";
  if (typeof value === "object") return "map[string]interface {}";
  return { string: "string", number: "int", boolean: "bool" }[typeof value as string] ?? "func";
}

function index(from: unknown, ...keys: unknown[]): unknown {
  let value = from;
  for (const key of keys) {
    if (value === null || value === undefined || value === noValue) refuse("index of untyped nil");
    if (Array.isArray(value) || typeof value === "string") {
      if (typeof key !== "number") refuse(`cannot index slice/array with type ${goType(key)}`);
      if (key < 0 || key >= value.length) refuse(`index out of range: ${key}`);
      value = typeof value === "string" ? value.charCodeAt(key) : value[key];
    } else if (isMap(value)) {
      if (typeof key !== "string") refuse(`value has type ${goType(key)}; should be string`);
      value = Object.hasOwn(value, key) ? value[key] : zeroOf(value);
    } else refuse(`can't index item of type ${goType(value)}`);
  }
  return value;
}

/** What a map of Go gives for a key that it does not have: "" when it holds texts. */
function zeroOf(map: Record<string, unknown>): unknown {
  return Object.values(map).every((value) => typeof value === "string") ? "" : noValue;
}

function slice(from: unknown, start: unknown = 0, end?: unknown): unknown {
  if (!Array.isArray(from) && typeof from !== "string") {
    refuse(`can't slice item of type ${goType(from)}`);
  }
  const last = end === undefined ? from.length : Number(end);
  const first = Number(start);
  if (first < 0 || first > from.length) refuse(`index out of range: ${first}`);
  if (last < 0 || last > from.length) refuse(`index out of range: ${last}`);
  if (first > last) refuse(`invalid slice index: ${first} > ${last}`);
  return from.slice(first, last);
}

function equals(a: unknown, b: unknown): boolean {
  const isNothing = (value: unknown) => value === null || value === undefined || value === noValue;
  if (isNothing(a) || isNothing(b)) return isNothing(a) && isNothing(b);
  if (typeof a === "object" || typeof b === "object") refuse("non-comparable type");
  if (typeof a !== typeof b) refuse("incompatible types for comparison");
  return a === b;
}

function less(a: unknown, b: unknown): boolean {
  if (typeof a !== typeof b) refuse("incompatible types for comparison");
  if (typeof a === "number") return a < (b as number);
  if (typeof a === "string") return a < (b as string);
  return refuse("invalid type for comparison");
}

function length(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (isMap(value)) return Object.keys(value).length;
  if (value === null || value === undefined || value === noValue) refuse("len of nil pointer");
  return refuse(`len of type ${goType(value)}`);
}

/** Print's rule: a space between operands when neither is a string. */
function print(...args: unknown[]): string {
  return args.reduce<string>((text, value, at) => {
    const isSpaced = at > 0 && typeof value !== "string" && typeof args[at - 1] !== "string";
    return text + (isSpaced ? " " : "") + goText(value);
  }, "");
}

const text = (value: unknown): string =>
  typeof value === "string"
    ? value
    : refuse(`wrong type for value; expected string; got ${goType(value)}`);

const escapes: Record<string, string> = {
  "<": "&lt;",
  ">": "&gt;",
  "&": "&amp;",
  "'": "&#39;",
  '"': "&#34;",
};

const functions: Record<string, Function> = {
  json: goJson,
  split: (value, separator) => text(value).split(text(separator)),
  join: (list, separator) =>
    Array.isArray(list) ? list.map(goText).join(text(separator)) : refuse("join of no list"),
  title: (value) => text(value).replace(/(^|\s)\p{Ll}/gu, (start) => start.toUpperCase()),
  lower: (value) => text(value).toLowerCase(),
  upper: (value) => text(value).toUpperCase(),
  pad: (value, before, after) =>
    value === "" ? "" : " ".repeat(Number(before)) + text(value) + " ".repeat(Number(after)),
  truncate: (value, size) => [...text(value)].slice(0, Number(size)).join(""),
  // `and` and `or` are evaluated by the caller, who stops early.
  and: (...args) => args.find((arg) => !isTrue(arg)) ?? args.at(-1),
  or: (...args) => args.find(isTrue) ?? args.at(-1),
  not: (value) => !isTrue(value),
  len: length,
  index,
  slice,
  print,
  println: (...args) => `${args.map(goText).join(" ")}\n`,
  printf: (format, ...args) => formatText(text(format), args),
  html: (...args) => print(...args).replace(/[<>&'"]/g, (sign) => escapes[sign]!),
  js: (...args) =>
    JSON.stringify(print(...args))
      .slice(1, -1)
      .replace(/'/g, "\\'"),
  urlquery: (...args) => encodeURIComponent(print(...args)).replaceAll("%20", "+"),
  call: (target, ...args) =>
    typeof target === "function"
      ? target(...args)
      : refuse("non-function of type " + goType(target)),
  eq: (first, ...others) =>
    others.length === 0
      ? refuse("missing argument for comparison")
      : others.some((other) => equals(first, other)),
  ne: (a, b) => !equals(a, b),
  lt: less,
  le: (a, b) => less(a, b) || equals(a, b),
  gt: (a, b) => !less(a, b) && !equals(a, b),
  ge: (a, b) => !less(a, b),
};

export const builtinNames: ReadonlySet<string> = new Set(Object.keys(functions));

/** For a table's heading: functions that would change the words leave them as they are. */
const plain: Record<string, Function> = {
  json: goText,
  title: goText,
  lower: goText,
  truncate: goText,
  join: goText,
  split: goText,
  upper: goText,
};

/** Calls a function by name. @throws Failure "invalid" with Go's reason */
export function callFunction(name: string, args: unknown[], isHeading: boolean): unknown {
  const chosen = (isHeading ? plain[name] : undefined) ?? functions[name]!;
  return chosen(...args);
}
