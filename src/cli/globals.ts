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
    about: "Address of the engine: unix:///PATH or tcp://HOST:PORT",
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

export const defaultHost = "unix:///run/lading/lading.sock";

/** The address that flags and environment name. @throws Failure "invalid" — two addresses, or a context we lack */
export function hostOf(globals: Globals): string {
  if (globals.host.length > 1) throw new Failure("invalid", "Specify only one -H");
  if (globals.host[0]) {
    if (globals.context) {
      throw new Failure("invalid", "conflicting options: cannot specify both --host and --context");
    }
    return withScheme(globals.host[0]);
  }
  const context =
    globals.context || (process.env["DOCKER_HOST"] ? "" : process.env["DOCKER_CONTEXT"]);
  if (context && context !== "default") {
    throw new Failure("not_found", `context "${context}": context not found`, {
      hint: `Only the context "default" is known; name the engine with --host`,
    });
  }
  const named = globals.context ? "" : process.env["DOCKER_HOST"];
  return named ? withScheme(named) : defaultHost;
}

function withScheme(host: string): string {
  if (host.includes("://") || host.startsWith("/")) return host;
  return `tcp://${host}`;
}
