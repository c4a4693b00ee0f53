import { Failure, log } from "../base/mod.ts";
import type { NftElement } from "../sys/mod.ts";
import { formatAddress, formatCidr, overlaps } from "./address.ts";
import { checkParent, childOptions, isChild } from "./child.ts";
import type { DefaultBridge } from "./default-bridge.ts";
import {
  type AddressPool,
  bridgeOptions,
  checkSpec,
  chooseSubnet,
  defineSubnets,
  plansOf,
  predefinedNames,
} from "./define.ts";
import { checkInherited, inherit } from "./inherit.ts";
import type { Ipam } from "./ipam.ts";
import type { Records } from "./records.ts";
import { isRemote, type Remotes } from "./remote.ts";
import type { RemoteIpam } from "./remote-ipam.ts";
import { bridgeElements } from "./ruleset.ts";
import type { Network, NetworkSpec } from "./types.ts";
import type { Wire } from "./wire.ts";

const bridgePrefix = "com.docker.network.bridge.";
/** Engines that start at once may choose the same subnet; the later one chooses again. */
const choicesMax = 8;

/** The networks there are: in memory, on disk, and as bridges. */
export class Networks {
  readonly #records: Records;
  readonly #wire: Wire;
  readonly #ipam: Ipam;
  readonly #networks = new Map<string, Network>();
  readonly #remotes: Remotes;
  readonly #remoteIpam: RemoteIpam;
  readonly #pools: readonly AddressPool[] | undefined;

  constructor(parts: {
    records: Records;
    wire: Wire;
    ipam: Ipam;
    remotes: Remotes;
    remoteIpam: RemoteIpam;
    pools?: readonly AddressPool[] | undefined;
  }) {
    this.#pools = parts.pools;
    this.#remotes = parts.remotes;
    this.#remoteIpam = parts.remoteIpam;
    this.#records = parts.records;
    this.#wire = parts.wire;
    this.#ipam = parts.ipam;
    for (const network of this.#records.networks()) this.#networks.set(network.id, network);
  }

  list(): readonly Network[] {
    return [...this.#networks.values()];
  }

  resolve(nameOrId: string): Network {
    const wanted = nameOrId === "default" ? "bridge" : nameOrId;
    const all = this.list();
    const exact = this.#networks.get(wanted) ?? all.find(({ name }) => name === wanted);
    if (exact) return exact;
    const matches = /^[0-9a-f]+$/.test(wanted) ? all.filter(({ id }) => id.startsWith(wanted)) : [];
    if (matches.length === 1) return matches[0]!;
    if (matches.length === 0) throw new Failure("not_found", `network ${nameOrId} not found`);
    const reason = `network ${nameOrId} is ambiguous (${matches.length} matches found on ID prefix)`;
    throw new Failure("conflict", reason);
  }

  /** Makes the predefined networks, and the bridges of all. */
  start(
    bridge: string,
    isUsed: (id: string) => boolean,
    asked: DefaultBridge = { ipv4: undefined, ipv6: undefined, options: {} },
  ): void {
    for (const name of ["host", "none"]) {
      if (!this.#find(name)) this.#save(predefined(name, name === "none" ? "null" : name));
    }
    this.#startDefault(bridge, isUsed, asked);
    for (const network of this.list()) {
      if (network.name === "bridge") continue;
      try {
        this.#realize(network);
      } catch (error) {
        log("warn", "Cannot set up the links of a network", { network: network.name, error });
      }
    }
  }

  #find(name: string): Network | undefined {
    return this.list().find((network) => network.name === name);
  }

  #startDefault(bridge: string, isUsed: (id: string) => boolean, asked: DefaultBridge): void {
    const link = this.#wire.find(bridge);
    for (let choice = 0; choice < choicesMax; choice++) {
      const old = this.#find("bridge");
      const around = this.#wire.surroundings(bridge);
      const isTaken = (network: Network, others: typeof around.routes) =>
        plansOf(network).some(({ subnet }) => others.some((other) => overlaps(subnet, other)));
      const isFine = old && (isUsed(old.id) || !isTaken(old, around.interfaces));
      const chosen = isFine ? withBridge(old, bridge) : this.#choose(old, bridge, around.routes);
      const network = asAsked(chosen, asked, old && isUsed(old.id) ? old : undefined);
      const isOther = old && subnetsText(old) !== subnetsText(network);
      if (old && link && (!isFine || isOther)) this.#wire.clearBridge(bridge);
      this.#save(network);
      this.#wire.ensureBridge(network);
      if (isUsed(network.id) || asked.ipv4) return;
      // Someone else may have had the same thought since: the younger bridge gives way.
      const { index } = this.#wire.find(bridge)!;
      const elder = this.#wire.surroundings(bridge, index).interfaces;
      if (!isTaken(network, elder)) return;
      this.#wire.clearBridge(bridge);
    }
    throw new Failure("exhausted", `Cannot find a subnet for "${bridge}": others keep taking it`);
  }

  #choose(old: Network | undefined, bridge: string, routes: Parameters<typeof chooseSubnet>[0]) {
    const ours = this.list()
      .filter(({ name }) => name !== "bridge")
      .flatMap((network) => plansOf(network).map(({ subnet }) => subnet));
    const subnet = chooseSubnet([...routes, ...ours], this.#pools);
    const gateway = formatAddress({ ...subnet.base, value: subnet.base.value + 1n });
    const network = withBridge(old ?? predefined("bridge", "bridge"), bridge);
    return { ...network, subnets: [{ subnet: formatCidr(subnet), gateway }] };
  }

  async create(asked: NetworkSpec): Promise<Network> {
    const spec = inherit({ ...asked, driver: asked.driver || "bridge" }, this.list());
    checkSpec(spec, this.list());
    if (isRemote(spec)) await this.#remotes.find(spec.driver);
    const given = spec.ipamDriver && !spec.configOnly;
    const subnets = given ? await this.#remoteIpam.requestPools(spec) : spec.subnets;
    const whole = { ...spec, subnets };
    try {
      return await this.#create(whole);
    } catch (error) {
      await this.#remoteIpam.releasePools(whole);
      throw error;
    }
  }

  async #create(spec: NetworkSpec): Promise<Network> {
    checkSpec(spec, this.list()); // Another one may have come meanwhile.
    const network = this.#define({ ...spec, id: randomId(), created: timestamp() });
    this.#save(network);
    try {
      this.#realize(network);
      if (isRemote(network)) await this.#remotes.create(network);
      this.#wire.addElements(elementsOfNetwork(this.#wire.table, network));
      if (isBridge(network)) await this.#wire.yieldToFirewalls(() => this.elements());
    } catch (error) {
      await this.#take(network).catch(() => this.#forget(network)); // The first error says more.
      throw error;
    }
    return network;
  }

  /** Fills in what was not asked for. Nothing is in the kernel yet. */
  #define(asked: NetworkSpec & Pick<Network, "id" | "created">): Network {
    const bare = { ...asked, predefined: false };
    if (bare.configOnly) return bare;
    const bridge = isBridge(bare) ? bridgeOptions(bare).bridge : "";
    if (this.list().some((other) => isBridge(other) && bridgeOptions(other).bridge === bridge)) {
      throw new Failure("conflict", `Cannot create network "${bare.name}": "${bridge}" is in use`);
    }
    const found = bridge !== "" && this.#wire.findBridge(bridge);
    const around = { ...this.#wire.surroundings(bridge), pools: this.#pools };
    const subnets = defineSubnets(bare, { ...around, networks: this.list() });
    const made = { ...bare, subnets };
    // Known before there is a row: whoever takes the network back must not take the host's link.
    if (found) return { ...made, foreignBridge: true };
    if (!isChild(made)) return made;
    checkParent(made, this.list());
    return this.#wire.find(childOptions(made).parent) ? made : { ...made, ownParent: true };
  }

  /** Makes what of the network is in the kernel before there is a container, unless it is there. */
  #realize(network: Network): void {
    if (isBridge(network)) this.#wire.ensureBridge(network);
    else if (isChild(network)) this.#wire.ensureParent(network);
  }

  async remove(id: string, users: ReadonlyMap<string, { name: string }>): Promise<void> {
    const network = this.resolve(id);
    if (network.predefined) {
      const reason = `${network.name} is a pre-defined network and cannot be removed`;
      throw new Failure("denied", reason);
    }
    if (users.size > 0) {
      const who = [...users].map(
        ([container, { name }]) => `name:"${name}" id:"${container.slice(0, 12)}"`,
      );
      const reason = `network ${network.name} has active endpoints (${who.join(", ")})`;
      throw new Failure("denied", `error while removing network: ${reason}`);
    }
    checkInherited(network, this.list());
    await this.#take(network);
    await this.#remoteIpam.releasePools(network);
  }

  /** The bridge goes before the row: a crash between leaves a network, and no bridge without one. */
  async #take(network: Network): Promise<void> {
    this.#networks.delete(network.id); // Nobody joins it from now on.
    try {
      if (isRemote(network)) await this.#remotes.remove(network);
      await this.#wire.deleteLinks([...ownBridges([network]), ...this.#ownParents(network)]);
      if (isBridge(network)) await this.#wire.zones.dismiss([bridgeOptions(network).bridge]);
    } catch (error) {
      this.#networks.set(network.id, network);
      throw error;
    }
    this.#forget(network);
  }

  #forget(network: Network): void {
    this.#networks.delete(network.id);
    this.#wire.removeElements(elementsOfNetwork(this.#wire.table, network));
    this.#records.removeNetwork(network.id);
    this.#ipam.forgetNetwork(network.id);
  }

  /** A parent that was made for this network, unless another one has come to use it. */
  #ownParents(network: Network): string[] {
    if (!network.ownParent) return [];
    const { parent } = childOptions(network);
    const heir = this.list().find((one) => isChild(one) && childOptions(one).parent === parent);
    if (!heir) return [parent];
    this.#save({ ...heir, ownParent: true });
    return [];
  }

  #save(network: Network): void {
    this.#records.saveNetwork(network);
    this.#networks.set(network.id, network);
  }

  /** All bridge networks as elements of the rules. */
  elements(): NftElement[] {
    const bridges = this.list().filter(isBridge);
    return bridges.flatMap((network) => elementsOfNetwork(this.#wire.table, network));
  }

  /** All links of the host that are ours alone. */
  links(): string[] {
    const parents = this.list().filter(({ ownParent }) => ownParent);
    return [...this.bridges(), ...parents.map((network) => childOptions(network).parent)];
  }

  /** The bridges that are ours alone. */
  bridges(): string[] {
    return ownBridges(this.list());
  }
}

export const isBridge = ({ driver }: Pick<Network, "driver">) => driver === "bridge";
/** Nobody gets an interface by it: the host's own network, none at all, or settings. */
export const isClosed = ({ driver }: Pick<Network, "driver">) =>
  driver === "host" || driver === "null";
export const isPredefinedName = (name: string) => predefinedNames.includes(name);

function ownBridges(networks: readonly Network[]): string[] {
  const own = networks.filter((network) => isBridge(network) && !network.foreignBridge);
  return own.map((network) => bridgeOptions(network).bridge);
}

function elementsOfNetwork(table: string, network: Network): NftElement[] {
  if (!isBridge(network)) return [];
  const options = bridgeOptions(network);
  const subnets = plansOf(network).map(({ subnet }) => subnet);
  return bridgeElements(table, { ...options, internal: network.internal, subnets });
}

export function randomId(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
}

/** Now, as RFC 3339 with nanoseconds. */
function timestamp(): string {
  const nanoseconds = String(process.hrtime.bigint() % 1_000_000n).padStart(6, "0");
  return new Date().toISOString().replace("Z", `${nanoseconds}Z`);
}

function predefined(name: string, driver: string): Network {
  return {
    id: randomId(),
    created: timestamp(),
    name,
    driver,
    predefined: true,
    internal: false,
    attachable: false,
    enableIPv4: true,
    enableIPv6: false,
    subnets: [],
    options: {},
    labels: {},
  };
}

function withBridge(network: Network, bridge: string): Network {
  const options = {
    [`${bridgePrefix}default_bridge`]: "true",
    [`${bridgePrefix}enable_icc`]: "true",
    [`${bridgePrefix}enable_ip_masquerade`]: "true",
    [`${bridgePrefix}host_binding_ipv4`]: "0.0.0.0",
    "com.docker.network.driver.mtu": "1500",
    [`${bridgePrefix}name`]: bridge,
  };
  return { ...network, options };
}

const subnetsText = ({ subnets }: Network) => JSON.stringify(subnets);

/** `used`: as it was, when containers have addresses on it. @throws "conflict" */
function asAsked(chosen: Network, asked: DefaultBridge, used: Network | undefined): Network {
  const first = asked.ipv4 ?? chosen.subnets[0]!;
  const subnets = [first, ...(asked.ipv6 ? [asked.ipv6] : [])];
  const options = { ...chosen.options, ...asked.options };
  const network = { ...chosen, subnets, options, enableIPv6: asked.ipv6 !== undefined };
  if (!used || subnetsText(used) === subnetsText(network)) return network;
  const had = used.subnets.map(({ subnet }) => subnet).join(", ");
  throw new Failure("conflict", `Cannot change the default network's subnets: it has ${had}`, {
    hint: "Containers have addresses on it: stop them before, or leave the subnets as they were",
  });
}
