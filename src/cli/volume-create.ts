import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { toMap } from "./key-values.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] [VOLUME]",
  flags: {
    driver: { kind: "string", short: "d", default: "local", about: "Driver of the volume" },
    label: { kind: "list", about: "Set a label: NAME=VALUE" },
    name: { kind: "string", about: "Name of the volume", hidden: true },
    opt: { kind: "list", short: "o", word: "map", about: "Option for the driver: NAME=VALUE" },
  },
  arguments: { min: 0, max: 1 },
  async run({ flags, args, globals }) {
    if (flags.name && args[0]) {
      throw new Failure(
        "conflict",
        "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
      );
    }
    const { Name } = await engineOf(globals).volumes.create({
      Name: flags.name || (args[0] ?? ""),
      Driver: flags.driver,
      DriverOpts: toMap(flags.opt),
      Labels: toMap(flags.label),
    });
    print(Name);
    return 0;
  },
});
