/**
 * Lading as a library: the daemon's own builder, in this process, without a daemon. It takes what the
 * daemon takes: Linux, root, crun. See docs/manual/library.md.
 */
import { Database } from "bun:sqlite";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Failure } from "./base/mod.ts";
import {
  type Attest,
  type BuildEvent,
  type Builder,
  type BuildRequest,
  openBuilder,
  parseOutput,
} from "./build/mod.ts";
import { claimRoots } from "./claim.ts";
import { openContentStore } from "./content/mod.ts";
import { cgroupMode, requireHost } from "./host.ts";
import { type Image, type ImageStore, openImages } from "./image/mod.ts";
import { openNetworkStore } from "./network/mod.ts";
import type { Digest } from "./oci/mod.ts";
import { pullForBuild, pushForBuild } from "./registries.ts";
import { openRuntime } from "./runtime/mod.ts";
import { openSnapshotStore, unpackTar } from "./snapshot/mod.ts";

export { type BuildEvent, Failure, type Image, type ImageStore };

/** What is built, and how. All but the context has a default. */
export interface BuildOptions {
  /** The context's folder. */
  readonly context: string;
  /** Path of the Dockerfile in the context, or its text. Default: `Dockerfile`. */
  readonly dockerfile?: string | { readonly text: string };
  readonly tags?: readonly string[];
  readonly args?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly target?: string;
  /** `linux/amd64`; several make an index. */
  readonly platforms?: readonly string[];
  readonly noCache?: boolean;
  readonly pull?: boolean;
  readonly network?: "default" | "none" | "host";
  readonly secrets?: Readonly<Record<string, string | Uint8Array>>;
  /** Where the result goes. Default: the library's own store, with the tags. */
  readonly outputs?: readonly OutputOptions[];
  readonly attest?: Attest;
  /** One layer in place of those that the build makes. */
  readonly squash?: boolean;
  /** Build twice, and fail unless both are the same. */
  readonly verify?: boolean;
  /** Credentials by a registry's address. */
  readonly registries?: BuildRequest["registries"];
  readonly signal?: AbortSignal;
}

/** As `-o` of `lading build`: a type, `dest` for what goes to a folder or file, and the other keys. */
export interface OutputOptions {
  readonly type: "image" | "registry" | "docker" | "oci" | "local" | "tar" | "cacheonly";
  readonly dest?: string;
  readonly [key: string]: string | undefined;
}

export interface BuildResult {
  /** The image's ID; of several platforms the digest of their index. */
  readonly id: Digest;
  /** Of the manifest or index where one was made, else the ID. */
  readonly digest: Digest;
  /** The image, when it is in the store. */
  readonly image: Image | undefined;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** A build that goes on: wait for its result, or go through what it tells. */
export type RunningBuild = Promise<BuildResult> & AsyncIterable<BuildEvent>;

export interface LadingOptions {
  /** Images and the cache. Default: `/var/lib/lading-library`. One process at a time uses it. */
  readonly dataRoot?: string;
  /** Default: `/run/lading-library`. */
  readonly execRoot?: string;
  /** The network of RUN. Default: `lading-lib`. */
  readonly bridge?: string;
  /** The OCI runtime. Default: `crun`. */
  readonly runtime?: string;
}

export interface Lading extends AsyncDisposable {
  /** Builds. An error is a `Failure` with code, message and hint. */
  build(options: BuildOptions): RunningBuild;
  /** Images by name: list, load, save, tag, remove. */
  readonly images: ImageStore;
  readonly builder: Builder;
}

/**
 * Opens the stores; dispose of what it gives. @throws Failure "unsupported" | "denied" — this host cannot;
 * "conflict" — another process uses the data root
 */
export async function openLading(options: LadingOptions = {}): Promise<Lading> {
  const { dataRoot = "/var/lib/lading-library", execRoot = "/run/lading-library" } = options;
  const { bridge = "lading-lib" } = options;
  requireHost();
  await using stack = new AsyncDisposableStack();
  stack.use(claimRoots({ dataRoot, execRoot, bridge }));
  const database = new Database(`${dataRoot}/lading.db`, { create: true });
  // Never closed by hand: layers are synced, and noted, a moment after they were made.
  for (const pragma of ["journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000"]) {
    database.run(`PRAGMA ${pragma}`);
  }
  const at = (folder: string) => ({ database, directory: `${dataRoot}/${folder}` });
  const content = await openContentStore({ directory: `${dataRoot}/content` });
  const snapshots = await openSnapshotStore(at("snapshot"));
  const program = startable(options.runtime ?? "crun", execRoot);
  const runtime = await openRuntime({
    directory: `${execRoot}/runtime`,
    program,
    programs: program === "crun" ? {} : { [program]: [program] },
  });
  stack.defer(() => runtime.close());
  const networks = await openNetworkStore({ database, directory: `${execRoot}/network`, bridge });
  stack.defer(() => networks.shutdown());
  const { images, transfers } = await openImages({ ...at("image"), content, snapshots });
  const stores = { content, images, snapshots, runtime, networks };
  const registry = { pull: pullForBuild(transfers), ...pushForBuild(transfers) };
  const builder = await openBuilder({ ...at("build"), ...stores, ...registry });
  await builder.reconcile();
  await snapshots.reconcile(new Set());
  const opened = stack.move();
  return {
    build: (asked) => start(builder, asked),
    images,
    builder,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** One build with stores of its own, which are closed after it: see `Lading.build`. */
export function build({
  lading,
  ...options
}: BuildOptions & { lading?: LadingOptions }): RunningBuild {
  const queue = new Queue();
  const result = (async () => {
    await using opened = await openLading(lading);
    const running = opened.build(options);
    for await (const event of running) queue.push(event);
    return await running;
  })();
  return queue.until(result);
}

/** On hosts with both kinds of cgroups, crun starts only where the second is out of its sight. */
function startable(program: string, execRoot: string): string {
  if (cgroupMode(readFileSync("/proc/mounts", "utf8")) !== "hybrid") return program;
  const path = `${execRoot}/start-runtime`;
  const inside = `sh -c 'umount /sys/fs/cgroup/unified && exec "$0" "$@"' ${program} "$@"`;
  writeFileSync(path, `#!/bin/sh\nexec unshare --mount --propagation=slave ${inside}\n`);
  chmodSync(path, 0o755);
  return path;
}

function start(builder: Builder, options: BuildOptions): RunningBuild {
  const queue = new Queue();
  const result = (async (): Promise<BuildResult> => {
    const outputs = options.outputs?.map(({ type, dest, ...keys }) => {
      const given = Object.entries(keys).filter(
        (pair): pair is [string, string] => pair[1] !== undefined,
      );
      const attributes = Object.fromEntries(
        dest === undefined ? given : [...given, ["dest", dest]],
      );
      return parseOutput(type, attributes, options.tags ?? []);
    });
    const request = requestOf(options, outputs);
    const made = await builder.produce(request, (event) => queue.push(event));
    for (const { output, handle } of made.exports) {
      const { dest, type } = options.outputs![output]!;
      await place(builder.fetch(handle), { dest, isFolder: type === "local" });
    }
    const digest = made.metadata["containerimage.digest"] as Digest;
    return { id: made.id, digest, image: made.image, metadata: made.metadata };
  })();
  return queue.until(result);
}

function requestOf(options: BuildOptions, outputs: BuildRequest["outputs"]): BuildRequest {
  const { dockerfile = "Dockerfile", secrets = {}, attest, registries } = options;
  return {
    contextPath: resolve(options.context),
    contextStays: true,
    dockerfile: typeof dockerfile === "string" ? { path: dockerfile } : dockerfile,
    tags: options.tags ?? [],
    buildArgs: options.args ?? {},
    labels: options.labels ?? {},
    target: options.target ?? "",
    noCache: options.noCache ?? false,
    pull: options.pull ?? false,
    platform: (options.platforms ?? []).join(","),
    networkMode: options.network ?? "",
    extraHosts: [],
    shmSizeBytes: 0,
    memoryBytes: 0,
    cpuShares: 0,
    secrets: new Map(
      Object.entries(secrets).map(([id, value]) => [
        id,
        typeof value === "string" ? Buffer.from(value) : value,
      ]),
    ),
    verify: options.verify ?? false,
    squash: options.squash ?? false,
    ...(outputs ? { outputs } : {}),
    ...(attest ? { attest } : {}),
    ...(registries ? { registries } : {}),
    signal: options.signal ?? new AbortController().signal,
  };
}

/** Puts a result into a folder or a file, which appears when it is whole. */
async function place(
  tar: AsyncIterable<Uint8Array>,
  { dest, isFolder }: { dest: string | undefined; isFolder: boolean },
): Promise<void> {
  if (dest === undefined)
    throw new Failure("invalid", "An output to a file or folder needs a dest");
  const path = resolve(dest);
  if (isFolder) {
    mkdirSync(path, { recursive: true });
    await unpackTar(tar, path);
    return;
  }
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.partial`;
  try {
    const writer = Bun.file(temporary).writer();
    for await (const bytes of tar) {
      writer.write(bytes);
      await writer.flush();
    }
    await writer.end();
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

const eventsMax = 100_000;

/** Events between the build and who goes through them. The oldest are lost when nobody does. */
class Queue {
  readonly #events: BuildEvent[] = [];
  #wake = () => {};
  #isOver = false;

  push(event: BuildEvent): void {
    if (this.#events.length >= eventsMax) this.#events.shift();
    this.#events.push(event);
    this.#wake();
  }

  /** The build as a promise that is also a list of its events. */
  until(result: Promise<BuildResult>): RunningBuild {
    const over = () => {
      this.#isOver = true;
      this.#wake();
    };
    result.then(over, over);
    return Object.assign(result, { [Symbol.asyncIterator]: () => this.#walk(result) });
  }

  async *#walk(result: Promise<BuildResult>): AsyncGenerator<BuildEvent, void> {
    for (;;) {
      const event = this.#events.shift();
      if (event) yield event;
      else if (this.#isOver) break;
      else {
        const { promise, resolve: wake } = Promise.withResolvers<void>();
        this.#wake = wake;
        await promise;
      }
    }
    await result; // an error ends the loop as well
  }
}
