/**
 * Networks of plugins: NetworkDriver of the plugin protocol. The plugin makes interfaces on the host;
 * they are moved into containers, and given back before the plugin is told that a container has left.
 */
import { Failure, isFailure, log } from "../base/mod.ts";
import type { Plugin, Plugins } from "../plugin/mod.ts";
import {
  changeLink,
  closeNamespace,
  currentNamespace,
  executeSlowly,
  interfaceIndex,
  type NetworkNamespace,
  openNamespace,
  withinNamespace,
} from "../sys/mod.ts";
import { formatAddress, formatCidr, parseAddress, parseCidr } from "./address.ts";
import { isChild } from "./child.ts";
import { plansOf } from "./define.ts";
import { isBridge, isClosed } from "./networks.ts";
import type { Attachment } from "./records.ts";
import type { Endpoint, Network } from "./types.ts";

const kind = "NetworkDriver";
const generic = "com.docker.network.generic";

/** Its driver is a plugin. */
export const isRemote = (network: Pick<Network, "driver">) =>
  !isBridge(network) && !isChild(network) && !isClosed(network);

type Answer = Readonly<Record<string, unknown>>;
const textIn = (answer: Answer | undefined, key: string) => {
  const value = answer?.[key];
  return typeof value === "string" ? value : "";
};
const objectIn = (answer: Answer, key: string) => {
  const value = answer[key];
  return typeof value === "object" && value !== null ? (value as Answer) : undefined;
};

/** What is said to network plugins, and done for them. */
export class Remotes {
  readonly #plugins: Plugins | undefined;

  constructor(plugins: Plugins | undefined) {
    this.#plugins = plugins;
  }

  /** @throws "not_found" — there is no such plugin, or it is no network driver */
  async find(driver: string): Promise<Plugin> {
    if (this.#plugins) return await this.#plugins.get(driver, kind);
    const message = `could not find plugin ${driver} in v1 plugin registry: plugin not found`;
    throw new Failure("not_found", message);
  }

  async #call({ driver }: Pick<Network, "driver">, method: string, body: object): Promise<Answer> {
    return await (await this.find(driver)).call(`${kind}.${method}`, body);
  }

  async create(network: Network): Promise<void> {
    const data = (family: 4 | 6) =>
      plansOf(network)
        .filter(({ subnet }) => subnet.base.family === family)
        .map(({ subnet, gateway }) => ({
          AddressSpace: "LocalDefault",
          Pool: `${formatAddress(subnet.base)}/${subnet.prefix}`,
          Gateway: `${formatAddress(gateway)}/${subnet.prefix}`,
          AuxAddresses: {},
        }));
    const Options = {
      [generic]: network.options,
      "com.docker.network.enable_ipv4": network.enableIPv4,
      "com.docker.network.enable_ipv6": network.enableIPv6,
      ...(network.internal ? { "com.docker.network.internal": true } : {}),
    };
    const body = { NetworkID: network.id, Options, IPv4Data: data(4), IPv6Data: data(6) };
    await this.#call(network, "CreateNetwork", body);
  }

  async remove(network: Network): Promise<void> {
    await this.#call(network, "DeleteNetwork", { NetworkID: network.id });
  }

  /**
   * Has the plugin make an endpoint's interface, and moves it into the namespace. What the plugin says
   * of addresses and gateways holds.
   */
  async join(
    network: Network,
    attachment: Attachment,
    place: { readonly namespace: NetworkNamespace; readonly usedNames: ReadonlySet<string> },
  ): Promise<Attachment> {
    const { endpoint } = attachment;
    const ids = { NetworkID: network.id, EndpointID: endpoint.endpointId };
    const made = await this.#call(network, "CreateEndpoint", {
      ...ids,
      Interface: {
        Address: endpoint.address ? `${endpoint.address}/${endpoint.prefix}` : "",
        AddressIPv6: endpoint.address6 ? `${endpoint.address6}/${endpoint.prefix6}` : "",
        MacAddress: endpoint.macAddress ?? "",
      },
      Options: { ...endpoint.driverOptions },
    });
    try {
      const joined = await this.#call(network, "Join", {
        ...ids,
        SandboxKey: place.namespace.path,
        Options: {},
      });
      const names = objectIn(joined, "InterfaceName");
      const source = textIn(names, "SrcName");
      const interfaceName = freeName(textIn(names, "DstPrefix") || "eth", place.usedNames);
      if (source) await moveIn(source, { namespace: place.namespace, name: interfaceName });
      const mac = textIn(objectIn(made, "Interface"), "MacAddress") || endpoint.macAddress || "";
      const gateways = {
        gateway: textIn(joined, "Gateway"),
        gateway6: textIn(joined, "GatewayIPv6"),
      };
      for (const text of Object.values(gateways))
        if (text) parseAddress(text, "gateway of a plugin");
      const routes = routesIn(joined["StaticRoutes"]);
      const whole = {
        ...endpoint,
        ...gateways,
        routes,
        mac,
        interfaceName: source ? interfaceName : "",
      };
      return { ...attachment, endpoint: whole, source };
    } catch (error) {
      await this.#told(network, "DeleteEndpoint", ids);
      throw error;
    }
  }

  /** Gives the interface back, if there is one, and tells the plugin; it may be gone. */
  async leave(
    network: Network,
    { endpoint, source = "" }: Attachment,
    namespace: NetworkNamespace | undefined,
  ): Promise<void> {
    const ids = { NetworkID: network.id, EndpointID: endpoint.endpointId };
    if (namespace && source) await moveOut(source, { namespace, name: endpoint.interfaceName });
    await this.#told(network, "Leave", ids);
    await this.#told(network, "DeleteEndpoint", ids);
  }

  /** What cannot be helped if it fails: the container goes whatever the plugin says. */
  async #told(network: Network, method: string, ids: object): Promise<void> {
    try {
      await this.#call(network, method, ids);
    } catch (error) {
      log("warn", `Cannot tell network plugin: ${method}`, { network: network.name, error });
    }
  }
}

function freeName(prefix: string, used: ReadonlySet<string>): string {
  if (!/^[a-zA-Z][\w.-]{0,11}$/.test(prefix)) {
    throw new Failure("invalid", `invalid interface prefix "${prefix.slice(0, 100)}" of a plugin`);
  }
  let at = 0;
  while (used.has(`${prefix}${at}`)) at++;
  return `${prefix}${at}`;
}

interface Inside {
  readonly namespace: NetworkNamespace;
  readonly name: string;
}

async function moveIn(source: string, { namespace, name }: Inside): Promise<void> {
  const index = interfaceIndex(source);
  const held = openNamespace(namespace.path);
  try {
    const move = changeLink(index, { namespaceFd: held.fd, name }, false);
    const [failure] = await executeSlowly([changeLink(index, {}, false), move]);
    if (failure) throw failure;
  } finally {
    closeNamespace(held);
  }
}

async function moveOut(source: string, { namespace, name }: Inside): Promise<void> {
  const home = currentNamespace();
  try {
    const index = withinNamespace(namespace, () => interfaceIndex(name));
    const down = changeLink(index, {}, false);
    const move = changeLink(index, { namespaceFd: home.fd, name: source }, false);
    const failure = (await executeSlowly([down, move], namespace)).find(Boolean);
    if (failure) log("warn", "Cannot give a plugin its interface back", { source, error: failure });
  } catch (error) {
    if (!isFailure(error, "not_found")) throw error; // It went with what it was the other end of.
  } finally {
    closeNamespace(home);
  }
}

const routesMax = 256;

/** `StaticRoutes` of a plugin's answer. @throws Failure "invalid" | "exhausted" */
function routesIn(value: unknown): NonNullable<Endpoint["routes"]> {
  const all: unknown[] = Array.isArray(value) ? value : [];
  if (all.length > routesMax) {
    throw new Failure("exhausted", `Cannot add over ${routesMax} routes of a plugin`);
  }
  return all.map((each) => {
    const route = objectIn({ each }, "each") ?? {};
    const { base, prefix } = parseCidr(textIn(route, "Destination"));
    // 0: the next hop is a gateway; 1: the network is at the interface itself.
    const hop = route["RouteType"] === 1 ? "" : textIn(route, "NextHop");
    if (hop !== "") parseAddress(hop, "next hop of a plugin's route");
    return { to: formatCidr({ base, prefix }), gateway: hop };
  });
}
