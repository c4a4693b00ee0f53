/**
 * Networks in the kernel: bridges, pairs of links, addresses, and the elements of our nftables. One
 * rtnetlink and one nfnetlink socket in the host's namespace, held open.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { Failure, isFailure, log } from "../base/mod.ts";
import {
  addAddress,
  addElement,
  type BaseChain,
  changeLink,
  changePort,
  changeRules,
  createBridge,
  createChild,
  createVeth,
  decodeAddress,
  decodeChain,
  decodeLink,
  decodeRoute,
  deleteLink,
  executeSlowly,
  flushSet,
  forgetFlows,
  getChain,
  getLink,
  type Link,
  listAddresses,
  listChains,
  listLinks,
  listRoutes,
  type Netlink,
  type NetworkNamespace,
  type NftElement,
  nftBatch,
  openNetlink,
  removeAddress,
  removeElement,
  removeTables,
} from "../sys/mod.ts";
import { type Cidr, cidrOf, formatAddress, fromBytes, macOf, toBytes } from "./address.ts";
import { childOptions, ensureParent, known } from "./child.ts";
import { bridgeOptions, type Plan, plansOf } from "./define.ts";
import { Zones } from "./firewalld.ts";
import { publishedByOthers, type Taken } from "./others.ts";
import { Passage } from "./passage.ts";
import {
  blockedElements,
  bridgesIn,
  type Family,
  families,
  respectElements,
  rulesText,
  setNames,
  versionChain,
} from "./ruleset.ts";
import type { BoundPort, Network } from "./types.ts";
import { removeUserChain, userChainText } from "./user-rules.ts";

const checkMs = 20;
const forwardHook = 2;

export class Wire implements Disposable {
  readonly #links: Netlink;
  readonly #filter: Netlink;
  readonly #passage: Passage;
  readonly zones: Zones;
  readonly table: string;
  /** What the rules hold whatever networks and ports there are. */
  readonly #fixed: readonly NftElement[];
  /** Of bridges, by name. */
  readonly #indexes = new Map<string, number>();
  /** Families in which others drop what is forwarded. */
  readonly #walls = new Map<Family, readonly NftElement[]>();
  #checking: ReturnType<typeof setTimeout> | undefined;

  /** `firewall` says whether the host's rules for what comes in decide about published ports. */
  constructor(table: string, firewall: "publish" | "respect" = "publish") {
    this.table = table;
    this.#fixed =
      firewall === "respect" ? families.flatMap((family) => respectElements(table, family)) : [];
    this.#links = openNetlink("rtnetlink");
    this.#filter = openNetlink("netfilter");
    this.#passage = new Passage(this.#filter, table);
    this.zones = new Zones(this.#filter);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#checking);
    this.zones[Symbol.dispose]();
    this.#links.close();
    this.#filter.close();
  }

  /** Makes the bridge of a network, or finds it. Returns its index. @throws "conflict" */
  ensureBridge(network: Network): number {
    const { bridge, mtu } = bridgeOptions(network);
    const plans = plansOf(network);
    const found = this.findBridge(bridge);
    const mac = macOf(plans[0]!.gateway);
    if (!found) this.#links.execute([createBridge({ name: bridge, mac, mtu })]);
    const { index } = found ?? this.find(bridge)!;
    // Before the addresses: no IPv6 on a bridge without means no link-local door to the host.
    writeSetting(`net/ipv6/conf/${bridge}/disable_ipv6`, network.enableIPv6 ? "0" : "1");
    writeSetting(`net/ipv4/conf/${bridge}/route_localnet`, "1");
    const own = plans.filter(({ subnet }) => hasGateway(network, subnet.base.family));
    this.#links.execute([...own.map((plan) => gatewayAddress(index, plan)), changeLink(index)]);
    forwardPackets(network.enableIPv6);
    this.#indexes.set(bridge, index);
    return index;
  }

  /** A bridge that stands. @throws "conflict" — another kind of link has the name */
  findBridge(name: string): Link | undefined {
    const found = this.find(name);
    if (!found || found.kind === "bridge") return found;
    const reason = `Cannot use "${name}" as a bridge: it is a ${found.kind || "link"}`;
    throw new Failure("conflict", reason);
  }

  find(name: string): Link | undefined {
    try {
      return decodeLink(this.#links.get(getLink(name)));
    } catch (error) {
      if (isFailure(error, "not_found")) return undefined;
      throw error;
    }
  }

  links(): Link[] {
    return this.#links.dump(listLinks).map(decodeLink);
  }

  /**
   * What the host's routes lead to, default routes left out, and what its interfaces are on; without
   * `bridge` itself, and without the interfaces from `fromIndex` on.
   */
  surroundings(bridge: string, fromIndex = Number.MAX_SAFE_INTEGER) {
    const own = this.find(bridge)?.index;
    const isOther = ({ index }: { index: number }) => index !== own && index < fromIndex;
    const read = (bytes: Uint8Array, prefix: number) => cidrOf(fromBytes(bytes), prefix);
    const [routes, interfaces]: [Cidr[], Cidr[]] = [[], []];
    for (const family of [4, 6] as const) {
      for (const route of this.#links.dump(listRoutes(family)).map(decodeRoute)) {
        if (!isOther(route) || route.prefix === 0 || route.destination.length === 0) continue;
        routes.push(read(route.destination, route.prefix));
      }
      for (const held of this.#links.dump(listAddresses(family)).map(decodeAddress)) {
        if (isOther(held)) interfaces.push(read(held.address, held.prefix));
      }
    }
    return { routes, interfaces };
  }

  /** The host's own addresses, those of its bridges and of loopback included. */
  hostAddresses(): string[] {
    return ([4, 6] as const).flatMap((family) => {
      const held = this.#links.dump(listAddresses(family)).map(decodeAddress);
      return held.map(({ address }) => formatAddress(fromBytes(address)));
    });
  }

  /** A question about the host's links and routes. @throws what the kernel answers */
  ask(request: Parameters<Netlink["get"]>[0]) {
    return this.#links.get(request);
  }

  /** Chains of others with a policy to drop, at one hook: `input` 1, `forward` 2. */
  walls(hook: number): string[] {
    return [...families, "inet" as const].flatMap((family) =>
      this.#dropping(family, hook).map(({ table, name }) => `${family} ${table} ${name}`),
    );
  }

  /** Takes the addresses off a bridge that chose wrong. */
  clearBridge(bridge: string): void {
    const own = this.find(bridge)?.index;
    const held = this.#links.dump(listAddresses(4)).map(decodeAddress);
    const ours = held.filter(({ index }) => index === own);
    if (ours.length > 0) this.#links.execute(ours.map(removeAddress));
  }

  /** A pair of links: one a port of the network's bridge, the other in the namespace. */
  connect(
    network: Network,
    pair: { link: string; namespaceFd: number; name: string; mac: string },
  ): void {
    const { bridge, mtu } = bridgeOptions(network);
    const far = { name: pair.name, mac: pair.mac, mtu, namespaceFd: pair.namespaceFd };
    const create = (master: number) =>
      this.#links.execute([createVeth({ near: { name: pair.link, master, mtu }, far })]);
    const known = this.#indexes.get(bridge);
    try {
      create(known ?? this.ensureBridge(network));
    } catch (error) {
      const mayBeGone = known !== undefined && !isFailure(error, "conflict");
      if (!mayBeGone) throw error;
      // Somebody deleted the bridge: it comes back with the next container.
      create(this.ensureBridge(network));
    }
  }

  /** The link that a macvlan or ipvlan network's containers hang on. Returns its index. */
  ensureParent(network: Network): number {
    const execute = (requests: Parameters<Netlink["execute"]>[0]) => this.#links.execute(requests);
    return ensureParent({ find: (name) => this.find(name), execute }, network);
  }

  /** A link of the network's parent, made in the namespace. */
  connectChild(network: Network, child: { namespaceFd: number; name: string; mac: string }): void {
    const { type, mtu } = childOptions(network);
    const parent = this.ensureParent(network);
    const wanted = { ...child, parent, ...(mtu ? { mtu } : {}) };
    known(`an interface on network "${network.name}"`, type.kind, () =>
      this.#links.execute([createChild(type, wanted)]),
    );
  }

  /** Sets what differs from a new port: isolation from other ports, hairpin for the way to oneself. */
  changePort(link: string, port: { hairpin: boolean; isolated: boolean }): void {
    if (!port.hairpin && !port.isolated) return;
    const found = this.find(link);
    if (found) this.#links.execute([changePort(found.index, port)]);
  }

  /** Deletes links, which takes the kernel some milliseconds each; absent is fine. */
  async deleteLinks(names: readonly string[], namespace?: NetworkNamespace): Promise<void> {
    if (names.length === 0) return;
    const failures = await executeSlowly(names.map(deleteLink), namespace);
    const bad = failures.find((failure) => failure && failure.code !== "not_found");
    if (bad) throw bad;
  }

  /**
   * Looks for chains of others that drop what is forwarded, as a Docker engine's does. Through
   * iptables' there is a way; where another one drops, published ports go through the daemon. Looks
   * again with each check of the rules.
   */
  async yieldToFirewalls(elements: () => readonly NftElement[]): Promise<void> {
    await this.zones.admit(bridgesIn("ip", elements()));
    for (const family of families) {
      const walls = this.#dropping(family, forwardHook);
      const canPass = walls.some(Passage.leadsThrough);
      const isOpen = canPass && (await this.#passage.open(family, elements()));
      const closed = walls.filter((wall) => !(isOpen && Passage.leadsThrough(wall)));
      this.#block(family, [...closed, ...this.#dropping("inet", forwardHook)][0]);
    }
  }

  #dropping(family: Family | "inet", hook: number): BaseChain[] {
    return this.#filter
      .dump(listChains(family))
      .flatMap((message) => decodeChain(message) ?? [])
      .filter((chain) => chain.hook === hook && chain.drops);
  }

  #block(family: Family, wall: BaseChain | undefined): void {
    const isKnown = this.#walls.has(family);
    if (isKnown === (wall !== undefined)) return;
    const elements = blockedElements(this.table, family);
    if (wall) {
      this.#walls.set(family, elements);
      this.addElements(elements);
      const where = `${family} ${wall.table} ${wall.name}`;
      log("warn", "Another firewall drops forwarded packets: see docs/design/network.md", {
        where,
      });
    } else {
      this.#walls.delete(family);
      this.removeElements(elements);
    }
  }

  /** Takes the engine's rules away, those in tables of others too; absent is fine. */
  async removeRules(): Promise<void> {
    await this.#passage.close();
    await this.zones.dismiss();
    await removeUserChain(this.table);
    await removeTables(families.map((family) => [family, this.table] as const));
  }

  /** Installs the rules unless they are there. Costs 20 µs then, and a process otherwise. */
  async ensureRules(elements: () => readonly NftElement[]): Promise<void> {
    if (!this.#hasRules()) {
      await this.installRules();
      this.setElements(elements());
    }
    await this.yieldToFirewalls(elements);
  }

  /** As `ensureRules`, when this thread has time: a container need not wait for what is nearly always so. */
  checkRulesSoon(elements: () => readonly NftElement[]): void {
    this.#checking ??= setTimeout(() => {
      this.#checking = undefined;
      this.ensureRules(elements).catch((error: unknown) => {
        log("error", "Cannot bring the engine's nftables back", { error });
      });
    }, checkMs);
    this.#checking.unref();
  }

  #hasRules(): boolean {
    try {
      for (const family of families) this.#filter.get(getChain(family, this.table, versionChain));
      return true;
    } catch (error) {
      if (isFailure(error, "not_found")) return false;
      throw error;
    }
  }

  async installRules(): Promise<void> {
    const ours = families.map((family) => rulesText(family, this.table)).join("");
    await changeRules(ours + userChainText(this.table));
  }

  /** Makes the elements exactly these, in one transaction. */
  setElements(elements: readonly NftElement[]): void {
    const { table } = this;
    const flushes = families.flatMap((family) =>
      setNames.map((set) => flushSet({ family, table, set })),
    );
    const all = [...elements, ...this.#fixed, ...[...this.#walls.values()].flat()];
    this.#filter.transact([...flushes, ...all.map(addElement)], nftBatch);
  }

  addElements(elements: readonly NftElement[]): void {
    this.#filter.transact(elements.map(addElement), nftBatch);
  }

  /** Ports of the host that the rules of other engines lead elsewhere, be they alive or killed. */
  publishedByOthers(): readonly Taken[] {
    return publishedByOthers(this.#filter, this.table);
  }

  /** Datagrams that flowed to a port before it was published, or to whom it was published before. */
  forgetFlows(ports: readonly BoundPort[]): void {
    const numbers = ports.filter(({ protocol }) => protocol === "udp").map((one) => one.hostPort);
    for (const port of new Set(numbers)) {
      try {
        forgetFlows(this.#filter, port);
      } catch (error) {
        log("debug", "Cannot make flows to a port start anew", { port, error }); // Kernels before 5.8.
      }
    }
  }

  /** Absent is fine: someone may have flushed the rules. */
  removeElements(elements: readonly NftElement[]): void {
    for (const element of elements) {
      try {
        this.#filter.transact([removeElement(element)], nftBatch);
      } catch (error) {
        if (!isFailure(error, "not_found")) throw error;
      }
    }
  }
}

/** Whether the bridge is the gateway of its containers, with an address on it. */
function hasGateway(network: Network, family: 4 | 6): boolean {
  const { modes, inhibitIPv4 } = bridgeOptions(network);
  return modes[family] !== "isolated" && !(family === 4 && inhibitIPv4);
}

function gatewayAddress(index: number, { subnet, gateway }: Plan) {
  return addAddress({ index, address: toBytes(gateway), prefix: subnet.prefix });
}

/** Writes below /proc/sys when it is not so already. */
export function writeSetting(path: string, value: string): void {
  const file = `/proc/sys/${path}`;
  try {
    if (readFileSync(file, "utf8").trim() !== value) writeFileSync(file, value);
  } catch (error) {
    // A kernel without IPv6 has no such file, and nothing to switch.
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    log(isMissing ? "debug" : "warn", "Cannot write a kernel setting", { path, error });
  }
}

/** Bridges need the host to forward. IPv6 hosts that forward ignore router advertisements: not with 2. */
function forwardPackets(withIPv6: boolean): void {
  writeSetting("net/ipv4/ip_forward", "1");
  if (!withIPv6) return;
  const forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
  if (readFileSync(forwarding, "utf8").trim() === "1") return;
  for (const name of ["all", "default"]) keepAdvertisements(name);
  for (const { name } of interfaceNames()) keepAdvertisements(name);
  writeSetting("net/ipv6/conf/all/forwarding", "1");
}

function keepAdvertisements(name: string): void {
  const path = `net/ipv6/conf/${name}/accept_ra`;
  try {
    if (readFileSync(`/proc/sys/${path}`, "utf8").trim() === "1") writeSetting(path, "2");
  } catch (error) {
    log("debug", "Cannot keep router advertisements", { interface: name, error });
  }
}

function interfaceNames(): { name: string }[] {
  using netlink = openNetlink("rtnetlink");
  return netlink.dump(listLinks).map(decodeLink);
}
