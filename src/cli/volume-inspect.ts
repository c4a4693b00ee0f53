import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { formatFlag, inspectObjects } from "./inspect-objects.ts";

export const command = defineCommand({
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  flags: {
    format: formatFlag,
    size: {
      kind: "bool",
      short: "s",
      about: "Show what it takes, and how many containers have it",
    },
  },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    return inspectObjects(args, flags.format, (name) =>
      engine.volumes.inspect(name, flags.size ? { size: true } : {}),
    );
  },
});
