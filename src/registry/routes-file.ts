import { readFileSync, statSync } from "node:fs";
import { closest, Failure } from "../base/mod.ts";
import { JsonReader } from "../oci/mod.ts";
import type { RegistrySettings } from "./client-host.ts";
import type { Mirror, Routes } from "./client-routes.ts";
import type { Credentials } from "./client-token.ts";

/** What a table of registries comes to. */
export interface Table {
  readonly insecure: readonly string[];
  readonly routes: Routes;
}

const fileBytesMax = 1 << 20;
const entriesMax = 10_000;
const hubDomain = "docker.io";
const hubAddresses = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/**
 * Reads a table of registries from a file. With `isOptional`, an absent one is an empty table.
 * @throws Failure "not_found" | "denied" | "invalid" — says which field, and why
 */
export function readTable(path: string, isOptional: boolean): Table {
  let bytes: Uint8Array;
  let mode: number;
  try {
    ({ mode } = statSync(path));
    bytes = readFileSync(path);
  } catch (cause) {
    const isAbsent = (cause as { code?: string }).code === "ENOENT";
    if (isAbsent && isOptional) return parseTable(Buffer.from("{}"), path);
    const why = isAbsent ? "there is no such file" : "it cannot be read";
    const code = isAbsent ? "not_found" : "denied";
    throw new Failure(code, `Cannot read the registries of "${path}": ${why}`, { cause });
  }
  const table = parseTable(bytes, path);
  if (table.routes.credentials.size > 0 && (mode & 0o077) !== 0) {
    throw new Failure("denied", `Cannot use "${path}": others may read the passwords in it`, {
      hint: `chmod 600 ${path}`,
    });
  }
  return table;
}

/** @throws Failure "invalid" */
export function parseTable(bytes: Uint8Array, path: string): Table {
  if (bytes.length > fileBytesMax) {
    throw new Failure("invalid", `Cannot use "${path}": it is over ${fileBytesMax} bytes`);
  }
  try {
    return readTop(JsonReader.parse(bytes, `table of registries "${path}"`));
  } catch (cause) {
    if (!(cause instanceof Failure)) throw cause;
    const { message, hint } = cause;
    throw new Failure("invalid", message, { cause, ...(hint ? { hint } : {}) });
  }
}

function readTop(reader: JsonReader): Table {
  onlyFields(reader, ["default", "rewrites", "registries"]);
  const registries = entriesOf(reader.field("registries")).map(([domain, field]) =>
    readRegistry(domain, field),
  );
  const rewrites = entriesOf(reader.field("rewrites")).map(([from, field]) => {
    const { domain, prefix } = readMirror(from.replace(/\/$/, ""), field);
    const to = readMirror(field.text().replace(/\/$/, ""), field);
    const start = `${domain}/${prefix}`.slice(0, -1);
    if (start === `${to.domain}/${to.prefix}`.slice(0, -1)) throw field.fail("it leads to itself");
    return { from: start, to };
  });
  const fallback = reader.field("default");
  return {
    insecure: registries.flatMap(({ insecure }) => insecure),
    routes: {
      ...(fallback.isAbsent ? {} : { defaultTo: readMirror(fallback.text(), fallback) }),
      rewrites: rewrites.sort((a, b) => b.from.length - a.from.length),
      mirrors: new Map(registries.map(({ domain, mirrors }) => [domain, mirrors])),
      credentials: new Map(
        registries.flatMap(({ domain, credentials }) =>
          credentials ? [[domain, credentials] as const] : [],
        ),
      ),
    },
  };
}

interface Entry {
  readonly domain: string;
  readonly mirrors: readonly Mirror[];
  readonly insecure: readonly string[];
  readonly credentials: Credentials | undefined;
}

function readRegistry(domain: string, reader: JsonReader): Entry {
  onlyFields(reader, ["mirrors", "insecure", "username", "password"]);
  const { prefix } = readMirror(domain, reader);
  if (prefix !== "") throw reader.fail("a registry is HOST or HOST:PORT, without a path");
  const insecure = reader.field("insecure");
  const mirrors = reader.field("mirrors");
  const read = mirrors.isAbsent ? [] : mirrors.items(100).map(readMirrorUrl);
  const own = read.find((mirror) => mirror.domain === domain && mirror.prefix === "");
  if (own) throw mirrors.fail(`"${domain}" cannot be its own mirror`);
  return {
    domain,
    mirrors: read.map(({ domain: host, prefix: start }) => ({ domain: host, prefix: start })),
    insecure: [
      ...(!insecure.isAbsent && insecure.flag() ? [domain] : []),
      ...read.flatMap((mirror) => (mirror.isPlain ? [mirror.domain] : [])),
    ],
    credentials: readCredentials(reader),
  };
}

function readCredentials(reader: JsonReader): Credentials | undefined {
  const [username, password] = [reader.field("username"), reader.field("password")];
  if (username.isAbsent && password.isAbsent) return undefined;
  if (username.isAbsent || password.isAbsent) {
    throw reader.fail("username and password go together");
  }
  return { username: username.text(), password: password.text() };
}

interface MirrorUrl extends Mirror {
  /** Reached without TLS. */
  readonly isPlain: boolean;
}

function readMirrorUrl(reader: JsonReader): MirrorUrl {
  return parseMirror(reader.text(), (why) => reader.fail(why));
}

/** `https://mirror.lan:5000/hub`, as dockerd's `--registry-mirror` takes it. @throws "invalid" */
export function parseMirrorFlag(text: string): MirrorUrl {
  const fail = (why: string) =>
    new Failure("invalid", `Cannot use the mirror "${text.slice(0, 300)}": ${why}`);
  return parseMirror(text, fail);
}

function readMirror(text: string, reader: JsonReader): Mirror {
  const { domain, prefix } = parseMirror(text, (why) => reader.fail(why), false);
  return { domain, prefix };
}

const part = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const shape = new RegExp(
  `^(?:(https?)://)?((?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9a-fA-F:]+\\])(?::\\d{1,5})?)((?:/${part})*)/?$`,
);

function parseMirror(text: string, fail: (why: string) => Failure, isUrl = true): MirrorUrl {
  const [, scheme, domain = "", path = ""] = (text.length <= 1_000 && shape.exec(text)) || [];
  const shown = text.slice(0, 200);
  if (domain === "") {
    throw fail(`"${shown}" is not ${isUrl ? "[http[s]://]" : ""}HOST[:PORT][/PATH]`);
  }
  if (scheme && !isUrl) throw fail(`"${shown}" is an address; leave out ${scheme}://`);
  if (hubAddresses.includes(domain)) throw fail(`Docker Hub is named "${hubDomain}" here`);
  if (!/[.:]/.test(domain) && domain !== "localhost") {
    throw fail(`"${domain}" is not a registry: it has neither a dot nor a port`);
  }
  const prefix = path === "" ? "" : `${path.slice(1)}/`;
  return { domain, prefix, isPlain: scheme === "http" };
}

function onlyFields(reader: JsonReader, names: readonly string[]): void {
  for (const [name, value] of reader.entries(entriesMax)) {
    if (names.includes(name)) continue;
    const near = closest(name, names);
    const hint = near ? `did you mean "${near}"?` : `there are ${names.join(", ")}`;
    throw value.fail(`no such field; ${hint}`);
  }
}

function entriesOf(reader: JsonReader): [string, JsonReader][] {
  return reader.isAbsent ? [] : reader.entries(entriesMax);
}

/** The settings of a table together with those of flags: mirrors of Docker Hub, insecure registries. */
export function joinSettings(
  { insecure, routes }: Table,
  flags: { insecure: readonly string[]; hubMirrors: readonly string[] },
): RegistrySettings & { readonly routes: Routes } {
  const given = flags.hubMirrors.map(parseMirrorFlag);
  const plain = given.filter(({ isPlain }) => isPlain).map(({ domain }) => domain);
  const hub = [...given.map(({ domain, prefix }) => ({ domain, prefix })), ...hubOf(routes)];
  return {
    insecure: [...flags.insecure, ...insecure, ...plain],
    routes: { ...routes, mirrors: new Map([...routes.mirrors, [hubDomain, hub]]) },
  };
}

const hubOf = (routes: Routes) => routes.mirrors.get(hubDomain) ?? [];
