/** What the daemon is told by its flags and by `daemon.json`: values, checked. */

import { resolve } from "node:path";
import { Failure, type Level } from "./base/mod.ts";
import { readSettings, type Settings } from "./daemon-file.ts";
import type { ContainerDefaults } from "./engine/mod.ts";
import {
  type AddressPool,
  checkAddress,
  type DefaultBridge,
  defineDefaultBridge,
  parseAddressPool,
} from "./network/mod.ts";
import { parseAddress } from "./registry-options.ts";
import { isRootless, rootlessPlaces } from "./rootless.ts";
import { cdiFolders } from "./runtime/mod.ts";

export interface DaemonOptions {
  /** `unix:///path`, `tcp://host:port` or `fd://`. */
  readonly hosts: readonly string[];
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly bridge: string;
  readonly defaultBridge: DefaultBridge;
  /** Where networks without a subnet get theirs from; undefined for Docker's own pools. */
  readonly addressPools: readonly AddressPool[] | undefined;
  /** The default runtime's name, and the programs by name. */
  readonly runtime: string;
  readonly runtimes: Readonly<Record<string, RuntimeProgram>>;
  readonly seccompProfile: string | undefined;
  /** Whose subordinate IDs containers' users are; undefined: they are the host's. */
  readonly usernsRemap: string | undefined;
  readonly dns: readonly string[];
  /** Whether the host's rules for what comes in decide about published ports. */
  readonly firewall: "publish" | "respect";
  readonly logLevel: Level;
  readonly logFormat: "text" | "json";
  readonly pidFile: string | undefined;
  /** The group that the socket belongs to. */
  readonly group: string | undefined;
  readonly tls: TlsFiles | undefined;
  readonly allowsPlainTcp: boolean;
  readonly metricsAddress: { readonly host: string; readonly port: number } | undefined;
  readonly labels: readonly string[];
  /** Registries without TLS, or with a certificate that nobody vouches for: HOST[:PORT] or a range. */
  readonly insecureRegistries: readonly string[];
  /** Plugins that are asked about each request, in this order. */
  readonly authorizationPlugins: readonly string[];
  /** Mirrors of Docker Hub, as dockerd's. */
  readonly registryMirrors: readonly string[];
  /** The table of registries; undefined where it is the default one, which may be absent. */
  readonly registriesFile: string | undefined;
  /** Where devices are described. */
  readonly cdiFolders: readonly string[];
  /** What "host-gateway" stands for; none for the default bridge's address. */
  readonly hostGateways: readonly string[];
  /** Published ports are reached by a route to the container's address, too. */
  readonly directRouting: boolean;
  readonly proxies: { readonly http: string; readonly https: string; readonly none: string };
  readonly downloadsAtOnce: number;
  readonly uploadsAtOnce: number;
  /** The build cache is cut to this. */
  readonly buildCacheBytesMax: number;
  /** Containers go on when the daemon ends. */
  readonly liveRestore: boolean;
  readonly shutdownTimeoutS: number;
  /** May set the host's control groups up for quick starts (`favordynmods`). */
  readonly favorGroupMoves: boolean;
  readonly containers: ContainerDefaults;
  /** A registry in this process: where it listens, and its configuration file. */
  readonly registry: { host: string; port: number; config: string | undefined } | undefined;
  /** Check only. */
  readonly validates: boolean;
  /** Settings that have no effect. */
  readonly warnings: readonly string[];
  /** What was said, by flag: to compare with at a reload. */
  readonly settings: Settings;
}

/** An OCI runtime, as `runtimes` in Docker's file has it. */
export interface RuntimeProgram {
  readonly path: string;
  readonly runtimeArgs?: readonly string[];
}

/** Paths of PEM files. `verifies`: clients must show a certificate of `ca`. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly verifies: boolean;
}

/** Reads single settings. */
class Values {
  readonly #settings: Settings;
  constructor(settings: Settings) {
    this.#settings = settings;
  }
  list(flag: string): readonly string[] {
    return this.#settings.get(flag) ?? [];
  }
  text(flag: string): string | undefined {
    return this.#settings.get(flag)?.at(-1) || undefined;
  }
  is(flag: string): boolean | undefined {
    const value = this.text(flag);
    return value === undefined ? undefined : value === "true";
  }
  count(flag: string, absent: number, min: number): number {
    const value = Number(this.text(flag) ?? absent);
    if (value >= min) return value;
    throw new Failure("invalid", `Cannot use --${flag} ${value}: it must be at least ${min}`);
  }
  word<const W extends string>(flag: string, words: readonly W[]): W | undefined {
    const text = this.text(flag);
    const word = words.find((each) => each === text);
    if (text === undefined || word !== undefined) return word;
    throw new Failure("invalid", `Cannot use --${flag} "${text}": ${words.join(", ")}`);
  }
  pairs(flag: string): Record<string, string> {
    return Object.fromEntries(this.list(flag).map((pair) => split(pair)));
  }
}

function split(pair: string): [string, string] {
  const at = pair.indexOf("=");
  return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
}

/** @throws Failure "invalid" — an unknown flag or key, or a value that is none of the allowed */
export function parseDaemonOptions(argv: readonly string[]): DaemonOptions | "help" {
  const { settings, warnings } = readSettings(argv);
  if (settings.has("help")) return "help";
  const values = new Values(settings);
  return {
    ...parsePlaces(values),
    ...parseRuntimes(values),
    cdiFolders: parseFolders(values),
    hostGateways: parseHostGateways(values),
    directRouting: values.is("allow-direct-routing") ?? false,
    ...parseRegistries(values),
    logLevel: parseLevel(values),
    logFormat: values.word("log-format", ["text", "json"]) ?? "text",
    labels: parseLabels(values),
    authorizationPlugins: values.list("authorization-plugin"),
    buildCacheBytesMax: bytesOf(values, "build-cache-max") ?? 20 * 2 ** 30,
    liveRestore: values.is("live-restore") ?? true,
    shutdownTimeoutS: values.count("shutdown-timeout", 15, -1),
    favorGroupMoves: values.is("favor-dynmods") ?? true,
    containers: parseContainerDefaults(values),
    validates: values.is("validate") ?? false,
    warnings,
    settings,
  };
}

const rootPlaces = {
  host: "unix:///run/lading/lading.sock",
  dataRoot: "/var/lib/lading",
  execRoot: "/run/lading",
};

function parsePlaces(values: Values) {
  const bridge = values.text("bridge") ?? "lading0";
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(bridge)) {
    throw new Failure(
      "invalid",
      `Cannot use bridge name "${bridge}": 1 to 15 letters, digits, "_.-"`,
    );
  }
  const hosts = values.list("host");
  const places = isRootless ? rootlessPlaces() : rootPlaces;
  const pools = values.list("default-address-pool");
  const metrics = values.text("metrics-addr");
  return {
    hosts: hosts.length > 0 ? hosts : [places.host],
    dataRoot: resolve(values.text("data-root") ?? places.dataRoot),
    execRoot: resolve(values.text("exec-root") ?? places.execRoot),
    bridge,
    defaultBridge: parseBridge(values),
    addressPools: pools.length > 0 ? pools.map(parseAddressPool) : undefined,
    dns: parseDns(values),
    firewall: values.word("firewall", ["publish", "respect"]) ?? ("publish" as const),
    pidFile: values.text("pidfile"),
    group: values.text("group"),
    tls: parseTls(values),
    allowsPlainTcp: values.is("allow-plain-tcp") ?? false,
    metricsAddress: metrics === undefined ? undefined : parseAddress(metrics),
  };
}

function parseBridge(values: Values): DefaultBridge {
  const mtu = values.count("mtu", 0, 0);
  return defineDefaultBridge({
    bip: values.text("bip"),
    bip6: values.text("bip6"),
    fixedCidr: values.text("fixed-cidr"),
    fixedCidr6: values.text("fixed-cidr-v6"),
    ipv6: values.is("ipv6"),
    icc: values.is("icc"),
    masquerade: values.is("ip-masq"),
    hostAddress: values.text("ip"),
    mtu: mtu === 0 ? undefined : mtu,
    gateway: values.text("default-gateway"),
    gateway6: values.text("default-gateway-v6"),
  });
}

/** An empty name is no folder: alone, it switches the devices off, as in dockerd. */
function parseFolders(values: Values): readonly string[] {
  const asked = values.list("cdi-spec-dir");
  if (asked.length === 0) return cdiFolders;
  return asked.filter((folder) => folder !== "").map((folder) => resolve(folder));
}

function parseDns(values: Values): readonly string[] {
  for (const text of values.list("dns")) checkAddress(text, "dns");
  return values.list("dns");
}

function parseHostGateways(values: Values): readonly string[] {
  const asked = values.list("host-gateway-ip").filter((text) => text !== "");
  const families = asked.map((text) => checkAddress(text, "host-gateway-ips"));
  if (families.length === new Set(families).size) return asked;
  throw new Failure(
    "invalid",
    "only one IPv4 and one IPv6 host gateway IP address can be specified",
  );
}

function parseTls(values: Values): TlsFiles | undefined {
  const verifies = values.is("tlsverify") ?? false;
  if (!verifies && !values.is("tls")) return undefined;
  const folder =
    process.env["DOCKER_CERT_PATH"] ??
    process.env["DOCKER_CONFIG"] ??
    `${process.env["HOME"] ?? "/root"}/.docker`;
  return {
    verifies,
    ca: values.text("tlscacert") ?? `${folder}/ca.pem`,
    cert: values.text("tlscert") ?? `${folder}/cert.pem`,
    key: values.text("tlskey") ?? `${folder}/key.pem`,
  };
}

function parseRuntimes(values: Values) {
  const asked = values.text("default-runtime") ?? "crun";
  const runtimes: Record<string, RuntimeProgram> = { crun: { path: "crun" } };
  for (const [name, path] of values.list("add-runtime").map(split)) {
    if (name === "" || path === "" || name === "crun") {
      const shown = name === "crun" ? `"crun" is the built-in one` : "it takes NAME=PATH";
      throw new Failure("invalid", `Cannot add runtime "${name}": ${shown}`);
    }
    runtimes[name] = runtimeOf(path);
  }
  runtimes[asked] ??= { path: asked };
  return {
    runtime: asked,
    runtimes,
    seccompProfile: values.text("seccomp-profile"),
    usernsRemap: values.text("userns-remap"),
  };
}

/** A path, or a list of a path and arguments, which only the file can say. */
function runtimeOf(text: string): RuntimeProgram {
  if (!text.startsWith("[")) return { path: text };
  const [path = "", ...runtimeArgs] = JSON.parse(text) as string[];
  return { path, runtimeArgs };
}

function parseRegistries(values: Values) {
  const { env } = process;
  const proxy = (flag: string, name: string) =>
    values.text(flag) ?? env[name] ?? env[name.toLowerCase()] ?? "";
  return {
    insecureRegistries: values.list("insecure-registry"),
    registryMirrors: values.list("registry-mirror"),
    registriesFile: values.text("registries"),
    registry: parseRegistry(values.text("registry"), values.text("registry-config")),
    proxies: {
      http: proxy("http-proxy", "HTTP_PROXY"),
      https: proxy("https-proxy", "HTTPS_PROXY"),
      none: proxy("no-proxy", "NO_PROXY"),
    },
    downloadsAtOnce: values.count("max-concurrent-downloads", 3, 1),
    uploadsAtOnce: values.count("max-concurrent-uploads", 5, 1),
  };
}

function parseRegistry(address: string | undefined, config: string | undefined) {
  if (address !== undefined) return { ...parseAddress(address), config };
  if (config === undefined) return undefined;
  throw new Failure("invalid", "Cannot use --registry-config without --registry");
}

function parseLevel(values: Values): Level {
  if (values.is("debug")) return "debug";
  const level = values.word("log-level", ["trace", "debug", "info", "warn", "error", "fatal"]);
  if (level === "trace") return "debug";
  return level === "fatal" ? "error" : (level ?? "info");
}

function parseLabels(values: Values): readonly string[] {
  const names = new Set<string>();
  for (const label of values.list("label")) {
    const [name] = split(label);
    if (name === "" || !label.includes("=")) {
      throw new Failure("invalid", `Cannot use label "${label}": it takes NAME=VALUE`);
    }
    if (names.has(name)) {
      throw new Failure("invalid", `Cannot use label "${name}": it stands there twice`);
    }
    names.add(name);
  }
  return values.list("label");
}

function parseContainerDefaults(values: Values): ContainerDefaults {
  return {
    logDriver: values.text("log-driver"),
    logOptions: values.pairs("log-opt"),
    ulimits: values.list("default-ulimit").map(parseUlimit),
    shmBytes: bytesOf(values, "default-shm-size"),
    init: values.is("init"),
    ipcMode: values.word("default-ipc-mode", ["private", "shareable"]),
    cgroupnsMode: values.word("default-cgroupns-mode", ["private", "host"]),
    cgroupParent: values.text("cgroup-parent"),
    noNewPrivileges: values.is("no-new-privileges"),
    dnsOptions: values.list("dns-opt"),
    dnsSearch: values.list("dns-search"),
  };
}

function parseUlimit(text: string) {
  const [, name, soft, hard] = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text) ?? [];
  if (name !== undefined && soft !== undefined) {
    return { Name: name, Soft: Number(soft), Hard: Number(hard ?? soft) };
  }
  throw new Failure("invalid", `Cannot use ulimit "${text}": it takes NAME=SOFT[:HARD]`);
}

/** `20g`, `512MB`, `1000000`. @throws Failure "invalid" */
function bytesOf(values: Values, flag: string): number | undefined {
  const text = values.text(flag);
  if (text === undefined) return undefined;
  const [, digits, unit = ""] = /^(\d{1,15})\s*([kmgt]?)i?b?$/i.exec(text) ?? [];
  if (digits !== undefined)
    return Number(digits) * 1024 ** " kmgt".indexOf(unit.toLowerCase() || " ");
  throw new Failure("invalid", `Cannot use --${flag} "${text}": a size as 20g or 512m`);
}
