/**
 * What goes over the wire: the Engine API v1.51 as types, in its own spelling. Types alone, so that a
 * client that imports them loads nothing.
 * Spec: https://docs.docker.com/reference/api/engine/version/v1.51/
 */
import type {
  ContainerConfig,
  HostConfig,
  MountPoint,
  PortChange,
  ResourceRequest,
  RestartPolicy,
  Status,
} from "../engine/mod.ts";
import type { Healthcheck, RunConfig } from "../oci/mod.ts";

export type {
  ContainerConfig,
  HealthState,
  HostConfig,
  MountPoint,
  MountRequest,
  PathStat,
  PortBinding,
  ResourceRequest,
  RestartPolicy,
  Status,
} from "../engine/mod.ts";
export type { Healthcheck, RunConfig } from "../oci/mod.ts";
export type {
  BuildEventMessage,
  BuildReason,
  PastBuildAnswer,
  PastStepAnswer,
  PrunedRecord,
} from "./schema-build.ts";

export type Labels = Readonly<Record<string, string>>;
/** `{"label": ["a=b"], "status": ["exited"]}` */
export type Filters = Readonly<Record<string, readonly string[]>>;

export interface ErrorBody {
  readonly message: string;
  /** Ours: what to do about it. It also ends `message`, for clients that know only that. */
  readonly hint?: string;
}

export interface IpamSettings {
  readonly IPv4Address?: string;
  readonly IPv6Address?: string;
  readonly LinkLocalIPs?: readonly string[];
}

export interface EndpointSettings {
  readonly IPAMConfig: IpamSettings | null;
  readonly Links: readonly string[] | null;
  readonly Aliases: readonly string[] | null;
  readonly MacAddress: string;
  readonly DriverOpts: Labels | null;
  readonly GwPriority: number;
  readonly NetworkID: string;
  readonly EndpointID: string;
  readonly Gateway: string;
  readonly IPAddress: string;
  readonly IPPrefixLen: number;
  readonly IPv6Gateway: string;
  readonly GlobalIPv6Address: string;
  readonly GlobalIPv6PrefixLen: number;
  readonly DNSNames: readonly string[] | null;
}

/** The body of `POST /containers/create`; whatever is absent has Docker's default. */
export interface CreateBody extends Partial<ContainerConfig> {
  readonly HostConfig?: Partial<HostConfig>;
  readonly NetworkingConfig?: {
    readonly EndpointsConfig?: Readonly<Record<string, Partial<EndpointSettings> | null>>;
  };
}

export interface CreateAnswer {
  readonly Id: string;
  readonly Warnings: readonly string[];
}

/** The body of `POST /containers/{id}/update`. */
export type UpdateBody = Partial<ResourceRequest> &
  PortChange & { readonly RestartPolicy?: RestartPolicy };

export interface Port {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: "tcp" | "udp" | "sctp";
}

export interface ContainerSummary {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly ImageID: string;
  readonly Command: string;
  /** Seconds since the epoch. */
  readonly Created: number;
  readonly Ports: readonly Port[];
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
  readonly Labels: Labels;
  readonly State: Status;
  /** For people: `Up 3 seconds (healthy)`. */
  readonly Status: string;
  readonly HostConfig: { readonly NetworkMode: string; readonly Annotations?: Labels };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, EndpointSettings>> };
  readonly Mounts: readonly MountPoint[];
}

export interface HealthAnswer {
  readonly Status: "none" | "starting" | "healthy" | "unhealthy";
  readonly FailingStreak: number;
  readonly Log: readonly {
    readonly Start: string;
    readonly End: string;
    readonly ExitCode: number;
    readonly Output: string;
  }[];
}

export interface StateAnswer {
  readonly Status: Status;
  readonly Running: boolean;
  readonly Paused: boolean;
  readonly Restarting: boolean;
  readonly OOMKilled: boolean;
  readonly Dead: boolean;
  readonly Pid: number;
  readonly ExitCode: number;
  readonly Error: string;
  readonly StartedAt: string;
  readonly FinishedAt: string;
  readonly Health?: HealthAnswer;
}

export interface NetworkSettings {
  readonly Bridge: string;
  readonly SandboxID: string;
  readonly SandboxKey: string;
  readonly Ports: Readonly<
    Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
  >;
  readonly HairpinMode: boolean;
  readonly LinkLocalIPv6Address: string;
  readonly LinkLocalIPv6PrefixLen: number;
  readonly SecondaryIPAddresses: null;
  readonly SecondaryIPv6Addresses: null;
  readonly EndpointID: string;
  readonly Gateway: string;
  readonly GlobalIPv6Address: string;
  readonly GlobalIPv6PrefixLen: number;
  readonly IPAddress: string;
  readonly IPPrefixLen: number;
  readonly IPv6Gateway: string;
  readonly MacAddress: string;
  readonly Networks: Readonly<Record<string, EndpointSettings>>;
}

export interface DriverData {
  readonly Name: string;
  readonly Data: Labels | null;
}

export interface ContainerInspect {
  readonly Id: string;
  readonly Created: string;
  readonly Path: string;
  readonly Args: readonly string[];
  readonly State: StateAnswer;
  readonly Image: string;
  readonly ResolvConfPath: string;
  readonly HostnamePath: string;
  readonly HostsPath: string;
  readonly LogPath: string;
  readonly Name: string;
  readonly RestartCount: number;
  readonly Driver: string;
  readonly Platform: string;
  readonly MountLabel: string;
  readonly ProcessLabel: string;
  readonly AppArmorProfile: string;
  readonly ExecIDs: readonly string[] | null;
  readonly HostConfig: HostConfig;
  readonly GraphDriver: DriverData;
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
  readonly Mounts: readonly MountPoint[];
  readonly Config: Omit<ContainerConfig, "Env" | "Volumes" | "OnBuild"> & {
    readonly Env: ContainerConfig["Env"] | null;
    readonly Volumes: ContainerConfig["Volumes"] | null;
    readonly OnBuild: ContainerConfig["OnBuild"] | null;
  };
  readonly NetworkSettings: NetworkSettings;
}

export interface TopAnswer {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

/** 0 modified, 1 added, 2 deleted. */
export interface Change {
  readonly Path: string;
  readonly Kind: 0 | 1 | 2;
}

export interface WaitAnswer {
  readonly StatusCode: number;
  readonly Error?: { readonly Message: string };
}

export interface CpuStats {
  readonly cpu_usage: {
    readonly total_usage: number;
    readonly percpu_usage?: readonly number[];
    readonly usage_in_kernelmode: number;
    readonly usage_in_usermode: number;
  };
  readonly system_cpu_usage?: number;
  readonly online_cpus?: number;
  readonly throttling_data: {
    readonly periods: number;
    readonly throttled_periods: number;
    readonly throttled_time: number;
  };
}

export interface BlkioEntry {
  readonly major: number;
  readonly minor: number;
  readonly op: string;
  readonly value: number;
}

export interface StatsAnswer {
  readonly name: string;
  readonly id: string;
  readonly read: string;
  readonly preread: string;
  readonly num_procs: number;
  readonly pids_stats: { readonly current?: number; readonly limit?: number };
  readonly blkio_stats: Readonly<Record<string, readonly BlkioEntry[] | null>>;
  readonly storage_stats: Readonly<Record<string, number>>;
  readonly cpu_stats: CpuStats;
  readonly precpu_stats: CpuStats;
  readonly memory_stats: {
    readonly usage?: number;
    readonly max_usage?: number;
    readonly failcnt?: number;
    readonly limit?: number;
    readonly stats?: Readonly<Record<string, number>>;
  };
  readonly networks?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface ExecBody {
  readonly AttachStdin?: boolean;
  readonly AttachStdout?: boolean;
  readonly AttachStderr?: boolean;
  readonly DetachKeys?: string;
  readonly Tty?: boolean;
  readonly Env?: readonly string[] | null;
  readonly Cmd: readonly string[];
  readonly Privileged?: boolean;
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly ConsoleSize?: readonly [rows: number, columns: number] | null;
}

export interface ExecStartBody {
  readonly Detach?: boolean;
  readonly Tty?: boolean;
  readonly ConsoleSize?: readonly [rows: number, columns: number] | null;
}

export interface ExecInspect {
  readonly ID: string;
  readonly Running: boolean;
  readonly ExitCode: number | null;
  readonly ProcessConfig: {
    readonly tty: boolean;
    readonly entrypoint: string;
    readonly arguments: readonly string[];
    readonly privileged?: boolean;
    readonly user?: string;
  };
  readonly OpenStdin: boolean;
  readonly OpenStderr: boolean;
  readonly OpenStdout: boolean;
  readonly CanRemove: boolean;
  readonly ContainerID: string;
  readonly DetachKeys: string;
  readonly Pid: number;
}

export type {
  AuditAnswer,
  AuthBody,
  BuildAnswer,
  BuildCacheRecord,
  BuildOutput,
  BuildQuery,
  DiskAuditAnswer,
  DiskCheckAnswer,
  DiskUnit,
  DiskUsage,
  DistributionInspect,
  EventMessage,
  HistoryItem,
  ImageInspect,
  ImageSummary,
  NetworkCreateBody,
  NetworkInspect,
  NetworkWhy,
  ProgressMessage,
  SearchResult,
  SystemInfo,
  TraceMessage,
  VersionAnswer,
  VolumeAnswer,
  VolumeCreateBody,
  VolumeSnapshotAnswer,
} from "./schema-store.ts";

/** What `commit` may override; the fields of a container's config that an image has. */
export type CommitConfig = RunConfig & { readonly Healthcheck?: Healthcheck };
