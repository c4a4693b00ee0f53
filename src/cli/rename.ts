import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";

export const command = defineCommand({
  usage: "CONTAINER NEW_NAME",
  flags: {},
  arguments: { min: 2, max: 2 },
  async run({ args, globals }) {
    const [container = "", name = ""] = args;
    await engineOf(globals).containers.rename(container, name);
    return 0;
  },
});
