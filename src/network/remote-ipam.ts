/** Addresses of plugins: IpamDriver of the plugin protocol. What it gives is kept as if it were asked for. */
import { Failure, log } from "../base/mod.ts";
import type { Plugin, Plugins } from "../plugin/mod.ts";
import { formatAddress, parseAddress, parseCidr } from "./address.ts";
import type { EndpointSpec, Network, NetworkSpec, Subnet } from "./types.ts";

const kind = "IpamDriver";
const gatewayKey = "com.docker.network.gateway";

type Answer = Readonly<Record<string, unknown>>;
type Asked = Pick<NetworkSpec, "ipamDriver" | "ipamOptions" | "enableIPv4" | "enableIPv6">;

/** What is asked of address plugins. */
export class RemoteIpam {
  readonly #plugins: Plugins | undefined;

  constructor(plugins: Plugins | undefined) {
    this.#plugins = plugins;
  }

  async #find(driver: string): Promise<Plugin> {
    if (this.#plugins) return await this.#plugins.get(driver, kind);
    throw new Failure("not_found", `could not find plugin ${driver}: plugin not found`);
  }

  /**
   * The subnets of a new network, each with the plugin's name for it. All or none.
   *
   * @throws "not_found" — no such plugin; what the plugin says; "corrupt" — it gives no subnet
   */
  async requestPools(spec: Asked & Pick<NetworkSpec, "subnets">): Promise<Subnet[]> {
    const plugin = await this.#find(spec.ipamDriver ?? "");
    const spaces = await plugin.call(`${kind}.GetDefaultAddressSpaces`);
    const space = textIn(spaces, "LocalDefaultAddressSpace");
    const isV6 = ({ subnet }: Subnet) => subnet.includes(":");
    const given = spec.subnets.filter(({ subnet }) => subnet !== "");
    const wanted = [
      ...(spec.enableIPv4 ? orEmpty(given.filter((one) => !isV6(one))) : []).map((one) => ({
        one,
        v6: false,
      })),
      ...(spec.enableIPv6 ? orEmpty(given.filter(isV6)) : []).map((one) => ({ one, v6: true })),
    ];
    const got: Subnet[] = [];
    try {
      for (const { one, v6 } of wanted)
        got.push(await this.#requestPool(plugin, one, { space, v6, spec }));
      return got;
    } catch (error) {
      await this.releasePools({ ...spec, subnets: got });
      throw error;
    }
  }

  async #requestPool(
    plugin: Plugin,
    { subnet, ipRange, gateway, auxAddresses }: Subnet,
    { space, v6, spec }: { space: string; v6: boolean; spec: Asked },
  ): Promise<Subnet> {
    const answer = await plugin.call(`${kind}.RequestPool`, {
      AddressSpace: space,
      Pool: subnet,
      SubPool: ipRange ?? "",
      Options: spec.ipamOptions ?? {},
      V6: v6,
    });
    const [pool, poolId] = [textIn(answer, "Pool"), textIn(answer, "PoolID")];
    if (poolId === "") throw new Failure("corrupt", `${kind} "${plugin.name}" gave no pool`);
    try {
      parseCidr(pool);
      const data = answer["Data"] as Answer | undefined;
      const theirs = textIn(data ?? {}, gatewayKey);
      const way =
        theirs ||
        (await requestAddress(plugin, poolId, { address: gateway ?? "", isGateway: true }));
      return {
        subnet: pool,
        gateway: addressIn(way),
        ...(ipRange ? { ipRange } : {}),
        ...(auxAddresses ? { auxAddresses } : {}),
        poolId,
      };
    } catch (error) {
      await told(plugin, "ReleasePool", { PoolID: poolId });
      throw error;
    }
  }

  /** The network goes whatever the plugin says. */
  async releasePools({
    ipamDriver,
    subnets,
  }: Pick<NetworkSpec, "ipamDriver" | "subnets">): Promise<void> {
    if (!ipamDriver) return;
    try {
      const plugin = await this.#find(ipamDriver);
      for (const { poolId, gateway } of subnets) {
        if (!poolId) continue;
        if (gateway) await told(plugin, "ReleaseAddress", { PoolID: poolId, Address: gateway });
        await told(plugin, "ReleasePool", { PoolID: poolId });
      }
    } catch (error) {
      log("warn", "Cannot give an address plugin its pools back", { driver: ipamDriver, error });
    }
  }

  /** An endpoint's wishes with the addresses that the plugin gives for them. */
  async assign(spec: EndpointSpec, network: Network): Promise<EndpointSpec> {
    if (!network.ipamDriver) return spec;
    const plugin = await this.#find(network.ipamDriver);
    const assigned: string[] = [];
    try {
      for (const family of ["v4", "v6"] as const) {
        const pool = network.subnets.find(
          ({ subnet }) => subnet.includes(":") === (family === "v6"),
        );
        if (!pool?.poolId) continue;
        const wanted = (family === "v6" ? spec.ipv6 : spec.ipv4) ?? "";
        const given = await requestAddress(plugin, pool.poolId, {
          address: wanted,
          isGateway: false,
        });
        assigned.push(addressIn(given));
      }
      return { ...spec, assigned };
    } catch (error) {
      await this.release({ ...spec, assigned }, network);
      throw error;
    }
  }

  /** Gives an endpoint's addresses back. */
  async release(
    { assigned = [] }: Pick<EndpointSpec, "assigned">,
    network: Network,
  ): Promise<void> {
    if (assigned.length === 0 || !network.ipamDriver) return;
    try {
      const plugin = await this.#find(network.ipamDriver);
      for (const address of assigned) {
        const pool = network.subnets.find(
          ({ subnet }) => subnet.includes(":") === address.includes(":"),
        );
        await told(plugin, "ReleaseAddress", { PoolID: pool?.poolId ?? "", Address: address });
      }
    } catch (error) {
      log("warn", "Cannot give an address plugin its addresses back", {
        network: network.name,
        error,
      });
    }
  }
}

const textIn = (answer: Answer, key: string) => {
  const value = answer[key];
  return typeof value === "string" ? value : "";
};
const orEmpty = (subnets: readonly Subnet[]) => (subnets.length > 0 ? subnets : [{ subnet: "" }]);
/** Plugins write addresses with their prefix. */
const addressIn = (text: string) =>
  formatAddress(parseAddress(text.split("/")[0] ?? "", "address of a plugin"));

async function requestAddress(
  plugin: Plugin,
  poolId: string,
  { address, isGateway }: { address: string; isGateway: boolean },
): Promise<string> {
  const options = isGateway ? { RequestAddressType: gatewayKey } : {};
  const body = { PoolID: poolId, Address: address, Options: options };
  return textIn(await plugin.call(`${kind}.RequestAddress`, body), "Address");
}

async function told(plugin: Plugin, method: string, body: object): Promise<void> {
  try {
    await plugin.call(`${kind}.${method}`, body);
  } catch (error) {
    log("warn", `Cannot tell address plugin: ${method}`, { plugin: plugin.name, error });
  }
}
