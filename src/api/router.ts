/**
 * From a request's method and path to the function that answers it. The endpoints stand in groups by
 * the first word of their path; a group's code is loaded by its first request.
 */
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { apiVersion, apiVersionMin } from "./answers.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";

export type Handle = (
  exchange: Exchange,
  context: Context,
  parameters: readonly string[],
) => Promise<void> | void;

/** Method, path with `{id}` (one word) or `{name}` (any number of words), and what answers it. */
export type Route = readonly [method: string, pattern: string, handle: Handle];

type Group = () => Promise<{ routes: readonly Route[] }>;

const groups: Readonly<Record<string, Group>> = {
  containers: () => import("./route-containers.ts"),
  exec: () => import("./route-containers.ts"),
  images: () => import("./route-images.ts"),
  commit: () => import("./route-containers.ts"),
  distribution: () => import("./route-images.ts"),
  build: () => import("./route-build.ts"),
  networks: () => import("./route-networks.ts"),
  volumes: () => import("./route-volumes.ts"),
  _ping: () => import("./route-system.ts"),
  version: () => import("./route-system.ts"),
  info: () => import("./route-system.ts"),
  auth: () => import("./route-system.ts"),
  events: () => import("./route-system.ts"),
  system: () => import("./route-system.ts"),
  lading: () => import("./route-system.ts"),
  session: () => import("./route-buildkit.ts"),
  grpc: () => import("./route-buildkit.ts"),
  plugins: () => import("./route-absent.ts"),
  swarm: () => import("./route-absent.ts"),
  nodes: () => import("./route-absent.ts"),
  services: () => import("./route-absent.ts"),
  tasks: () => import("./route-absent.ts"),
  secrets: () => import("./route-absent.ts"),
  configs: () => import("./route-absent.ts"),
};

interface Table {
  readonly exact: Map<string, Handle>;
  readonly patterns: (readonly [method: string, pattern: RegExp, handle: Handle])[];
}

/** Compiles a group's routes: fixed paths are looked up, the others tried in order. */
export function tableOf(routes: readonly Route[]): Table {
  const table: Table = { exact: new Map(), patterns: [] };
  for (const [method, pattern, handle] of routes) {
    if (!pattern.includes("{")) table.exact.set(`${method} ${pattern}`, handle);
    else {
      const source = pattern.replace("{name}", "(.+)").replace("{id}", "([^/]+)");
      table.patterns.push([method, new RegExp(`^${source}$`), handle]);
    }
  }
  return table;
}

const loaded = new Map<string, Promise<Table>>();

/** Loads a group ahead of its first request. */
export function preload(name: string): Promise<Table> {
  let table = loaded.get(name);
  if (!table) {
    table = groups[name]!().then(({ routes }) => tableOf(routes));
    loaded.set(name, table);
  }
  return table;
}

/** A path with `//`, `.` or `..` as it should be, and the query; undefined for one that is. */
function cleaned(target: string): string | undefined {
  const end = target.indexOf("?");
  const path = end === -1 ? target : target.slice(0, end);
  if (!path.startsWith("/") || !/\/\/|\/\.\.?(\/|$)/.test(path)) return undefined;
  return posix.normalize(path) + target.slice(path.length);
}

/** Answers a request. @throws Failure — "not_found" where there is no such page */
export async function route(exchange: Exchange, context: Context): Promise<void> {
  const elsewhere = cleaned(exchange.target);
  if (elsewhere !== undefined) return exchange.empty(301, `Location: ${elsewhere}\r\n`);
  const { path, minor } = splitTarget(exchange.target);
  exchange.path = path;
  exchange.minor = minor;
  if (exchange.method === "OPTIONS") return exchange.empty(200);
  const name = path.slice(1, (path.indexOf("/", 1) + 1 || path.length + 1) - 1);
  if (!Object.hasOwn(groups, name)) throw pageNotFound();
  const table = await preload(name);
  const exact = table.exact.get(`${exchange.method} ${path}`);
  if (exact) return exact(exchange, context, []);
  for (const [method, pattern, handle] of table.patterns) {
    if (method !== exchange.method) continue;
    const match = pattern.exec(path);
    if (match) return handle(exchange, context, match.slice(1));
  }
  throw pageNotFound();
}

function pageNotFound(): Failure {
  return new Failure("not_found", "page not found");
}

/** Path and version of a request's target. @throws Failure "invalid" — a version we do not speak */
export function splitTarget(target: string): { path: string; minor: number } {
  const end = target.indexOf("?");
  let path = decodePath(end === -1 ? target : target.slice(0, end));
  let minor = minorOf(apiVersion);
  const version = /^\/v(\d+(?:\.\d+)*)(?=\/)/.exec(path);
  if (version) {
    minor = checkVersion(version[1]!);
    path = path.slice(version[0].length);
  }
  return { path, minor };
}

function decodePath(text: string): string {
  // Absolute form (RFC 9112, 3.2.2), as a proxy would send it; systeminformation asks for `http:/info`.
  const path = text.replace(/^https?:(?:\/\/[^/]*)?(?=\/)/, "");
  try {
    return path.includes("%") ? decodeURIComponent(path) : path;
  } catch (cause) {
    throw new Failure("invalid", "Cannot read the request's path: malformed escape", { cause });
  }
}

const minorOf = (version: string) => Number(version.split(".")[1] ?? 0);

function checkVersion(text: string): number {
  const major = Number(text.split(".")[0]);
  const minor = minorOf(text);
  if (major > 1 || (major === 1 && minor > minorOf(apiVersion))) {
    throw new Failure(
      "invalid",
      `client version ${text} is too new. Maximum supported API version is ${apiVersion}`,
    );
  }
  if (major < 1 || minor < minorOf(apiVersionMin)) {
    throw new Failure(
      "invalid",
      `client version ${text} is too old. Minimum supported API version is ${apiVersionMin}, ` +
        "please upgrade your client to a newer version",
    );
  }
  return minor;
}
