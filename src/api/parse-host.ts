/** `HostConfig` off the wire: each field there and of its type. What the values mean, the engine checks. */
import { Failure } from "../base/mod.ts";
import type {
  HostConfig,
  MountRequest,
  PortBinding,
  PortChange,
  ResourceRequest,
  RestartPolicy,
} from "../engine/mod.ts";
import { parseRestartPolicy as parsePolicy } from "../engine/mod.ts";
import { Fields, textOf } from "./fields.ts";
import { withoutAbsent } from "./parse-container.ts";

/** @throws Failure "invalid" */
export function parseHostConfig(host: Fields): HostConfig {
  return {
    ...parseResources(host),
    ...parseNamespaces(host),
    Binds: host.texts("Binds") ?? null,
    ContainerIDFile: host.text("ContainerIDFile") ?? "",
    LogConfig: {
      Type: host.object("LogConfig")?.text("Type") ?? "",
      Config: host.object("LogConfig")?.labels("Config") ?? {},
    },
    PortBindings: host.record("PortBindings", portBindings) ?? {},
    RestartPolicy: parseRestartPolicy(host.object("RestartPolicy")),
    AutoRemove: host.flag("AutoRemove") ?? false,
    VolumeDriver: host.text("VolumeDriver") ?? "",
    VolumesFrom: host.texts("VolumesFrom") ?? null,
    ConsoleSize: consoleSize(host) ?? [0, 0],
    CapAdd: host.texts("CapAdd") ?? null,
    CapDrop: host.texts("CapDrop") ?? null,
    Dns: host.texts("Dns") ?? [],
    DnsOptions: host.texts("DnsOptions") ?? [],
    DnsSearch: host.texts("DnsSearch") ?? [],
    ExtraHosts: host.texts("ExtraHosts") ?? null,
    GroupAdd: host.texts("GroupAdd") ?? null,
    Links: host.texts("Links") ?? null,
    OomScoreAdj: host.whole("OomScoreAdj") ?? 0,
    Privileged: host.flag("Privileged") ?? false,
    PublishAllPorts: host.flag("PublishAllPorts") ?? false,
    ReadonlyRootfs: host.flag("ReadonlyRootfs") ?? false,
    SecurityOpt: host.texts("SecurityOpt") ?? null,
    ShmSize: host.whole("ShmSize") ?? 0,
    Runtime: host.text("Runtime") ?? "",
    // null is "the defaults", an empty list is "none".
    MaskedPaths: host.texts("MaskedPaths") ?? null,
    ReadonlyPaths: host.texts("ReadonlyPaths") ?? null,
    ...parseOptional(host),
  };
}

function parseNamespaces(host: Fields) {
  return {
    NetworkMode: host.text("NetworkMode") ?? "",
    CgroupnsMode: host.word("CgroupnsMode", ["", "private", "host"]) ?? "",
    IpcMode: host.text("IpcMode") ?? "",
    Cgroup: host.text("Cgroup") ?? "",
    PidMode: host.text("PidMode") ?? "",
    UTSMode: host.word("UTSMode", ["", "host"]) ?? "",
    UsernsMode: host.word("UsernsMode", ["", "host", "private"]) ?? "",
    Isolation: isolationOf(host),
  };
}

/** Docker's word for containers of Windows; here there is one. @throws Failure "invalid" */
function isolationOf(host: Fields): string {
  const isolation = host.text("Isolation") ?? "";
  if (["", "default"].includes(isolation.toLowerCase())) return isolation;
  throw new Failure("invalid", `invalid isolation '${isolation.slice(0, 100)}' on linux`);
}

function parseOptional(host: Fields) {
  return withoutAbsent({
    Annotations: host.labels("Annotations"),
    Mounts: host.list("Mounts", parseMount),
    StorageOpt: host.labels("StorageOpt"),
    Tmpfs: host.labels("Tmpfs"),
    Sysctls: host.labels("Sysctls"),
    Init: host.flag("Init"),
    CpuCount: host.whole("CpuCount"),
    CpuPercent: host.whole("CpuPercent"),
    IOMaximumIOps: host.whole("IOMaximumIOps"),
    IOMaximumBandwidth: host.whole("IOMaximumBandwidth"),
  });
}

/** The limits, all there. */
export function parseResources(host: Fields): ResourceRequest {
  const count = (name: string) => host.whole(name) ?? 0;
  return {
    CpuShares: count("CpuShares"),
    Memory: count("Memory"),
    CgroupParent: host.text("CgroupParent") ?? "",
    BlkioWeight: count("BlkioWeight"),
    BlkioWeightDevice: host.list("BlkioWeightDevice", weight) ?? null,
    BlkioDeviceReadBps: host.list("BlkioDeviceReadBps", rate) ?? null,
    BlkioDeviceWriteBps: host.list("BlkioDeviceWriteBps", rate) ?? null,
    BlkioDeviceReadIOps: host.list("BlkioDeviceReadIOps", rate) ?? null,
    BlkioDeviceWriteIOps: host.list("BlkioDeviceWriteIOps", rate) ?? null,
    CpuPeriod: count("CpuPeriod"),
    CpuQuota: count("CpuQuota"),
    CpuRealtimePeriod: count("CpuRealtimePeriod"),
    CpuRealtimeRuntime: count("CpuRealtimeRuntime"),
    CpusetCpus: host.text("CpusetCpus") ?? "",
    CpusetMems: host.text("CpusetMems") ?? "",
    Devices: host.list("Devices", device) ?? null,
    DeviceCgroupRules: host.texts("DeviceCgroupRules") ?? null,
    DeviceRequests: host.list("DeviceRequests", deviceRequest) ?? null,
    MemoryReservation: count("MemoryReservation"),
    MemorySwap: count("MemorySwap"),
    MemorySwappiness: host.whole("MemorySwappiness") ?? null,
    NanoCpus: count("NanoCpus"),
    OomKillDisable: host.flag("OomKillDisable") ?? null,
    PidsLimit: host.whole("PidsLimit") ?? null,
    Ulimits: host.list("Ulimits", ulimit) ?? null,
  };
}

/** The limits that a body names, for `update`. */
export function parseUpdate(
  body: Fields,
): Partial<ResourceRequest> & PortChange & { RestartPolicy?: RestartPolicy } {
  const named = Object.entries(parseResources(body)).filter(([name]) => body.has(name));
  const policy = body.object("RestartPolicy");
  // An empty name is what clients send that do not mean to change it.
  const [add, remove] = [
    body.record("PublishAdd", portBindings),
    body.record("PublishRemove", portBindings),
  ];
  const isChanged = policy !== undefined && (policy.text("Name") ?? "") !== "";
  return {
    ...(Object.fromEntries(named) as Partial<ResourceRequest>),
    ...(add ? { PublishAdd: add } : {}),
    ...(remove ? { PublishRemove: remove } : {}),
    ...(isChanged ? { RestartPolicy: parseRestartPolicy(policy) } : {}),
  };
}

function parseRestartPolicy(fields: Fields | undefined): RestartPolicy {
  return parsePolicy({
    Name: fields?.text("Name") ?? "",
    MaximumRetryCount: fields?.whole("MaximumRetryCount") ?? 0,
  });
}

function portBindings(value: unknown, where: string): PortBinding[] {
  const list = new Fields({ bindings: value }, where).list("bindings", (each, at) => {
    const binding = new Fields(each, at);
    return { HostIp: binding.text("HostIp") ?? "", HostPort: binding.text("HostPort") ?? "" };
  });
  return list ?? [];
}

/** `[rows, columns]`. */
export function consoleSize(fields: Fields): readonly [number, number] | undefined {
  const size = fields.list("ConsoleSize", (value, where) => {
    return new Fields({ size: value }, where).whole("size") ?? 0;
  });
  if (size === undefined) return undefined;
  if (size.length !== 2 || size.some((each) => each < 0 || each > 65_535)) {
    throw new Failure("invalid", "invalid ConsoleSize: it takes rows and columns");
  }
  return [size[0]!, size[1]!];
}

const mountTypes = ["bind", "volume", "tmpfs", "image", "npipe", "cluster"] as const;

function parseMount(value: unknown, where: string): MountRequest {
  const mount = new Fields(value, where);
  const named = mount.text("Type") ?? "";
  const type = mountTypes.find((each) => each === named);
  if (!type) {
    throw new Failure(
      "invalid",
      `invalid mount config for type "${named.slice(0, 100)}": mount type unknown`,
    );
  }
  return withoutAbsent({
    Type: type,
    Source: mount.text("Source"),
    Target: mount.text("Target") ?? "",
    ReadOnly: mount.flag("ReadOnly"),
    Consistency: mount.text("Consistency"),
    IdMap: mount.text("IdMap"),
    ...mountOptions(mount),
  });
}

function mountOptions(mount: Fields) {
  const bind = mount.object("BindOptions");
  const volume = mount.object("VolumeOptions");
  const tmpfs = mount.object("TmpfsOptions");
  const image = mount.object("ImageOptions");
  return {
    BindOptions:
      bind &&
      withoutAbsent({
        Propagation: bind.text("Propagation"),
        NonRecursive: bind.flag("NonRecursive"),
        CreateMountpoint: bind.flag("CreateMountpoint"),
        ReadOnlyNonRecursive: bind.flag("ReadOnlyNonRecursive"),
        ReadOnlyForceRecursive: bind.flag("ReadOnlyForceRecursive"),
      }),
    VolumeOptions: volume && parseVolumeOptions(volume),
    TmpfsOptions:
      tmpfs &&
      withoutAbsent({
        SizeBytes: tmpfs.whole("SizeBytes"),
        Mode: tmpfs.whole("Mode"),
        Options: tmpfs.list("Options", (value, where) => {
          return new Fields({ option: value }, where).texts("option") ?? [];
        }),
      }),
    ImageOptions: image && withoutAbsent({ Subpath: image.text("Subpath") }),
  };
}

function parseVolumeOptions(volume: Fields) {
  const driver = volume.object("DriverConfig");
  return withoutAbsent({
    NoCopy: volume.flag("NoCopy"),
    Labels: volume.labels("Labels"),
    Subpath: volume.text("Subpath"),
    DriverConfig:
      driver && withoutAbsent({ Name: driver.text("Name"), Options: driver.labels("Options") }),
  });
}

function weight(value: unknown, where: string) {
  const fields = new Fields(value, where);
  return { Path: fields.text("Path") ?? "", Weight: fields.whole("Weight") ?? 0 };
}

function rate(value: unknown, where: string) {
  const fields = new Fields(value, where);
  return { Path: fields.text("Path") ?? "", Rate: fields.whole("Rate") ?? 0 };
}

function device(value: unknown, where: string) {
  const fields = new Fields(value, where);
  return {
    PathOnHost: fields.text("PathOnHost") ?? "",
    PathInContainer: fields.text("PathInContainer") ?? "",
    CgroupPermissions: fields.text("CgroupPermissions") ?? "",
  };
}

function deviceRequest(value: unknown, where: string) {
  const fields = new Fields(value, where);
  return {
    Driver: fields.text("Driver") ?? "",
    Count: fields.whole("Count") ?? 0,
    DeviceIDs: fields.texts("DeviceIDs") ?? null,
    Capabilities:
      fields.list("Capabilities", (each, at) =>
        new Fields({ all: each }, at).list("all", textOf),
      ) ?? null,
    Options: fields.labels("Options") ?? null,
  };
}

/** One of `Ulimits`. @throws Failure "invalid" */
export function ulimit(value: unknown, where: string) {
  const fields = new Fields(value, where);
  return {
    Name: fields.text("Name") ?? "",
    Soft: fields.whole("Soft") ?? 0,
    Hard: fields.whole("Hard") ?? 0,
  };
}
