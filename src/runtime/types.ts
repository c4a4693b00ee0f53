import type { IdMap, Mount } from "../sys/mod.ts";

/** Namespace choice: a new one, the host's, or the one at a path (`/proc/PID/ns/…` or a bound file). */
export type Namespace = "private" | "host" | { readonly path: string };

export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

export interface Rlimit {
  /** `RLIMIT_NOFILE` and so on. */
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

/** One process to run: a container's first, or one that `exec` adds. */
export interface ProcessSpec {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: User;
  readonly terminal: boolean;
  /** `CAP_…` names. */
  readonly capabilities: readonly string[];
  readonly noNewPrivileges: boolean;
  readonly rlimits: readonly Rlimit[];
  readonly oomScoreAdj?: number;
  readonly apparmorProfile?: string;
}

/** `linux.resources` of the OCI runtime specification, as far as Docker sets it. */
export interface Resources {
  readonly memory?: {
    readonly limit?: number;
    readonly reservation?: number;
    readonly swap?: number;
    readonly swappiness?: number;
    readonly disableOOMKiller?: boolean;
  };
  readonly cpu?: {
    readonly shares?: number;
    readonly quota?: number;
    readonly period?: number;
    readonly realtimeRuntime?: number;
    readonly realtimePeriod?: number;
    readonly cpus?: string;
    readonly mems?: string;
  };
  readonly pids?: { readonly limit: number };
  readonly blockIO?: Readonly<Record<string, unknown>>;
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly devices?: readonly DeviceRule[];
}

export interface DeviceRule {
  readonly allow: boolean;
  readonly type: "a" | "b" | "c";
  readonly major?: number;
  readonly minor?: number;
  readonly access: string;
}

export interface Device {
  readonly path: string;
  readonly type: "b" | "c" | "p" | "u";
  readonly major: number;
  readonly minor: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** `hooks` of the OCI runtime specification, by the moment at which they are called. */
export type Hooks = Readonly<Record<string, readonly Hook[]>>;

export interface Hook {
  readonly path: string;
  readonly args?: readonly string[];
  readonly env?: readonly string[];
  readonly timeout?: number;
}

/** All that a container is for the runtime. `bundleConfig()` turns it into an OCI `config.json`. */
export interface BundleSpec {
  readonly id: string;
  /** The OCI runtime, by name; absent for the default one. */
  readonly runtime?: string;
  readonly rootfs: string;
  readonly readonlyRootfs: boolean;
  readonly process: ProcessSpec;
  readonly hostname?: string;
  readonly domainname?: string;
  /** After Docker's default mounts (proc, dev, devpts, sysfs, mqueue, cgroup, shm), sorted by depth. */
  readonly mounts: readonly Mount[];
  /** Of a tmpfs at /dev/shm; 0 for none. */
  readonly shmSizeBytes: number;
  readonly namespaces: {
    readonly network: Namespace;
    readonly pid: Namespace;
    readonly ipc: Namespace;
    readonly uts: Namespace;
    readonly cgroup: Namespace;
  };
  /** The user namespace to run in; the host's where it is absent. The others must belong to it. */
  readonly userNamespace?: { readonly path: string; readonly map: IdMap } | undefined;
  readonly cgroupParent: string;
  readonly resources: Resources;
  readonly devices: readonly Device[];
  readonly privileged: boolean;
  /** "default", "unconfined", or the text of a profile in Docker's JSON format. */
  readonly seccomp: string;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly sysctl: Readonly<Record<string, string>>;
  readonly rootfsPropagation?: string;
  /** Run a reaping init (tini's job) as process 1. */
  readonly init: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hooks?: Hooks;
  /** /sys/fs/cgroup can be written to. */
  readonly writableCgroups?: boolean;
}

/** What happens to the output of a process. */
export type Logging =
  /** Kept on disk in `directory`, at most `bytesMax` in all. Survives the daemon. */
  | { readonly kind: "disk"; readonly directory: string; readonly bytesMax: number }
  /** Handed to whoever reads now; drained when nobody does. */
  | { readonly kind: "none" };

export interface Chunk {
  readonly stream: 1 | 2;
  /** Nanoseconds since the epoch at which the engine took the bytes from the process. */
  readonly timeNs: bigint;
  readonly bytes: Uint8Array;
  /** Of a log: where reading can go on after this chunk, also another time. */
  readonly next?: LogPlace;
}

/** Where in a log; the log's own business. */
export interface LogPlace {
  readonly segment: number;
  readonly offset: number;
  readonly record: number;
}

export interface OutputQuery {
  readonly stdout: boolean;
  readonly stderr: boolean;
  /**
   * "start": all that is kept; "run": all that this process prints, of a log that may hold what earlier
   * ones printed; "now": only what comes from here on; a place: what a log has after it.
   */
  readonly from: "start" | "run" | "now" | LogPlace;
  readonly follow: boolean;
  /** Only the last n lines (before following). */
  readonly tail?: number;
  readonly sinceNs?: bigint;
  readonly untilNs?: bigint;
  readonly signal?: AbortSignal;
}

export interface Exit {
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

/** A process that runs, or has run, in a container. */
export interface RunningProcess {
  readonly pid: number;
  /** Settles once the process has ended and all of its output is in `output`. */
  readonly exited: Promise<Exit>;
  /**
   * What it prints. `read` returns at once with an iterator that misses nothing from this moment on
   * ("now") or from the beginning; it ends when the process has ended and all was read, or at `signal`.
   */
  read(query: OutputQuery): AsyncIterable<Chunk>;
  /** Writes to its stdin; resolves when the kernel took it (back-pressure). */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends its stdin. */
  closeStdin(): void;
  resize(rows: number, columns: number): void;
  signal(signal: number): void;
}

export interface StartOptions {
  readonly stdin: boolean;
  readonly logging: Logging;
  /** Initial size of the terminal, if there is one. */
  readonly size?: { readonly rows: number; readonly columns: number };
}

export interface Runtime {
  /** What can be limited, by the kernel's names of controllers; undefined: all that it has. */
  readonly controllers?: ReadonlySet<string> | undefined;
  /** A start or an `exec` will follow: begins what the kernel would make it wait for. Returns at once. */
  expect(): void;
  /**
   * An `exec` without a terminal and stdin is about to follow: its runtime is started, and waits for the
   * process a moment. Returns at once; what goes wrong costs time alone.
   */
  expectExec(id: string, execId: string): void;
  /**
   * Runs a container; resolves when its process has been started. stdio and the watcher outlive us.
   * @throws "not_found" with `exitCode` 127 semantics — the program is absent in the root filesystem
   * @throws "denied" with 126 semantics — it is not executable
   * @throws "invalid" | "internal" — the OCI runtime refused; its words are in the message
   */
  start(spec: BundleSpec, options: StartOptions): Promise<RunningProcess>;
  /** The running (or finished while we were away) container of an earlier daemon; undefined if none. */
  adopt(id: string, options: { logging: Logging }): Promise<RunningProcess | undefined>;
  /** Runs one more process in a running container. `execId` is unique; `map`: the container's users. */
  exec(
    id: string,
    execId: string,
    process: ProcessSpec,
    options: { stdin: boolean; size?: { rows: number; columns: number }; map?: IdMap | undefined },
  ): Promise<RunningProcess>;
  adoptExec(id: string, execId: string): Promise<RunningProcess | undefined>;
  /** Reads what a finished container left in its log. */
  readLog(directory: string, query: OutputQuery): AsyncIterable<Chunk>;
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;
  /** Changes limits of a running container. */
  update(id: string, resources: Resources): Promise<void>;
  /** Process ids in the container's cgroup. */
  pids(id: string): Promise<number[]>;
  /** The container's counters now, from the cgroup (v1, v2 or hybrid) that it is in. */
  usage(id: string): Promise<Usage>;
  /** Removes all that the runtime keeps of a container (run directory, cgroup, FIFOs); kills what still runs. */
  remove(id: string): Promise<void>;
  /** Removes leftovers of containers not in `ids`. Returns what it did. */
  reconcile(ids: ReadonlySet<string>): Promise<string[]>;
  close(): Promise<void>;
}

/** Counters of a cgroup. Bytes, nanoseconds, counts. */
export interface Usage {
  readonly cpu: {
    readonly totalNs: number;
    readonly userNs: number;
    readonly systemNs: number;
    readonly perCpuNs?: readonly number[];
    readonly periods: number;
    readonly throttledPeriods: number;
    readonly throttledNs: number;
  };
  readonly memory: {
    readonly usage: number;
    readonly max?: number;
    readonly limit: number;
    readonly stats: Readonly<Record<string, number>>;
    readonly oomKills: number;
  };
  readonly pids: { readonly current: number; readonly limit?: number };
  readonly blockIo: readonly { major: number; minor: number; op: string; value: number }[];
}
