import type { Readable } from "node:stream";
import type { Failure } from "../base/mod.ts";
import type { Image, Removal } from "../image/mod.ts";
import type { Endpoint, EndpointSpec, Sandbox, WhyStep } from "../network/mod.ts";
import type { Digest, RunConfig } from "../oci/mod.ts";
import type { Chunk, OutputQuery, Usage } from "../runtime/mod.ts";
import type { PortChange } from "./publish.ts";
import type { Tally } from "./tally.ts";

/** `ContainerConfig` of the Engine API, in its spelling; all fields there after `api/` parsed it. */
export interface ContainerConfig extends RunConfig {
  readonly Hostname: string;
  readonly Domainname: string;
  readonly AttachStdin: boolean;
  readonly AttachStdout: boolean;
  readonly AttachStderr: boolean;
  readonly Tty: boolean;
  readonly OpenStdin: boolean;
  readonly StdinOnce: boolean;
  readonly Image: string;
  readonly NetworkDisabled?: boolean;
  readonly MacAddress?: string;
}

export interface PortBinding {
  readonly HostIp: string;
  readonly HostPort: string;
}

/** `Mount` of the Engine API (`--mount`). */
export interface MountRequest {
  readonly Type: "bind" | "volume" | "tmpfs" | "image" | "npipe" | "cluster";
  readonly Source?: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
  readonly Consistency?: string;
  /** Ours, of binds and volumes: who owns what; as `checkIdMap` takes it. */
  readonly IdMap?: string;
  readonly BindOptions?: {
    readonly Propagation?: string;
    readonly NonRecursive?: boolean;
    readonly CreateMountpoint?: boolean;
    readonly ReadOnlyNonRecursive?: boolean;
    readonly ReadOnlyForceRecursive?: boolean;
  };
  readonly VolumeOptions?: {
    readonly NoCopy?: boolean;
    readonly Labels?: Readonly<Record<string, string>>;
    readonly DriverConfig?: {
      readonly Name?: string;
      readonly Options?: Readonly<Record<string, string>>;
    };
    readonly Subpath?: string;
  };
  readonly TmpfsOptions?: {
    readonly SizeBytes?: number;
    readonly Mode?: number;
    /** Each `[flag]` or `[name, value]`. */
    readonly Options?: readonly (readonly string[])[];
  };
  readonly ImageOptions?: { readonly Subpath?: string };
}

/** The limits that `update` can change, in the Engine API's spelling (`Resources`). */
export interface ResourceRequest {
  readonly CpuShares: number;
  readonly Memory: number;
  readonly CgroupParent: string;
  readonly BlkioWeight: number;
  readonly BlkioWeightDevice: readonly { readonly Path: string; readonly Weight: number }[] | null;
  readonly BlkioDeviceReadBps: readonly { readonly Path: string; readonly Rate: number }[] | null;
  readonly BlkioDeviceWriteBps: readonly { readonly Path: string; readonly Rate: number }[] | null;
  readonly BlkioDeviceReadIOps: readonly { readonly Path: string; readonly Rate: number }[] | null;
  readonly BlkioDeviceWriteIOps: readonly { readonly Path: string; readonly Rate: number }[] | null;
  readonly CpuPeriod: number;
  readonly CpuQuota: number;
  readonly CpuRealtimePeriod: number;
  readonly CpuRealtimeRuntime: number;
  readonly CpusetCpus: string;
  readonly CpusetMems: string;
  readonly Devices:
    | readonly {
        readonly PathOnHost: string;
        readonly PathInContainer: string;
        readonly CgroupPermissions: string;
      }[]
    | null;
  readonly DeviceCgroupRules: readonly string[] | null;
  readonly DeviceRequests:
    | readonly {
        readonly Driver?: string;
        /** -1 is all. */
        readonly Count?: number;
        readonly DeviceIDs?: readonly string[] | null;
        readonly Capabilities?: readonly (readonly string[] | undefined)[] | null;
      }[]
    | null;
  readonly MemoryReservation: number;
  readonly MemorySwap: number;
  readonly MemorySwappiness: number | null;
  readonly NanoCpus: number;
  readonly OomKillDisable: boolean | null;
  readonly PidsLimit: number | null;
  readonly Ulimits:
    | readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[]
    | null;
}

export interface RestartPolicy {
  readonly Name: "" | "no" | "always" | "unless-stopped" | "on-failure" | "on-unhealthy";
  readonly MaximumRetryCount: number;
}

/** `HostConfig` of the Engine API, in its spelling; all fields there after `api/` parsed it. */
export interface HostConfig extends ResourceRequest {
  readonly Binds: readonly string[] | null;
  readonly ContainerIDFile: string;
  readonly LogConfig: { readonly Type: string; readonly Config: Readonly<Record<string, string>> };
  readonly NetworkMode: string;
  readonly PortBindings: Readonly<Record<string, readonly PortBinding[]>>;
  readonly RestartPolicy: RestartPolicy;
  readonly AutoRemove: boolean;
  readonly VolumeDriver: string;
  readonly VolumesFrom: readonly string[] | null;
  readonly ConsoleSize: readonly [rows: number, columns: number];
  readonly Annotations?: Readonly<Record<string, string>>;
  readonly Mounts?: readonly MountRequest[];
  readonly CapAdd: readonly string[] | null;
  readonly CapDrop: readonly string[] | null;
  readonly CgroupnsMode: string;
  readonly Dns: readonly string[];
  readonly DnsOptions: readonly string[];
  readonly DnsSearch: readonly string[];
  readonly ExtraHosts: readonly string[] | null;
  readonly GroupAdd: readonly string[] | null;
  readonly IpcMode: string;
  readonly Cgroup: string;
  readonly Links: readonly string[] | null;
  readonly OomScoreAdj: number;
  readonly PidMode: string;
  readonly Privileged: boolean;
  readonly PublishAllPorts: boolean;
  readonly ReadonlyRootfs: boolean;
  readonly SecurityOpt: readonly string[] | null;
  readonly StorageOpt?: Readonly<Record<string, string>>;
  readonly Tmpfs?: Readonly<Record<string, string>>;
  readonly UTSMode: string;
  readonly UsernsMode: string;
  readonly ShmSize: number;
  readonly Sysctls?: Readonly<Record<string, string>>;
  readonly Runtime: string;
  readonly Isolation: string;
  readonly MaskedPaths: readonly string[] | null;
  readonly ReadonlyPaths: readonly string[] | null;
  readonly Init?: boolean;
  /** Limits of Windows: a count is kept and shown, a percentage discarded, the others refused. */
  readonly CpuCount?: number;
  readonly CpuPercent?: number;
  readonly IOMaximumIOps?: number;
  readonly IOMaximumBandwidth?: number;
}

export type Status =
  | "created"
  | "running"
  | "paused"
  | "restarting"
  | "removing"
  | "exited"
  | "dead";

export interface HealthState {
  readonly Status: "starting" | "healthy" | "unhealthy";
  readonly FailingStreak: number;
  readonly Log: readonly {
    readonly Start: string;
    readonly End: string;
    readonly ExitCode: number;
    readonly Output: string;
  }[];
}

/** Times are RFC 3339 with nanoseconds; "0001-01-01T00:00:00Z" is never. */
export interface ContainerState {
  readonly status: Status;
  readonly pid: number;
  readonly exitCode: number;
  readonly error: string;
  readonly oomKilled: boolean;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly health?: HealthState;
}

/** Where a mount of a container comes from and goes to, as `inspect` shows it. */
export interface MountPoint {
  readonly Type: "bind" | "volume" | "tmpfs" | "image";
  readonly Name?: string;
  readonly Source: string;
  readonly Destination: string;
  readonly Driver?: string;
  readonly Mode: string;
  readonly RW: boolean;
  readonly Propagation: string;
}

/** All that is known of a container; what the table holds, and what `api/` turns into wire JSON. */
export interface Container {
  readonly id: string;
  readonly name: string;
  readonly created: string;
  readonly imageId: Digest;
  /** The reference that `create` was called with. */
  readonly imageName: string;
  readonly path: string;
  readonly args: readonly string[];
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  /** What `create` asked for, by network name or ID. */
  readonly endpoints: readonly EndpointSpec[];
  readonly mounts: readonly MountPoint[];
  readonly state: ContainerState;
  readonly restartCount: number;
  /** A user's `stop` or `kill`: `unless-stopped` and `always` heed it. */
  readonly manuallyStopped: boolean;
  readonly execIds: readonly string[];
  readonly logDirectory: string;
}

export interface CreateRequest {
  readonly name?: string;
  readonly platform?: string;
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  readonly endpoints: readonly EndpointSpec[];
}

export interface ExecRequest {
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  readonly privileged: boolean;
  readonly tty: boolean;
  readonly attachStdin: boolean;
  readonly attachStdout: boolean;
  readonly attachStderr: boolean;
  readonly detachKeys: string;
}

export interface Exec {
  readonly id: string;
  readonly containerId: string;
  readonly request: ExecRequest;
  readonly running: boolean;
  readonly exitCode: number | null;
  readonly pid: number;
}

/** A client's side of an attached stream; `api/` makes it from a hijacked connection. */
export interface Attachment {
  /** Bytes for stdin; ends when the client half-closes. Absent when stdin is not attached. */
  readonly input?: Readable;
  /** Takes a chunk; resolves when the client's connection took it. */
  output(chunk: Chunk): Promise<void>;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
}

export interface AttachRequest {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly logs: boolean;
  readonly stream: boolean;
  /** `ctrl-p,ctrl-q` and the like; "" is the default. */
  readonly detachKeys: string;
}

/** One event, as `GET /events` streams it. */
export interface EngineEvent {
  readonly type: "container" | "image" | "network" | "volume" | "daemon" | "builder";
  readonly action: string;
  readonly actor: { readonly id: string; readonly attributes: Readonly<Record<string, string>> };
  readonly timeNs: bigint;
}

export interface Stats {
  readonly readMs: number;
  readonly usage: Usage;
  readonly systemCpuNs: number;
  readonly onlineCpus: number;
  readonly networks: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface PathStat {
  readonly name: string;
  readonly size: number;
  /** Go's os.FileMode bits, as Docker's `X-Docker-Container-Path-Stat` has them. */
  readonly mode: number;
  readonly mtime: string;
  readonly linkTarget: string;
}

/** Containers: the state machine that joins everything below. Errors are `Failure`s with Docker's words. */
export interface Engine {
  readonly tally: Tally;
  /** A client has come and may soon want a process started: as `Runtime.expect`. */
  expect(): void;
  list(): readonly Container[];
  /** By full ID, name (with or without "/") or unambiguous ID prefix. @throws "not_found" | "conflict" */
  resolve(nameOrId: string): Container;
  sandbox(id: string): Sandbox | undefined;
  endpoints(id: string): readonly Endpoint[];
  /** @throws "not_found" (image, message `No such image: NAME`) | "conflict" (name) | "invalid" */
  create(request: CreateRequest): Promise<{ id: string; warnings: readonly string[] }>;
  /** @throws "not_modified" when it runs; "conflict"; a start error keeps `exitCode` 126, 127 or 128 */
  start(id: string): Promise<void>;
  /** `keepsPolicy`: it is the daemon that ends, not a user that stops; the next daemon starts it again. */
  stop(
    id: string,
    options: { signal?: string; timeoutS?: number; keepsPolicy?: boolean },
  ): Promise<void>;
  restart(id: string, options: { signal?: string; timeoutS?: number }): Promise<void>;
  kill(id: string, signal: string): Promise<void>;
  pause(id: string): Promise<void>;
  unpause(id: string): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  update(
    id: string,
    request: Partial<ResourceRequest> & PortChange & { RestartPolicy?: RestartPolicy },
  ): Promise<string[]>;
  remove(id: string, options: { force: boolean; volumes: boolean }): Promise<void>;
  /**
   * How a container ended that was removed in the last minute; by full ID. Clients start one that removes
   * itself and wait for it afterwards.
   */
  lastExit(id: string): { readonly exitCode: number; readonly error?: string } | undefined;
  /** Resolves with the exit code when the condition is met. */
  wait(
    id: string,
    condition: "not-running" | "next-exit" | "removed",
    signal: AbortSignal,
  ): Promise<{ exitCode: number; error?: string }>;
  /** Resolves when the stream has ended: process gone, client gone, or detach keys typed. */
  attach(id: string, request: AttachRequest, attachment: Attachment): Promise<void>;
  logs(id: string, query: OutputQuery): AsyncIterable<Chunk>;
  resize(id: string, rows: number, columns: number): Promise<void>;
  top(id: string, psArgs: string): Promise<{ titles: string[]; processes: string[][] }>;
  changes(id: string): Promise<readonly { path: string; kind: 0 | 1 | 2 }[]>;
  /** Bytes of the writable layer (`SizeRw`); the root's size is that plus the image's. */
  size(id: string): Promise<number>;
  stats(id: string): Promise<Stats>;

  statPath(id: string, path: string): Promise<PathStat>;
  /** A tar of the file or folder, as `GET /containers/{id}/archive` answers. */
  readArchive(
    id: string,
    path: string,
  ): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }>;
  writeArchive(
    id: string,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
  ): Promise<void>;
  export(id: string): AsyncIterable<Uint8Array>;
  commit(
    id: string,
    options: {
      reference?: string;
      author: string;
      comment: string;
      pause: boolean;
      changes: readonly string[];
      config?: RunConfig;
    },
  ): Promise<Image>;

  exec(id: string, request: ExecRequest): Promise<string>;
  execStart(
    execId: string,
    options: { detach: boolean; tty: boolean; size?: { rows: number; columns: number } },
    attachment: Attachment | undefined,
  ): Promise<void>;
  execResize(execId: string, rows: number, columns: number): Promise<void>;
  execInspect(execId: string): Exec;

  removeImage(reference: string, options: { force: boolean; noPrune: boolean }): Promise<Removal[]>;
  imageUsers(id: Digest): { id: string; running: boolean }[];
  prune(
    filters: ReadonlyMap<string, readonly string[]>,
    options: { isDry: boolean },
  ): Promise<{ ids: string[]; reclaimedBytes: number }>;
  /** Why `from` reaches `to`, or does not. @throws "not_found" — `from` is no container | "invalid" */
  why(from: string, to: string): Promise<WhyStep[]>;
  /** Removes the link `alias` of a container, not the container. @throws "not_found" */
  unlink(owner: string, alias: string): Promise<void>;
  connect(networkId: string, id: string, endpoint: EndpointSpec): Promise<void>;
  disconnect(networkId: string, id: string, force: boolean): Promise<void>;

  /** Past events from `sinceNs`, then live ones until `untilNs` or `signal`. A bounded history is kept. */
  events(query: {
    sinceNs?: bigint;
    untilNs?: bigint;
    signal: AbortSignal;
  }): AsyncIterable<EngineEvent>;
  emit(event: Omit<EngineEvent, "timeNs">): void;
  /** Called once at start: adopts what runs, restarts what should, removes what a crash left. */
  reconcile(): Promise<string[]>;
  close(): Promise<void>;
}

/** A start that the OCI runtime refused carries the exit code that `docker run` shall end with. */
export type StartFailure = Failure & { readonly exitCode?: 126 | 127 | 128 };
