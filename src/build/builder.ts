import type { Database } from "bun:sqlite";
import { mkdir, readdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { assert, Gate, log } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import type { ImageStore } from "../image/mod.ts";
import { type NetworkStore, parseExtraHost } from "../network/mod.ts";
import { type Digest, parseReference } from "../oci/mod.ts";
import type { Runtime } from "../runtime/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import { unmountNow } from "../sys/mod.ts";
import { planOf } from "./build.ts";
import { StepCache } from "./cache.ts";
import { answerCall } from "./calls.ts";
import { readContext } from "./context.ts";
import { Demands } from "./context-files.ts";
import { Flights } from "./flight.ts";
import { Folders } from "./folders.ts";
import { History } from "./history.ts";
import { Intake } from "./intake.ts";
import { Outbox } from "./outbox.ts";
import { Parts } from "./parts.ts";
import {
  defaultOutputs,
  type KeepImage,
  type OpenRepository,
  type ProduceTools,
  type PushImage,
  produce,
} from "./produce.ts";
import { heldBytes, listCache, pruneCache } from "./prune.ts";
import { StepRecords } from "./records.ts";
import { fetchContext } from "./remote-context.ts";
import { checkLimits, runSecurity } from "./run-limits.ts";
import { type LayerStep, Pins, type Pull, type Tools, throwIfAborted } from "./tools.ts";
import { TreePool } from "./tree-pool.ts";
import type { Builder } from "./types.ts";
import { Uploads } from "./uploads.ts";

export interface BuilderOptions {
  readonly database: Database;
  /** `build/` under the data root. */
  readonly directory: string;
  readonly content: ContentStore;
  readonly images: ImageStore;
  readonly snapshots: SnapshotStore;
  readonly runtime: Runtime;
  readonly networks: NetworkStore;
  /** Fetches base images that are not here. Absent: they are "not_found". */
  readonly pull?: Pull;
  /** Sends images to registries. Absent: outputs that push are refused. */
  readonly push?: PushImage;
  readonly repository?: OpenRepository;
  /** Stores images with manifests of their own. Absent: they go elsewhere only. */
  readonly keep?: KeepImage;
  readonly forgetIndex?: (id: Digest) => void;
  /** The cache is pruned to this after each build. */
  readonly cacheBytesMax?: number;
  /** The users of RUN's processes; undefined, and by default: the host's. */
  readonly remap?: Tools["remap"];
}

/** Builds that run at once; more wait. */
const buildsMax = 16;

/** Opens the builder: one for a daemon. */
export async function openBuilder(options: BuilderOptions): Promise<Builder> {
  const { database, directory, images, snapshots, runtime, networks, pull } = options;
  const { cacheBytesMax = 20 * 2 ** 30 } = options;
  await mkdir(`${directory}/work`, { recursive: true, mode: 0o700 });
  const cores = availableParallelism();
  const cache = new StepCache(database);
  const trees = new TreePool(Math.min(cores, 2));
  const tools: ProduceTools = {
    directory,
    databasePath: database.filename === ":memory:" ? "" : database.filename,
    images,
    snapshots,
    runtime,
    networks,
    remap: options.remap ?? (async () => undefined),
    pull,
    cache,
    records: new StepRecords(database),
    folders: new Folders(directory, cache, trees),
    flights: new Flights<LayerStep>(),
    trees,
    // Commands wait for disks and networks more than they compute: the kernel shares the cores.
    gate: new Gate(cores * 4),
    grew: (sizeBytes) => grew(sizeBytes),
    pins: new Pins(),
    outbox: new Outbox(),
    push: options.push,
    repository: options.repository,
    keep: options.keep,
    forgetIndex: options.forgetIndex,
  };
  // Images may come and go: what the cache names and running builds stand on stays.
  images.keepAlso(() => ({
    layers: new Set([...cache.layers(), ...tools.pins.all()]),
    blobs: new Set(),
  }));
  const builds = new Gate(buildsMax);
  const history = new History(database);
  const intake = new Intake(directory);
  const trim = trimmer(tools, cacheBytesMax);
  // Within a long build too: what others left makes room.
  let grownBytes = 0;
  const grew = (sizeBytes: number) => {
    grownBytes += sizeBytes;
    if (grownBytes < cacheBytesMax / 16) return;
    grownBytes = 0;
    void trim();
  };
  const make: Builder["produce"] = (request, report) =>
    builds.run(async () => {
      throwIfAborted(request.signal);
      // Not after an hour of building:
      for (const tag of request.tags) parseReference(tag);
      checkLimits(request);
      for (const entry of request.extraHosts) parseExtraHost(entry);
      runSecurity(request);
      const noCache = request.noCache || request.verify === true;
      return await history.record(request, report, async (tell) => {
        const outcome = await produce(tools, { ...request, noCache }, tell);
        void trim();
        return outcome;
      });
    });
  return {
    parts: new Parts(),
    demands: new Demands(),
    uploads: new Uploads(),
    fetchContext: (address, asked) => fetchContext(address, asked, { tools, intake }),
    history,
    matchSent: (request, signal) => {
      const database = tools.databasePath;
      return trees.run("matchSent", { ...request, database }, signal);
    },
    takeContext: (body, signal, sizeBytes) => intake.take(body, signal, sizeBytes),
    build: async (request, report) => {
      const { image } = await make({ ...request, outputs: defaultOutputs(request.tags) }, report);
      assert(image, "an image that goes to the store is there");
      return image;
    },
    produce: (request, report) => {
      return make({ ...request, outputs: request.outputs ?? defaultOutputs(request.tags) }, report);
    },
    fetch: (handle) => tools.outbox.fetch(handle),
    call: async (call, request) => {
      const context = await readContext(request);
      const asked = { context, images, buildArgs: request.buildArgs };
      return await answerCall(call, { ...asked, plan: () => planOf(context, request) });
    },
    cache: () => listCache(tools),
    folders: () => new Set(cache.folders().map(({ folder }) => folder)),
    prune: (how) => pruneCache(tools, how),
    reconcile: () => reconcile(tools),
  };
}

/**
 * Keeps the cache in its bound: after each build, one time after the other. A build that succeeded
 * stays a success when this fails.
 */
function trimmer(tools: Tools, bytesMax: number): () => Promise<void> {
  const turn = new Gate(1);
  return () =>
    turn.run(async () => {
      if (turn.isAwaited) return; // the next one does it for all
      try {
        if (heldBytes(tools) <= bytesMax) return;
        await pruneCache(tools, { all: true, keepBytes: Math.max(1, bytesMax) });
      } catch (error) {
        log("warn", "Cannot prune the build cache", { error });
      }
    });
}

/** Removes what a crash left: folders of builds, unknown cache folders, steps whose layer has gone. */
async function reconcile(tools: Tools): Promise<string[]> {
  const { directory, cache, snapshots } = tools;
  const left = await readdir(`${directory}/work`);
  for (const name of left) {
    unmountNow(`${directory}/work/${name}`, { detach: true }); // a context in memory
    await rm(`${directory}/work/${name}`, { recursive: true, force: true });
  }
  const done = left.map(
    (name) => `Removed the folder of an interrupted build ${name.slice(0, 12)}`,
  );
  const isGone = (layer: Digest | undefined) => layer !== undefined && !snapshots.layer(layer);
  const lost = cache.list().filter(({ layer }) => isGone(layer));
  cache.forget(lost.map(({ key }) => key));
  return [...done, ...(await tools.folders.reconcile())];
}
