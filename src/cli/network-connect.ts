import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { toMap } from "./key-values.ts";

export const command = defineCommand({
  usage: "[OPTIONS] NETWORK CONTAINER",
  flags: {
    alias: { kind: "list", about: "Its name on that network" },
    "driver-opt": { kind: "list", about: "Option for the driver: NAME=VALUE" },
    "gw-priority": { kind: "int", about: "Among several networks, the highest gives the gateway" },
    ip: { kind: "string", about: "Its IPv4 address" },
    ip6: { kind: "string", about: "Its IPv6 address" },
    link: { kind: "list", about: "Link to another container: NAME[:ALIAS]" },
    "link-local-ip": { kind: "list", about: "Link-local address" },
  },
  arguments: { min: 2, max: 2 },
  async run({ flags, args, globals }) {
    const [network = "", container = ""] = args;
    await engineOf(globals).networks.connect(network, container, {
      IPAMConfig: {
        IPv4Address: flags.ip,
        IPv6Address: flags.ip6,
        LinkLocalIPs: flags["link-local-ip"],
      },
      Links: flags.link,
      Aliases: flags.alias,
      DriverOpts: toMap(flags["driver-opt"]),
      GwPriority: flags["gw-priority"],
    });
    return 0;
  },
});
