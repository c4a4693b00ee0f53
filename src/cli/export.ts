import { writeArchive } from "./archive-output.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER",
  flags: { output: { kind: "string", short: "o", about: "Write to this file instead of STDOUT" } },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    await writeArchive(flags.output, () => engineOf(globals).containers.export(args[0]!));
    return 0;
  },
});
