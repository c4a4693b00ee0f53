import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";

export const command = defineCommand({
  usage: "[OPTIONS] NETWORK CONTAINER",
  flags: { force: { kind: "bool", short: "f", about: "Do it though the container is gone" } },
  arguments: { min: 2, max: 2 },
  async run({ flags, args, globals }) {
    const [network = "", container = ""] = args;
    await engineOf(globals).networks.disconnect(network, container, flags.force);
    return 0;
  },
});
