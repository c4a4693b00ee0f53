/**
 * What the client's `config.json` says about commands, as the flags that say the same. Docker's keys:
 * https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties
 */
import { Failure } from "../base/mod.ts";
import { configText, type Globals } from "./globals.ts";

/** Keys that this file reads; the text is parsed only where one of them stands. */
const wanted = /"(proxies|detachKeys|pruneFilters|\w+Format)"/;

/** The key of each listing's format. */
const formatKeys: Readonly<Record<string, string>> = {
  ps: "psFormat",
  "container ls": "psFormat",
  "container ps": "psFormat",
  "container list": "psFormat",
  images: "imagesFormat",
  "image ls": "imagesFormat",
  "image list": "imagesFormat",
  "network ls": "networksFormat",
  "network list": "networksFormat",
  "volume ls": "volumesFormat",
  "volume list": "volumesFormat",
  stats: "statsFormat",
  "container stats": "statsFormat",
};

/** Commands that give containers an environment when they make them. */
const makers = ["run", "create", "container run", "container create"];

type Flags = Readonly<Record<string, unknown>>;

/**
 * The flags of the command `name`, completed; what was given stands. `host`: where the engine is, asked
 * for only when it matters. @throws Failure "invalid" — a key of a wrong type
 */
export function configured<F extends Flags>(
  name: string,
  flags: F,
  { globals, host }: { readonly globals: Globals; readonly host: () => string },
): F {
  const text = configText(globals);
  if (!wanted.test(text)) return flags;
  const config = new Config(text);
  const more: Record<string, unknown> = {};
  if (flags["detach-keys"] === "") more["detach-keys"] = config.text("detachKeys");
  const formatKey = Object.hasOwn(formatKeys, name) ? formatKeys[name] : undefined;
  if (formatKey && flags["format"] === "" && !flags["quiet"])
    more["format"] = config.text(formatKey);
  if (name.endsWith("prune")) more["filter"] = withFilters(flags["filter"] as string[], config);
  const variables = makers.includes(name) ? "env" : "build-arg" in flags ? "build-arg" : undefined;
  if (variables) {
    const given = flags[variables] as readonly string[];
    more[variables] = [...proxiesFor(config, host, given), ...given];
  }
  return { ...flags, ...more };
}

/** The file, read with an eye on types. What is no JSON at all says nothing here, as in Docker's client. */
class Config {
  readonly #values: Record<string, unknown>;
  constructor(text: string) {
    try {
      const parsed: unknown = JSON.parse(text);
      this.#values = isObject(parsed) ? parsed : {};
    } catch {
      this.#values = {};
    }
  }

  text(key: string): string {
    const value = this.#values[key] ?? "";
    if (typeof value === "string") return value;
    throw new Failure("invalid", `Cannot use "${key}" in config.json: it takes a string`);
  }

  list(key: string): readonly string[] {
    const value = this.#values[key] ?? [];
    if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
    throw new Failure("invalid", `Cannot use "${key}" in config.json: it takes a list of strings`);
  }

  /** The strings of an object in an object. */
  strings(key: string, inner: string): Readonly<Record<string, string>> | undefined {
    const value = this.#values[key] ?? {};
    const found = isObject(value) && Object.hasOwn(value, inner) ? value[inner] : undefined;
    const isRight = isObject(found) && Object.values(found).every((one) => typeof one === "string");
    if (isObject(value) && found === undefined) return undefined;
    if (isRight) return found as Record<string, string>;
    throw new Failure("invalid", `Cannot use "${key}" in config.json: it takes objects of strings`);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** What a prune leaves out everywhere, unless this call says the opposite. */
function withFilters(given: readonly string[], config: Config): string[] {
  const more = config.list("pruneFilters").filter((filter) => {
    const [, key, value] = /^(label!?)=(.+)$/.exec(filter) ?? [];
    const opposite = key === "label" ? `label!=${value}` : `label=${value}`;
    return /^[^=]+=./.test(filter) && !(key && given.includes(opposite));
  });
  return [...given, ...more];
}

const proxyVariables: Readonly<Record<string, string>> = {
  httpProxy: "HTTP_PROXY",
  httpsProxy: "HTTPS_PROXY",
  noProxy: "NO_PROXY",
  ftpProxy: "FTP_PROXY",
  allProxy: "ALL_PROXY",
};

/** Variables in both spellings, but for those that were given: of this engine, or of all. */
function proxiesFor(config: Config, host: () => string, given: readonly string[]): string[] {
  const proxies = config.strings("proxies", host()) ?? config.strings("proxies", "default") ?? {};
  const names = new Set(given.map((pair) => pair.split("=", 1)[0]));
  return Object.entries(proxyVariables).flatMap(([key, name]) => {
    const value = proxies[key] ?? "";
    const both = [name, name.toLowerCase()].filter((each) => value !== "" && !names.has(each));
    return both.map((each) => `${each}=${value}`);
  });
}

/** `HttpHeaders`: sent with each request. @throws Failure "invalid" */
export function configuredHeaders(globals: Globals): Readonly<Record<string, string>> {
  const text = configText(globals);
  if (!text.includes('"HttpHeaders"')) return {};
  const headers = new Config(`{"all":${text}}`).strings("all", "HttpHeaders") ?? {};
  // As Docker's client: it says itself who it is.
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !/^(user-agent|host)$/i.test(name)),
  );
}
