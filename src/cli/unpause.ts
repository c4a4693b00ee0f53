import { defineCommand } from "./command.ts";
import { forEachName } from "./complaint.ts";
import { engineOf } from "./engine.ts";

export const command = defineCommand({
  usage: "CONTAINER [CONTAINER...]",
  flags: {},
  arguments: { min: 1 },
  async run({ args, globals }) {
    const engine = engineOf(globals);
    return forEachName(args, async (name) => {
      await engine.containers.unpause(name);
      return name;
    });
  },
});
