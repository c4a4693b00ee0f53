import { Failure, isFailure } from "../base/mod.ts";
import { type Folders, type Location, locate, names, standardFolders } from "./locate.ts";

const mediaType = "application/vnd.docker.plugins.v1.2+json";
const answerBytesMax = 4 * 1024 * 1024;
/** As Docker waits for a plugin. */
const callTimeoutMs = 30_000;
const activateTimeoutMs = 10_000;

/** A plugin that answered the handshake. */
export interface Plugin {
  readonly name: string;
  /** What it says it is: "VolumeDriver", "NetworkDriver", "IpamDriver", "authz", "LogDriver" … */
  readonly implements: readonly string[];
  /**
   * Calls `VolumeDriver.Create` and the like. The answer is what the plugin sent: the caller checks it.
   *
   * @throws "internal" — the plugin refused, in its words; "unavailable" — it cannot be reached;
   * "timeout"; "corrupt" — its answer is no JSON object, or too large
   */
  call(
    method: string,
    body?: unknown,
    options?: { readonly timeoutMs?: number },
  ): Promise<Readonly<Record<string, unknown>>>;
}

export interface Plugins {
  /**
   * The plugin of this name that implements `kind`; found and activated when it is first asked for, and
   * again after it could not be reached.
   *
   * @throws "not_found" — there is none, or it is something else; "unavailable" | "timeout"
   */
  get(name: string, kind: string): Promise<Plugin>;
  /** The names of what can be found, of any kind. Nobody is called. */
  names(): readonly string[];
  /** The plugins of a kind that were used since the start. */
  known(kind: string): readonly Plugin[];
}

/** Looks for plugins in Docker's folders, unless told of others. */
export function openPlugins(folders: Folders = standardFolders): Plugins {
  const active = new Map<string, Promise<Plugin>>();
  const find = (name: string) => {
    const known = active.get(name);
    if (known) return known;
    const forget = () => active.delete(name);
    const activating = activate(name, folders, forget);
    active.set(name, activating);
    activating.catch(forget);
    return activating;
  };
  const settled = new Map<string, Plugin>();
  return {
    async get(name, kind) {
      const plugin = await find(name);
      settled.set(name, plugin);
      if (plugin.implements.includes(kind)) return plugin;
      throw new Failure("not_found", `plugin "${name}" does not implement ${kind}`, {
        hint: `It implements ${plugin.implements.join(", ") || "nothing"}`,
      });
    },
    names: () => names(folders),
    known: (kind) => [...settled.values()].filter((one) => one.implements.includes(kind)),
  };
}

async function activate(name: string, folders: Folders, forget: () => void): Promise<Plugin> {
  const location = locate(name, folders);
  if (!location) {
    const message = `could not find plugin ${name.slice(0, 128)} in v1 plugin registry: plugin not found`;
    const hint = `Plugins are found at ${folders.sockets}/NAME.sock, and in ${folders.specs.join(", ")}`;
    throw new Failure("not_found", message, { hint });
  }
  const call: Plugin["call"] = async (method, body, { timeoutMs = callTimeoutMs } = {}) => {
    try {
      return await post({ name, location, timeoutMs }, method, body);
    } catch (error) {
      // It may come back elsewhere, and as something else: the next use finds and asks it anew.
      if (isFailure(error, "unavailable")) forget();
      throw error;
    }
  };
  const { Implements } = await call("Plugin.Activate", undefined, { timeoutMs: activateTimeoutMs });
  const kinds = Array.isArray(Implements)
    ? Implements.filter((kind) => typeof kind === "string")
    : [];
  return { name, implements: kinds, call };
}

interface Callee {
  readonly name: string;
  readonly location: Location;
  readonly timeoutMs: number;
}

async function post(callee: Callee, method: string, body: unknown) {
  const { name, timeoutMs } = callee;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await send(callee, { method, body, signal });
    const text = await readAll(response, name);
    const answer = parse(text, name, response.ok);
    const reason = typeof answer.Err === "string" ? answer.Err : "";
    if (response.ok && reason === "") return answer;
    const said = reason || (typeof answer.message === "string" ? answer.message : text.trim());
    const cut = (said || `status ${response.status}`).slice(0, 2_000);
    throw new Failure("internal", `${method.split(".")[0]}: plugin "${name}": ${cut}`);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    if (signal.aborted) {
      const message = `Cannot call plugin "${name}": no answer to ${method} within ${timeoutMs} ms`;
      throw new Failure("timeout", message, { cause });
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("unavailable", `Cannot reach plugin "${name}": ${reason}`, { cause });
  }
}

function send(
  { location }: Callee,
  { method, body, signal }: { method: string; body: unknown; signal: AbortSignal },
): Promise<Response> {
  const { address, tls, isInsecure } = location;
  const isUnix = address.startsWith("unix://");
  return fetch(`${isUnix ? "http://plugin" : address}/${method}`, {
    method: "POST",
    headers: { accept: mediaType, "content-type": mediaType },
    body: body === undefined ? "" : JSON.stringify(body),
    signal,
    redirect: "error",
    // The plugin may be gone by the next call, and a kept connection would say so late.
    keepalive: false,
    proxy: "",
    ...(isUnix ? { unix: address.slice("unix://".length) } : {}),
    ...(tls ? { tls: { ...tls, rejectUnauthorized: !isInsecure } } : {}),
  } as RequestInit);
}

/** A plugin is no friend: what it sends is bounded. */
async function readAll(response: Response, name: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > answerBytesMax) throw corrupt(name, `over ${answerBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parse(text: string, name: string, isOk: boolean): Readonly<Record<string, unknown>> {
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!isOk) return {}; // A refusal in plain words.
    throw corrupt(name, "not JSON", error);
  }
  if (value === null) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
  throw corrupt(name, "not an object");
}

const corrupt = (name: string, reason: string, cause?: unknown) =>
  new Failure("corrupt", `Cannot use the answer of plugin "${name}": ${reason}`, { cause });
