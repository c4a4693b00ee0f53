import { defineCommand } from "./command.ts";
import { currentContext } from "./globals.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "",
  flags: {},
  arguments: { min: 0, max: 0 },
  async run({ globals }) {
    print(currentContext(globals));
    return 0;
  },
});
