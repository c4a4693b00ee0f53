/** The daemon's command line: flags as dockerd's where it has the same. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { Failure, type Level } from "./base/mod.ts";
import { type AddressPool, parseAddressPool } from "./network/mod.ts";
import { parseAddress } from "./registry-options.ts";

export interface DaemonOptions {
  /** `unix:///path` or `tcp://host:port`. */
  readonly hosts: readonly string[];
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly bridge: string;
  readonly runtime: string;
  readonly seccompProfile: string | undefined;
  readonly dns: readonly string[];
  /** Where networks without a subnet get theirs from; undefined for Docker's own pools. */
  readonly addressPools: readonly AddressPool[] | undefined;
  readonly logLevel: Level;
  readonly pidFile: string | undefined;
  /** Registries without TLS, or with a certificate that nobody vouches for: HOST[:PORT] or a range. */
  readonly insecureRegistries: readonly string[];
  /** Mirrors of Docker Hub, as dockerd's. */
  readonly registryMirrors: readonly string[];
  /** The table of registries; undefined where it is the default one, which may be absent. */
  readonly registriesFile: string | undefined;
  /** The build cache is cut to this. */
  readonly buildCacheBytesMax: number;
  /** Containers go on when the daemon ends. */
  readonly liveRestore: boolean;
  /** May set the host's control groups up for quick starts (`favordynmods`). */
  readonly favorGroupMoves: boolean;
  /** A registry in this process: where it listens, and its configuration file. */
  readonly registry: { host: string; port: number; config: string | undefined } | undefined;
}

export const daemonUsage = `Usage:  lading daemon [OPTIONS]

Runs an engine in the foreground. It prints one line when it accepts requests; SIGTERM ends it.

Options:
  -H, --host list               Where to listen: unix:///PATH or tcp://HOST:PORT
                                (default unix:///run/lading/lading.sock)
      --data-root string        Where images, containers and volumes are kept (default /var/lib/lading)
      --exec-root string        Where the state of this run of the host is kept (default /run/lading)
      --bridge string           Bridge device of the default network (default lading0)
      --runtime string          OCI runtime (default crun)
      --seccomp-profile string  Default seccomp profile (default that of Debian's containers-common)
      --default-address-pool list
                                Where networks get their subnets from: base=10.9.0.0/16,size=24
      --dns list                DNS servers for containers (default the host's)
      --insecure-registry list  Registries to be reached without TLS, or without checking it:
                                HOST[:PORT] or a range as 10.0.0.0/8 (this host always is)
      --registry-mirror list    Ask this registry before Docker Hub: https://HOST[:PORT][/PATH]
      --registries string       JSON file: mirrors, rewrites, default registry; read again on SIGHUP
                                (default /etc/lading/registries.json, if it is there)
      --registry HOST:PORT      Serve a registry as well, on the engine's disk (default none)
      --registry-config string  Its configuration file: users, rules, TLS, limits
      --build-cache-max bytes   The build cache is cut to this size, least valuable first (default 20g)
      --live-restore bool       Containers go on when the engine ends (default true)
      --favor-dynmods bool      Set the host's control groups to favordynmods, for quick starts (default
                                true): stays set until the host restarts
  -l, --log-level string        debug, info, warn or error (default info)
  -p, --pidfile string          Write the process ID to this file
      --help                    Show this text
`;

/** @throws Failure "invalid" — an unknown flag or a value that is none of the allowed */
export function parseDaemonOptions(argv: readonly string[]): DaemonOptions | "help" {
  const values = parse(argv);
  if (values.help) return "help";
  const bridge = values.bridge ?? "lading0";
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(bridge)) {
    throw new Failure(
      "invalid",
      `Cannot use bridge name "${bridge}": 1 to 15 letters, digits, "_.-"`,
    );
  }
  return {
    hosts: values.host ?? ["unix:///run/lading/lading.sock"],
    dataRoot: resolve(values["data-root"] ?? "/var/lib/lading"),
    execRoot: resolve(values["exec-root"] ?? "/run/lading"),
    bridge,
    runtime: values.runtime ?? "crun",
    seccompProfile: values["seccomp-profile"],
    dns: values.dns ?? [],
    addressPools: values["default-address-pool"]?.map(parseAddressPool),
    insecureRegistries: values["insecure-registry"] ?? [],
    registryMirrors: values["registry-mirror"] ?? [],
    registriesFile: values.registries,
    logLevel: parseLevel(values["log-level"] ?? "info"),
    pidFile: values.pidfile,
    buildCacheBytesMax: parseBytes(values["build-cache-max"] ?? "20g", "build-cache-max"),
    liveRestore: values["live-restore"] !== "false",
    favorGroupMoves: values["favor-dynmods"] !== "false",
    registry: parseRegistry(values.registry, values["registry-config"]),
  };
}

function parseRegistry(address: string | undefined, config: string | undefined) {
  if (address !== undefined) return { ...parseAddress(address), config };
  if (config === undefined) return undefined;
  throw new Failure("invalid", "Cannot use --registry-config without --registry");
}

function parse(argv: readonly string[]) {
  // A bare --live-restore is --live-restore=true, as Go's flags have it.
  const args = argv.map((word) => word.replace(/^--(live-restore|favor-dynmods)$/, "$&=true"));
  try {
    return parseArgs({
      args,
      options: {
        host: { type: "string", short: "H", multiple: true },
        "data-root": { type: "string" },
        "exec-root": { type: "string" },
        bridge: { type: "string" },
        runtime: { type: "string" },
        "seccomp-profile": { type: "string" },
        "default-address-pool": { type: "string", multiple: true },
        dns: { type: "string", multiple: true },
        "insecure-registry": { type: "string", multiple: true },
        "registry-mirror": { type: "string", multiple: true },
        registries: { type: "string" },
        "build-cache-max": { type: "string" },
        "live-restore": { type: "string" },
        "favor-dynmods": { type: "string" },
        registry: { type: "string" },
        "registry-config": { type: "string" },
        "log-level": { type: "string", short: "l" },
        pidfile: { type: "string", short: "p" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (cause) {
    throw new Failure(
      "invalid",
      `Cannot start an engine: ${(cause as Error).message.split(". ")[0]}`,
      {
        hint: `See "lading daemon --help"`,
        cause,
      },
    );
  }
}

function parseLevel(text: string): Level {
  if (text === "debug" || text === "info" || text === "warn" || text === "error") return text;
  throw new Failure("invalid", `Cannot use log level "${text}": debug, info, warn or error`);
}

/** `20g`, `512MB`, `1000000`. @throws Failure "invalid" */
function parseBytes(text: string, flag: string): number {
  const [, digits, unit = ""] = /^(\d{1,15})\s*([kmgt]?)i?b?$/i.exec(text) ?? [];
  if (digits !== undefined)
    return Number(digits) * 1024 ** " kmgt".indexOf(unit.toLowerCase() || " ");
  throw new Failure("invalid", `Cannot use --${flag} "${text}": a size as 20g or 512m`);
}
