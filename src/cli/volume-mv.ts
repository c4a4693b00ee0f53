import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "VOLUME NEW_NAME",
  flags: {},
  arguments: { min: 2, max: 2 },
  async run({ args, globals }) {
    const [from = "", name = ""] = args;
    print((await engineOf(globals).volumes.rename(from, { name })).Name);
    return 0;
  },
});
