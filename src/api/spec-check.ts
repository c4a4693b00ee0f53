/**
 * For tests: checks answers against Docker's own description of the Engine API (Swagger 2.0). Null is
 * taken for any list or object, for so Docker's Go answers where there is none; a field that the
 * description does not have is an error.
 */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse } from "yaml";

/** One answer as it went over the wire; `path` without version and query. */
export interface Answer {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly body: string;
}

export interface Spec {
  /** What is wrong with the answer; empty when nothing is. */
  check(answer: Answer): string[];
}

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly allOf?: readonly Schema[];
  readonly pattern?: string;
  readonly "x-nullable"?: boolean;
}

interface Operation {
  readonly responses: Readonly<Record<string, { readonly schema?: Schema }>>;
}

interface Document {
  readonly definitions: Readonly<Record<string, Schema>>;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

/** Fields that Docker sends though its description does not have them, and our own. */
const extra = new Set([
  "ErrorResponse.hint",
  "EventMessage.status",
  "EventMessage.id",
  "EventMessage.from",
  "HostConfig.Cgroup",
  "ContainerStatsResponse.num_procs",
  "SystemInfo.OomKillDisable",
]);

/** Where the description is: `LADING_SPEC`, or ../shared/spec beside the repository. */
export function specPath(): string {
  const beside = resolve(import.meta.dir, "../../../shared/spec/engine-api-v1.51.yaml");
  return process.env["LADING_SPEC"] ?? beside;
}

/** The description, or undefined where the file is absent: then the test is to be skipped. */
export function openSpec(path: string = specPath()): Spec | undefined {
  if (!existsSync(path)) return undefined;
  const document = parse(readFileSync(path, "utf8"), { maxAliasCount: -1 }) as Document;
  return { check: (answer) => checkAnswer(document, answer) };
}

function checkAnswer(document: Document, { method, path, status, body }: Answer): string[] {
  const shown = `${method} ${path} ${status}`;
  const operation = operationOf(document, method, path);
  if (!operation) return status === 404 ? [] : [`${shown}: there is no such operation`];
  const response = operation.responses[String(status)];
  const schema = response?.schema ?? errorSchema(status);
  // What any operation may answer stands nowhere in the description.
  if (!response && ![400, 403, 404, 409, 500, 501, 503].includes(status)) {
    return [`${shown}: the description has no such status`];
  }
  if (!schema || method === "HEAD" || schema.type === "string") return [];
  if (body.trim() === "") return [`${shown}: the answer has no body`];
  const problems: string[] = [];
  for (const line of bodiesIn(body)) {
    problems.push(...new Check(document).run(schema, line, { where: "", name: "" }));
  }
  return problems.map((problem) => `${shown}: ${problem}`);
}

const errorSchema = (status: number): Schema | undefined =>
  status >= 400 ? { $ref: "#/definitions/ErrorResponse" } : undefined;

/** One value, or one a line. */
function bodiesIn(body: string): unknown[] {
  const lines = body.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => JSON.parse(line) as unknown);
}

function operationOf(document: Document, method: string, path: string): Operation | undefined {
  const lower = method.toLowerCase();
  const exact = document.paths[path]?.[lower];
  if (exact) return exact;
  for (const [pattern, operations] of Object.entries(document.paths)) {
    const source = pattern.replace(/\{name\}/g, ".+").replace(/\{\w+\}/g, "[^/]+");
    if (operations[lower] && new RegExp(`^${source}$`).test(path)) return operations[lower];
  }
  return undefined;
}

/** Fields that Docker sends as null though its description does not say so. */
const nullable = new Set(["HostConfig.MemorySwappiness", "HostConfig.OomKillDisable"]);

interface Place {
  readonly where: string;
  /** The definition that we are in, for `extra`. */
  readonly name: string;
}

class Check {
  readonly #document: Document;
  readonly #problems: string[] = [];

  constructor(document: Document) {
    this.#document = document;
  }

  run(schema: Schema, value: unknown, place: Place): string[] {
    this.#value(schema, value, place);
    return this.#problems;
  }

  #say(place: Place, text: string): void {
    this.#problems.push(`${place.where || "the body"} ${text}`);
  }

  #resolve(schema: Schema, place: Place): [Schema, Place] {
    if (!schema.$ref) return [schema, place];
    const name = schema.$ref.replace("#/definitions/", "");
    const found = this.#document.definitions[name] ?? {};
    const nullable = schema["x-nullable"] ?? found["x-nullable"] ?? false;
    return this.#resolve({ ...found, "x-nullable": nullable }, { ...place, name });
  }

  #value(given: Schema, value: unknown, at: Place): void {
    const [schema, place] = this.#resolve(given, at);
    if (value === null) {
      this.#null(schema, place);
      return;
    }
    if (schema.allOf) {
      this.#allOf(schema.allOf, value, place);
      return;
    }
    if (schema.enum && typeof value !== "object" && !schema.enum.includes(value)) {
      this.#say(place, `is ${JSON.stringify(value)}, none of ${schema.enum.join(", ")}`);
    }
    const found = Array.isArray(value) ? "array" : typeof value;
    const wanted = schema.type ?? (schema.properties ? "object" : undefined);
    if (
      wanted === "integer" ? !Number.isInteger(value) : wanted !== undefined && wanted !== found
    ) {
      this.#say(place, `is of type ${found}, not ${wanted}`);
      return;
    }
    if (schema.pattern && typeof value === "string" && !new RegExp(schema.pattern).test(value)) {
      this.#say(place, `is "${value}", which does not match ${schema.pattern}`);
    }
    if (Array.isArray(value)) {
      value.forEach((each, index) => {
        if (schema.items) this.#value(schema.items, each, inside(place, `[${index}]`));
      });
    } else if (typeof value === "object") this.#object(schema, value as object, place);
  }

  #null(schema: Schema, place: Place): void {
    const field = `${place.name}.${place.where.split(".").at(-1)}`;
    if (nullable.has(field)) return;
    const mayBe = schema["x-nullable"] || schema.type === "array" || schema.type === "object";
    if (!mayBe && !schema.allOf && !schema.properties) this.#say(place, "is null");
  }

  /** Each part must hold; a field is known when one of the parts has it. */
  #allOf(parts: readonly Schema[], value: unknown, place: Place): void {
    const resolved = parts.map((part) => this.#resolve(part, place)[0]);
    const all = resolved.flatMap((part) => (part.allOf ? part.allOf : [part]));
    const flat = all.map((part) => this.#resolve(part, place)[0]);
    const properties = Object.assign({}, ...flat.map((part) => part.properties ?? {}));
    const required = flat.flatMap((part) => part.required ?? []);
    const { enum: words, type } = flat[0] ?? {};
    const merged: Schema =
      Object.keys(properties).length > 0
        ? { type: "object", properties, required }
        : { ...(type ? { type } : {}), ...(words ? { enum: words } : {}) };
    this.#value(merged, value, place);
  }

  #object(schema: Schema, value: object, place: Place): void {
    const { properties = {}, additionalProperties, required = [] } = schema;
    for (const name of required) {
      if (!Object.hasOwn(value, name)) this.#say(place, `lacks ${name}`);
    }
    for (const [name, each] of Object.entries(value)) {
      const child = inside(place, place.where ? `.${name}` : name);
      if (properties[name]) this.#value(properties[name], each, child);
      else if (typeof additionalProperties === "object") {
        this.#value(additionalProperties, each, child);
      } else if (schema.properties && !extra.has(`${place.name}.${name}`)) {
        this.#say(place, `has the field ${name}, which ${place.name || "the description"} has not`);
      }
    }
  }
}

function inside(place: Place, tail: string): Place {
  return { ...place, where: place.where + tail };
}
