import { defineCommand } from "./command.ts";
import { dropAuth } from "./credentials.ts";
import { configFolder } from "./engine.ts";
import { serverAddress } from "./login.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[SERVER]",
  flags: {},
  arguments: { min: 0, max: 1 },
  async run({ args, globals }) {
    const address = serverAddress(args[0]);
    const isGone = await dropAuth(address, configFolder(globals));
    print(isGone ? `Removing login credentials for ${address}` : `Not logged in to ${address}`);
    return 0;
  },
});
