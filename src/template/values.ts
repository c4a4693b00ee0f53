/** Go templates: how values of Go look to a template, and how they print. */

/** A row of a listing: fields by Go's names, with the Go type's name for errors. */
export class Row {
  readonly typeName: string;
  readonly #fields: ReadonlyMap<string, () => unknown>;

  constructor(typeName: string, fields: ReadonlyMap<string, () => unknown>) {
    this.typeName = typeName;
    this.#fields = fields;
  }

  has(name: string): boolean {
    return this.#fields.has(name);
  }

  get(name: string): unknown {
    return this.#fields.get(name)?.();
  }

  /** What `{{json .}}` shows: every field that takes no argument, by name. */
  toJSON(): Record<string, unknown> {
    const names = [...this.#fields.keys()].sort();
    const pairs = names.map((name) => [name, this.get(name)] as const);
    return Object.fromEntries(pairs.filter(([, value]) => typeof value !== "function"));
  }
}

/** Nil values that know what they would hold, so that they print as Go's. JSON has null for each. */
export const nilList: readonly unknown[] = Object.freeze([]);
export const nilMap: Readonly<Record<string, unknown>> = Object.freeze({});
/** A key that a map does not have. */
export const noValue: unique symbol = Symbol("no value");

export function isMap(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Row)
  );
}

/** Go's truth: not zero, not empty, not nil. */
export function isTrue(value: unknown): boolean {
  if (value === noValue || value === null || value === undefined) return false;
  if (Array.isArray(value)) return value.length > 0;
  if (isMap(value)) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** Objects that were reached under a name that is a map's in Go, as labels are. */
const maps = new WeakSet<object>();

/** Remembers whether an object is a map or a struct of Go, by the name it was reached under. */
export function typedAs(value: unknown, name: string): unknown {
  if (isMap(value) && mapNames.test(name)) maps.add(value);
  return value;
}

/** `%v`: what `{{.}}` prints. A struct prints its values, a map its keys too. */
export function goText(value: unknown): string {
  if (value === noValue) return "<no value>";
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(goText).join(" ")}]`;
  if (value instanceof Row) return `{${Object.values(value.toJSON()).map(goText).join(" ")}}`;
  if (!isMap(value)) return String(value);
  const entries = Object.entries(value).map(([name, each]) => {
    return [name, each === null ? nilNamed(name) : typedAs(each, name)] as const;
  });
  const isStruct =
    value !== nilMap && !maps.has(value) && entries.every(([key]) => /^[A-Z]\w*$/.test(key));
  if (isStruct) return `{${entries.map(([, each]) => goText(each)).join(" ")}}`;
  const sorted = entries.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `map[${sorted.map(([key, each]) => `${key}:${goText(each)}`).join(" ")}]`;
}

/** JSON as Go's encoder writes it, with `<`, `>` and `&` escaped. */
export function goJson(value: unknown): string {
  if (value === nilList || value === nilMap || value === noValue) return "null";
  const escapes: Record<string, string> = { "<": "\\u003c", ">": "\\u003e", "&": "\\u0026" };
  return (JSON.stringify(value) ?? "null").replace(/[<>&]/g, (sign) => escapes[sign]!);
}

/** `%q`. */
export function goQuote(value: unknown): string {
  return JSON.stringify(String(value));
}

const nilPointers =
  /^(Health|Healthcheck|Init|MemorySwappiness|OomKillDisable|PidsLimit|SizeRw|SizeRootFs|StopTimeout|IPAMConfig|UsageData|Descriptor|ImageManifestDescriptor|Platform|ClusterVolume|Status)$/;
const mapNames =
  /^(Volumes|Labels|ExposedPorts|Options|DriverOpts|Annotations|StorageOpt|Tmpfs|Sysctls|PortBindings|Ports|Config|Data|AuxiliaryAddresses|Networks|Containers|Attributes)$/;
/** Fields that Go leaves out of JSON when they are empty, though its templates know them. */
const omittedLists =
  /^(Cmd|Entrypoint|Env|Mounts|Shell|OnBuild|Layers|DeviceRequests|Links|Aliases|LinkLocalIPs)$/;
const omittedTexts =
  /^(User|WorkingDir|StopSignal|MacAddress|Variant|OsVersion|Subnet|IPRange|CreatedAt)$/;
const omittedFlags = /^(ArgsEscaped|NetworkDisabled)$/;

/** The typed nil that stands for a null under this name. */
export function nilNamed(name: string): unknown {
  if (nilPointers.test(name)) return null;
  return mapNames.test(name) ? nilMap : nilList;
}

/** What Go would have where the JSON has no such key; undefined when nobody knows the name. */
export function omitted(name: string): { readonly value: unknown } | undefined {
  if (nilPointers.test(name)) return { value: null };
  if (mapNames.test(name)) return { value: nilMap };
  if (omittedLists.test(name)) return { value: nilList };
  if (omittedTexts.test(name)) return { value: "" };
  return omittedFlags.test(name) ? { value: false } : undefined;
}
