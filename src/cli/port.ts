import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
  flags: {},
  arguments: { min: 1, max: 2 },
  async run({ args, globals }) {
    const [container = "", wanted] = args;
    const { NetworkSettings } = await engineOf(globals).containers.inspect(container);
    const address = ({ HostIp, HostPort }: { HostIp: string; HostPort: string }) =>
      `${HostIp.includes(":") ? `[${HostIp}]` : HostIp}:${HostPort}`;
    if (wanted === undefined) {
      for (const [port, bindings] of Object.entries(NetworkSettings.Ports ?? {}).sort(byPort)) {
        for (const binding of bindings ?? []) print(`${port} -> ${address(binding)}`);
      }
      return 0;
    }
    const key = wanted.includes("/") ? wanted : `${wanted}/tcp`;
    const bindings = NetworkSettings.Ports?.[key];
    if (!bindings) {
      throw new Failure("not_found", `Error: No public port '${key}' published for ${container}`);
    }
    for (const binding of bindings) print(address(binding));
    return 0;
  },
});

function byPort([a]: [string, unknown], [b]: [string, unknown]): number {
  return Number.parseInt(a, 10) - Number.parseInt(b, 10) || (a < b ? -1 : 1);
}
