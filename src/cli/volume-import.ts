import { openArchive } from "./archive-output.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] [VOLUME]",
  flags: {
    input: { kind: "string", short: "i", about: "Read from this file instead of STDIN" },
  },
  arguments: { min: 0, max: 1 },
  async run({ flags, args, globals }) {
    const archive = await openArchive(flags.input);
    const [name] = args;
    print((await engineOf(globals).volumes.import(archive, name ? { name } : {})).Name);
    return 0;
  },
});
