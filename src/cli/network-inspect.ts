import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { formatFlag, inspectObjects } from "./inspect-objects.ts";

export const command = defineCommand({
  usage: "[OPTIONS] NETWORK [NETWORK...]",
  flags: {
    format: formatFlag,
    verbose: { kind: "bool", short: "v", about: "Show more, for diagnosis" },
  },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    return inspectObjects(args, flags.format, (name) =>
      engine.networks.inspect(name, { verbose: flags.verbose }),
    );
  },
});
