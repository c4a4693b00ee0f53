/** The rest of `schema.ts`: images, networks, volumes, builds and the system. */

import type { RunConfig } from "../oci/mod.ts";
import type { ContainerSummary, DriverData, Labels } from "./schema.ts";
import type { BuildEventMessage } from "./schema-build.ts";

export interface ImageSummary {
  readonly Id: string;
  readonly ParentId: string;
  readonly RepoTags: readonly string[];
  readonly RepoDigests: readonly string[];
  /** Seconds since the epoch. */
  readonly Created: number;
  readonly Size: number;
  /** -1 where it was not asked for. */
  readonly SharedSize: number;
  readonly Labels: Labels | null;
  /** -1 where it was not asked for. */
  readonly Containers: number;
}

export interface ImageInspect {
  readonly Id: string;
  readonly RepoTags: readonly string[];
  readonly RepoDigests: readonly string[];
  readonly Parent: string;
  readonly Comment: string;
  readonly Created?: string;
  readonly DockerVersion: string;
  readonly Author: string;
  /** Both until 1.44. */
  readonly ContainerConfig?: object;
  readonly Container?: string;
  readonly Config: { readonly [Field in keyof RunConfig]: RunConfig[Field] | null };
  readonly Architecture: string;
  readonly Variant?: string;
  readonly Os: string;
  readonly OsVersion?: string;
  readonly Size: number;
  readonly VirtualSize?: number;
  readonly GraphDriver: DriverData;
  readonly RootFS: { readonly Type: string; readonly Layers?: readonly string[] };
  readonly Metadata: { readonly LastTagTime: string };
}

export interface HistoryItem {
  readonly Id: string;
  /** Seconds since the epoch. */
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Tags: readonly string[] | null;
  readonly Size: number;
  readonly Comment: string;
}

export interface SearchResult {
  readonly name: string;
  readonly description: string;
  readonly is_official: boolean;
  readonly is_automated: boolean;
  readonly star_count: number;
}

/** What `GET /distribution/{name}/json` answers. */
export interface DistributionInspect {
  readonly Descriptor: {
    readonly mediaType: string;
    readonly digest: string;
    readonly size: number;
  };
  readonly Platforms: readonly {
    readonly architecture: string;
    readonly os: string;
    readonly variant?: string;
  }[];
}

/** One line of `pull`, `push`, `load`, `import` and `build`. */
export interface ProgressMessage {
  readonly stream?: string;
  readonly status?: string;
  readonly id?: string;
  readonly progress?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number; readonly message: string };
  readonly aux?: {
    readonly ID?: string;
    readonly Tag?: string;
    readonly Digest?: string;
    readonly Size?: number;
    /** At a build's end: what `--metadata-file` holds, and results to be fetched. */
    readonly Metadata?: Readonly<Record<string, unknown>>;
    readonly Results?: readonly { readonly Output: number; readonly Handle: string }[];
    /** Caches that wait for the client, by their place in `cacheto`. */
    readonly Caches?: readonly { readonly Cache: number; readonly Handle: string }[];
  };
  /** Of a build that was asked for with `events`. */
  readonly event?: BuildEventMessage;
}

/** What BuildKit tells of a build, in base64, for a client that has no gRPC for it. */
export interface TraceMessage {
  readonly id: "moby.buildkit.trace";
  readonly aux: string;
}

/** Where a result of a build goes; a folder or an archive goes to the client. */
export interface BuildOutput {
  readonly Type: string;
  readonly Attrs: Readonly<Record<string, string>>;
}

/** The query of `POST /build`; the context is the body. */
export interface BuildQuery {
  readonly t?: readonly string[];
  readonly dockerfile?: string;
  readonly remote?: string;
  /** Build nothing, answer a question about the Dockerfile: `check`, `outline` or `targets`. */
  readonly call?: string;
  /** `docker-image://…`, `target:…`, an address, or `upload:` and what `POST /build/contexts` said. */
  readonly contexts?: Readonly<Record<string, string>>;
  /** What `POST /build/contexts` answered to a lone Dockerfile. */
  readonly dockerfilecontext?: string;
  /** BuildKit's source policy as JSON. */
  readonly sourcepolicy?: string;
  readonly buildargs?: Readonly<Record<string, string | null>>;
  readonly labels?: Labels;
  readonly target?: string;
  readonly nocache?: boolean;
  readonly pull?: boolean;
  readonly networkmode?: string;
  readonly platform?: string;
  readonly q?: boolean;
  readonly rm?: boolean;
  readonly shmsize?: number;
  /** `name:address` */
  readonly extrahosts?: readonly string[];
  readonly memory?: number;
  readonly memswap?: number;
  readonly cpushares?: number;
  readonly cpuperiod?: number;
  readonly cpuquota?: number;
  readonly cpusetcpus?: string;
  readonly cpusetmems?: string;
  readonly cgroupparent?: string;
  readonly isolation?: string;
  /** A list of `{Name, Soft, Hard}` as JSON. */
  readonly ulimits?: string;
  /** A list as JSON. */
  readonly securityopt?: string;
  /** What `POST /build/secrets` answered, by the secret's id in the Dockerfile. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** The ids of open `POST /build/ssh`, by the agent's id in the Dockerfile. */
  readonly ssh?: Readonly<Record<string, string>>;
  readonly allow?: readonly string[];
  /** Milliseconds after which the build ends. */
  readonly timeout?: number;
  /** Names of images, as Docker has it, or places with their attributes. */
  readonly cachefrom?: readonly BuildOutput[];
  readonly cacheto?: readonly BuildOutput[];
  /** SHA-256 of a listing of the context, hexadecimal: the body has the Dockerfile, the rest is asked for. */
  readonly listed?: string;
  readonly nocachefilter?: readonly string[];
  /** Tell what happens as values, not as text, and at once. */
  readonly events?: boolean;
  /** Say of each step why it was not in the cache. */
  readonly explain?: boolean;
  readonly outputs?: readonly BuildOutput[];
  /** `{ type: "provenance", mode: "max" }` */
  readonly attests?: readonly Readonly<Record<string, string>>[];
  /** One layer in place of those that the build makes. */
  readonly squash?: boolean;
  /** Build twice and compare. */
  readonly verify?: boolean;
  /** When the context's newest commit was made, seconds since 1970. */
  readonly committime?: number;
}

/** Where something stands in a Dockerfile; lines count from 1. */
export interface BuildLocation {
  readonly ranges?: readonly { readonly start: { line: number }; readonly end: { line: number } }[];
}

/** What `POST /build?call=…` answers, by the call. */
export interface BuildAnswer {
  readonly sources: readonly { readonly fileName: string; readonly data: string }[];
  readonly warnings?: readonly {
    readonly ruleName: string;
    readonly description: string;
    readonly url: string;
    readonly detail: string;
    readonly location: BuildLocation;
  }[];
  /** Why what was checked cannot be built. */
  readonly buildError?: { readonly message: string };
  readonly targets?: readonly {
    readonly name?: string;
    readonly default?: boolean;
    readonly description?: string;
  }[];
  readonly name?: string;
  readonly description?: string;
  readonly args?: readonly {
    readonly name: string;
    readonly value?: string;
    readonly description?: string;
  }[];
  readonly secrets?: readonly { readonly name: string; readonly required?: boolean }[];
  readonly ssh?: readonly { readonly name: string; readonly required?: boolean }[];
}

export interface NetworkCreateBody {
  readonly Name: string;
  readonly Driver?: string;
  readonly Scope?: string;
  readonly Internal?: boolean;
  readonly Attachable?: boolean;
  readonly Ingress?: boolean;
  readonly ConfigOnly?: boolean;
  readonly ConfigFrom?: { readonly Network: string };
  readonly EnableIPv4?: boolean;
  readonly EnableIPv6?: boolean;
  readonly IPAM?: {
    readonly Driver?: string;
    readonly Config?: readonly IpamConfig[];
    readonly Options?: Labels;
  };
  readonly Options?: Labels;
  readonly Labels?: Labels;
}

/** The answer of `GET /lading/network/why?from=…&to=…`. */
export interface NetworkWhy {
  readonly From: string;
  readonly To: string;
  readonly Reachable: boolean;
  /** The step that failed, or "". */
  readonly StoppedBy: string;
  readonly Steps: readonly {
    readonly Step: string;
    readonly OK: boolean;
    readonly Detail: string;
    readonly Hint?: string;
  }[];
}

export interface IpamConfig {
  readonly Subnet?: string;
  readonly IPRange?: string;
  readonly Gateway?: string;
  readonly AuxiliaryAddresses?: Labels;
}

export interface NetworkInspect {
  readonly Name: string;
  readonly Id: string;
  readonly Created: string;
  readonly Scope: string;
  readonly Driver: string;
  readonly EnableIPv4: boolean;
  readonly EnableIPv6: boolean;
  readonly IPAM: {
    readonly Driver: string;
    readonly Options: Labels | null;
    readonly Config: readonly IpamConfig[];
  };
  readonly Internal: boolean;
  readonly Attachable: boolean;
  readonly Ingress: boolean;
  readonly ConfigFrom: { readonly Network: string };
  readonly ConfigOnly: boolean;
  /** By container ID; empty in a list. */
  readonly Containers: Readonly<
    Record<
      string,
      {
        readonly Name: string;
        readonly EndpointID: string;
        readonly MacAddress: string;
        readonly IPv4Address: string;
        readonly IPv6Address: string;
      }
    >
  >;
  readonly Options: Labels;
  readonly Labels: Labels;
}

export interface VolumeCreateBody {
  readonly Name?: string;
  readonly Driver?: string;
  readonly DriverOpts?: Labels;
  readonly Labels?: Labels;
}

export interface VolumeAnswer {
  readonly Name: string;
  readonly Driver: string;
  readonly Mountpoint: string;
  readonly CreatedAt?: string;
  readonly Labels: Labels | null;
  readonly Scope: "local" | "global";
  readonly Options: Labels | null;
  readonly UsageData?: { readonly Size: number; readonly RefCount: number };
  /** What its plugin says of it. */
  readonly Status?: Readonly<Record<string, unknown>>;
}

/** A state of a volume that was kept. */
export interface VolumeSnapshotAnswer {
  readonly Name: string;
  readonly CreatedAt: string;
}

export interface EventMessage {
  readonly status?: string;
  readonly id?: string;
  readonly from?: string;
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Labels };
  readonly scope: "local";
  /** Seconds since the epoch. */
  readonly time: number;
  /** Nanoseconds since the epoch; more than a double holds exactly. */
  readonly timeNano: number;
}

export interface BuildCacheRecord {
  readonly ID: string;
  readonly Type: string;
  readonly Description: string;
  readonly InUse: boolean;
  readonly Shared: boolean;
  readonly Size: number;
  readonly CreatedAt: string;
  readonly LastUsedAt: string | null;
  readonly UsageCount: number;
}

export interface DiskUsage {
  readonly LayersSize: number;
  readonly Images: readonly ImageSummary[] | null;
  readonly Containers: readonly ContainerSummary[] | null;
  readonly Volumes: readonly VolumeAnswer[] | null;
  readonly BuildCache: readonly BuildCacheRecord[] | null;
}

export interface AuthBody {
  readonly username?: string;
  readonly password?: string;
  readonly email?: string;
  readonly serveraddress?: string;
  readonly identitytoken?: string;
}

export interface VersionAnswer {
  readonly Platform: { readonly Name: string };
  readonly Components: readonly {
    readonly Name: string;
    readonly Version: string;
    readonly Details?: Labels;
  }[];
  readonly Version: string;
  readonly ApiVersion: string;
  readonly MinAPIVersion: string;
  readonly GitCommit: string;
  readonly GoVersion: string;
  readonly Os: string;
  readonly Arch: string;
  readonly KernelVersion: string;
  readonly Experimental?: boolean;
  readonly BuildTime: string;
}

/** `GET /info`: the fields that clients read; others come along. */
export interface SystemInfo {
  readonly ID: string;
  readonly Name: string;
  readonly Containers: number;
  readonly ContainersRunning: number;
  readonly ContainersPaused: number;
  readonly ContainersStopped: number;
  readonly Images: number;
  readonly Driver: string;
  readonly DriverStatus: readonly (readonly [string, string])[];
  readonly DockerRootDir: string;
  readonly ServerVersion: string;
  readonly CgroupDriver: string;
  readonly CgroupVersion: string;
  readonly KernelVersion: string;
  readonly OperatingSystem: string;
  readonly OSType: string;
  readonly Architecture: string;
  readonly NCPU: number;
  readonly MemTotal: number;
  readonly DefaultRuntime: string;
  readonly SecurityOptions: readonly string[];
  readonly Warnings: readonly string[] | null;
  readonly [more: string]: unknown;
}

/** A part of the data root that has one owner, or none. */
export interface DiskUnit {
  /** Below the data root. */
  readonly path: string;
  readonly bytes: number;
  readonly files: number;
  readonly kind: "image" | "container" | "volume" | "build cache" | "engine";
  readonly owner?: string | undefined;
}

/** What `GET /lading/disk` answers (ours). */
export interface DiskAuditAnswer {
  readonly dataRoot: string;
  readonly units: readonly DiskUnit[];
}

/** What `POST /lading/fsck` answers (ours): what nothing owns, and whether it is gone now. */
export interface DiskCheckAnswer {
  readonly dataRoot: string;
  readonly orphans: readonly (DiskUnit & { readonly repaired: boolean })[];
  /** Bytes of layers and blobs that the tables knew and nobody needed. */
  readonly collectedBytes: number;
}

/** What `GET /lading/audit` answers (ours): findings on the host's and the engine's agreement. */
export interface AuditAnswer {
  readonly dataRoot: string;
  readonly findings: {
    readonly level: "ok" | "warning" | "problem";
    readonly text: string;
    readonly hint?: string;
  }[];
}
