import { Database } from "bun:sqlite";
import { mkdtempSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import type { Image, ImageStore } from "../image/mod.ts";
import type { Network, NetworkStore, Sandbox, SandboxSpec } from "../network/mod.ts";
import { digestOf, type RunConfig } from "../oci/mod.ts";
import type { Chunk, Exit, OutputQuery, RunningProcess, Runtime } from "../runtime/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import type { Volume, VolumeStore } from "../volume/mod.ts";
import type { Stores } from "./core.ts";
import { openEngine } from "./engine.ts";
import type { ContainerConfig, CreateRequest, Engine, HostConfig } from "./types.ts";

/**
 * For tests: a world of snapshots, processes, networks and volumes that outlives the engine as the
 * kernel does, and an engine in it that can be killed before or after any of its steps.
 */

interface Actor {
  exit: Exit | undefined;
  ended: PromiseWithResolvers<Exit>;
  output: string;
  input: string;
  paused: boolean;
  /** What a signal does; SIGKILL always kills. */
  heeds: boolean;
}

export class World {
  readonly database = new Database(":memory:");
  readonly directory = mkdtempSync("/tmp/lading-H-");
  readonly snapshots = new Map<string, { mounted: boolean }>();
  readonly actors = new Map<string, Actor>();
  /** The names of the networks that each running container is on. */
  readonly sandboxes = new Map<string, Set<string>>();
  readonly volumes = new Map<string, { anonymous: boolean; users: Set<string> }>();
  /** The step before (odd) or after (even) which the engine is killed; 0 for never. */
  killAt = 0;
  steps = 0;
  /** The next start of the runtime fails with this. */
  refusal: Failure | undefined;
  /** Whether processes end on SIGTERM. */
  heeds = true;

  finish(id: string, exitCode: number): void {
    const actor = this.actors.get(id);
    if (!actor || actor.exit) return;
    actor.exit = { exitCode, oomKilled: false, atMs: Date.now() };
    actor.ended.resolve(actor.exit);
  }
}

/** One run of the daemon in a world. */
export interface Run {
  readonly engine: Engine;
  /** Settles when `killAt` was reached; nothing of this run goes on afterwards. */
  readonly killed: Promise<void>;
}

class Life {
  readonly world: World;
  readonly #end = Promise.withResolvers<void>();
  isOver = false;

  constructor(world: World) {
    this.world = world;
  }

  get killed(): Promise<void> {
    return this.#end.promise;
  }

  /** An act on the world: the engine may die before it, or after it. */
  async step<T>(act: () => T): Promise<T> {
    await this.#tick();
    const result = act();
    await this.#tick();
    return result;
  }

  async #tick(): Promise<void> {
    await Promise.resolve();
    if (!this.isOver && ++this.world.steps === this.world.killAt) {
      this.isOver = true;
      this.#end.resolve();
    }
    if (this.isOver) await new Promise(() => {});
  }
}

export async function run(world: World): Promise<Run> {
  const life = new Life(world);
  const engine = await openEngine({
    database: guarded(world.database, life),
    directory: world.directory,
    ...storesOf(life),
  });
  return { engine, killed: life.killed };
}

/** The stores of a world by themselves, for who replaces some of them by real ones. */
export function fakeStores(world: World): Stores {
  return storesOf(new Life(world));
}

function storesOf(life: Life): Stores {
  return {
    content: {} as ContentStore,
    images: images(),
    snapshots: snapshots(life),
    runtime: runtime(life),
    networks: networks(life),
    volumes: volumes(life),
  };
}

/** A dead engine writes no more. */
function guarded(database: Database, life: Life): Database {
  return new Proxy(database, {
    get(target, key) {
      if (life.isOver) throw new Error("this engine is dead");
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const imageId = digestOf("image");

function images(): ImageStore {
  const config: RunConfig = { Env: ["IMAGE=1"], Cmd: ["sh"] };
  const rootfs = { type: "layers", diff_ids: [] } as const;
  const image = { id: imageId, config: { architecture: "amd64", os: "linux", config, rootfs } };
  return {
    resolve(name: string) {
      if (name === "busybox" || name === imageId) return image as unknown as Image;
      throw new Failure("not_found", `No such image: ${name}`);
    },
    onEvent() {},
  } as unknown as ImageStore;
}

function snapshots(life: Life): SnapshotStore {
  const all = life.world.snapshots;
  return {
    prepare: (key: string) => life.step(() => void all.set(key, { mounted: false })),
    mount: (key: string) =>
      life.step(() => {
        all.get(key)!.mounted = true;
        return life.world.directory;
      }),
    unmount: (key: string) =>
      life.step(() => {
        const snapshot = all.get(key);
        if (snapshot) snapshot.mounted = false;
      }),
    remove: (key: string) => life.step(() => void all.delete(key)),
    has: (key: string) => all.has(key),
    usage: async () => 0,
    reconcile: async (keys: ReadonlySet<string>) => {
      for (const key of all.keys()) if (!keys.has(key)) all.delete(key);
      return [];
    },
  } as unknown as SnapshotStore;
}

function runtime(life: Life): Runtime {
  const { world } = life;
  const handle = (actor: Actor): RunningProcess => ({
    pid: process.pid,
    exited: actor.ended.promise.then((exit) => life.step(() => exit)),
    read: (query) => read(actor, query),
    write: async (bytes) => void (actor.input += Buffer.from(bytes).toString()),
    closeStdin: () => void (actor.input += "<end>"),
    resize() {},
    signal(signal) {
      const [id] = [...world.actors].find(([, other]) => other === actor) ?? [""];
      if (signal === 9 || actor.heeds) queueMicrotask(() => world.finish(id, 128 + signal));
    },
  });
  const start = (id: string) => {
    if (world.refusal) throw world.refusal;
    const ended = Promise.withResolvers<Exit>();
    const text = { output: `out of ${id.slice(0, 4)}\n`, input: "" };
    const actor = { exit: undefined, ended, ...text, paused: false, heeds: world.heeds };
    world.actors.set(id, actor);
    return handle(actor);
  };
  return {
    start: (spec: { id: string }) => life.step(() => start(spec.id)),
    exec: (_id: string, execId: string) => life.step(() => start(execId)),
    adopt: (id: string) =>
      life.step(() => {
        const actor = world.actors.get(id);
        return actor && handle(actor);
      }),
    expect: () => {},
    expectExec: () => {},
    adoptExec: async () => undefined,
    pause: (id: string) => life.step(() => void (world.actors.get(id)!.paused = true)),
    resume: (id: string) => life.step(() => void (world.actors.get(id)!.paused = false)),
    remove: (id: string) => life.step(() => void world.actors.delete(id)),
    reconcile: async (ids: ReadonlySet<string>) => {
      for (const id of world.actors.keys()) if (!ids.has(id)) world.actors.delete(id);
      return [];
    },
  } as unknown as Runtime;
}

async function* read(actor: Actor, { signal }: OutputQuery): AsyncGenerator<Chunk> {
  yield { stream: 1, timeNs: BigInt(Date.now()) * 1_000_000n, bytes: Buffer.from(actor.output) };
  const stopped = new Promise((resolve) => signal?.addEventListener("abort", resolve));
  await Promise.race([actor.ended.promise, stopped]);
}

function networks(life: Life): NetworkStore {
  const all = life.world.sandboxes;
  const known = ["bridge", "other"].map((name) => ({ id: `${name}-id`, name, driver: "bridge" }));
  const resolve = (nameOrId: string) =>
    known.find(({ id, name }) => [id, name].includes(nameOrId)) as Network;
  const sandbox = (id: string) =>
    ({
      containerId: id,
      netnsPath: "/x",
      endpoints: [...(all.get(id) ?? [])].map((networkName) => ({
        networkName,
        networkId: resolve(networkName).id,
      })),
      ports: [],
      hostsPath: "",
    }) as unknown as Sandbox;
  return {
    list: () => known,
    resolve,
    sandbox: (id: string) => (all.has(id) ? sandbox(id) : undefined),
    open: ({ containerId, endpoints }: SandboxSpec) =>
      life.step(() => {
        all.set(containerId, new Set(endpoints.map(({ network }) => resolve(network).name)));
        return sandbox(containerId);
      }),
    connect: (id: string, { network }: { network: string }) =>
      life.step(() => void all.get(id)?.add(network)),
    disconnect: (id: string, networkId: string) =>
      life.step(() => void all.get(id)?.delete(resolve(networkId).name)),
    close: (id: string) => life.step(() => void all.delete(id)),
    rename() {},
    check() {},
    publish: async (id: string) => sandbox(id),
    reconcile: async (ids: ReadonlySet<string>) => {
      for (const id of all.keys()) if (!ids.has(id)) all.delete(id);
      return [];
    },
  } as unknown as NetworkStore;
}

function volumes(life: Life): VolumeStore {
  const all = life.world.volumes;
  return {
    list: () => [...all.keys()].map((name) => ({ name }) as Volume),
    get: (name: string) => ({ name, mountpoint: `/v/${name}` }) as Volume,
    create: ({ name = "", anonymous = false }) =>
      life.step(() => {
        if (!all.has(name)) all.set(name, { anonymous, users: new Set() });
        return { name } as Volume;
      }),
    acquire: (name: string, id: string) => life.step(() => void all.get(name)!.users.add(id)),
    mount: (name: string) => life.step(() => `/v/${name}`),
    unmount: () => life.step(() => {}),
    release: (name: string, id: string) => life.step(() => void all.get(name)?.users.delete(id)),
    usersOf: (name: string) => [...(all.get(name)?.users ?? [])],
    remove: (name: string) =>
      life.step(() => {
        if (!all.delete(name)) throw new Failure("not_found", `get ${name}: no such volume`);
      }),
    populate: () => life.step(() => {}),
    reconcile: async (ids: ReadonlySet<string>) => {
      for (const { users } of all.values()) {
        for (const id of users) if (!ids.has(id)) users.delete(id);
      }
      return [];
    },
  } as unknown as VolumeStore;
}

/** A request as the API makes one, with what a test says over the defaults. */
export function request(
  name: string,
  {
    config = {},
    hostConfig = {},
  }: { config?: Partial<ContainerConfig>; hostConfig?: Partial<HostConfig> } = {},
): CreateRequest {
  return {
    name,
    config: { ...plainConfig, ...config },
    hostConfig: { ...plainHostConfig, ...hostConfig },
    endpoints: [],
  };
}

const plainConfig: ContainerConfig = {
  Hostname: "",
  Domainname: "",
  AttachStdin: false,
  AttachStdout: true,
  AttachStderr: true,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Image: "busybox",
};

const plainHostConfig: HostConfig = {
  CpuShares: 0,
  Memory: 0,
  CgroupParent: "",
  BlkioWeight: 0,
  BlkioWeightDevice: null,
  BlkioDeviceReadBps: null,
  BlkioDeviceWriteBps: null,
  BlkioDeviceReadIOps: null,
  BlkioDeviceWriteIOps: null,
  CpuPeriod: 0,
  CpuQuota: 0,
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  CpusetCpus: "",
  CpusetMems: "",
  Devices: null,
  DeviceCgroupRules: null,
  DeviceRequests: null,
  MemoryReservation: 0,
  MemorySwap: 0,
  MemorySwappiness: null,
  NanoCpus: 0,
  OomKillDisable: null,
  PidsLimit: null,
  Ulimits: null,
  Binds: null,
  ContainerIDFile: "",
  LogConfig: { Type: "", Config: {} },
  NetworkMode: "default",
  PortBindings: {},
  RestartPolicy: { Name: "", MaximumRetryCount: 0 },
  AutoRemove: false,
  VolumeDriver: "",
  VolumesFrom: null,
  ConsoleSize: [0, 0],
  CapAdd: null,
  CapDrop: null,
  CgroupnsMode: "",
  Dns: [],
  DnsOptions: [],
  DnsSearch: [],
  ExtraHosts: null,
  GroupAdd: null,
  IpcMode: "",
  Cgroup: "",
  Links: null,
  OomScoreAdj: 0,
  PidMode: "",
  Privileged: false,
  PublishAllPorts: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  UTSMode: "",
  UsernsMode: "",
  ShmSize: 0,
  Runtime: "",
  Isolation: "",
  MaskedPaths: null,
  ReadonlyPaths: null,
};
