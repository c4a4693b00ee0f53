/** Where a plugin listens: a socket, or a file that names an address. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { Failure } from "../base/mod.ts";

/** Docker's folders, the first of which is for sockets alone. */
export const standardFolders = {
  sockets: "/run/docker/plugins",
  specs: ["/etc/docker/plugins", "/usr/lib/docker/plugins"],
} as const;

export interface Folders {
  readonly sockets: string;
  readonly specs: readonly string[];
}

export interface Location {
  /** `unix:///path`, `http://host:port` or `https://host:port`. */
  readonly address: string;
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined;
  /** The plugin's certificate is not checked: its file says so. */
  readonly isInsecure: boolean;
}

const specBytesMax = 65_536;
/** What becomes part of a path: no separator, and no way up. */
const namePattern = /^[A-Za-z0-9][\w.-]{0,127}$/;

/** Finds a plugin by its name; undefined where there is none. @throws "invalid" — its file is wrong */
export function locate(name: string, folders: Folders): Location | undefined {
  if (!namePattern.test(name)) return undefined;
  for (const path of [`${name}.sock`, `${name}/${name}.sock`]) {
    const socket = `${folders.sockets}/${path}`;
    if (isSocket(socket)) return { address: `unix://${socket}`, tls: undefined, isInsecure: false };
  }
  for (const folder of folders.specs) {
    for (const base of [`${folder}/${name}`, `${folder}/${name}/${name}`]) {
      const spec = read(`${base}.spec`);
      if (spec !== undefined) return at(spec.trim(), name);
      const json = read(`${base}.json`);
      if (json !== undefined) return fromJson(json, name);
    }
  }
  return undefined;
}

/** The names of all plugins that can be found, sorted. */
export function names({ sockets, specs }: Folders): string[] {
  const found = [
    ...entries(sockets).map((entry) => entry.replace(/\.sock$/, "")),
    ...specs.flatMap(entries).map((entry) => entry.replace(/\.(spec|json)$/, "")),
  ];
  const folders = { sockets, specs };
  return [...new Set(found)].filter((name) => isThere(name, folders)).sort();
}

function isThere(name: string, folders: Folders): boolean {
  try {
    return locate(name, folders) !== undefined;
  } catch {
    return true; // Its file is wrong: whoever uses it is told so.
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // Most hosts have none of these folders.
  }
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

function read(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isFile()) return undefined;
  if (found.size > specBytesMax) throw new Failure("invalid", `Cannot read "${path}": too large`);
  return readFileSync(path, "utf8");
}

function at(text: string, name: string, rest: Partial<Location> = {}): Location {
  const unix = /^unix:\/\/(\/\S+)$/.exec(text);
  const tcp = /^(tcp|http|https):\/\/([^\s/]+)\/?$/.exec(text);
  const scheme = rest.tls || tcp?.[1] === "https" ? "https" : "http";
  const address = unix ? text : tcp ? `${scheme}://${tcp[2]}` : undefined;
  if (address) return { tls: undefined, isInsecure: false, ...rest, address };
  throw new Failure(
    "invalid",
    `Cannot reach plugin "${name}": "${text.slice(0, 200)}" is no address`,
    {
      hint: "A plugin's file has unix:///PATH or tcp://HOST:PORT",
    },
  );
}

interface Json {
  readonly Addr?: unknown;
  readonly TLSConfig?: Readonly<Record<string, unknown>> | null;
}

function fromJson(text: string, name: string): Location {
  let json: Json;
  try {
    json = JSON.parse(text) as Json;
  } catch (cause) {
    throw new Failure("invalid", `Cannot read the file of plugin "${name}": not JSON`, { cause });
  }
  const { Addr, TLSConfig } = json ?? {};
  if (!TLSConfig) return at(String(Addr ?? ""), name);
  const file = (key: string) => {
    const path = TLSConfig[key];
    const content = typeof path === "string" && path !== "" ? read(path) : undefined;
    if (path && content === undefined) {
      throw new Failure("invalid", `Cannot reach plugin "${name}": ${key} "${path}" is absent`);
    }
    return content;
  };
  const [ca, cert, key] = [file("CAFile"), file("CertFile"), file("KeyFile")];
  const tls = { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
  return at(String(Addr ?? ""), name, { tls, isInsecure: TLSConfig.InsecureSkipVerify === true });
}
