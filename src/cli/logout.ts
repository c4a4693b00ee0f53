import { defineCommand } from "./command.ts";
import { readConfig, writeConfig } from "./credentials.ts";
import { configFolder } from "./engine.ts";
import { serverAddress } from "./login.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[SERVER]",
  flags: {},
  arguments: { min: 0, max: 1 },
  async run({ args, globals }) {
    const address = serverAddress(args[0]);
    const folder = configFolder(globals);
    const config = readConfig(folder);
    if (!config.auths?.[address]) {
      print(`Not logged in to ${address}`);
      return 0;
    }
    const { [address]: _gone, ...auths } = config.auths;
    writeConfig({ ...config, auths }, folder);
    print(`Removing login credentials for ${address}`);
    return 0;
  },
});
