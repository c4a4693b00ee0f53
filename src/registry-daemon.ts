/** `lading registry serve`: joins the content store, the names and the server. */
import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Failure, log, setLogLevel, toFailure } from "./base/mod.ts";
import { openContentStore } from "./content/mod.ts";
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
  type RegistryEvent,
  type RegistryStore,
  retireBy,
  type ServerParts,
  serveRegistry,
} from "./registry/mod.ts";
import { parseRegistryOptions, type RegistryOptions, registryUsage } from "./registry-options.ts";
import { lockFile } from "./sys/mod.ts";

const endTimeoutMs = 10_000;
const upkeepEveryMs = 3_600_000;

/** Runs until it is told to end, and returns the exit code. */
export async function runRegistry(argv: readonly string[]): Promise<number> {
  try {
    const options = parseRegistryOptions(argv);
    if (options === "help") {
      process.stdout.write(registryUsage);
      return 0;
    }
    await serve(options);
    return 0;
  } catch (error) {
    const { message, hint } = toFailure(error);
    process.stderr.write(`lading: ${message}${hint ? `\n${hint}` : ""}\n`);
    return 1;
  }
}

async function serve(options: RegistryOptions): Promise<void> {
  setLogLevel(options.logLevel);
  const ending = endSignal();
  await using root = await openRegistryRoot(options);
  if (options.pidFile) writeFileSync(options.pidFile, `${process.pid}\n`);
  const { htpasswd } = options;
  const access = openRegistryAccess({ config: root.config, htpasswd, directory: root.directory });
  const { host, port } = options;
  const server = serveRegistry({ ...root.parts, access }, { host, port, ...tlsOf(options) });
  const unixPath = controlPath(options.dataRoot);
  rmSync(unixPath, { force: true }); // one that a crash left: the lock says that nobody listens there
  const control = serveRegistry({ ...root.parts, access: ownerAccess }, { unixPath });
  const upkeep = setInterval(() => void keepUp(root.parts), upkeepEveryMs);
  process.stdout.write(`lading registry ${version()} accepts requests on ${server.address}\n`);

  log("info", `Ending on ${await ending}`);
  clearInterval(upkeep);
  await control.close({ timeoutMs: 0 });
  await server.close({ timeoutMs: endTimeoutMs });
  rmSync(unixPath, { force: true });
  if (options.pidFile) rmSync(options.pidFile, { force: true });
}

/** Where `lading registry gc` and `fsck` reach a registry that serves; the folder is the owner's alone. */
export function controlPath(dataRoot: string): string {
  return `${dataRoot}/registry/control.sock`;
}

/**
 * Opens a registry's data root for this process alone.
 * @throws Failure "conflict" — another process has it; "invalid" — it is an engine's, whose blobs
 * would all be swept away
 */
export async function openRegistryRoot({
  dataRoot,
  config: configPath,
}: Pick<RegistryOptions, "dataRoot" | "config">) {
  const directory = `${dataRoot}/registry`;
  if (existsSync(`${dataRoot}/lading.db`) && !existsSync(directory)) {
    throw new Failure("invalid", `Cannot use "${dataRoot}": it is the data root of an engine`, {
      hint: "Give the registry a --data-root of its own",
    });
  }
  mkdirSync(dataRoot, { recursive: true, mode: 0o700 });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const config = configPath ? parseConfig(readBytes(configPath), configPath) : emptyConfig;
  const lock = lockFile(`${dataRoot}/lock`);
  const database = openDatabase(`${dataRoot}/lading.db`);
  const content = await openContentStore({ directory: `${dataRoot}/content` });
  const bounds = boundsOf(config);
  const store: RegistryStore = await openRegistryStore({ database, content, directory, bounds });
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
    ...(cache ? { cache } : {}),
  };
  return {
    ...{ directory, config, parts },
    async [Symbol.asyncDispose]() {
      cache?.close();
      hooks.close();
      await audit.close();
      database.close();
      lock[Symbol.dispose]();
    },
  };
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

function tlsOf({ tls }: RegistryOptions) {
  if (!tls) return {};
  return { tls: { cert: readBytes(tls.cert).toString(), key: readBytes(tls.key).toString() } };
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new Failure("invalid", `Cannot read "${path}": ${(cause as Error).message}`, { cause });
  }
}

/** Settles with the name of the signal that asks this process to end. */
function endSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => resolve(name));
  });
}

function version(): string {
  const file = new URL("../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
