/** `GET /info`: the host and the engine in numbers. */

import { readdirSync, readFileSync } from "node:fs";
import { cpus, hostname, release, totalmem } from "node:os";
import { logDrivers, logPlugins } from "../logging/mod.ts";
import { delegatedCgroups, isNamespaced } from "../sys/mod.ts";
import { engineVersion } from "./answers.ts";
import type { Context, RegistriesInfo } from "./context.ts";
import { storageDriver } from "./graph-driver.ts";
import type { OciRuntime } from "./oci-runtime.ts";
import type { SystemInfo } from "./schema.ts";

interface HostFacts {
  readonly kernel: string;
  readonly system: string;
  readonly systemVersion: string;
  /** Go's name of it, as in image configs. */
  readonly architecture: string;
  readonly cgroupVersion: "1" | "2";
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly hasSwapLimit: boolean;
}

let known: HostFacts | undefined;

/** What does not change while the host is up. */
export function hostFacts(): HostFacts {
  known ??= readHost();
  return known;
}

function readHost(): HostFacts {
  const system = textOf("/etc/os-release");
  const field = (name: string) =>
    new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(system)?.[1] ?? "";
  const isV2 = / \/sys\/fs\/cgroup cgroup2 /.test(textOf("/proc/mounts"));
  return {
    kernel: release(),
    system: field("PRETTY_NAME") || "Linux",
    systemVersion: field("VERSION_ID"),
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    cgroupVersion: isV2 ? "2" : "1",
    cpus: cpus().length,
    memoryBytes: totalmem(),
    hasSwapLimit: isV2 || textOf("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes") !== "",
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // a host without the file lacks what it tells
  }
}

/** What the data root is on, in Docker's word for it. */
function fileSystemAt(path: string): string {
  const mounts = textOf("/proc/mounts")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, at = "-"]) => at === "/" || path === at || path.startsWith(`${at}/`));
  const type = mounts.toSorted(([, a = ""], [, b = ""]) => a.length - b.length).at(-1)?.[2] ?? "";
  return type.startsWith("ext") ? "extfs" : type;
}

const machineNames: Readonly<Record<string, string>> = { amd64: "x86_64", arm64: "aarch64" };

/** Those that were used since the start. */
const pluginNames = ({ plugins }: Context, kind: string) =>
  plugins?.known(kind).map(({ name }) => name) ?? [];

/** All of `GET /info`. */
export function systemInfo(context: Context, runtime: OciRuntime): SystemInfo {
  const { info } = context;
  const settings = info.settings?.();
  const host = hostFacts();
  return {
    ID: info.id ?? "",
    ...counts(context),
    Driver: storageDriver,
    DriverStatus: [
      ["Backing Filesystem", fileSystemAt(info.dataRoot)],
      ["Supports d_type", "true"],
      ["Native Overlay Diff", "true"],
    ],
    Plugins: {
      Volume: ["local", ...pluginNames(context, "VolumeDriver")],
      Network: ["bridge", "host", "ipvlan", "macvlan", "null"],
      Authorization: context.authorization?.names.length ? context.authorization.names : null,
      Log: [...logDrivers, ...logPlugins()],
    },
    ...hostPart(host),
    Debug: settings?.debug ?? false,
    NFd: openFiles(),
    NGoroutines: 0,
    NEventsListener: 0,
    SystemTime: new Date().toISOString().replace("Z", "000000Z"),
    LoggingDriver: settings?.logDriver ?? "json-file",
    CgroupDriver: isNamespaced && !delegatedCgroups() ? "none" : "cgroupfs",
    CgroupVersion: isNamespaced && delegatedCgroups() ? "2" : host.cgroupVersion,
    IndexServerAddress: "https://index.docker.io/v1/",
    RegistryConfig: registryConfig(info.registries?.()),
    GenericResources: null,
    DockerRootDir: info.dataRoot,
    HttpProxy: withoutPassword(info.proxies?.http),
    HttpsProxy: withoutPassword(info.proxies?.https),
    NoProxy: info.proxies?.none ?? "",
    Name: hostname(),
    Labels: settings?.labels ?? [],
    ExperimentalBuild: false,
    ServerVersion: engineVersion(info.version),
    Runtimes: info.runtimes ?? { crun: { path: "crun" } },
    DefaultRuntime: info.defaultRuntime ?? "crun",
    Swarm: swarm,
    LiveRestoreEnabled: settings?.liveRestore ?? true,
    Isolation: "",
    InitBinary: "lading-init",
    ContainerdCommit: { ID: "" },
    RuncCommit: { ID: runtime.commit || runtime.version },
    InitCommit: { ID: info.version },
    SecurityOptions: [
      "name=seccomp,profile=builtin",
      ...(settings?.isRemapped ? ["name=userns"] : []),
      ...(isNamespaced ? ["name=rootless"] : []),
      "name=cgroupns",
    ],
    ...(info.addressPools ? { DefaultAddressPools: info.addressPools } : {}),
    CDISpecDirs: info.cdiFolders ?? [],
    Warnings: warningsOf(host),
  };
}

/** A proxy's password is nobody's business. */
function withoutPassword(proxy = ""): string {
  return proxy.replace(/^(\w+:\/\/)[^@/]*@/, "$1xxxxx:xxxxx@");
}

function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}

/** What Docker's clients print below `info`. */
function warningsOf(host: HostFacts): readonly string[] | null {
  const warnings = [
    ...(host.hasSwapLimit ? [] : ["WARNING: No swap limit support"]),
    ...(textOf("/proc/sys/net/ipv4/ip_forward").trim() === "1"
      ? []
      : ["WARNING: IPv4 forwarding is disabled"]),
  ];
  return warnings.length > 0 ? warnings : null;
}

function counts({ engine, images }: Context) {
  const by: Record<string, number> = {};
  const containers = engine.list();
  for (const { state } of containers) by[state.status] = (by[state.status] ?? 0) + 1;
  const running = (by["running"] ?? 0) + (by["restarting"] ?? 0);
  const paused = by["paused"] ?? 0;
  return {
    Containers: containers.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: containers.length - running - paused,
    Images: images.list().length,
  };
}

function hostPart(host: HostFacts) {
  return {
    MemoryLimit: true,
    SwapLimit: host.hasSwapLimit,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: true,
    PidsLimit: true,
    OomKillDisable: host.cgroupVersion === "1",
    IPv4Forwarding: textOf("/proc/sys/net/ipv4/ip_forward").trim() === "1",
    KernelVersion: host.kernel,
    OperatingSystem: host.system,
    OSVersion: host.systemVersion,
    OSType: "linux",
    Architecture: machineNames[host.architecture] ?? host.architecture,
    NCPU: host.cpus,
    MemTotal: host.memoryBytes,
  };
}

const hubDomain = "docker.io";

function registryConfig(
  { insecure, mirrors }: RegistriesInfo = { insecure: [], mirrors: new Map() },
) {
  const isRange = (entry: string) => entry.includes("/");
  const hosts = insecure.filter((entry) => !isRange(entry));
  const index = (name: string) => ({
    Name: name,
    // As dockerd's flag writes them.
    Mirrors: (mirrors.get(name) ?? []).map((mirror) => urlOf(mirror, hosts)),
    Secure: !hosts.includes(name),
    Official: name === hubDomain,
  });
  const names = [...new Set([hubDomain, ...mirrors.keys(), ...hosts])];
  const hub = index(hubDomain);
  return {
    InsecureRegistryCIDRs: ["::1/128", "127.0.0.0/8", ...insecure.filter(isRange)],
    IndexConfigs: Object.fromEntries(names.map((name) => [name, index(name)])),
    Mirrors: hub.Mirrors.length > 0 ? hub.Mirrors : null,
  };
}

function urlOf(mirror: string, insecureHosts: readonly string[]): string {
  const scheme = insecureHosts.includes(mirror.split("/")[0]!) ? "http" : "https";
  return `${scheme}://${mirror}/`;
}

const swarm = {
  NodeID: "",
  NodeAddr: "",
  LocalNodeState: "inactive",
  ControlAvailable: false,
  Error: "",
  RemoteManagers: null,
};
