/** From what a user asks of a network to what it is: names, options, subnets; pure. */
import { Failure } from "../base/mod.ts";
import {
  type Address,
  type Cidr,
  cidrOf,
  contains,
  formatAddress,
  formatCidr,
  lastOf,
  overlaps,
  parseAddress,
  parseCidr,
} from "./address.ts";
import { childOptions, isChild } from "./child.ts";
import type { Network, NetworkSpec, Subnet } from "./types.ts";

export const predefinedNames = ["bridge", "host", "none"];
const prefix = "com.docker.network.bridge.";
const optionNames = {
  name: `${prefix}name`,
  icc: `${prefix}enable_icc`,
  masquerade: `${prefix}enable_ip_masquerade`,
  hostBinding: `${prefix}host_binding_ipv4`,
  mtu: "com.docker.network.driver.mtu",
  inhibitIPv4: `${prefix}inhibit_ipv4`,
  gatewayMode4: `${prefix}gateway_mode_ipv4`,
  gatewayMode6: `${prefix}gateway_mode_ipv6`,
  source4: "com.docker.network.host_ipv4",
  source6: "com.docker.network.host_ipv6",
  trusted: `${prefix}trusted_host_interfaces`,
} as const;

/** Auxiliary addresses of these names are where containers' packets go, as in Docker's bridge driver. */
export const gatewayNames = { 4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6" } as const;

/** How a bridge network is reached from outside, and leaves, in one family. */
export type GatewayMode = "nat" | "nat-unprotected" | "routed" | "isolated";
const gatewayModes: readonly string[] = ["nat", "nat-unprotected", "routed", "isolated"];

/** A network's subnet, read. */
export interface Plan {
  readonly subnet: Cidr;
  readonly gateway: Address;
  /** Containers' way out, which is the gateway unless another is named. */
  readonly way: Address;
  /** Where addresses are taken from when none is asked for. */
  readonly range: Cidr;
  readonly reserved: readonly Address[];
}

export interface BridgeOptions {
  readonly bridge: string;
  readonly icc: boolean;
  readonly masquerade: boolean;
  readonly hostBinding: string;
  readonly mtu: number;
  readonly modes: Readonly<Record<4 | 6, GatewayMode>>;
  /** The host's address that containers leave by; undefined for that of the way out. */
  readonly sources: Readonly<Record<4 | 6, Address | undefined>>;
  /** Links of the host through which containers' published ports are reached by a route. */
  readonly trusted: readonly string[];
  /** The bridge gets no IPv4 address: somebody else is the gateway. */
  readonly inhibitIPv4: boolean;
}

/** The options of a bridge network. @throws Failure "invalid" */
export function bridgeOptions(
  network: Pick<Network, "id" | "options"> & { readonly internal?: boolean },
): BridgeOptions {
  const { options } = network;
  const bridge = options[optionNames.name] ?? `br-${network.id.slice(0, 12)}`;
  if (!/^[\w.-]{1,15}$/.test(bridge) || bridge === "." || bridge === "..") {
    throw new Failure("invalid", `invalid bridge name "${bridge}": at most 15 letters and digits`);
  }
  const mtu = Number(options[optionNames.mtu] ?? 1500);
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535) {
    throw new Failure("invalid", `invalid MTU "${options[optionNames.mtu]}"`);
  }
  const hostBinding = options[optionNames.hostBinding] ?? "";
  if (hostBinding) parseAddress(hostBinding, `value for ${optionNames.hostBinding}`);
  return {
    bridge,
    mtu,
    hostBinding: hostBinding === "0.0.0.0" ? "" : hostBinding,
    icc: readFlag(options, optionNames.icc),
    masquerade: readFlag(options, optionNames.masquerade),
    inhibitIPv4: readFlag(options, optionNames.inhibitIPv4, "false"),
    modes: {
      4: readMode(optionNames.gatewayMode4, network),
      6: readMode(optionNames.gatewayMode6, network),
    },
    trusted: readLinks(options),
    sources: { 4: readSource(options, 4), 6: readSource(options, 6) },
  };
}

function readMode(
  name: string,
  { options, internal }: { readonly options: Network["options"]; readonly internal?: boolean },
): GatewayMode {
  const mode = options[name] || "nat";
  if (!gatewayModes.includes(mode)) {
    throw new Failure("invalid", `unknown gateway mode ${mode.slice(0, 100)}`, {
      hint: `It can be ${gatewayModes.join(", ")}`,
    });
  }
  if (mode === "isolated" && internal === false) {
    const reason = `gateway mode 'isolated' can only be used for an internal network`;
    throw new Failure("invalid", reason, { hint: "Create the network with --internal" });
  }
  return mode as GatewayMode;
}

function readLinks(options: Network["options"]): readonly string[] {
  const names = (options[optionNames.trusted] ?? "").split(":").filter((name) => name !== "");
  const odd = names.find((name) => !/^[\w.-]{1,15}$/.test(name) || /^\.+$/.test(name));
  if (odd === undefined) return names;
  throw new Failure(
    "invalid",
    `invalid interface name "${odd.slice(0, 100)}" in ${optionNames.trusted}`,
  );
}

function readSource(options: Network["options"], family: 4 | 6): Address | undefined {
  const name = optionNames[`source${family}`];
  const text = options[name];
  if (!text) return undefined;
  const address = parseAddress(text, `value for ${name}`);
  if (address.family === family) return address;
  throw new Failure("invalid", `invalid value for ${name}: "${text}" is not IPv${family}`);
}

/** Go's strconv.ParseBool; on when absent, unless told otherwise. */
function readFlag(options: Network["options"], name: string, absent = "true"): boolean {
  const text = options[name] ?? absent;
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(text)) return false;
  throw new Failure(
    "invalid",
    `failed to parse ${name} value: "${text}" is neither true nor false`,
  );
}

const plans = new WeakMap<readonly Subnet[], Plan[]>();

/** The subnets of a network, read; once for each list, since every container asks. */
export function plansOf({ subnets }: Pick<Network, "subnets">): readonly Plan[] {
  const known = plans.get(subnets) ?? subnets.map(planOf);
  plans.set(subnets, known);
  return known;
}

function planOf(spec: Subnet): Plan {
  const subnet = parseCidr(spec.subnet);
  const range = spec.ipRange ? parseCidr(spec.ipRange) : subnet;
  const family = subnet.base.family;
  const first = { family, value: range.base.value + (range.prefix === subnet.prefix ? 1n : 0n) };
  const gateway = spec.gateway ? parseAddress(spec.gateway, "gateway address") : first;
  const reserved = Object.values(spec.auxAddresses ?? {}).map((aux) =>
    parseAddress(aux, "auxiliary address"),
  );
  const named = spec.auxAddresses?.[gatewayNames[family]];
  const way = named === undefined ? gateway : parseAddress(named, "gateway address");
  if (!contains(subnet, range.base) || range.prefix < subnet.prefix) {
    throw new Failure("invalid", `invalid ip-range ${spec.ipRange}: it is not in ${spec.subnet}`);
  }
  for (const address of [gateway, ...reserved]) {
    if (contains(subnet, address)) continue;
    const text = formatAddress(address);
    throw new Failure("invalid", `no matching subnet for address ${text} in ${spec.subnet}`);
  }
  return { subnet, gateway, way, range, reserved };
}

/** Where networks that name no subnet get theirs from: parts of `base` with this prefix. */
export interface AddressPool {
  readonly base: Cidr;
  readonly size: number;
}

/** Reads `base=10.9.0.0/16,size=24`. @throws Failure "invalid" */
export function parseAddressPool(text: string): AddressPool {
  const fields = new Map(text.split(",").map((part) => part.split("=", 2) as [string, string]));
  const [base, size] = [fields.get("base"), fields.get("size")];
  const isWhole = fields.size === 2 && base !== undefined && /^\d{1,3}$/.test(size ?? "");
  const pool = isWhole ? { base: parseCidr(base), size: Number(size) } : undefined;
  const most = pool?.base.base.family === 6 ? 126 : 30;
  if (pool && pool.size >= pool.base.prefix && pool.size <= most) return pool;
  throw new Failure("invalid", `invalid address pool "${text.slice(0, 100)}"`, {
    hint: "Write base=10.9.0.0/16,size=24: the size is a prefix, not shorter than the base's",
  });
}

/** Docker's default pools: /16 from 172.17 to 172.31, then /20 of 192.168. */
const defaultPools: readonly AddressPool[] = [
  ...Array.from({ length: 15 }, (_, at) => ({ base: `172.${17 + at}.0.0/16`, size: 16 })),
  { base: "192.168.0.0/16", size: 20 },
].map(({ base, size }) => ({ base: parseCidr(base), size }));

/** The parts of the pools of one family; those that overlap something are passed over at once. */
function firstFree(
  pools: readonly AddressPool[],
  family: 4 | 6,
  taken: readonly Cidr[],
): Cidr | undefined {
  for (const { base, size } of pools.filter((pool) => pool.base.base.family === family)) {
    for (let value = base.base.value; value <= lastOf(base); ) {
      const part = cidrOf({ family, value }, size);
      const other = taken.find((one) => overlaps(one, part));
      if (!other) return part;
      const end = lastOf(other) > lastOf(part) ? lastOf(other) : lastOf(part);
      value = end + 1n;
    }
  }
  return undefined;
}

/** The first pool's part that overlaps nothing in `taken`. @throws Failure "exhausted" */
export function chooseSubnet(
  taken: readonly Cidr[],
  pools: readonly AddressPool[] = defaultPools,
): Cidr {
  const found = firstFree(pools, 4, taken);
  if (found) return found;
  throw new Failure("exhausted", "all predefined address pools have been fully subnetted", {
    hint: "Remove networks that are not needed, or give the network a subnet",
  });
}

/** Of the pools where they have IPv6; else a random /64 of fd00::/8, as RFC 4193 wants it. */
function chooseSubnet6(taken: readonly Cidr[], pools: readonly AddressPool[] = []): Cidr {
  const found = firstFree(pools, 6, taken);
  if (found) return found;
  const random = crypto.getRandomValues(new Uint8Array(7));
  const value = BigInt(`0xfd${Buffer.from(random).toString("hex")}`) << 64n;
  return cidrOf({ family: 6, value }, 64);
}

/** Each link has addresses of its own in it: one on the host's is in nobody's way on another. */
const linkLocal6 = parseCidr("fe80::/10");

/** What a new network must not collide with. */
export interface Surroundings {
  readonly networks: readonly Network[];
  /** Subnets the host routes somewhere. */
  readonly routes: readonly Cidr[];
  /** Subnets of the host's own interfaces. */
  readonly interfaces: readonly Cidr[];
  readonly pools?: readonly AddressPool[] | undefined;
}

/**
 * Fills in a bridge network: which subnets, which gateways.
 *
 * @throws Failure "invalid"; "conflict" — a subnet overlaps; "exhausted" — none is free
 */
export function defineSubnets(spec: NetworkSpec, around: Surroundings): Subnet[] {
  const ours = around.networks
    .filter(({ configOnly }) => !configOnly)
    .flatMap((network) => plansOf(network).map(({ subnet }) => subnet));
  const wanted = spec.subnets.filter(({ subnet }) => subnet !== "");
  const given = wanted.map((subnet) => ({ spec: subnet, plan: planOf(subnet) }));
  const isWanted = (family: 4 | 6) => (family === 4 ? spec.enableIPv4 : spec.enableIPv6);
  const kept = given.filter(({ plan }) => isWanted(plan.subnet.base.family));
  for (const [at, { plan }] of kept.entries()) {
    refuseOverlap(plan.subnet, [...ours, ...kept.slice(0, at).map((one) => one.plan.subnet)]);
    // macvlan and ipvlan are on a subnet of the host's by their nature.
    if (spec.driver === "bridge") {
      refuseOverlap(
        plan.subnet,
        around.interfaces.filter((each) => !contains(linkLocal6, each.base)),
      );
    }
  }
  for (const family of spec.driver === "bridge" ? ([4, 6] as const) : []) {
    if (kept.filter(({ plan }) => plan.subnet.base.family === family).length < 2) continue;
    throw new Failure("denied", "bridge driver doesn't support multiple subnets");
  }
  const has = (family: 4 | 6) => kept.some(({ plan }) => plan.subnet.base.family === family);
  const lone = spec.subnets.find(({ subnet }) => subnet === "");
  if (lone && (lone.gateway || lone.ipRange)) {
    throw new Failure("invalid", "every ip-range or gateway must have a corresponding subnet");
  }
  const taken = [...ours, ...around.routes];
  const chosen = [
    ...(spec.enableIPv4 && !has(4) ? [chooseSubnet(taken, around.pools)] : []),
    ...(spec.enableIPv6 && !has(6) ? [chooseSubnet6(taken, around.pools)] : []),
  ].map((subnet) => ({ subnet: formatCidr(subnet) }));
  return [...kept.map((one) => one.spec), ...chosen].map((subnet) => {
    const plan = planOf(subnet);
    return { ...subnet, subnet: formatCidr(plan.subnet), gateway: formatAddress(plan.gateway) };
  });
}

function refuseOverlap(subnet: Cidr, others: readonly Cidr[]): void {
  const other = others.find((one) => overlaps(one, subnet));
  if (!other) return;
  const hint = `${formatCidr(subnet)} overlaps ${formatCidr(other)}; choose another subnet`;
  const message = "invalid pool request: Pool overlaps with other one on this address space";
  throw new Failure("conflict", message, { hint });
}

/** Checks name and driver. @throws Failure "conflict" | "denied" | "invalid" | "not_found" */
export function checkSpec(spec: NetworkSpec, networks: readonly Network[]): void {
  if (spec.name.trim() === "" || spec.name.includes("/")) {
    throw new Failure("invalid", `invalid network name "${spec.name}"`);
  }
  // "default" is a name for the bridge.
  if (predefinedNames.includes(spec.name) || spec.name === "default") {
    const message = `operation is not permitted on predefined ${spec.name} network`;
    throw new Failure("denied", message);
  }
  if (networks.some(({ name }) => name === spec.name)) {
    throw new Failure("conflict", `network with name ${spec.name} already exists`);
  }
  if (spec.configOnly) return;
  if (spec.driver === "host" || spec.driver === "null") {
    throw new Failure("denied", `only one instance of "${spec.driver}" network is allowed`);
  }
  if (isChild(spec)) childOptions({ ...spec, id: "" });
  if (!spec.enableIPv4 && !spec.enableIPv6) {
    throw new Failure("invalid", "IPv4 or IPv6 must be enabled");
  }
}
