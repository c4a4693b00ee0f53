/** From what a user asks of a network to what it is: names, options, subnets; pure. */
import { Failure } from "../base/mod.ts";
import {
  type Address,
  type Cidr,
  cidrOf,
  contains,
  formatAddress,
  formatCidr,
  overlaps,
  parseAddress,
  parseCidr,
} from "./address.ts";
import type { Network, NetworkSpec, Subnet } from "./types.ts";

export const predefinedNames = ["bridge", "host", "none"];
const prefix = "com.docker.network.bridge.";
const optionNames = {
  name: `${prefix}name`,
  icc: `${prefix}enable_icc`,
  masquerade: `${prefix}enable_ip_masquerade`,
  hostBinding: `${prefix}host_binding_ipv4`,
  mtu: "com.docker.network.driver.mtu",
} as const;

/** A network's subnet, read. */
export interface Plan {
  readonly subnet: Cidr;
  readonly gateway: Address;
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
}

/** The options of a bridge network. @throws Failure "invalid" */
export function bridgeOptions(network: Pick<Network, "id" | "options">): BridgeOptions {
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
  };
}

/** Go's strconv.ParseBool; on when absent. */
function readFlag(options: Network["options"], name: string): boolean {
  const text = options[name] ?? "true";
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
  if (!contains(subnet, range.base) || range.prefix < subnet.prefix) {
    throw new Failure("invalid", `invalid ip-range ${spec.ipRange}: it is not in ${spec.subnet}`);
  }
  for (const address of [gateway, ...reserved]) {
    if (contains(subnet, address)) continue;
    const text = formatAddress(address);
    throw new Failure("invalid", `no matching subnet for address ${text} in ${spec.subnet}`);
  }
  return { subnet, gateway, range, reserved };
}

/** Docker's default pools: /16 from 172.17 to 172.31, then /20 of 192.168. */
function* pools(): Generator<Cidr> {
  for (let second = 17; second <= 31; second++) yield parseCidr(`172.${second}.0.0/16`);
  for (let third = 0; third < 256; third += 16) yield parseCidr(`192.168.${third}.0/20`);
}

/** The first default pool that overlaps nothing in `taken`. @throws Failure "exhausted" */
export function chooseSubnet(taken: readonly Cidr[]): Cidr {
  for (const pool of pools()) {
    if (!taken.some((other) => overlaps(pool, other))) return pool;
  }
  throw new Failure("exhausted", "all predefined address pools have been fully subnetted", {
    hint: "Remove networks that are not needed, or give the network a subnet",
  });
}

/** A random /64 of fd00::/8, as RFC 4193 wants it. */
function chooseSubnet6(): Cidr {
  const random = crypto.getRandomValues(new Uint8Array(7));
  const value = BigInt(`0xfd${Buffer.from(random).toString("hex")}`) << 64n;
  return cidrOf({ family: 6, value }, 64);
}

/** What a new network must not collide with. */
export interface Surroundings {
  readonly networks: readonly Network[];
  /** Subnets the host routes somewhere. */
  readonly routes: readonly Cidr[];
  /** Subnets of the host's own interfaces. */
  readonly interfaces: readonly Cidr[];
}

/**
 * Fills in a bridge network: which subnets, which gateways.
 *
 * @throws Failure "invalid"; "conflict" — a subnet overlaps; "exhausted" — none is free
 */
export function defineSubnets(spec: NetworkSpec, around: Surroundings): Subnet[] {
  const ours = around.networks.flatMap((network) => plansOf(network).map(({ subnet }) => subnet));
  const wanted = spec.subnets.filter(({ subnet }) => subnet !== "");
  const given = wanted.map((subnet) => ({ spec: subnet, plan: planOf(subnet) }));
  const isWanted = (family: 4 | 6) => (family === 4 ? spec.enableIPv4 : spec.enableIPv6);
  const kept = given.filter(({ plan }) => isWanted(plan.subnet.base.family));
  for (const [at, { plan }] of kept.entries()) {
    refuseOverlap(plan.subnet, [...ours, ...kept.slice(0, at).map((one) => one.plan.subnet)]);
    refuseOverlap(plan.subnet, around.interfaces);
  }
  const has = (family: 4 | 6) => kept.some(({ plan }) => plan.subnet.base.family === family);
  const lone = spec.subnets.find(({ subnet }) => subnet === "");
  if (lone && (lone.gateway || lone.ipRange)) {
    throw new Failure("invalid", "every ip-range or gateway must have a corresponding subnet");
  }
  const chosen = [
    ...(spec.enableIPv4 && !has(4) ? [chooseSubnet([...ours, ...around.routes])] : []),
    ...(spec.enableIPv6 && !has(6) ? [chooseSubnet6()] : []),
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
  if (predefinedNames.includes(spec.name)) {
    const message = `operation is not permitted on predefined ${spec.name} network`;
    throw new Failure("denied", message);
  }
  if (networks.some(({ name }) => name === spec.name)) {
    throw new Failure("conflict", `network with name ${spec.name} already exists`);
  }
  if (spec.driver === "host" || spec.driver === "null") {
    throw new Failure("denied", `only one instance of "${spec.driver}" network is allowed`);
  }
  if (spec.driver !== "bridge") {
    const message = `could not find plugin ${spec.driver} in v1 plugin registry: plugin not found`;
    throw new Failure("not_found", message, { hint: 'Lading has the driver "bridge"' });
  }
  if (!spec.enableIPv4 && !spec.enableIPv6) {
    throw new Failure("invalid", "IPv4 or IPv6 must be enabled");
  }
}
