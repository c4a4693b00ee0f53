/**
 * The daemon: the one file that may import everything. It opens each store, brings state and kernel in
 * line, serves the API, and on SIGTERM or SIGINT closes all of it in the other order.
 */
import { Database } from "bun:sqlite";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Listen, serveApi } from "./api/mod.ts";
import { audit } from "./audit.ts";
import { Failure, log, setLogLevel, toFailure } from "./base/mod.ts";
import { openBuilder } from "./build/mod.ts";
import { claimRoots } from "./claim.ts";
import { openContentStore } from "./content/mod.ts";
import { openEngine } from "./engine/mod.ts";
import {
  enterCgroupView,
  favorGroupMoves,
  forgetCgroupView,
  guardHostMounts,
  requireHost,
} from "./host.ts";
import { openImages } from "./image/mod.ts";
import { openNetworkStore } from "./network/mod.ts";
import { type DaemonOptions, daemonUsage, parseDaemonOptions } from "./options.ts";
import { pullForBuild, pushForBuild, readRegistries, registriesOf } from "./registries.ts";
import { openRegistryBeside, registryContent, startRegistry } from "./registry-root.ts";
import { openRuntime } from "./runtime/mod.ts";
import { openSnapshotStore } from "./snapshot/mod.ts";
import { openVolumeStore } from "./volume/mod.ts";

/** `lading daemon`: runs until it is told to end, and returns the exit code. */
export async function runDaemon(argv: readonly string[]): Promise<number> {
  try {
    const options = parseDaemonOptions(argv);
    if (options === "help") {
      process.stdout.write(daemonUsage);
      return 0;
    }
    guardHostMounts();
    requireHost();
    if (options.favorGroupMoves) await favorGroupMoves();
    await enterCgroupView(options.execRoot, process.argv.slice(1));
    await serve(options);
    return 0;
  } catch (error) {
    const { message, hint, code, cause } = toFailure(error);
    process.stderr.write(`lading: ${message}${hint ? `\n${hint}` : ""}\n`);
    if (code === "internal") log("debug", "Cause", { cause: (cause as Error)?.stack ?? message });
    return 1;
  }
}

/** Opens the one SQLite file. A crash of the host may lose the last moments, never consistency. */
function openDatabase(path: string): Database {
  const database = new Database(path, { create: true });
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = NORMAL");
  database.run("PRAGMA busy_timeout = 5000");
  database.run("PRAGMA foreign_keys = ON");
  return database;
}

async function serve(options: DaemonOptions): Promise<void> {
  setLogLevel(options.logLevel);
  using _claim = claimRoots(options);
  if (options.pidFile) writeFileSync(options.pidFile, `${process.pid}\n`);
  const ending = endSignal();
  const database = openDatabase(`${options.dataRoot}/lading.db`);
  const registries = readRegistries(options);
  const stores = await openStores(options, database, registries);
  const { engine, builder, networks, runtime } = stores;
  for (const line of [...(await builder.reconcile()), ...(await engine.reconcile())]) {
    log("info", line);
  }
  // What builds keep is asked of the builder; a load that was cut short left what nobody keeps.
  const collected = await stores.images.collect({ layers: new Set(), blobs: new Set() });
  if (collected > 0) log("info", `removed ${collected} bytes of layers that no image has`);
  const api = await serveApi({
    ...stores,
    listen: options.hosts.map(parseHost),
    directory: `${options.dataRoot}/spool`,
    audit: async () => audit({ ...options, ...stores }),
    info: {
      version: version(),
      id: engineId(options.dataRoot),
      dataRoot: options.dataRoot,
      defaultRuntime: options.runtime,
      runtimes: { [options.runtime]: { path: options.runtime } },
      liveRestore: options.liveRestore,
      debug: options.logLevel === "debug",
      registries: registries.info,
    },
  });
  const registry = await serveRegistryBeside(options, database);
  const addresses = [...api.addresses, ...(registry ? [registry.address] : [])];
  process.stdout.write(`lading ${version()} accepts requests on ${addresses.join(", ")}\n`);

  log("info", `Ending on ${await ending}`);
  await api.close();
  await registry?.close();
  if (!options.liveRestore) await stopAll(stores);
  const isIdle = engine.list().every(({ state }) => state.pid === 0);
  await engine.close();
  await networks.shutdown();
  await runtime.close();
  if (isIdle) await forgetCgroupView(options.execRoot);
  database.close();
  if (options.pidFile) rmSync(options.pidFile, { force: true });
}

async function openStores(
  options: DaemonOptions,
  database: Database,
  registries: ReturnType<typeof readRegistries>,
) {
  const { dataRoot, execRoot } = options;
  const at = (folder: string) => ({ database, directory: `${dataRoot}/${folder}` });
  const [content, snapshots, runtime, networks] = await Promise.all([
    openContentStore({
      directory: `${dataRoot}/content`,
      ...(options.registry ? { beside: registryContent(dataRoot) } : {}),
    }),
    openSnapshotStore(at("snapshot")),
    openRuntime({
      directory: `${execRoot}/runtime`,
      program: options.runtime,
      ...(options.seccompProfile ? { seccompProfile: options.seccompProfile } : {}),
    }),
    openNetworkStore({
      database,
      directory: `${execRoot}/network`,
      bridge: options.bridge,
      dns: options.dns,
      ...(options.addressPools ? { pools: options.addressPools } : {}),
    }),
  ]);
  const volumes = await openVolumeStore(at("volume"));
  const { images, transfers } = await openImages({
    ...at("image"),
    content,
    snapshots,
    registries: registries.settings(),
  });
  process.on("SIGHUP", () => registries.reload((next) => transfers.reload(next)));
  const joined = { content, images, snapshots, runtime, networks };
  const builder = await openBuilder({
    ...at("build"),
    ...joined,
    pull: pullForBuild(transfers),
    cacheBytesMax: options.buildCacheBytesMax,
    ...pushForBuild(transfers),
  });
  const engine = await openEngine({
    ...at("engine"),
    ...joined,
    volumes,
    runtimeName: options.runtime,
  });
  return { ...joined, volumes, builder, engine, registries: registriesOf(transfers) };
}

/** The registry that `--registry` asks for; its data are below `registry/` of the engine's data root. */
async function serveRegistryBeside(options: DaemonOptions, database: Database) {
  const { dataRoot, registry } = options;
  if (!registry) return undefined;
  const opened = await openRegistryBeside({ dataRoot, database }, { config: registry.config });
  const server = startRegistry(opened, registry);
  return {
    address: server.address,
    async close() {
      await server.close();
      await opened[Symbol.asyncDispose]();
    },
  };
}

async function stopAll({ engine }: Awaited<ReturnType<typeof openStores>>): Promise<void> {
  const running = engine.list().filter(({ state }) => state.pid !== 0);
  await Promise.allSettled(running.map(({ id }) => engine.stop(id, { keepsPolicy: true })));
}

/** Settles with the name of the signal that asks this process to end. */
function endSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => resolve(name));
  });
}

/** `unix:///path`, `tcp://host:port`. @throws "invalid" */
export function parseHost(text: string): Listen {
  if (text.startsWith("unix:///")) return { unixPath: text.slice("unix://".length) };
  const tcp = /^tcp:\/\/(\[[0-9a-fA-F:.]+\]|[^:/]+):(\d{1,5})$/.exec(text);
  if (tcp) return { host: tcp[1]!.replace(/^\[|\]$/g, ""), port: Number(tcp[2]) };
  throw new Failure("invalid", `Cannot listen on "${text}": not an address`, {
    hint: "Use unix:///PATH or tcp://HOST:PORT",
  });
}

/** A name for this engine that stays: made once per data root. */
function engineId(dataRoot: string): string {
  const path = `${dataRoot}/id`;
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    const id = crypto.randomUUID(); // absent: the first start
    writeFileSync(path, `${id}\n`);
    return id;
  }
}

function version(): string {
  const file = new URL("../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
