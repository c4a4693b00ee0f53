/** From what a container asks of its networks to its endpoints; addresses are taken on the way. */
import { Failure, toFailure } from "../base/mod.ts";
import { contains, formatAddress, macOf, parseAddress } from "./address.ts";
import { childOptions, isChild } from "./child.ts";
import { bridgeOptions, plansOf } from "./define.ts";
import { endpointSettings } from "./inside.ts";
import type { Ipam, Owned } from "./ipam.ts";
import { isBridge, isClosed, randomId } from "./networks.ts";
import type { Attachment } from "./records.ts";
import type { Endpoint, EndpointSpec, Network } from "./types.ts";

/** An endpoint to be made, with its network. */
export interface Planned extends Attachment {
  readonly network: Network;
}

const interfaceOption = "com.docker.network.endpoint.ifname";
const prefixOption = "com.docker.network.container_iface_prefix";

/**
 * Takes addresses for an endpoint and decides its names. Nothing is in the kernel yet.
 *
 * @throws "invalid" — an address or MAC that cannot be; "conflict" | "exhausted" from the addresses
 */
export function planEndpoint(
  spec: EndpointSpec,
  place: {
    readonly network: Network;
    readonly container: { readonly id: string; readonly name: string };
    readonly usedNames: ReadonlySet<string>;
    readonly ipam: Ipam;
  },
): Planned {
  const { network, container, ipam } = place;
  const base = {
    ...spec,
    networkId: network.id,
    networkName: network.name,
    endpointId: randomId(),
    dnsNames: isClosed(network) || network.name === "bridge" ? [] : dnsNames(spec, container),
  };
  if (network.configOnly) {
    throw new Failure("denied", "cannot create endpoint on configuration-only network");
  }
  if (isClosed(network)) return { network, link: "", endpoint: { ...base, ...nowhere } };
  checkWishes(spec, network);
  const owned = takeAddresses(spec, { network, container: container.id, ipam });
  const mac = macFor(spec, network, owned);
  const [four, six] = [sideOf(owned, 4, network), sideOf(owned, 6, network)];
  const endpoint: Endpoint = {
    ...base,
    address: four.address,
    prefix: four.prefix,
    gateway: four.gateway,
    address6: six.address,
    prefix6: six.prefix,
    gateway6: six.gateway,
    interfaceName: interfaceNameOf(spec, network, place.usedNames),
    mac,
    ...(isDirect(network) ? { isDirect: true } : {}),
  };
  return { network, endpoint, link: isBridge(network) ? `veth${base.endpointId.slice(0, 7)}` : "" };
}

/** In ipvlan's modes l3 and l3s the host routes: the interface itself is the way out. */
function isDirect(network: Network): boolean {
  if (network.driver !== "ipvlan" || network.internal) return false;
  return childOptions(network).type.mode !== "l2";
}

/** Links of an ipvlan have their parent's. */
function macFor(spec: EndpointSpec, network: Network, owned: readonly Owned[]): string {
  const wanted = spec.macAddress ? parseMac(spec.macAddress) : "";
  if (network.driver !== "ipvlan") return wanted || macOf(owned[0]!.address);
  if (!wanted) return "";
  throw new Failure("invalid", "ipvlan interfaces do not support custom mac address assignment");
}

const nowhere = {
  interfaceName: "",
  address: "",
  prefix: 0,
  gateway: "",
  address6: "",
  prefix6: 0,
  gateway6: "",
  mac: "",
};

function sideOf(owned: readonly Owned[], family: 4 | 6, network: Network) {
  const mine = owned.find((one) => one.address.family === family);
  if (!mine) return { address: "", prefix: 0, gateway: "" };
  const gateway = hasGateway(network, family) ? formatAddress(mine.plan.way) : "";
  return { address: formatAddress(mine.address), prefix: mine.plan.subnet.prefix, gateway };
}

/** Nothing leaves an internal network, nor one that stands on a link that leads nowhere. */
function hasGateway(network: Network, family: 4 | 6): boolean {
  if (network.internal || isDirect(network)) return false;
  if (isChild(network)) return !childOptions(network).isStandIn;
  return !isBridge(network) || bridgeOptions(network).modes[family] !== "isolated";
}

function checkWishes({ ipv4, ipv6, linkLocal = [] }: EndpointSpec, network: Network): void {
  for (const text of linkLocal) {
    parseAddress(text, "link-local IP address");
    if (/^(169\.254\.|fe[89ab])/i.test(text)) continue;
    throw new Failure("invalid", `invalid link-local IP address: ${text}`, {
      hint: "It is one of 169.254.0.0/16 or fe80::/10",
    });
  }
  if ((ipv4 || ipv6) && network.predefined) {
    const reason = "user specified IP address is supported on user defined networks only";
    throw new Failure("invalid", reason, { hint: "Create a network with a subnet first" });
  }
}

/**
 * Refuses what an endpoint asks for and its network can never give.
 *
 * @throws Failure "invalid" — an address, a MAC or a setting
 */
export function checkEndpoint(spec: EndpointSpec, network: Network): void {
  const subnets = plansOf(network).map(({ subnet }) => subnet);
  try {
    checkWishes(spec, network);
    if (spec.macAddress) parseMac(spec.macAddress);
    endpointSettings({ ...spec, interfaceName: "eth0" });
    for (const text of isClosed(network) ? [] : [spec.ipv4, spec.ipv6]) {
      if (!text || subnets.some((subnet) => contains(subnet, parseAddress(text)))) continue;
      throw new Failure("invalid", `no configured subnet contains IP address ${text}`);
    }
  } catch (cause) {
    const { code, message } = toFailure(cause);
    const words = `invalid config for network ${network.name}: invalid endpoint settings:`;
    throw new Failure(code, `${words}\n${message}`, { cause });
  }
}

function takeAddresses(
  { ipv4, ipv6, assigned }: EndpointSpec,
  { network, container, ipam }: { network: Network; container: string; ipam: Ipam },
): Owned[] {
  const plans = plansOf(network);
  const owned: Owned[] = [];
  try {
    for (const [family, text] of [
      [4, assigned?.find((one) => !one.includes(":")) ?? ipv4],
      [6, assigned?.find((one) => one.includes(":")) ?? ipv6],
    ] as const) {
      const fitting = plans.filter(({ subnet }) => subnet.base.family === family);
      const wanted = text ? parseAddress(text) : undefined;
      if (wanted && wanted.family !== family) {
        throw new Failure("invalid", `invalid IPv${family} address: ${text}`);
      }
      if (fitting.length === 0 && !wanted) continue;
      owned.push(ipam.take(network.id, fitting, container, wanted));
    }
    return owned;
  } catch (error) {
    for (const { address } of owned) ipam.release(network.id, formatAddress(address));
    throw error;
  }
}

function dnsNames({ aliases = [] }: EndpointSpec, { id, name }: { id: string; name: string }) {
  return [...new Set([name, ...aliases, id.slice(0, 12)])];
}

function parseMac(text: string): string {
  if (!/^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(text)) {
    throw new Failure("invalid", `invalid MAC address: ${text}`);
  }
  const mac = text.toLowerCase().replaceAll("-", ":");
  if (Number.parseInt(mac.slice(0, 2), 16) & 1) {
    throw new Failure("invalid", `invalid MAC address: ${text} is a multicast address`);
  }
  return mac;
}

function interfaceNameOf(
  { driverOptions }: EndpointSpec,
  { options }: Network,
  used: ReadonlySet<string>,
): string {
  const wanted = driverOptions?.[interfaceOption];
  if (wanted !== undefined) {
    if (!/^[\w.-]{1,15}$/.test(wanted) || /^\.+$/.test(wanted) || used.has(wanted)) {
      throw new Failure("invalid", `invalid interface name "${wanted}"`);
    }
    return wanted;
  }
  const prefix = options[prefixOption] || "eth";
  if (!/^[a-zA-Z][\w.-]{0,11}$/.test(prefix)) {
    throw new Failure("invalid", `invalid interface prefix "${prefix.slice(0, 100)}"`);
  }
  let at = 0;
  while (used.has(`${prefix}${at}`)) at++;
  return `${prefix}${at}`;
}

/** The endpoint a container leaves by: highest priority, then not internal, then by network name. */
export function gatewayOf(attachments: readonly Attachment[]): Attachment | undefined {
  const able = attachments.filter(
    ({ endpoint }) => endpoint.gateway || endpoint.gateway6 || endpoint.isDirect,
  );
  const priority = ({ endpoint }: Attachment) => endpoint.gatewayPriority ?? 0;
  const name = ({ endpoint }: Attachment) => endpoint.networkName;
  return able.toSorted(
    (one, other) => priority(other) - priority(one) || (name(one) < name(other) ? -1 : 1),
  )[0];
}

/** How a network's ports behave on the bridge. */
export function portOf(network: Network, publishes: boolean) {
  return { hairpin: publishes, isolated: !bridgeOptions(network).icc };
}
