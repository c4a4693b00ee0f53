/** Stores for tests: layers are whole copies of a tree, commands are functions on it. No root needed. */
import { Database } from "bun:sqlite";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { assert, Failure } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import type { Image, ImageStore } from "../image/mod.ts";
import type { NetworkStore } from "../network/mod.ts";
import {
  type Digest,
  digestOf,
  hostPlatform,
  type ImageConfig,
  type RunConfig,
} from "../oci/mod.ts";
import type { BundleSpec, Exit, Runtime } from "../runtime/mod.ts";
import type { Layer, SnapshotStore } from "../snapshot/mod.ts";
import { type BuilderOptions, openBuilder } from "./builder.ts";
import type { BuildEvent, Builder, BuildRequest } from "./types.ts";

/** What a command does in a test: prints, writes below `root`, gives its exit code. */
export type Command = (at: {
  readonly root: string;
  readonly spec: BundleSpec;
  readonly print: (text: string) => void;
  readonly killed: Promise<void>;
}) => Promise<number> | number;

export type WorldOptions = Pick<BuilderOptions, "cacheBytesMax">;

/** A builder on stores of this file, and what it did. */
export class World implements AsyncDisposable {
  readonly directory = mkdtempSync("/tmp/lading-builder-");
  readonly images = new Map<Digest, Image>();
  readonly names = new Map<string, Digest>();
  readonly layers = new Map<Digest, Layer>();
  readonly open = new Map<string, readonly Digest[]>();
  /** Command lines that ran, in order. */
  readonly ran: string[] = [];
  readonly networks = new Set<string>();
  readonly database: Database;
  command: Command = () => 0;
  /** Most commands that ran at the same time. */
  widest = 0;
  #running = 0;
  #count = 0;

  constructor(options: WorldOptions = {}) {
    this.#options = options;
    for (const name of ["snapshots", "layers", "contexts", "net"]) {
      mkdirSync(`${this.directory}/${name}`);
    }
    this.database = new Database(`${this.directory}/state.sqlite`);
  }

  #builder: Builder | undefined;
  readonly #options: WorldOptions;

  get builder(): Builder {
    assert(this.#builder, "the builder is open");
    return this.#builder;
  }

  /** Opens the builder (again) on the state that is there. */
  async restart(): Promise<void> {
    this.#builder = await openBuilder({
      ...this.#options,
      database: this.database,
      directory: `${this.directory}/build`,
      content: {} as ContentStore,
      images: this.imageStore() as ImageStore,
      snapshots: this.snapshotStore() as SnapshotStore,
      runtime: this.runtime() as Runtime,
      networks: this.networkStore() as NetworkStore,
    });
    await this.#builder.reconcile();
  }

  /** Puts an image of one layer with these files into the store. */
  image(name: string, files: Record<string, string> = {}, config: RunConfig = {}): Image {
    const source = this.context(files);
    const layer = this.#store(source);
    const image = this.#add({
      ...hostPlatform(),
      created: "2020-01-01T00:00:00Z",
      config,
      rootfs: { type: "layers", diff_ids: [layer] },
      history: [{ created_by: `base ${name}` }],
    });
    this.names.set(name, image.id);
    return image;
  }

  /** A context folder with these files. */
  context(files: Record<string, string>): string {
    const root = `${this.directory}/contexts/${this.#count++}`;
    mkdirSync(root);
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(`${root}/${path}`), { recursive: true });
      writeFileSync(`${root}/${path}`, content);
    }
    return root;
  }

  /** The folder that holds the files of an image's last layer. */
  filesOf(image: Image): string {
    return `${this.directory}/layers/${image.config.rootfs.diff_ids.at(-1)}`;
  }

  #store(folder: string): Digest {
    const listing = Bun.spawnSync(
      ["sh", "-c", "find . | sort; find . -type f | sort | xargs -r cat"],
      {
        cwd: folder,
      },
    );
    const diffId = digestOf(listing.stdout);
    rmSync(`${this.directory}/layers/${diffId}`, { recursive: true, force: true });
    renameSync(folder, `${this.directory}/layers/${diffId}`);
    this.layers.set(diffId, { diffId, sizeBytes: 100, origin: "snapshot" });
    return diffId;
  }

  #add(config: ImageConfig, tags: readonly string[] = []): Image {
    const id = digestOf(JSON.stringify(config));
    const image = { id, config, tags, repoDigests: [], sizeBytes: 0, lastTaggedMs: 0 };
    this.images.set(id, image);
    for (const tag of tags) this.names.set(tag, id);
    return image;
  }

  imageStore(): Partial<ImageStore> {
    const find = (name: string) => this.images.get(this.names.get(name) ?? (name as Digest));
    return {
      find,
      list: () => [...this.images.values()],
      keepAlso: () => undefined,
      add: async (config, options = {}) => this.#add(config, options.tags),
      tag: (id, name) => void this.names.set(name, id),
      resolve: (name) => {
        const image = find(name);
        if (image) return image;
        throw new Failure("not_found", `No such image: ${name}`);
      },
    };
  }

  snapshotStore(): Partial<SnapshotStore> {
    const path = (key: string) => `${this.directory}/snapshots/${key}`;
    return {
      layer: (diffId) => this.layers.get(diffId),
      prepare: async (key, parents) => {
        const below = parents.at(-1);
        if (below) cpSync(`${this.directory}/layers/${below}`, path(key), { recursive: true });
        else mkdirSync(path(key));
        this.open.set(key, parents);
      },
      mount: async (key) => path(key),
      remove: async (key) => {
        this.open.delete(key);
        rmSync(path(key), { recursive: true, force: true });
      },
      removeLayer: async (diffId) => {
        this.layers.delete(diffId);
        rmSync(`${this.directory}/layers/${diffId}`, { recursive: true, force: true });
      },
      commit: async (key) => this.layers.get(this.#store(path(key)))!,
    };
  }

  networkStore(): Partial<NetworkStore> {
    return {
      openForBuild: async (id) => {
        this.networks.add(id);
        const folder = `${this.directory}/net`;
        const files = { hostsPath: `${folder}/hosts`, resolvConfPath: `${folder}/resolv.conf` };
        for (const file of Object.values(files)) writeFileSync(file, "");
        const hostnamePath = `${folder}/hostname`;
        return {
          ...files,
          hostnamePath,
          containerId: id,
          netnsPath: "/ns",
          endpoints: [],
          ports: [],
        };
      },
      close: async (id) => void this.networks.delete(id),
    };
  }

  runtime(): Partial<Runtime> {
    return {
      remove: async () => undefined,
      start: async (spec) => {
        this.ran.push(spec.process.args.at(-1)!);
        this.widest = Math.max(this.widest, ++this.#running);
        const chunks: Uint8Array[] = [];
        const kill = Promise.withResolvers<void>();
        const print = (text: string) => void chunks.push(Buffer.from(text));
        const { rootfs: root } = spec;
        const work = (async () =>
          await this.command({ root, spec, print, killed: kill.promise }))();
        const exited: Promise<Exit> = work
          .then((exitCode) => ({ exitCode, oomKilled: false, atMs: 0 }))
          .finally(() => this.#running--);
        return {
          pid: 1,
          exited,
          signal: () => kill.resolve(),
          write: async () => undefined,
          closeStdin: () => undefined,
          resize: () => undefined,
          read: async function* () {
            await exited;
            for (const bytes of chunks) yield { stream: 1 as const, timeNs: 0n, bytes };
          },
        };
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.database.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A request with everything at its default but what is given. */
export function requestOf(given: Partial<BuildRequest>): BuildRequest {
  return {
    contextPath: "/nonexistent",
    dockerfile: { path: "Dockerfile" },
    tags: [],
    buildArgs: {},
    labels: {},
    target: "",
    noCache: false,
    pull: false,
    platform: "",
    networkMode: "",
    extraHosts: [],
    shmSizeBytes: 0,
    memoryBytes: 0,
    cpuShares: 0,
    signal: new AbortController().signal,
    ...given,
  };
}

/** The events as one line each, output decoded. */
export function linesOf(events: readonly BuildEvent[]): string[] {
  return events.map((event) => {
    if (event.kind === "step") return `${event.number}/${event.total} ${event.text}`;
    if (event.kind === "output") return `out ${Buffer.from(event.bytes)}`;
    if (event.kind === "warning") return `warning ${event.text}`;
    return event.kind;
  });
}

/** A world with one image, `base`. */
export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const world = new World(options);
  const config = { Env: ["PATH=/bin", "X=1"], Cmd: ["sh"] };
  world.image("base", { "etc/hosts": "", "etc/resolv.conf": "" }, config);
  await world.restart();
  return world;
}

/** Builds a Dockerfile's text in a context of these files. */
export async function buildIn(
  world: World,
  dockerfile: string,
  { files = {}, ...given }: Partial<BuildRequest> & { files?: Record<string, string> } = {},
) {
  const contextPath = world.context({ ...files, Dockerfile: dockerfile });
  const events: BuildEvent[] = [];
  const image = await world.builder.build(requestOf({ contextPath, ...given }), (event) => {
    events.push(event);
  });
  return { image, events, lines: linesOf(events), config: image.config.config! };
}

/** Asserts that no snapshot, network or work folder is left. */
export function expectClean(world: World): void {
  const work = readdirSync(`${world.directory}/build/work`);
  const left = [...world.open.keys(), ...world.networks, ...work];
  assert(left.length === 0, `nothing is left behind: ${left}`);
}
