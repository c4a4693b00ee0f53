import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";

const letters = ["C", "A", "D"] as const;

export const command = defineCommand({
  usage: "CONTAINER",
  flags: {},
  arguments: { min: 1, max: 1 },
  async run({ args, globals }) {
    const changes = await engineOf(globals).containers.changes(args[0]!);
    for (const { Kind, Path } of changes ?? []) print(`${letters[Kind]} ${Path}`);
    return 0;
  },
});
