import { defineCommand } from "./command.ts";
import { forEachName } from "./complaint.ts";
import { engineOf } from "./engine.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: { signal: { kind: "string", short: "s", about: "Signal to send (default KILL)" } },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    return forEachName(args, async (name) => {
      await engine.containers.kill(name, { signal: flags.signal });
      return name;
    });
  },
});
