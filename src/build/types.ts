import type { Image, Progress } from "../image/mod.ts";
import type { Digest, ImageConfig } from "../oci/mod.ts";
import type { Attest } from "./attest.ts";
import type { CachePlace } from "./cache-config.ts";
import type { ImportedCache } from "./cache-import.ts";
import type { ContextFiles, Demands } from "./context-files.ts";
import type { History } from "./history.ts";
import type { NamedContext } from "./named-context.ts";
import type { Output } from "./output.ts";
import type { Parts } from "./parts.ts";
import type { Reason } from "./reasons.ts";
import type { RemoteContext } from "./remote-context.ts";
import type { SentAnswer, SentRequest } from "./sent-files.ts";
import type { SourceRule } from "./source-policy.ts";
import type { Agent } from "./ssh-agent.ts";
import type { Uploads } from "./uploads.ts";

/** What one `POST /build` asks for. */
export interface BuildRequest {
  /** The unpacked context folder. Read only; hostile: never followed out of itself. */
  readonly contextPath: string;
  /** Path of the Dockerfile inside the context, or its text, with the ignore rules that go with it. */
  readonly dockerfile:
    | { readonly path: string }
    | { readonly text: string; readonly path?: string; readonly ignore?: string };
  /** The context's files when they were only listed; `contextPath` then holds the Dockerfile alone. */
  readonly listed?: ContextFiles;
  readonly tags: readonly string[];
  readonly buildArgs: Readonly<Record<string, string | null>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly target: string;
  readonly noCache: boolean;
  /** Caches of other builds to look in, in order. */
  readonly cacheFrom?: readonly CachePlace[];
  /** Where the cache of this build goes afterwards. */
  readonly cacheTo?: readonly CachePlace[];
  /** `cacheFrom`, opened. */
  readonly imported?: ImportedCache;
  /** Stages that are built without the cache, by name or number. */
  readonly noCacheFilter?: readonly string[];
  readonly pull: boolean;
  /** Several, separated by commas, make an index. */
  readonly platform: string;
  /** "", "default", "host", "none". */
  readonly networkMode: string;
  readonly extraHosts: readonly string[];
  readonly shmSizeBytes: number;
  readonly memoryBytes: number;
  readonly cpuShares: number;
  /** Other limits of RUN than those above. */
  readonly limits?: RunLimits;
  /** What `RUN --mount=type=secret,id=…` may read. Never stored, no part of the cache. */
  readonly secrets?: ReadonlyMap<string, Uint8Array>;
  /** What `RUN --mount=type=ssh,id=…` may ask. */
  readonly agents?: ReadonlyMap<string, Agent>;
  /** What the Dockerfile may ask for beyond a sandbox. */
  readonly allow?: readonly Entitlement[];
  /** Where the results go. Absent: an image in the store with the tags. */
  readonly outputs?: readonly Output[];
  /** Statements that go along with the image. */
  readonly attest?: Attest;
  /** One layer in place of those that the build made; the base stays. */
  readonly squash?: boolean;
  /** Build twice, without the cache, and fail unless both are the same. */
  readonly verify?: boolean;
  /** Files keep the times at which they were written: Docker's images, and not reproducible. */
  readonly keepTimes?: boolean;
  /** When the newest commit of the context was made, seconds since 1970. */
  readonly commitSeconds?: number;
  /** What the Dockerfile may take from elsewhere, and what it gets instead. */
  readonly sourcePolicy?: readonly SourceRule[];
  /** Places that the Dockerfile knows by names. */
  readonly contexts?: ReadonlyMap<string, NamedContext>;
  /** The context folder stays as it is after the build: digests of its unchanged files are remembered. */
  readonly contextStays?: boolean;
  /** Credentials by a registry's address, for base images that are not here. Never stored. */
  readonly registries?: Readonly<Record<string, RegistryLogin>>;
  /** Names what is built, so that its last build can be found to compare with. Default: its tag. */
  readonly project?: string;
  /** Events are told as they happen, not stage by stage. */
  readonly isLive?: boolean;
  readonly signal: AbortSignal;
}

/** What is refused unless the client allows it: it reaches the host. */
export const entitlements = ["network.host", "security.insecure", "device", "fs.read"] as const;
export type Entitlement = (typeof entitlements)[number];

/** Limits of RUN, as `POST /build` names them. */
export interface RunLimits {
  /** Memory and swap together; -1: endless; 0: as much swap as memory. */
  readonly memorySwapBytes?: number;
  readonly cpuPeriodUs?: number;
  readonly cpuQuotaUs?: number;
  /** Lists as `0-3,7`. */
  readonly cpus?: string;
  readonly memoryNodes?: string;
  readonly cgroupParent?: string;
  readonly ulimits?: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  /** `no-new-privileges`, `seccomp=…`, `apparmor=…`, as for a container. */
  readonly securityOptions?: readonly string[];
}

/** Who a build is towards a registry. */
export interface RegistryLogin {
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

/**
 * `cached`: its layer was there. `reused`: another build or stage made it at the same time. `made`: it
 * was carried out. `cancelled`: another step failed, or the client went away.
 */
export type Outcome = "cached" | "reused" | "made" | "failed" | "cancelled";

/** What the build tells while it goes on. `step` is "3/7" as in `Step 3/7 : RUN make`. */
export type BuildEvent =
  /** First of all; the id is that in the history. */
  | { readonly kind: "begun"; readonly id: string }
  | {
      readonly kind: "step";
      readonly number: number;
      readonly total: number;
      readonly text: string;
      /** Its name or number; "" before the first FROM. */
      readonly stage: string;
    }
  /** How a step came about: after `step`, before `done`. */
  | {
      readonly kind: "settled";
      readonly number: number;
      readonly outcome: Outcome;
      readonly reasons: readonly Reason[];
      readonly ms: number;
    }
  /** A stage that the target does not need. */
  | { readonly kind: "skipped"; readonly stage: string; readonly steps: number }
  | { readonly kind: "cached"; readonly number: number }
  | {
      readonly kind: "output";
      readonly number: number;
      readonly stream: 1 | 2;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "done"; readonly number: number; readonly id: string }
  | { readonly kind: "pull"; readonly progress: Progress }
  | { readonly kind: "warning"; readonly text: string }
  | { readonly kind: "note"; readonly text: string }
  /** The image is whole; its ID. */
  | { readonly kind: "image"; readonly id: Digest };

/** What came of a build. */
export interface Produced {
  /** The image's ID; of several platforms the digest of their index. */
  readonly id: Digest;
  /** The image in the store, if one was put there. */
  readonly image: Image | undefined;
  /** What was made for each platform; its layers are in the cache. */
  readonly configs: readonly ImageConfig[];
  /** Results that wait to be fetched: by which output, under which handle. */
  readonly exports: readonly { readonly output: number; readonly handle: string }[];
  /** Caches that wait to be fetched: by which of `cacheTo`. */
  readonly caches: readonly { readonly cache: number; readonly handle: string }[];
  /** What `--metadata-file` holds. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** What can be asked of a Dockerfile without a build. */
export const buildCalls = ["check", "outline", "targets"] as const;
export type BuildCall = (typeof buildCalls)[number];

/** An uploaded context, unpacked; gone when it is disposed of. */
export interface TakenContext extends AsyncDisposable {
  readonly path: string;
  /** It is no mount of its own: the folder can be moved. */
  readonly isOnDisk?: boolean;
}

/** What the cache holds: a layer that no build has to make again, or the folder of a cache mount. */
export interface CacheRow {
  readonly id: string;
  readonly type: "regular" | "exec.cachemount";
  readonly description: string;
  readonly sizeBytes: number;
  readonly createdMs: number;
  readonly lastUsedMs: number;
  /** How long it took to make. */
  readonly costMs: number;
  /** An image has it, or a running build. */
  readonly inUse: boolean;
}

export interface PruneOptions {
  readonly all: boolean;
  /** Stop as soon as no more than this is left. */
  readonly keepBytes: number;
  /** Picks what may go; all by default. */
  readonly isAsked?: (row: CacheRow) => boolean;
  /** Only tell what would go. */
  readonly isDry?: boolean;
}

export interface Pruned {
  readonly ids: readonly string[];
  readonly reclaimedBytes: number;
  /** What went, the least valuable first. */
  readonly rows: readonly CacheRow[];
}

export interface Builder {
  /** What clients hand over before their builds. */
  readonly parts: Parts;
  /** Files that builds wait for. */
  readonly demands: Demands;
  /** Past builds. */
  readonly history: History;
  /**
   * Unpacks the tar of an upload (plain or compressed) as a context folder, small ones in memory.
   * @throws Failure "invalid" (a hostile entry) | "corrupt" | "exhausted"
   */
  takeContext(
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    /** About how much it unpacks to, where that is known. */
    sizeBytes?: number,
  ): Promise<TakenContext>;
  /** Lists files by what a client says of them, as far as it sent them before. See sent-files.ts. */
  matchSent(request: SentRequest, signal: AbortSignal): Promise<SentAnswer>;
  /** Named contexts that were sent ahead. */
  readonly uploads: Uploads;
  /** Fetches a context: a repository, an archive, a Dockerfile. @throws Failure */
  fetchContext(
    address: string,
    asked: Pick<BuildRequest, "buildArgs" | "secrets" | "agents" | "signal">,
  ): Promise<RemoteContext>;
  /** @throws Failure with file, line and the line's text in the message when the Dockerfile is at fault */
  build(request: BuildRequest, report: (event: BuildEvent) => void): Promise<Image>;
  /** As `build`, to the outputs that the request names. @throws "conflict" — `verify` found differences */
  produce(request: BuildRequest, report: (event: BuildEvent) => void): Promise<Produced>;
  /** The bytes of a result that waits, once. @throws "not_found" */
  fetch(handle: string): AsyncIterable<Uint8Array>;
  /** Answers a question about the Dockerfile, and builds nothing. @throws Failure as `build` */
  call(call: BuildCall, request: BuildRequest): Promise<object>;
  /** The cache, for `system df`; `prune` empties it. */
  cache(): readonly CacheRow[];
  /** The names of the folders of `RUN --mount=type=cache`. */
  folders(): ReadonlySet<string>;
  prune(options: PruneOptions): Promise<Pruned>;
  reconcile(): Promise<string[]>;
}
