/**
 * The daemon: the one file that may import everything. It opens each store, brings state and kernel in
 * line, serves the API, and on SIGTERM or SIGINT closes all of it in the other order.
 */
import type { Database } from "bun:sqlite";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { version as osVersion, release } from "node:os";
import { type EngineInfo, engineVersion, type RegistriesInfo, serveApi } from "./api/mod.ts";
import { audit } from "./audit.ts";
import { log, toFailure } from "./base/mod.ts";
import { type Builder, openBuilder } from "./build/mod.ts";
import { claimRoots } from "./claim.ts";
import { openContentStore } from "./content/mod.ts";
import { daemonUsage } from "./daemon-keys.ts";
import { listenPlaces, notifySupervisor } from "./daemon-listen.ts";
import { applySettings, type Current, reloadOnHangup, tellReload } from "./daemon-reload.ts";
import { keepRoom, openDatabase } from "./database.ts";
import { auditDisk, checkDisk, type DiskStores } from "./disk-audit.ts";
import { type Engine, openEngine } from "./engine/mod.ts";
import {
  enterCgroupView,
  favorGroupMoves,
  forgetCgroupView,
  forgetNewCgroupView,
  guardHostMounts,
  mountsBelow,
  requireHost,
} from "./host.ts";
import { restWhenIdle } from "./idle.ts";
import { openImages } from "./image/mod.ts";
import { measure, serveMetrics } from "./metrics.ts";
import { formatCidr, openNetworkStore } from "./network/mod.ts";
import { type DaemonOptions, parseDaemonOptions } from "./options.ts";
import { openPlugins } from "./plugin/mod.ts";
import { pullForBuild, pushForBuild, readRegistries, registriesOf } from "./registries.ts";
import { openRegistryBeside, registryContent, startRegistry } from "./registry-root.ts";
import {
  enterNamespaces,
  isRootless,
  leaveNamespaces,
  portSocket,
  rootlessDns,
} from "./rootless.ts";
import { findRuntime, openRuntime, useCdiFolders } from "./runtime/mod.ts";
import { openSnapshotStore } from "./snapshot/mod.ts";
import { adoptOrphans, isNamespaced } from "./sys/mod.ts";
import { openUsers } from "./userns.ts";
import { openVolumeStore } from "./volume/mod.ts";

/** `lading daemon`: runs until it is told to end, and returns the exit code. */
export async function runDaemon(argv: readonly string[]): Promise<number> {
  try {
    const options = parseDaemonOptions(argv);
    if (options === "help") {
      process.stdout.write(daemonUsage);
      return 0;
    }
    if (options.validates) {
      validate(options);
      return 0;
    }
    await enterNamespaces(options.execRoot, [...process.execArgv, ...process.argv.slice(1)]);
    guardHostMounts();
    requireHost();
    if (options.favorGroupMoves) await favorGroupMoves();
    await enterCgroupView(options.execRoot, process.argv.slice(1));
    await serve({ options }, argv).catch(async (error: unknown) => {
      await forgetNewCgroupView(options.execRoot);
      throw error;
    });
    return 0;
  } catch (error) {
    const { message, hint, code, cause } = toFailure(error);
    process.stderr.write(`lading: ${message}${hint ? `\n${hint}` : ""}\n`);
    if (code === "internal") log("debug", "Cause", { cause: (cause as Error)?.stack ?? message });
    return 1;
  }
}

/** Judges what can be without a start, and says so. @throws Failure as a start would */
function validate(options: DaemonOptions): void {
  applySettings(options);
  findRuntime(options.runtime, options.runtimes[options.runtime]!.path);
  listenPlaces({ ...options, hosts: options.hosts.filter((host) => !host.startsWith("fd:")) });
  for (const warning of options.warnings) process.stderr.write(`warning: ${warning}\n`);
  process.stdout.write("configuration OK\n");
}

async function serve(current: Current, argv: readonly string[]): Promise<void> {
  const { options } = current;
  using _awake = stayAwake();
  using _orphans = adoptOrphans();
  applySettings(options);
  for (const warning of options.warnings) log("warn", warning);
  const places = listenPlaces(options);
  useProxies(options);
  useCdiFolders(options.cdiFolders);
  using _claim = isNamespaced
    ? claimRoots(options, `${options.execRoot}/bridges`)
    : claimRoots(options);
  if (options.pidFile) writeFileSync(options.pidFile, `${process.pid}\n`);
  const ending = endSignal();
  const databasePath = `${options.dataRoot}/lading.db`;
  const database = openDatabase(databasePath);
  keepRoom(database, databasePath); // before anybody waits: it syncs the disk
  const registries = readRegistries(options);
  const { transfers, users, ...stores } = await openStores(current, database, registries);
  const { engine, builder, networks, runtime } = stores;
  for (const line of [...(await builder.reconcile()), ...(await engine.reconcile())]) {
    log("info", line);
  }
  // What builds keep is asked of the builder; a load that was cut short left what nobody keeps.
  const collected = await stores.images.collect({ layers: new Set(), blobs: new Set() });
  if (collected > 0) log("info", `removed ${collected} bytes of layers that no image has`);
  const id = engineId(options.dataRoot);
  reloadOnHangup(current, argv, {
    take: (next) => {
      transfers.reload(registries.reload(next));
      transfers.limit({ downloads: next.downloadsAtOnce, uploads: next.uploadsAtOnce });
    },
    tell: (next) => tellReload(engine, id, next),
  });
  const measuring = new AbortController();
  const measured = startMetrics(options, { engine, builder, id, signal: measuring.signal });
  const api = await serveApi({
    ...stores,
    engine: measured.engine,
    builder: measured.builder,
    listen: places,
    directory: `${options.dataRoot}/spool`,
    authorization: { plugins: stores.plugins, names: options.authorizationPlugins },
    audit: async () => audit({ ...options, ...stores }),
    disk: diskParts({ dataRoot: options.dataRoot, ...stores }),
    info: infoOf(current, id, registries.info),
  });
  const registry = await serveRegistryBeside(options, database);
  const addresses = [...api.addresses, ...(registry ? [registry.address] : [])];
  process.stdout.write(`lading ${version()} accepts requests on ${addresses.join(", ")}\n`);
  notifySupervisor(`READY=1\nMAINPID=${process.pid}\n`);

  using _rests = restWhenIdle();
  log("info", `Ending on ${await ending}`);
  notifySupervisor("STOPPING=1\n");
  measuring.abort();
  measured.server?.[Symbol.dispose]();
  await api.close();
  await registry?.close();
  if (!current.options.liveRestore) await stopAll(engine, current.options.shutdownTimeoutS);
  const isIdle = engine.list().every(({ state }) => state.pid === 0);
  await engine.close();
  await builder.uploads[Symbol.asyncDispose]();
  await networks.shutdown();
  await runtime.close();
  users.close();
  if (isIdle) await forgetCgroupView(options.execRoot);
  if (isIdle) leaveNamespaces();
  database.close();
  if (options.pidFile) rmSync(options.pidFile, { force: true });
}

function diskParts(stores: DiskStores) {
  const { dataRoot } = stores;
  return {
    audit: async () => ({ dataRoot, units: await auditDisk(stores) }),
    check: async (how: { readonly repair: boolean }) => ({
      dataRoot,
      ...(await checkDisk(stores, how)),
    }),
  };
}

/** What the engine tells of itself; some of it changes with a reload. */
function infoOf(current: Current, id: string, registries: () => RegistriesInfo): EngineInfo {
  const { options } = current;
  return {
    version: version(),
    id,
    dataRoot: options.dataRoot,
    mountsBelow: mountsBelow(),
    defaultRuntime: options.runtime,
    cdiFolders: options.cdiFolders,
    ...(options.addressPools
      ? {
          addressPools: options.addressPools.map(({ base, size }) => ({
            Base: formatCidr(base),
            Size: size,
          })),
        }
      : {}),
    runtimes: options.runtimes,
    proxies: options.proxies,
    registries,
    settings: () => ({
      liveRestore: current.options.liveRestore,
      debug: current.options.logLevel === "debug",
      isRemapped: options.usernsRemap !== undefined,
      labels: current.options.labels,
      logDriver: current.options.containers.logDriver ?? "json-file",
    }),
  };
}

interface Joined {
  readonly engine: Engine;
  readonly builder: Builder;
}

function startMetrics(
  options: DaemonOptions,
  { engine, builder, id, signal }: Joined & { id: string; signal: AbortSignal },
): Joined & { server?: Disposable } {
  if (!options.metricsAddress) return { engine, builder };
  const labels = { daemon_id: id, version: engineVersion(version()), graphdriver: "overlay2" };
  const metrics = measure({ engine, builder }, { ...labels, ...hostLabels() }, signal);
  return { ...metrics, server: serveMetrics(options.metricsAddress, metrics) };
}

function hostLabels() {
  const architecture = process.arch === "x64" ? "x86_64" : process.arch;
  return { architecture, kernel: release(), os: osVersion(), os_type: "linux" };
}

/** For whatever fetches: pulls, pushes, builds' downloads. */
function useProxies({ proxies }: DaemonOptions): void {
  const named = { HTTP_PROXY: proxies.http, HTTPS_PROXY: proxies.https, NO_PROXY: proxies.none };
  for (const [name, value] of Object.entries(named)) {
    if (value !== "") process.env[name] = process.env[name.toLowerCase()] = value;
  }
}

async function openStores(
  current: Current,
  database: Database,
  registries: ReturnType<typeof readRegistries>,
) {
  const { options } = current;
  const { dataRoot, execRoot } = options;
  const at = (folder: string) => ({ database, directory: `${dataRoot}/${folder}` });
  const plugins = openPlugins();
  const [content, snapshots, runtime, networks] = await Promise.all([
    openContentStore({
      directory: `${dataRoot}/content`,
      ...(options.registry ? { beside: registryContent(dataRoot) } : {}),
    }),
    openSnapshotStore(at("snapshot")),
    openRuntime({
      directory: `${execRoot}/runtime`,
      program: options.runtime,
      programs: Object.fromEntries(
        Object.entries(options.runtimes).map(([name, { path, runtimeArgs = [] }]) => [
          name,
          [path, ...runtimeArgs],
        ]),
      ),
      ...(options.seccompProfile ? { seccompProfile: options.seccompProfile } : {}),
    }),
    openNetworkStore({
      database,
      directory: `${execRoot}/network`,
      bridge: options.bridge,
      firewall: options.firewall,
      plugins,
      dns: options.dns.length === 0 && isRootless ? [rootlessDns] : options.dns,
      hostSocket: portSocket(),
      ...(options.addressPools ? { pools: options.addressPools } : {}),
      defaultBridge: options.defaultBridge,
      hostGateways: options.hostGateways,
      directRouting: options.directRouting,
    }),
  ]);
  const users = await openUsers(options.usernsRemap, options);
  const volumes = await openVolumeStore({ ...at("volume"), plugins });
  const { images, transfers } = await openImages({
    ...at("image"),
    content,
    snapshots,
    registries: registries.settings(),
  });
  transfers.limit({ downloads: options.downloadsAtOnce, uploads: options.uploadsAtOnce });
  const joined = { content, images, snapshots, runtime, networks };
  const builder = await openBuilder({
    ...at("build"),
    ...joined,
    pull: pullForBuild(transfers),
    cacheBytesMax: options.buildCacheBytesMax,
    remap: () => users.of(""),
    ...pushForBuild(transfers),
  });
  const engine = await openEngine({
    ...at("engine"),
    ...joined,
    volumes,
    runtimeName: options.runtime,
    runtimeNames: Object.keys(options.runtimes),
    users,
    defaults: () => current.options.containers,
  });
  return {
    ...joined,
    plugins,
    volumes,
    builder,
    engine,
    transfers,
    users,
    registries: registriesOf(transfers),
  };
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

/** Each container has its own time to stop; after `timeoutS` (-1: endless) the rest is killed. */
async function stopAll(engine: Engine, timeoutS: number): Promise<void> {
  const running = engine.list().filter(({ state }) => state.pid !== 0);
  const stopped = Promise.allSettled(
    running.map(({ id }) => engine.stop(id, { keepsPolicy: true })),
  );
  if (timeoutS < 0) return void (await stopped);
  const isLate = await Promise.race([
    stopped.then(() => false),
    Bun.sleep(timeoutS * 1_000).then(() => true),
  ]);
  if (!isLate) return;
  const late = engine.list().filter(({ state }) => state.pid !== 0);
  log("warn", "Killing containers that did not stop in time", { count: late.length });
  await Promise.allSettled(late.map(({ id }) => engine.kill(id, "SIGKILL")));
  await stopped;
}

/** Settles with the name of the signal that asks this process to end. */
/**
 * Before and after the API, what the daemon waits for comes from threads and pipes that keep no process
 * alive: without this it would end in the middle of its start, as if all were well.
 */
function stayAwake(): Disposable {
  const timer = setInterval(() => {}, 2 ** 30);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function endSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => resolve(name));
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
  return (require("../package.json") as { version: string }).version;
}
