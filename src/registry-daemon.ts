/** `lading registry serve`: joins the content store, the names and the server. */
import { Database } from "bun:sqlite";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Failure, log, setLogLevel, toFailure } from "./base/mod.ts";
import { openContentStore } from "./content/mod.ts";
import {
  boundsOf,
  compilePolicy,
  emptyConfig,
  openRegistryAccess,
  openRegistryStore,
  parseConfig,
  serveRegistry,
} from "./registry/mod.ts";
import { parseRegistryOptions, type RegistryOptions, registryUsage } from "./registry-options.ts";
import { lockFile } from "./sys/mod.ts";

const endTimeoutMs = 10_000;

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
  mkdirSync(options.dataRoot, { recursive: true, mode: 0o700 });
  using _lock = lockFile(`${options.dataRoot}/lock`);
  if (options.pidFile) writeFileSync(options.pidFile, `${process.pid}\n`);
  const ending = endSignal();
  const database = openDatabase(`${options.dataRoot}/lading.db`);
  const content = await openContentStore({ directory: `${options.dataRoot}/content` });
  const directory = `${options.dataRoot}/registry`;
  const config = options.config
    ? parseConfig(readBytes(options.config), options.config)
    : emptyConfig;
  const store = await openRegistryStore({ database, content, directory, bounds: boundsOf(config) });
  const access = openRegistryAccess({ config, htpasswd: options.htpasswd, directory });
  const server = serveRegistry(
    { store, access, policy: compilePolicy(config), tell: () => {} },
    { host: options.host, port: options.port, ...tlsOf(options) },
  );
  process.stdout.write(`lading registry ${version()} accepts requests on ${server.address}\n`);

  log("info", `Ending on ${await ending}`);
  await server.close({ timeoutMs: endTimeoutMs });
  database.close();
  if (options.pidFile) rmSync(options.pidFile, { force: true });
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
