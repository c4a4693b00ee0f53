/**
 * What the engine's nftables do, as text and as elements, pure. The rules never change; networks and
 * published ports are elements of their sets and maps.
 */
import { interfaceName, type NftElement, portNumber } from "../sys/mod.ts";
import { type Address, type Cidr, lastOf, toBytes } from "./address.ts";
import type { GatewayMode } from "./define.ts";
import type { BoundPort } from "./types.ts";

export type Family = "ip" | "ip6";
export const families: readonly Family[] = ["ip", "ip6"];

/** An engine's own table, so that several engines live side by side. */
export function tableName(bridge: string): string {
  return bridge === "lading0" ? "lading" : `lading-${bridge}`;
}

export function isEngineTable(name: string): boolean {
  return name === "lading" || name.startsWith("lading-");
}

export const protocolNumber = { tcp: 6, udp: 17, sctp: 132 } as const;

/** A chain whose presence says that the rules are there, in this version. */
export const versionChain = "version-5";
/** The maps that lead ports of the host to containers. */
export const publishMaps = ["publish_ip", "publish_any"] as const;
export const setNames = [
  "bridges",
  "bridged",
  "internals",
  "outbound",
  "proxied",
  "blocked",
  "respected",
  "subnets",
  "open",
  "routed",
  "routed_ports",
  "trusted",
  "direct_ports",
  "sources",
  ...publishMaps,
] as const;

/**
 * The rules of one family. A packet is ours when it comes from or goes to one of our bridges.
 *
 * - `raw`: what a container sends to or from 127.0.0.0/8 over the wire is forged; it would get through,
 *   because published ports on the host's localhost need route_localnet on the bridge.
 * - `proxied`: ports of these bridges cannot talk to each other; they reach published ports through the
 *   daemon, which listens there anyway.
 * - `blocked`: the same for all, where another firewall drops what is forwarded.
 * - `respected`: the same for what comes from outside, so that the host's own rules for what comes in
 *   decide about published ports.
 * - `publish`: the host's ports become containers'. On 127.0.0.1 only for the host itself: a packet
 *   from outside with that address is forged too. IPv6 has no route_localnet: ::1 is the proxy's.
 * - `forward`: out is free, back is free, in only to published ports. "internal" bridges route nothing.
 * - `open`, `routed`: bridges in the gateway modes nat-unprotected and routed. To all ports of the one,
 *   and to the published ports of the other, leads a route, not a translation.
 * - `trusted`, `direct_ports`: links of the host by which a route leads to published ports of the others.
 * - `postrouting`: a container that reaches another, or itself, through the host's port would get the
 *   answer from the wrong address; so it comes from the bridge's.
 */
export function rulesText(family: Family, table: string): string {
  const isV4 = family === "ip";
  const type = isV4 ? "ipv4_addr" : "ipv6_addr";
  const loopback = isV4 ? "ip daddr 127.0.0.0/8" : "ip6 daddr ::1";
  const raw = isV4
    ? `iifname @bridges ip daddr 127.0.0.0/8 drop
    iifname @bridges ip saddr 127.0.0.0/8 drop`
    : "";
  return `
table ${family} ${table} {}
delete table ${family} ${table}
table ${family} ${table} {
  set bridges { type ifname; }
  set bridged { type ifname . ifname; }
  set internals { type ifname; }
  set outbound { type ifname; }
  set proxied { type ifname; }
  set blocked { type inet_proto; }
  set respected { type inet_proto; }
  set open { type ifname; }
  set routed { type ifname; }
  set routed_ports { type ${type} . inet_proto . inet_service; }
  set trusted { type ifname . ifname; }
  set direct_ports { type ${type} . inet_proto . inet_service; }
  map sources { type ifname : ${type}; }
  set subnets { type ${type}; flags interval; }
  map publish_ip { type ${type} . inet_proto . inet_service : ${type} . inet_service; }
  map publish_any { type inet_proto . inet_service : ${type} . inet_service; }
  chain ${versionChain} {}
  chain raw {
    type filter hook prerouting priority raw; policy accept;
    ${raw}
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ${loopback} return
    iifname @proxied return
    meta l4proto @blocked return
    iifname != @bridges meta l4proto @respected return
    fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ${isV4 ? "" : `${loopback} return`}
    fib daddr type local jump publish
  }
  chain publish {
    dnat ${family} to ${family} daddr . meta l4proto . th dport map @publish_ip
    dnat ${family} to meta l4proto . th dport map @publish_any
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname != @bridges oifname != @bridges accept
    iifname . oifname @bridged accept
    iifname @internals drop
    oifname @internals drop
    ct state established,related accept
    ct status dnat accept
    oifname @open accept
    oifname @routed meta l4proto ${isV4 ? "icmp" : "ipv6-icmp"} accept
    ${family} daddr . meta l4proto . th dport @routed_ports accept
    iifname . oifname @trusted ${family} daddr . meta l4proto . th dport @direct_ports accept
    oifname @bridges drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ${isV4 ? "oifname @bridges ip saddr 127.0.0.0/8 masquerade" : ""}
    oifname @bridges ct status dnat ${family} saddr @subnets masquerade
    oifname != @bridges snat ${family} to iifname map @sources
    iifname @outbound oifname != @bridges masquerade
  }
}
`;
}

/**
 * Says that somebody else drops what is forwarded: published ports go through the daemon then, but for
 * SCTP's, which it cannot carry.
 */
export function blockedElements(table: string, family: Family): NftElement[] {
  const { tcp, udp } = protocolNumber;
  return [tcp, udp].map((number) => ({ family, table, set: "blocked", key: [Buffer.of(number)] }));
}

/** Says that what comes from outside passes the host's `input` chains, as any program's traffic does. */
export function respectElements(table: string, family: Family): NftElement[] {
  const numbers = Object.values(protocolNumber);
  return numbers.map((number) => ({ family, table, set: "respected", key: [Buffer.of(number)] }));
}

export interface BridgeRules {
  readonly bridge: string;
  readonly internal: boolean;
  readonly icc: boolean;
  readonly masquerade: boolean;
  readonly subnets: readonly Cidr[];
  readonly modes: Readonly<Record<4 | 6, GatewayMode>>;
  readonly trusted: readonly string[];
  readonly sources: Readonly<Record<4 | 6, Address | undefined>>;
}

/** A bridge network as elements. */
export function bridgeElements(table: string, rules: BridgeRules): NftElement[] {
  const name = interfaceName(rules.bridge);
  return families.flatMap((family) => {
    const element = (set: string, ...key: Uint8Array[]) => ({ family, table, set, key });
    const version = family === "ip" ? 4 : 6;
    const [mode, source] = [rules.modes[version], rules.sources[version]];
    const isRouted = mode === "routed";
    const leaves = rules.masquerade && !rules.internal && !isRouted;
    const subnets = rules.subnets.filter(({ base }) => (base.family === 4) === (family === "ip"));
    return [
      element("bridges", name),
      ...(rules.icc ? [element("bridged", name, name)] : [element("proxied", name)]),
      ...(rules.internal ? [element("internals", name)] : []),
      ...(leaves ? [element("outbound", name)] : []),
      ...(leaves && source ? [{ ...element("sources", name), value: [toBytes(source)] }] : []),
      ...(mode === "nat-unprotected" ? [element("open", name)] : []),
      ...(isRouted ? [element("routed", name)] : []),
      ...rules.trusted.map((link) => element("trusted", interfaceName(link), name)),
      ...subnets.map((subnet) => ({
        ...element("subnets", toBytes(subnet.base)),
        end: toBytes({ family: subnet.base.family, value: lastOf(subnet) + 1n }),
      })),
    ];
  });
}

/** The names of the bridges among the elements. */
export function bridgesIn(family: Family, elements: readonly NftElement[]): string[] {
  return elements
    .filter((element) => element.family === family && element.set === "bridges")
    .map(({ key }) => Buffer.from(key[0]!).toString().replace(/\0+$/, ""));
}

/** A published port as an element. `hostAddress` undefined is every address of the host. */
export function portElement(
  table: string,
  port: Pick<BoundPort, "protocol" | "hostPort" | "containerPort">,
  { hostAddress, target }: { hostAddress: Address | undefined; target: Address },
): NftElement {
  const family = target.family === 4 ? "ip" : "ip6";
  const service = [Buffer.of(protocolNumber[port.protocol]), portNumber(port.hostPort)];
  return {
    family,
    table,
    set: hostAddress ? "publish_ip" : "publish_any",
    key: hostAddress ? [toBytes(hostAddress), ...service] : service,
    value: [toBytes(target), portNumber(port.containerPort)],
  };
}

/** A published port of a container that is reached by a route: the container's own address and port. */
export function routedElement(
  table: string,
  port: Pick<BoundPort, "protocol" | "containerPort">,
  { target, set }: { target: Address; set: "routed_ports" | "direct_ports" },
): NftElement {
  const key = [
    toBytes(target),
    Buffer.of(protocolNumber[port.protocol]),
    portNumber(port.containerPort),
  ];
  return { family: target.family === 4 ? "ip" : "ip6", table, set, key };
}
