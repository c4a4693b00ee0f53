/** A registry's folder opened and served: by a process of its own, or in the engine's. */
import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Failure, fileFailure, isFailure, log } from "./base/mod.ts";
import { type BlobStore, openContentStore, openS3Store, parseStorage } from "./content/mod.ts";
import {
  Audit,
  boundsOf,
  collect,
  compilePolicy,
  emptyConfig,
  Hooks,
  limitRate,
  Metrics,
  openCache,
  openRegistryAccess,
  openRegistryStore,
  ownerAccess,
  parseConfig,
  type RefusedAccess,
  type RegistryConfig,
  type RegistryEvent,
  retireBy,
  type ServerParts,
  serveRegistry,
} from "./registry/mod.ts";
import { lockFile } from "./sys/mod.ts";

const endTimeoutMs = 10_000;
const upkeepEveryMs = 3_600_000;

/** What a command line says of a registry; it goes before what the configuration file says. */
export interface RegistrySettings {
  readonly config?: string | undefined;
  readonly htpasswd?: string | undefined;
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** `s3://BUCKET/PREFIX?…` */
  readonly storage?: string | undefined;
}

type Settled = RegistrySettings & { readonly read: RegistryConfig };

/** @throws Failure "invalid" | "not_found" | "denied" — a file cannot be read, or says what it may not */
function settle(settings: RegistrySettings): Settled {
  const { config: path } = settings;
  const read = path ? parseConfig(readBytes(path, "the configuration"), path) : emptyConfig;
  const { htpasswd = read.htpasswd, tls = read.tls, storage = read.storage } = settings;
  return { config: path, htpasswd, tls, storage, read };
}

/** A registry that is open, and what ends with it. */
export interface OpenRegistry extends AsyncDisposable {
  readonly directory: string;
  readonly settings: Settled;
  readonly parts: Omit<ServerParts, "access">;
}

/**
 * Opens the registry of a data root for this process alone.
 * @throws Failure "conflict" — another process has it; "invalid" — it is an engine's, which serves it
 */
export async function openRegistryRoot(
  dataRoot: string,
  settings: RegistrySettings,
): Promise<OpenRegistry> {
  const isEngines = existsSync(`${dataRoot}/image`);
  if (existsSync(`${dataRoot}/lading.db`) && !existsSync(`${dataRoot}/registry`)) {
    throw new Failure("invalid", `Cannot use "${dataRoot}": it is the data root of an engine`, {
      hint: "Give the registry a --data-root of its own, or start the engine with --registry",
    });
  }
  const settled = settle(settings);
  makeDataRoot(dataRoot);
  await using opened = new AsyncDisposableStack();
  const lock = claim(dataRoot);
  opened.defer(() => lock[Symbol.dispose]());
  const database = openDatabase(`${dataRoot}/lading.db`);
  opened.defer(() => database.close());
  const open = isEngines ? openRegistryBeside : openRegistry;
  const registry = opened.use(await open({ dataRoot, database }, settled));
  const all = opened.move();
  return { ...registry, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

function makeDataRoot(dataRoot: string): void {
  try {
    mkdirSync(dataRoot, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw fileFailure(`make the data root "${dataRoot}"`, cause, {
      hint: "Name another folder with --data-root",
    });
  }
}

function claim(dataRoot: string): Disposable {
  try {
    return lockFile(`${dataRoot}/lock`);
  } catch (cause) {
    if (!isFailure(cause, "conflict")) throw cause;
    throw new Failure(
      "conflict",
      `Cannot open a registry in "${dataRoot}": another process uses this data root`,
      { hint: "Give this one its own --data-root and --addr, or stop the other", cause },
    );
  }
}

type Place = { readonly dataRoot: string; readonly database: Database };

/** Opens the registry in an engine's data root; what both have is one file on the disk. */
export async function openRegistryBeside(
  place: Place,
  settings: RegistrySettings,
): Promise<OpenRegistry> {
  const { dataRoot } = place;
  const disk = { directory: registryContent(dataRoot), beside: `${dataRoot}/content` };
  return await openRegistry(place, settle(settings), disk);
}

/** Where the registry in an engine's data root has its blobs. */
export function registryContent(dataRoot: string): string {
  return `${dataRoot}/registry/content`;
}

async function openRegistry(
  { dataRoot, database }: Place,
  settings: Settled,
  disk: { directory: string; beside?: string } = { directory: `${dataRoot}/content` },
): Promise<OpenRegistry> {
  const directory = `${dataRoot}/registry`;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const config = settings.read;
  const content = await openBlobs(directory, settings.storage, disk);
  const bounds = boundsOf(config);
  const store = await openRegistryStore({ database, content, directory, bounds });
  const policy = compilePolicy(config);
  const metrics = new Metrics();
  const hooks = new Hooks(database, config.webhooks);
  const audit = new Audit(`${directory}/audit.log`);
  const tell = (event: RegistryEvent) => {
    metrics.event(event);
    hooks.tell(event);
    audit.tell(event);
  };
  const limit = limitRate(config.limits.requestsPerSecond);
  const rules = config.upstreams;
  const cache = rules.length > 0 ? await openCache(store, { rules, directory }) : undefined;
  const parts = {
    ...{ store, policy, tell, retention: config.retention, metrics, limitRate: limit },
    tellRefused: (refused: RefusedAccess) => audit.tell(refused),
    ...(cache ? { cache } : {}),
  };
  return {
    ...{ directory, settings, parts },
    async [Symbol.asyncDispose]() {
      cache?.close();
      hooks.close();
      await audit.close();
    },
  };
}

/**
 * The disk, or the bucket that the registry has had since its first start: names without their blobs
 * would be nothing.
 * @throws Failure "conflict" — it had its blobs elsewhere
 */
async function openBlobs(
  directory: string,
  wanted: string | undefined,
  disk: { directory: string; beside?: string },
): Promise<BlobStore> {
  const path = `${directory}/storage`;
  const kept = existsSync(path) ? readFileSync(path, "utf8").trim() : undefined;
  const address = wanted ?? kept;
  const isNew = kept === undefined && !existsSync(`${directory}/uploads`);
  if (!isNew && bucketOf(address) !== bucketOf(kept)) {
    throw new Failure(
      "conflict",
      `Cannot keep blobs in "${bucketOf(address)}": this registry has its own in "${bucketOf(kept)}"`,
      { hint: "Give a new registry a --data-root of its own, and copy the images into it" },
    );
  }
  if (address === undefined) return await openContentStore(disk);
  const store = await openS3Store(parseStorage(address), { ownerPath: `${directory}/owner` });
  if (address !== kept) writeFileSync(path, `${address}\n`, { mode: 0o600 });
  return store;
}

function bucketOf(address: string | undefined): string {
  return address === undefined ? "a folder" : address.replace(/\/*(\?.*)?$/, "");
}

/** Serves an open registry at an address, and its owner at a socket, until it is disposed. */
export function startRegistry(
  { parts, settings, directory }: OpenRegistry,
  { host, port }: { readonly host: string; readonly port: number },
) {
  const { htpasswd, tls } = settings;
  const access = openRegistryAccess({ config: settings.read, htpasswd, directory });
  const pair = tls && {
    cert: readBytes(tls.cert, "the certificate").toString(),
    key: readBytes(tls.key, "the private key").toString(),
  };
  const server = serveRegistry(
    { ...parts, access },
    { host, port, ...(pair ? { tls: pair } : {}) },
  );
  const unixPath = `${directory}/control.sock`;
  rmSync(unixPath, { force: true }); // one that a crash left: the lock says that nobody listens there
  const control = serveRegistry({ ...parts, access: ownerAccess }, { unixPath });
  const upkeep = setInterval(() => void keepUp(parts), upkeepEveryMs);
  return {
    address: server.address,
    async close(): Promise<void> {
      clearInterval(upkeep);
      await control.close({ timeoutMs: 0 });
      await server.close({ timeoutMs: endTimeoutMs });
      rmSync(unixPath, { force: true });
    },
  };
}

/** Where `lading registry gc` and `fsck` reach a registry that serves; the folder is the owner's alone. */
export function controlPath(dataRoot: string): string {
  return `${dataRoot}/registry/control.sock`;
}

/** What is due each hour. */
async function keepUp(parts: Pick<ServerParts, "store" | "policy" | "retention">): Promise<void> {
  try {
    const retired = await retireBy(parts, false);
    const { removed, uploads } = await collect(parts.store);
    if (retired.length + removed.blobs + uploads > 0) {
      log("info", "Collected", { ...removed, uploads, retired: retired.length });
    }
  } catch (error) {
    log("error", "Cannot collect what nobody needs", { error });
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

function readBytes(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw fileFailure(`read ${what} "${path}"`, cause);
  }
}
