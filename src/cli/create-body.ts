/** The flags of `create` and `run` become the body of `POST /containers/create`. */
import type { CreateBody, Healthcheck, HostConfig } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import type { FlagValues } from "./flags.ts";
import { readEnvironment, readLabels, requirePairs, toMap } from "./key-values.ts";
import { nanoCpus, parseRate, parseRestart, parseUlimit, parseWeight } from "./limit-flags.ts";
import { parseDevice, parseMount, parseTmpfs, parseVolumes } from "./mount-flags.ts";
import { networkRequest } from "./network-flags.ts";
import { parsePorts } from "./port-flags.ts";
import type { createFlags } from "./run-flags.ts";
import { securityRequest } from "./security-flags.ts";

type Values = FlagValues<typeof createFlags>;

export interface CreateCall {
  readonly flags: Values;
  readonly given: ReadonlySet<string>;
  /** IMAGE [COMMAND] [ARG...] */
  readonly args: readonly string[];
}

/** @throws Failure "invalid" | "conflict" | "not_found" (a file named by a flag) */
export async function createBody({ flags, given, args }: CreateCall): Promise<CreateBody> {
  const [image = "", ...words] = args;
  const ports = parsePorts(flags.publish, flags.expose);
  const { binds, volumes } = parseVolumes(flags.volume);
  const network = networkRequest(flags);
  const attach = flags.attach.map((stream) => stream.toLowerCase());
  const all = attach.length === 0;
  const AttachStdin = flags.interactive || attach.includes("stdin");
  const health = healthcheck(flags, given);
  return {
    Hostname: flags.hostname,
    Domainname: flags.domainname,
    User: flags.user,
    AttachStdin,
    AttachStdout: all || attach.includes("stdout"),
    AttachStderr: all || attach.includes("stderr"),
    ExposedPorts: ports.exposed,
    Tty: flags.tty,
    OpenStdin: flags.interactive,
    StdinOnce: flags.interactive && AttachStdin,
    Env: await readEnvironment(flags["env-file"], flags.env),
    ...(words.length > 0 ? { Cmd: words } : {}),
    Image: image,
    Volumes: volumes,
    WorkingDir: flags.workdir,
    ...(given.has("entrypoint") ? { Entrypoint: [flags.entrypoint] } : {}),
    Labels: await readLabels(flags["label-file"], flags.label),
    ...(flags["stop-signal"] ? { StopSignal: flags["stop-signal"] } : {}),
    ...(given.has("stop-timeout") ? { StopTimeout: flags["stop-timeout"] } : {}),
    ...(health ? { Healthcheck: health } : {}),
    HostConfig: {
      ...resources(flags, given),
      ...(await hostRequest(flags, given)),
      Binds: binds,
      PortBindings: ports.bindings,
      NetworkMode: network.mode,
    },
    NetworkingConfig: { EndpointsConfig: network.endpoints },
  };
}

async function hostRequest(
  flags: Values,
  given: ReadonlySet<string>,
): Promise<Partial<HostConfig>> {
  checkModes(flags);
  const RestartPolicy = parseRestart(flags.restart);
  if (flags.rm && RestartPolicy.Name !== "no" && RestartPolicy.Name !== "") {
    throw new Failure("conflict", "conflicting options: cannot specify both --restart and --rm");
  }
  return {
    ...(await securityRequest(flags["security-opt"])),
    ContainerIDFile: flags.cidfile,
    LogConfig: logRequest(flags),
    RestartPolicy,
    AutoRemove: flags.rm,
    VolumeDriver: flags["volume-driver"],
    VolumesFrom: orNull(flags["volumes-from"]),
    ...(flags.annotation.length > 0 ? { Annotations: toMap(flags.annotation) } : {}),
    ...(flags.mount.length > 0 ? { Mounts: flags.mount.map(parseMount) } : {}),
    ...capabilities(flags["cap-add"], flags["cap-drop"]),
    CgroupnsMode: flags.cgroupns,
    Dns: flags.dns,
    DnsOptions: flags["dns-option"],
    DnsSearch: flags["dns-search"],
    ExtraHosts: extraHosts(flags["add-host"]),
    GroupAdd: orNull(flags["group-add"]),
    IpcMode: flags.ipc,
    Links: orNull(flags.link),
    OomScoreAdj: flags["oom-score-adj"],
    PidMode: flags.pid,
    Privileged: flags.privileged,
    PublishAllPorts: flags["publish-all"],
    ReadonlyRootfs: flags["read-only"],
    ...(flags["storage-opt"].length > 0
      ? { StorageOpt: requirePairs(flags["storage-opt"], "storage option") }
      : {}),
    ...(flags.tmpfs.length > 0 ? { Tmpfs: parseTmpfs(flags.tmpfs) } : {}),
    UTSMode: flags.uts,
    UsernsMode: flags.userns,
    ShmSize: flags["shm-size"],
    ...(flags.sysctl.length > 0 ? { Sysctls: toMap(flags.sysctl) } : {}),
    ...(flags.runtime ? { Runtime: flags.runtime } : {}),
    Isolation: flags.isolation,
    ...(given.has("init") ? { Init: flags.init } : {}),
  };
}

function orNull(list: readonly string[]): readonly string[] | null {
  return list.length > 0 ? list : null;
}

/** `net_admin` is CAP_NET_ADMIN; ALL trumps the rest; what is added is not dropped. */
export function capabilities(
  add: readonly string[],
  drop: readonly string[],
): Pick<HostConfig, "CapAdd" | "CapDrop"> {
  const all = "ALL";
  const normal = (names: readonly string[]): Set<string> => {
    const set = new Set(
      names.map((name) => {
        const upper = name.trim().toUpperCase();
        return upper === all || upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
      }),
    );
    return set.has(all) ? new Set([all]) : set;
  };
  const added = normal(add);
  const dropped = [...normal(drop)].filter((name) => !added.has(name));
  return { CapAdd: orNull([...added].sort()), CapDrop: orNull(dropped.sort()) };
}

function checkModes(flags: Values): void {
  if (!["always", "missing", "never", ""].includes(flags.pull)) {
    const known = `must be one of "always", "missing" or "never"`;
    throw new Failure("invalid", `invalid pull option: '${flags.pull}': ${known}`);
  }
  const mac = flags["mac-address"];
  if (mac !== "" && !/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(mac)) {
    throw new Failure("invalid", `${mac} is not a valid mac address`);
  }
  const isTarget = (mode: string) => /^container:.+/.test(mode);
  const rules: [flag: keyof Values, known: RegExp, name: string][] = [
    ["pid", /^(|host)$/, "PID"],
    ["uts", /^(|host)$/, "UTS"],
    ["userns", /^(|host|private)$/, "USER"],
    ["cgroupns", /^(|host|private)$/, "CGROUP"],
  ];
  for (const [flag, known, name] of rules) {
    const value = flags[flag] as string;
    if (known.test(value) || (flag === "pid" && isTarget(value))) continue;
    throw new Failure("invalid", `--${flag}: invalid ${name} mode`);
  }
}

function extraHosts(list: readonly string[]): readonly string[] | null {
  // `name=address` is the newer form; brackets around IPv6 are for people.
  return orNull(
    list.map((text) => {
      const [, name, address] = /^([^:=]*)[:=](.*)$/s.exec(text) as unknown as string[];
      return `${name}:${address!.replace(/^\[(.*)\]$/, "$1")}`;
    }),
  );
}

function logRequest(flags: Values): HostConfig["LogConfig"] {
  const Config = toMap(flags["log-opt"]);
  if (flags["log-driver"] === "none" && flags["log-opt"].length > 0) {
    throw new Failure("invalid", "invalid logging opts for driver none");
  }
  return { Type: flags["log-driver"], Config };
}

function resources(flags: Values, given: ReadonlySet<string>): Partial<HostConfig> {
  const swappiness = flags["memory-swappiness"];
  if (swappiness !== -1 && (swappiness < 0 || swappiness > 100)) {
    throw new Failure(
      "invalid",
      `invalid value: ${swappiness}. Valid memory swappiness range is 0-100`,
    );
  }
  const bytes = (texts: readonly string[]) => texts.map((text) => parseRate(text, true));
  const counts = (texts: readonly string[]) => texts.map((text) => parseRate(text, false));
  return {
    CpuShares: flags["cpu-shares"],
    Memory: flags.memory,
    NanoCpus: nanoCpus(flags.cpus),
    CgroupParent: flags["cgroup-parent"],
    BlkioWeight: flags["blkio-weight"],
    BlkioWeightDevice: flags["blkio-weight-device"].map(parseWeight),
    BlkioDeviceReadBps: bytes(flags["device-read-bps"]),
    BlkioDeviceWriteBps: bytes(flags["device-write-bps"]),
    BlkioDeviceReadIOps: counts(flags["device-read-iops"]),
    BlkioDeviceWriteIOps: counts(flags["device-write-iops"]),
    CpuPeriod: flags["cpu-period"],
    CpuQuota: flags["cpu-quota"],
    CpuRealtimePeriod: flags["cpu-rt-period"],
    CpuRealtimeRuntime: flags["cpu-rt-runtime"],
    CpusetCpus: flags["cpuset-cpus"],
    CpusetMems: flags["cpuset-mems"],
    Devices: flags.device.filter((text) => !isCdi(text)).map(parseDevice),
    DeviceCgroupRules: orNull(flags["device-cgroup-rule"]),
    DeviceRequests: deviceRequests(flags),
    MemoryReservation: flags["memory-reservation"],
    MemorySwap: flags["memory-swap"],
    MemorySwappiness: swappiness,
    OomKillDisable: flags["oom-kill-disable"],
    PidsLimit: given.has("pids-limit") ? flags["pids-limit"] : 0,
    Ulimits: flags.ulimit.map(parseUlimit).sort((a, b) => (a.Name < b.Name ? -1 : 1)),
  };
}

/** A device of the Container Device Interface: `vendor.com/class=name`. */
function isCdi(text: string): boolean {
  return /^[a-zA-Z][\w.-]*\/[a-zA-Z][\w-]*=[\w.:-]+$/.test(text);
}

interface DeviceRequest {
  Driver: string;
  Count: number;
  DeviceIDs: string[] | null;
  Capabilities: string[][] | null;
  Options: Record<string, string> | null;
}

function deviceRequests(flags: Values): DeviceRequest[] | null {
  const names = flags.device.filter(isCdi);
  const requests: DeviceRequest[] = flags.gpus === "" ? [] : [gpuRequest(flags.gpus)];
  if (names.length > 0) {
    requests.push({ Driver: "cdi", Count: 0, DeviceIDs: names, Capabilities: null, Options: null });
  }
  return requests.length > 0 ? requests : null;
}

function gpuRequest(text: string): DeviceRequest {
  const request: DeviceRequest = {
    Driver: "",
    Count: 0,
    DeviceIDs: null,
    Capabilities: null,
    Options: {},
  };
  const capabilities: string[] = [];
  let hasCount = false;
  for (const field of text.match(/"[^"]*"|[^,]+/g) ?? []) {
    const [key, value = key] = field.replace(/^"|"$/g, "").split(/=(.*)/s) as [string, string?];
    if (value === key || key === "count") {
      if (value !== "all" && !/^-?\d+$/.test(value)) {
        throw new Failure("invalid", `invalid value for 'gpus': ${text}`);
      }
      request.Count = value === "all" ? -1 : Number(value);
      hasCount = true;
    } else if (key === "driver") request.Driver = value;
    else if (key === "device") request.DeviceIDs = value.split(",");
    else if (key === "capabilities") capabilities.push(...value.split(","));
    else if (key === "options") request.Options = toMap(value.split(","));
    else throw new Failure("invalid", `unexpected key '${key}' in '${field}'`);
  }
  if (!hasCount && request.DeviceIDs === null) request.Count = 1;
  request.Capabilities = [capabilities.includes("gpu") ? capabilities : [...capabilities, "gpu"]];
  return request;
}

function healthcheck(flags: Values, given: ReadonlySet<string>): Healthcheck | undefined {
  const names = ["cmd", "interval", "retries", "start-interval", "start-period", "timeout"];
  const isGiven = names.some((name) => given.has(`health-${name}`));
  if (flags["no-healthcheck"]) {
    if (!isGiven) return { Test: ["NONE"] };
    throw new Failure("conflict", "--no-healthcheck conflicts with --health-* options");
  }
  if (!isGiven) return undefined;
  for (const name of names.slice(1)) {
    const value = flags[`health-${name}` as keyof Values] as number;
    if (value < 0) throw new Failure("invalid", `--health-${name} cannot be negative`);
  }
  const optional = (name: string, value: number) => (value === 0 ? {} : { [name]: value });
  return {
    ...(flags["health-cmd"] ? { Test: ["CMD-SHELL", flags["health-cmd"]] } : {}),
    ...optional("Interval", flags["health-interval"]),
    ...optional("Timeout", flags["health-timeout"]),
    ...optional("StartPeriod", flags["health-start-period"]),
    ...optional("StartInterval", flags["health-start-interval"]),
    ...optional("Retries", flags["health-retries"]),
  };
}
