/** `lading registry serve`: a registry in a process of its own. */
import { rmSync, writeFileSync } from "node:fs";
import { log, setLogLevel, toFailure } from "./base/mod.ts";
import { parseRegistryOptions, type RegistryOptions, registryUsage } from "./registry-options.ts";
import { openRegistryRoot, startRegistry } from "./registry-root.ts";

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
  await using root = await openRegistryRoot(options.dataRoot, options);
  if (options.pidFile) writeFileSync(options.pidFile, `${process.pid}\n`);
  const server = startRegistry(root, options);
  process.stdout.write(`lading registry ${version()} accepts requests on ${server.address}\n`);

  log("info", `Ending on ${await ending}`);
  await server.close();
  if (options.pidFile) rmSync(options.pidFile, { force: true });
}

/** Settles with the name of the signal that asks this process to end. */
function endSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => resolve(name));
  });
}

function version(): string {
  return (require("../package.json") as { version: string }).version;
}
