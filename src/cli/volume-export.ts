import { writeArchive } from "./archive-output.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { runningFlags, runningMode } from "./volume-running.ts";

export const command = defineCommand({
  usage: "[OPTIONS] VOLUME",
  flags: {
    ...runningFlags,
    output: { kind: "string", short: "o", about: "Write to this file instead of STDOUT" },
  },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const query = { running: runningMode(flags) };
    await writeArchive(flags.output, () => engineOf(globals).volumes.export(args[0]!, query));
    return 0;
  },
});
