import { defineCommand } from "./command.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "",
  flags: {},
  arguments: { min: 0, max: 0 },
  async run() {
    print("default");
    return 0;
  },
});
