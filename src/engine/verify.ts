import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { Failure } from "../base/mod.ts";
import { parseExtraHost } from "../network/mod.ts";
import type { Healthcheck } from "../oci/mod.ts";
import { capabilities } from "../runtime/mod.ts";
import { checkDeviceRequests } from "./device-requests.ts";
import { parseDeviceRule } from "./devices.ts";
import { checkEnvironment } from "./environment.ts";
import { portsOf } from "./ports.ts";
import { parseRestartPolicy } from "./restart-policy.ts";
import { parseSecurity } from "./security.ts";
import { parseSignal } from "./signals.ts";
import type { ContainerConfig, HostConfig, ResourceRequest } from "./types.ts";

const memoryBytesMin = 6 << 20;
const healthMsMin = 1_000_000;

/** Checks what `create` was asked for, as far as it needs no store. @throws "invalid" in Docker's words */
export function verify(config: ContainerConfig, hostConfig: HostConfig): void {
  verifyConfig(config);
  verifyResources(hostConfig);
  for (const [value = 0, what] of [
    [hostConfig.IOMaximumBandwidth, "bandwidth"],
    [hostConfig.IOMaximumIOps, "IOPs"],
  ] as const) {
    if (value === 0) continue;
    throw bad(`Invalid QoS settings: linux does not support configuration of maximum ${what}`);
  }
  if (hostConfig.ShmSize < 0) throw bad("SHM size can not be less than 0");
  if (hostConfig.AutoRemove && !["", "no"].includes(hostConfig.RestartPolicy.Name)) {
    throw bad("can't create 'AutoRemove' container with restart policy");
  }
  parseRestartPolicy(hostConfig.RestartPolicy);
  if (Math.abs(hostConfig.OomScoreAdj) > 1000) {
    const range = "range for oom score adj is [-1000, 1000]";
    throw bad(`Invalid value ${hostConfig.OomScoreAdj}, ${range}`);
  }
  capabilities({ add: hostConfig.CapAdd, drop: hostConfig.CapDrop, privileged: false });
  parseSecurity(hostConfig.SecurityOpt, hostConfig.Privileged);
  for (const rule of hostConfig.DeviceCgroupRules ?? []) parseDeviceRule(rule);
  portsOf({ config, hostConfig });
  for (const entry of hostConfig.ExtraHosts ?? []) parseExtraHost(entry);
  verifyNetworkMode(config, hostConfig);
  if (!/^(|none|private|shareable|host|container:.+)$/.test(hostConfig.IpcMode)) {
    throw bad(`Invalid IPC mode: ${hostConfig.IpcMode.slice(0, 100)}`);
  }
  const storageOptions = Object.keys(hostConfig.StorageOpt ?? {});
  const unknown = storageOptions.find((name) => name !== "size");
  if (unknown !== undefined) throw bad(`Unknown option ${unknown.slice(0, 100)}`);
  if (storageOptions.length > 0) {
    throw bad("--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
  }
  checkDeviceRequests(hostConfig.DeviceRequests);
}

function verifyConfig(config: ContainerConfig): void {
  const { WorkingDir: cwd = "", StopSignal: stopSignal = "" } = config;
  if (cwd !== "" && !cwd.startsWith("/")) {
    throw bad(`the working directory '${cwd}' is invalid, it needs to be an absolute path`);
  }
  if (stopSignal !== "") parseSignal(stopSignal);
  checkEnvironment(config.Env);
  if (config.Healthcheck) verifyHealthcheck(config.Healthcheck);
  // What the kernel takes and /etc/hosts can hold: names with "_" are in wide use.
  if (config.Hostname.length > 64 || /[^!-~]/.test(config.Hostname)) {
    throw bad(`invalid hostname: "${config.Hostname.slice(0, 100)}"`);
  }
}

function verifyHealthcheck(check: Healthcheck): void {
  for (const name of ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const) {
    const value = check[name] ?? 0;
    if (value !== 0 && value < healthMsMin) {
      throw bad(`${name} in Healthcheck cannot be less than 1ms`);
    }
  }
  if ((check.Retries ?? 0) < 0) throw bad("Retries in Healthcheck cannot be negative");
}

/** Limits that contradict each other or that no kernel takes. */
export function verifyResources(asked: ResourceRequest): void {
  verifyMemory(asked);
  const processors = cpus().length;
  if (asked.NanoCpus < 0 || asked.NanoCpus > processors * 1e9) {
    throw bad(
      `range of CPUs is from 0.01 to ${processors}.00, as there are only ${processors} CPUs available`,
    );
  }
  for (const [value, name] of [
    [asked.CpuPeriod, "CPU Period"],
    [asked.CpuQuota, "CPU Quota"],
  ] as const) {
    if (asked.NanoCpus > 0 && value > 0) {
      throw bad(`Conflicting options: Nano CPUs and ${name} cannot both be set.`);
    }
  }
  if (asked.CpuPeriod !== 0 && (asked.CpuPeriod < 1_000 || asked.CpuPeriod > 1_000_000)) {
    throw bad(
      "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    );
  }
  if (asked.CpuQuota > 0 && asked.CpuQuota < 1_000) {
    throw bad("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  }
  if (asked.CpuShares < 0) {
    throw bad(`invalid CPU shares (${asked.CpuShares}): value must be a positive integer`);
  }
  verifySet(asked.CpusetCpus, "CPUs", "cpu");
  verifySet(asked.CpusetMems, "memory nodes", "node");
  if (asked.BlkioWeight !== 0 && (asked.BlkioWeight < 10 || asked.BlkioWeight > 1000)) {
    throw bad("Range of blkio weight is from 10 to 1000");
  }
  for (const { Name, Soft, Hard } of asked.Ulimits ?? []) {
    const isWrong = Soft > Hard && Hard !== -1;
    if (!/^[a-z]+$/.test(Name)) throw bad(`invalid ulimit type: ${Name}`);
    if (isWrong)
      throw bad(`ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`);
  }
}

/** `--cpuset-cpus` and `--cpuset-mems`: lists as `0-3,7`, of what the host has. */
function verifySet(list: string, what: "CPUs" | "memory nodes", device: "cpu" | "node"): void {
  if (list === "") return;
  const asked = readSet(list);
  if (!asked) {
    const option = device === "cpu" ? "cpus" : "mems";
    throw bad(`Invalid value ${list.slice(0, 100)} for cpuset ${option}: invalid format`);
  }
  const available = onlineOf(device);
  const here = readSet(available);
  if (!here || asked.every(([first, last]) => here.some(([a, z]) => a <= first && last <= z)))
    return;
  throw bad(`Requested ${what} are not available - requested ${list}, available: ${available}`);
}

function readSet(list: string): (readonly [first: number, last: number])[] | undefined {
  const ranges = list.split(",").map((part) => {
    const [, first = "", last = first] = /^\s*(\d{1,6})(?:-(\d{1,6}))?\s*$/.exec(part) ?? [];
    return [Number(first || Number.NaN), Number(last || Number.NaN)] as const;
  });
  return ranges.every(([first, last]) => first <= last) ? ranges : undefined;
}

/** A kernel without NUMA has one node. */
function onlineOf(device: "cpu" | "node"): string {
  try {
    return readFileSync(`/sys/devices/system/${device}/online`, "utf8").trim();
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return "0";
    throw error;
  }
}

function verifyMemory({
  Memory,
  MemorySwap,
  MemoryReservation,
  MemorySwappiness,
}: ResourceRequest) {
  if (Memory !== 0 && Memory < memoryBytesMin) throw bad("Minimum memory limit allowed is 6MB");
  if (Memory > 0 && MemorySwap > 0 && MemorySwap < Memory) {
    throw bad("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (Memory === 0 && MemorySwap > 0) {
    throw bad("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  const swappiness = MemorySwappiness ?? -1;
  if (swappiness < -1 || swappiness > 100) {
    throw bad(`invalid value: ${swappiness}, valid memory swappiness range is 0-100`);
  }
  if (MemoryReservation > 0 && MemoryReservation < memoryBytesMin) {
    throw bad("Minimum memory reservation allowed is 6MB");
  }
  if (Memory > 0 && MemoryReservation > 0 && Memory < MemoryReservation) {
    throw bad("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
}

function verifyNetworkMode(config: ContainerConfig, host: HostConfig): void {
  const isShared = host.NetworkMode.startsWith("container:");
  if (host.UTSMode === "host" && config.Hostname !== "") {
    throw bad("conflicting options: hostname and the UTS mode");
  }
  const odd = Object.keys(host.Sysctls ?? {}).find((key) => key.startsWith("net."));
  if (odd !== undefined && (isShared || host.NetworkMode === "host")) {
    throw bad(`sysctl "${odd}" not allowed in host network namespace`);
  }
  const isHost = host.NetworkMode === "host";
  if ((isShared || isHost) && config.MacAddress) {
    throw bad("conflicting options: mac-address and the network mode");
  }
  if ((isShared || isHost) && (host.Links ?? []).length > 0) {
    const type = isHost ? "host type networking" : "container type network";
    const result = "This would result in undefined behavior";
    throw bad(`conflicting options: ${type} can't be used with links. ${result}`);
  }
  if (!isShared) return;
  if (config.Hostname !== "") throw bad("conflicting options: hostname and the network mode");
  if ((host.Dns ?? []).length > 0) throw bad("conflicting options: dns and the network mode");
  if ((host.ExtraHosts ?? []).length > 0) {
    throw bad("conflicting options: custom host-to-IP mapping and the network mode");
  }
  if (Object.keys(host.PortBindings ?? {}).length > 0 || host.PublishAllPorts) {
    throw bad("conflicting options: port publishing and the container type network mode");
  }
  if (Object.keys(config.ExposedPorts ?? {}).length > 0) {
    throw bad("conflicting options: port exposing and the container type network mode");
  }
}

function bad(message: string): Failure {
  return new Failure("invalid", message);
}
