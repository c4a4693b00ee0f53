/** The registry's command line. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { Failure, type Level } from "./base/mod.ts";

export interface RegistryOptions {
  readonly host: string;
  readonly port: number;
  readonly dataRoot: string;
  readonly logLevel: Level;
  readonly pidFile: string | undefined;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly htpasswd: string | undefined;
  readonly config: string | undefined;
  readonly storage: string | undefined;
}

export const registryUsage = `Usage:  lading registry serve [OPTIONS]

Serves a registry in the foreground. It prints one line when it accepts requests; SIGTERM ends it.

Options:
      --addr HOST:PORT      Where to listen (default 127.0.0.1:5000); port 0 takes any that is free
      --data-root string    Where blobs and names are kept (default /var/lib/lading-registry)
      --storage string      Keep blobs in a bucket: s3://BUCKET/PREFIX?endpoint=URL&region=NAME
      --config string       JSON file: users, rules, limits, retention, upstreams, webhooks
      --htpasswd string     Let in the users of this file only, with Basic (bcrypt: htpasswd -B)
      --tls-cert string     Certificate (PEM, with its chain)
      --tls-key string      Its private key (PEM)
  -l, --log-level string    debug, info, warn or error (default info)
  -p, --pidfile string      Write the process ID to this file
      --help                Show this text
`;

export const upkeepUsage = `Usage:  lading registry gc [OPTIONS]
        lading registry fsck [OPTIONS]

gc removes what nobody needs: uploads that were given up, blobs that no manifest refers to, manifests
deleted long ago, and what the retention rules let go. fsck compares names with bytes.
Both work while the registry serves, and when it does not.

Options:
      --data-root string    The registry's data root (default /var/lib/lading-registry)
      --config string       JSON file, when the registry does not serve: retention, limits
      --dry-run             gc: change nothing, tell what would go
      --explain             gc: tell of each thing, and why it goes
      --grace time          gc: leave what a push has touched within this time (30m, 12h, 7d)
      --history time        gc: leave what was deleted within this time
      --quick               fsck: look at sizes alone
      --repair              fsck: forget damaged bytes, so that the next push brings them again
      --json                Print the whole report as JSON
      --help                Show this text
`;

export interface UpkeepOptions {
  readonly dataRoot: string;
  readonly config: string | undefined;
  readonly isJson: boolean;
  /** As the registry's own path takes them. */
  readonly query: URLSearchParams;
}

/** The options of `registry gc` and `registry fsck`. @throws Failure "invalid" */
export function parseUpkeepOptions(argv: readonly string[]): UpkeepOptions | "help" {
  const values = parse(argv);
  if (values.help) return "help";
  const query = new URLSearchParams();
  for (const name of ["dry-run", "explain", "quick", "repair"] as const) {
    if (values[name]) query.set(name, "1");
  }
  for (const name of ["grace", "history"] as const) {
    if (values[name] !== undefined) query.set(name, values[name]);
  }
  const dataRoot = resolve(values["data-root"] ?? "/var/lib/lading-registry");
  return { dataRoot, config: values.config, isJson: values.json ?? false, query };
}

/** @throws Failure "invalid" — an unknown flag or a value that is none of the allowed */
export function parseRegistryOptions(argv: readonly string[]): RegistryOptions | "help" {
  const values = parse(argv);
  if (values.help) return "help";
  const { "tls-cert": cert, "tls-key": key } = values;
  if ((cert === undefined) !== (key === undefined)) {
    throw new Failure("invalid", "Cannot serve TLS: --tls-cert and --tls-key go together");
  }
  return {
    ...parseAddress(values.addr ?? "127.0.0.1:5000"),
    dataRoot: resolve(values["data-root"] ?? "/var/lib/lading-registry"),
    logLevel: parseLevel(values["log-level"] ?? "info"),
    pidFile: values.pidfile,
    tls: cert !== undefined && key !== undefined ? { cert, key } : undefined,
    htpasswd: values.htpasswd,
    config: values.config,
    storage: values.storage,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        addr: { type: "string" },
        "data-root": { type: "string" },
        config: { type: "string" },
        storage: { type: "string" },
        htpasswd: { type: "string" },
        "tls-cert": { type: "string" },
        "tls-key": { type: "string" },
        "log-level": { type: "string", short: "l" },
        pidfile: { type: "string", short: "p" },
        "dry-run": { type: "boolean" },
        explain: { type: "boolean" },
        quick: { type: "boolean" },
        repair: { type: "boolean" },
        json: { type: "boolean" },
        grace: { type: "string" },
        history: { type: "string" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (cause) {
    const why = (cause as Error).message.split(". ")[0];
    throw new Failure("invalid", `Cannot serve a registry: ${why}`, {
      hint: `See "lading registry serve --help"`,
      cause,
    });
  }
}

/** `127.0.0.1:5000`, `[::1]:5000`, `:5000` (every address). @throws "invalid" */
export function parseAddress(text: string): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:/[\]]*):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match || port > 65_535) {
    throw new Failure("invalid", `Cannot listen on "${text}": not an address`, {
      hint: "Use HOST:PORT, as 127.0.0.1:5000",
    });
  }
  return { host: match[1]!.replace(/^\[|\]$/g, "") || "0.0.0.0", port };
}

function parseLevel(text: string): Level {
  if (text === "debug" || text === "info" || text === "warn" || text === "error") return text;
  throw new Failure("invalid", `Cannot use log level "${text}": debug, info, warn or error`);
}
