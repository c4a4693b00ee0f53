import { defineCommand } from "./command.ts";
import { forEachName } from "./complaint.ts";
import { engineOf } from "./engine.ts";

export const command = defineCommand({
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  flags: { force: { kind: "bool", short: "f", about: "A volume that is absent is no error" } },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    return forEachName(args, async (name) => {
      await engine.volumes.remove(name, { force: flags.force });
      return name;
    });
  },
});
