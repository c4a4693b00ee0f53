/** Picks the command: the engine and its check, else the command line. Loads only what was called. */
import { messageOf } from "./base/mod.ts";
import type { runCli } from "./cli/mod.ts";

type Cli = { runCli: typeof runCli };

async function main(argv: readonly string[]): Promise<number> {
  const isHelp = argv[0] === "help" && /^(daemon|doctor|registry|manifest)$/.test(argv[1] ?? "");
  const [name, ...rest] = isHelp ? [...argv.slice(1), "--help"] : argv;
  if (name === "daemon") return (await import("./daemon.ts")).runDaemon(rest);
  if (name === "doctor") return (await import("./doctor.ts")).runDoctor(rest);
  if (name === "registry") return (await import("./registry-command.ts")).runRegistryCommand(rest);
  if (name === "manifest") return (await import("./manifest-command.ts")).runManifest(rest);
  // `require` loads in half the time of `import()`, which short commands feel.
  return (require("./cli/mod.ts") as Cli).runCli(argv);
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(`lading: ${messageOf(error)}`);
    process.exit(1);
  },
);
