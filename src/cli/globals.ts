/** The flags that stand before the command, and how they choose the engine. */
import { Failure } from "../base/mod.ts";
import type { FlagTable, FlagValues } from "./flags.ts";

export const globalFlags = {
  config: { kind: "string", about: "Folder of the client's configuration (default ~/.docker)" },
  context: {
    kind: "string",
    short: "c",
    about: "Context that names the engine (overrides DOCKER_HOST)",
  },
  debug: { kind: "bool", short: "D", about: "Show where errors come from" },
  host: {
    kind: "list",
    short: "H",
    about: "Address of the engine: unix:///PATH, tcp://HOST:PORT or ssh://HOST",
  },
  "log-level": {
    kind: "string",
    short: "l",
    default: "info",
    about: 'What is logged: "debug", "info", "warn", "error", "fatal"',
  },
  tls: { kind: "bool", about: "Speak TLS; implied by --tlsverify" },
  tlscacert: { kind: "string", about: "Trust only certificates that this authority signed" },
  tlscert: { kind: "string", about: "Certificate of the client" },
  tlskey: { kind: "string", about: "Key of the client's certificate" },
  tlsverify: { kind: "bool", about: "Speak TLS and verify the engine's certificate" },
  version: { kind: "bool", short: "v", about: "Print the version and quit" },
  help: { kind: "bool", about: "Show this text" },
} as const satisfies FlagTable;

export type Globals = FlagValues<typeof globalFlags>;

/** The host's engine; the user's own, where the user is not root and has one. */
export function defaultHost(): string {
  if (process.getuid?.() !== 0) {
    const run = process.env["XDG_RUNTIME_DIR"] || `/tmp/lading-run-${process.getuid?.()}`;
    const own = `${run}/lading/lading.sock`;
    // Only here: it loads slowly.
    const { existsSync } = require("node:fs") as typeof import("node:fs");
    if (existsSync(own)) return `unix://${own}`;
  }
  return "unix:///run/lading/lading.sock";
}

/** Where the client's configuration is: --config, DOCKER_CONFIG or ~/.docker. */
export function configFolder(globals: Globals): string {
  return (
    globals.config || process.env["DOCKER_CONFIG"] || `${process.env["HOME"] ?? "/root"}/.docker`
  );
}

/**
 * The name of the context in use, "default" where flags and environment name the engine.
 * @throws Failure "invalid" — an address and a context
 */
export function currentContext(globals: Globals): string {
  if (globals.host.length > 1) throw new Failure("invalid", "Specify only one -H");
  if (globals.host[0] && globals.context) {
    throw new Failure("invalid", "conflicting options: cannot specify both --host and --context");
  }
  if (globals.host[0]) return "default";
  if (globals.context) return globals.context;
  if (process.env["DOCKER_HOST"]) return "default";
  return process.env["DOCKER_CONTEXT"] || configuredContext(globals) || "default";
}

let textOfConfig: string | undefined;

/**
 * The text of the client's configuration, "" without one. Every command asks: it is read without node:fs,
 * which takes longer to load than a short command has, and parsed by those who find their word in it.
 */
export function configText(globals: Globals): string {
  if (textOfConfig !== undefined) return textOfConfig;
  const path = `${configFolder(globals)}/config.json`;
  try {
    textOfConfig = new TextDecoder().decode(Bun.mmap(path, { shared: false }));
  } catch (error) {
    textOfConfig = (error as { code?: string }).code === "ENOENT" ? "" : readSlowly(path);
  }
  return textOfConfig;
}

/** Bun.mmap opens for writing, which a file may not allow that can be read. */
function readSlowly(path: string): string {
  const { readFileSync } = require("node:fs") as typeof import("node:fs");
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // what is wrong with it, those tell who need it
  }
}

/** What `context use` wrote. */
function configuredContext(globals: Globals): string | undefined {
  const text = configText(globals);
  if (!text.includes('"currentContext"')) return undefined;
  try {
    return (JSON.parse(text) as { currentContext?: string }).currentContext;
  } catch {
    return undefined;
  }
}

/** The address that flags and environment name, for the context "default". */
export function hostOf(globals: Globals): string {
  const named = globals.host[0] ?? (globals.context ? "" : process.env["DOCKER_HOST"]);
  return named ? withScheme(named) : defaultHost();
}

function withScheme(host: string): string {
  if (host.includes("://") || host.startsWith("/")) return host;
  return `tcp://${host}`;
}
