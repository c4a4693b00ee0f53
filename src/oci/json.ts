import { Failure } from "../base/mod.ts";
import { type Digest, isDigest } from "./digest.ts";

/**
 * JSON from strangers, read field by field: `null` and absent are one, other types than the expected
 * one are a Failure that says where. The objects that come in are never passed on.
 */
export class JsonReader {
  readonly #value: unknown;
  /** Where this value stands: `manifest.layers[2]`. */
  readonly where: string;

  constructor(value: unknown, where: string) {
    this.#value = value;
    this.where = where;
  }

  /** Parses bytes. @throws Failure "corrupt" — not JSON */
  static parse(bytes: Uint8Array, where: string): JsonReader {
    try {
      return new JsonReader(JSON.parse(new TextDecoder("utf-8").decode(bytes)), where);
    } catch (cause) {
      throw new Failure("corrupt", `Cannot read the ${where}: it is not JSON`, { cause });
    }
  }

  fail(why: string): Failure {
    return new Failure("corrupt", `Cannot use the ${this.where}: ${why}`);
  }

  get isAbsent(): boolean {
    return this.#value === undefined || this.#value === null;
  }

  /** A field of an object; absent when it is not there. */
  field(name: string): JsonReader {
    const value = this.#object()[name];
    return new JsonReader(value, `${this.where}.${name}`);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#object(), name);
  }

  entries(countMax = 10_000): [string, JsonReader][] {
    const entries = Object.entries(this.#object());
    if (entries.length > countMax) throw this.fail(`it has more than ${countMax} fields`);
    return entries.map(([name, value]) => [
      name,
      new JsonReader(value, `${this.where}.${name.slice(0, 100)}`),
    ]);
  }

  items(countMax: number): JsonReader[] {
    if (!Array.isArray(this.#value)) throw this.fail("it is not a list");
    if (this.#value.length > countMax) throw this.fail(`it has more than ${countMax} items`);
    return this.#value.map((value, index) => new JsonReader(value, `${this.where}[${index}]`));
  }

  text(): string {
    if (typeof this.#value !== "string") throw this.fail("it is not a text");
    return this.#value;
  }

  /** A whole number that no calculation here makes inexact. */
  integer(): number {
    if (!Number.isSafeInteger(this.#value)) throw this.fail("it is not a whole number");
    return this.#value as number;
  }

  flag(): boolean {
    if (typeof this.#value !== "boolean") throw this.fail("it is neither true nor false");
    return this.#value;
  }

  digest(): Digest {
    const text = this.text();
    if (isDigest(text)) return text;
    throw this.fail(`"${text.slice(0, 100)}" is not a digest`);
  }

  texts(countMax = 10_000): string[] {
    return this.items(countMax).map((item) => item.text());
  }

  textMap(): Record<string, string> {
    return Object.fromEntries(this.entries().map(([name, value]) => [name, value.text()]));
  }

  /** Go's `map[string]struct{}`: the values say nothing. */
  nameSet(): Record<string, object> {
    return Object.fromEntries(this.entries().map(([name]) => [name, {}]));
  }

  #object(): Record<string, unknown> {
    const value = this.#value;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.fail("it is not an object");
    }
    return value as Record<string, unknown>;
  }
}

type Reads<Value> = (reader: JsonReader) => Value;

/** The fields of `reader` that are there and not null, each read by its function. */
export function readFields<Fields extends Record<string, unknown>>(
  reader: JsonReader,
  reads: { readonly [Name in keyof Fields]: Reads<Fields[Name]> },
): Partial<Fields> {
  const found: Partial<Fields> = {};
  for (const name of Object.keys(reads) as (keyof Fields & string)[]) {
    const field = reader.field(name);
    if (!field.isAbsent) found[name] = reads[name](field);
  }
  return found;
}
