/** What the daemon's settings ask of the default network; pure. */
import { Failure } from "../base/mod.ts";
import { contains, formatAddress, formatCidr, parseAddress, parseCidr } from "./address.ts";
import { gatewayNames } from "./define.ts";
import type { Network, Subnet } from "./types.ts";

/** By dockerd's names; absent where the engine shall choose. */
export interface DefaultBridgeSettings {
  readonly bip?: string | undefined;
  readonly bip6?: string | undefined;
  readonly fixedCidr?: string | undefined;
  readonly fixedCidr6?: string | undefined;
  readonly ipv6?: boolean | undefined;
  readonly icc?: boolean | undefined;
  readonly masquerade?: boolean | undefined;
  /** The host's address that ports are published on. */
  readonly hostAddress?: string | undefined;
  readonly mtu?: number | undefined;
  /** Its containers' way out, where that is not the bridge. */
  readonly gateway?: string | undefined;
  readonly gateway6?: string | undefined;
}

/** What is settled of the default network. */
export interface DefaultBridge {
  readonly ipv4: Subnet | undefined;
  readonly ipv6: Subnet | undefined;
  readonly options: Network["options"];
}

const prefix = "com.docker.network.bridge.";

/** @throws Failure "invalid" in the words of the setting */
export function defineDefaultBridge(settings: DefaultBridgeSettings): DefaultBridge {
  const { bip, bip6, fixedCidr, fixedCidr6, ipv6, icc, masquerade, hostAddress, mtu } = settings;
  const six = subnetOf({ bip: bip6, range: fixedCidr6, family: 6 });
  if (ipv6 && !six) {
    throw new Failure("invalid", `Cannot use "ipv6" on the default network without a subnet`, {
      hint: `Give it one: "fixed-cidr-v6": "fd00:1::/64"`,
    });
  }
  if (hostAddress !== undefined) parseAddress(hostAddress, `value for "ip"`);
  if (mtu !== undefined && (mtu < 68 || mtu > 65_535)) {
    throw new Failure("invalid", `Cannot use "mtu" ${mtu}: 68 to 65535`);
  }
  return {
    ipv4: withGateway(subnetOf({ bip, range: fixedCidr, family: 4 }), settings.gateway, 4),
    ipv6: withGateway(ipv6 ? six : undefined, settings.gateway6, 6),
    options: {
      ...(icc === undefined ? {} : { [`${prefix}enable_icc`]: String(icc) }),
      ...(masquerade === undefined
        ? {}
        : { [`${prefix}enable_ip_masquerade`]: String(masquerade) }),
      ...(hostAddress === undefined ? {} : { [`${prefix}host_binding_ipv4`]: hostAddress }),
      ...(mtu === undefined ? {} : { "com.docker.network.driver.mtu": String(mtu) }),
    },
  };
}

/** @throws Failure "invalid" — the subnet is not settled, or does not have the address */
function withGateway(
  subnet: Subnet | undefined,
  gateway: string | undefined,
  family: 4 | 6,
): Subnet | undefined {
  if (gateway === undefined) return subnet;
  const [name, first] = family === 4 ? ["default-gateway", "bip"] : ["default-gateway-v6", "ipv6"];
  const address = parseAddress(gateway, `value for "${name}"`);
  if (subnet && contains(parseCidr(subnet.subnet), address)) {
    return { ...subnet, auxAddresses: { [gatewayNames[family]]: formatAddress(address) } };
  }
  const why = subnet ? `it is not in ${subnet.subnet}` : "the default network's subnet is open";
  throw new Failure("invalid", `Cannot use "${name}" ${gateway}: ${why}`, {
    hint: `Say the subnet by "${first}" and its like`,
  });
}

/** The bridge's own address with its prefix says subnet and gateway; `range` is where to take from. */
function subnetOf({
  bip,
  range,
  family,
}: {
  bip: string | undefined;
  range: string | undefined;
  family: 4 | 6;
}): Subnet | undefined {
  const text = bip ?? range;
  if (text === undefined) return undefined;
  const subnet = parseCidr(text);
  const from = range === undefined ? subnet : parseCidr(range);
  const name = bip === undefined ? "fixed-cidr" : "bip";
  if (subnet.base.family !== family || from.base.family !== family) {
    throw new Failure("invalid", `Cannot use "${name}" ${text}: it is not IPv${family}`);
  }
  if (!contains(subnet, from.base) || from.prefix < subnet.prefix) {
    throw new Failure("invalid", `Cannot use "fixed-cidr" ${range}: it is not in ${bip}`);
  }
  const own = bip === undefined ? undefined : parseAddress(bip.split("/")[0]!);
  if (own && own.value === subnet.base.value) {
    throw new Failure("invalid", `Cannot use "bip" ${bip}: it names a network, not an address`, {
      hint: `Write the bridge's own address: ${formatAddress({ ...own, value: own.value + 1n })}/${subnet.prefix}`,
    });
  }
  return {
    subnet: formatCidr(subnet),
    gateway: formatAddress(own ?? { ...subnet.base, value: subnet.base.value + 1n }),
    ...(from.prefix === subnet.prefix ? {} : { ipRange: formatCidr(from) }),
  };
}
