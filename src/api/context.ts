/** What the API's endpoints call. */
import type { Builder } from "../build/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { ImageStore, Report } from "../image/mod.ts";
import type { NetworkStore } from "../network/mod.ts";
import type { Platform } from "../oci/mod.ts";
import type { Plugins } from "../plugin/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import type { VolumeStore } from "../volume/mod.ts";
import type {
  AuditAnswer,
  AuthBody,
  DiskAuditAnswer,
  DiskCheckAnswer,
  DistributionInspect,
  SearchResult,
} from "./schema.ts";

/** What an engine tells about itself. */
export interface EngineInfo {
  /** Lading's own. */
  readonly version: string;
  /** A stable name for this engine, as `info` shows it. */
  readonly id?: string;
  readonly dataRoot: string;
  /** Where the host sees what the engine mounts; absent: at the same path. */
  readonly mountsBelow?: string;
  readonly defaultRuntime?: string;
  /** As `info` shows them, where the daemon was given some. */
  readonly addressPools?: readonly { readonly Base: string; readonly Size: number }[];
  readonly cdiFolders?: readonly string[];
  readonly runtimes?: Readonly<
    Record<string, { readonly path: string; readonly runtimeArgs?: readonly string[] }>
  >;
  readonly gitCommit?: string;
  readonly buildTime?: string;
  readonly proxies?: { readonly http: string; readonly https: string; readonly none: string };
  /** What may change while the engine runs. */
  readonly settings?: () => EngineSettings;
  /** Registries that have settings of their own. */
  readonly registries?: () => RegistriesInfo;
}

/** What `GET /info` tells of settings that may change. */
export interface EngineSettings {
  readonly liveRestore: boolean;
  readonly debug: boolean;
  readonly labels: readonly string[];
  readonly logDriver: string;
  /** Containers run in user namespaces. */
  readonly isRemapped: boolean;
}

/** What `GET /info` tells of registries. */
export interface RegistriesInfo {
  readonly insecure: readonly string[];
  /** By registry, in the order in which they are asked: `mirror.lan:5000/hub`. */
  readonly mirrors: ReadonlyMap<string, readonly string[]>;
}

/** What reaches registries; absent until Lading can. Each throws Failures with the registry's reason. */
export interface Registries {
  pull(
    reference: string,
    options: { platform: string; auth: AuthBody; report: Report; signal: AbortSignal },
  ): Promise<void>;
  push(
    reference: string,
    options: {
      platform: Platform | undefined;
      auth: AuthBody;
      report: Report;
      signal: AbortSignal;
    },
  ): Promise<void>;
  /** What a name stands for in its registry. */
  describe(
    reference: string,
    options: { auth: AuthBody; signal: AbortSignal },
  ): Promise<DistributionInspect>;
  search(
    term: string,
    options: { limit: number; auth: AuthBody; signal: AbortSignal },
  ): Promise<SearchResult[]>;
  login(auth: AuthBody): Promise<{ identityToken: string }>;
}

export interface Context {
  readonly engine: Engine;
  readonly images: ImageStore;
  readonly builder: Builder;
  readonly networks: NetworkStore;
  readonly volumes: VolumeStore;
  readonly content: ContentStore;
  readonly snapshots: SnapshotStore;
  readonly info: EngineInfo;
  /** Where bodies are put that are too large for memory; emptied at the start. */
  readonly directory: string;
  readonly registries?: Partial<Registries>;
  /** Who owns each byte of the data root; finds and removes what nobody owns. */
  readonly disk?: {
    audit(): Promise<DiskAuditAnswer>;
    check(options: { readonly repair: boolean }): Promise<DiskCheckAnswer>;
  };
  readonly plugins?: Plugins;
  /** Who is asked about each request, in this order. */
  readonly authorization?: { readonly plugins: Plugins; readonly names: readonly string[] };
  /** Compares what the engine knows with what the kernel has: `lading doctor` asks. */
  readonly audit?: () => Promise<AuditAnswer>;
}
