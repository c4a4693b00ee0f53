/**
 * Reads JSON that anybody may have written. Like Go's decoder, which Docker's clients were made
 * against: names match in any case, null means absent, a wrong type is an error that names the field.
 */
import { Failure } from "../base/mod.ts";
import type { Exchange } from "./exchange.ts";

/** Parsing must not hold up the others; a seccomp profile of 1 MiB goes through. */
const jsonBytesMax = 4 << 20;
const depthMax = 64;
/** An int64; what a double cannot hold exactly is so large that it means "no limit". */
const quantityMax = 2 ** 63;

/** The body of a request as JSON; undefined when there is none. @throws Failure "invalid" */
export async function readJson(exchange: Exchange): Promise<unknown> {
  const bytes = await exchange.bytes(jsonBytesMax);
  if (bytes.length === 0) return undefined;
  const type = exchange.headers.get("content-type") ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new Failure(
      "invalid",
      `unsupported Content-Type header (${type.slice(0, 100)}): must be 'application/json'`,
    );
  }
  return parseJson(bytes.toString());
}

/** @throws Failure "invalid" */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = (cause as Error).message.replace(/^JSON Parse error: /, "");
    throw new Failure("invalid", `invalid JSON: ${reason}`, { cause });
  }
}

/** The body as an object's fields. @throws Failure "invalid" — none, or something else */
export async function readFields(exchange: Exchange): Promise<Fields> {
  const value = await readJson(exchange);
  if (value === undefined) {
    throw new Failure("invalid", "invalid JSON: got EOF while reading request body");
  }
  return new Fields(value, "");
}

/** As `readFields`, where an absent body is an empty object. */
export async function readOptionalFields(exchange: Exchange): Promise<Fields> {
  return new Fields((await readJson(exchange)) ?? {}, "");
}

/** The fields of one JSON object. `where` is its path, for messages. */
export class Fields {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #where: string;
  readonly #depth: number;

  constructor(value: unknown, where: string, depth = 0) {
    if (typeof value !== "object" || Array.isArray(value)) throw wrongType(value, where, "object");
    if (depth > depthMax) throw new Failure("invalid", "invalid JSON: exceeded max depth");
    const entries = Object.entries(value ?? {}).filter(([, each]) => each !== null);
    this.#values = new Map(entries.map(([name, each]) => [name.toLowerCase(), each]));
    this.#where = where;
    this.#depth = depth;
  }

  #at(name: string): [value: unknown, where: string] {
    return [this.#values.get(name.toLowerCase()), this.#where ? `${this.#where}.${name}` : name];
  }

  has(name: string): boolean {
    return this.#values.has(name.toLowerCase());
  }

  raw(name: string): unknown {
    return this.#at(name)[0];
  }

  text(name: string): string | undefined {
    const [value, where] = this.#at(name);
    return value === undefined ? undefined : textOf(value, where);
  }

  flag(name: string): boolean | undefined {
    const [value, where] = this.#at(name);
    if (value === undefined || typeof value === "boolean") return value;
    throw wrongType(value, where, "bool");
  }

  /** A whole number within int64. */
  whole(name: string): number | undefined {
    const [value, where] = this.#at(name);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value) || Math.abs(value) > quantityMax) {
      throw wrongType(value, where, "int64");
    }
    return value;
  }

  texts(name: string): string[] | undefined {
    return this.list(name, textOf);
  }

  list<T>(name: string, parse: (value: unknown, where: string) => T): T[] | undefined {
    const [value, where] = this.#at(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw wrongType(value, where, "list");
    return value.map((each: unknown, at) => parse(each, `${where}[${at}]`));
  }

  /** An object with any names. A name like `__proto__` is an ordinary one. */
  record<T>(
    name: string,
    parse: (value: unknown, where: string) => T,
  ): Record<string, T> | undefined {
    const [value, where] = this.#at(name);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || Array.isArray(value)) throw wrongType(value, where, "map");
    return Object.fromEntries(
      Object.entries(value!).map(([key, each]) => [key, parse(each, `${where}.${key}`)]),
    );
  }

  labels(name: string): Record<string, string> | undefined {
    return this.record(name, (value, where) => (value === null ? "" : textOf(value, where)));
  }

  object(name: string): Fields | undefined {
    const [value, where] = this.#at(name);
    return value === undefined ? undefined : new Fields(value, where, this.#depth + 1);
  }

  /** One of the words that are known. */
  word<T extends string>(name: string, known: readonly T[]): T | undefined {
    const text = this.text(name);
    if (text === undefined || (known as readonly string[]).includes(text)) return text as T;
    const [, where] = this.#at(name);
    const list = known.filter((each) => each !== "").join(", ");
    throw new Failure("invalid", `invalid ${where}: '${text.slice(0, 100)}'; use one of ${list}`);
  }
}

export function textOf(value: unknown, where: string): string {
  if (typeof value !== "string") throw wrongType(value, where, "string");
  if (value.includes("\0")) throw new Failure("invalid", `invalid ${where}: a NUL byte is in it`);
  return value;
}

function wordOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

export function wrongType(value: unknown, where: string, wanted: string): Failure {
  const found = wordOf(value);
  return new Failure(
    "invalid",
    `invalid JSON: cannot unmarshal ${found} into ${where ? `field ${where}` : "value"} of type ${wanted}`,
  );
}
