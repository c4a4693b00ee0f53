import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { formatFlag, inspectObjects } from "./inspect-objects.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: {
    format: formatFlag,
    size: { kind: "bool", short: "s", about: "Show the sizes of its files" },
  },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    return inspectObjects(args, flags.format, (name) =>
      engine.containers.inspect(name, { size: flags.size }),
    );
  },
});
