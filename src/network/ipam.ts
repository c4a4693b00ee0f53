import { Failure } from "../base/mod.ts";
import { type Address, contains, formatAddress, lastOf } from "./address.ts";
import type { Plan } from "./define.ts";
import type { Records } from "./records.ts";

/** Which address belongs to whom. What is given is on disk before the caller has it. */
export class Ipam {
  readonly #records: Records;
  /** By network and address, the container. */
  readonly #owners = new Map<string, Map<string, string>>();

  constructor(records: Records) {
    this.#records = records;
    for (const { network, address, container } of records.addresses()) {
      this.#of(network).set(address, container);
    }
  }

  #of(network: string): Map<string, string> {
    const owners = this.#owners.get(network) ?? new Map<string, string>();
    this.#owners.set(network, owners);
    return owners;
  }

  ownerOf(network: string, address: string): string | undefined {
    return this.#owners.get(network)?.get(address);
  }

  /**
   * Gives an address of one of the plans to a container: `wanted`, or the lowest free one.
   *
   * @throws Failure "invalid" — no subnet has `wanted`; "conflict" — it is taken; "exhausted"
   */
  take(network: string, plans: readonly Plan[], container: string, wanted?: Address): Owned {
    const owners = this.#of(network);
    const plan = wanted
      ? plans.find(({ subnet }) => contains(subnet, wanted))
      : (plans.find((one) => freeIn(one, owners) !== undefined) ?? plans[0]);
    if (!plan) {
      const text = wanted ? formatAddress(wanted) : "";
      throw new Failure("invalid", `no configured subnet contains IP address ${text}`);
    }
    const fixed = fixedOf(plan);
    if (wanted && (fixed.has(wanted.value) || owners.has(formatAddress(wanted)))) {
      throw new Failure("conflict", "Address already in use", {
        hint: `${formatAddress(wanted)} belongs to ${owners.get(formatAddress(wanted)) ?? "the network itself"}`,
      });
    }
    const address = wanted ?? lowestFree(plan, owners);
    const text = formatAddress(address);
    this.#records.addAddress(network, text, container);
    owners.set(text, container);
    return { network, address, plan };
  }

  release(network: string, address: string): void {
    if (!this.#owners.get(network)?.delete(address)) return;
    this.#records.removeAddress(network, address);
  }

  /** Forgets, in memory, what a rolled back transaction did not write. */
  forget(network: string, address: string): void {
    this.#owners.get(network)?.delete(address);
  }

  forgetNetwork(network: string): void {
    this.#owners.delete(network);
  }

  /** Addresses on a network that are not free, without the gateway. */
  count(network: string): number {
    return this.#owners.get(network)?.size ?? 0;
  }
}

export interface Owned {
  readonly network: string;
  readonly address: Address;
  readonly plan: Plan;
}

/** Addresses nobody can have: the subnet's own, IPv4's broadcast, the gateway, auxiliaries. */
function fixedOf({ subnet, gateway, reserved }: Plan): Set<bigint> {
  const edges =
    subnet.base.family === 4 ? [subnet.base.value, lastOf(subnet)] : [subnet.base.value];
  return new Set([...edges, gateway.value, ...reserved.map(({ value }) => value)]);
}

function lowestFree(plan: Plan, owners: ReadonlyMap<string, string>): Address {
  const found = freeIn(plan, owners);
  if (found) return found;
  const { family } = plan.subnet.base;
  const subnet = `${formatAddress(plan.subnet.base)}/${plan.subnet.prefix}`;
  throw new Failure(
    "exhausted",
    `no available IPv${family} addresses on this network's address pools: ${subnet}`,
  );
}

function freeIn(plan: Plan, owners: ReadonlyMap<string, string>): Address | undefined {
  const fixed = fixedOf(plan);
  const { family } = plan.subnet.base;
  const last = lastOf(plan.range);
  // At most as many are taken as have owners: the search ends soon, also in a /64.
  for (let value = plan.range.base.value; value <= last; value++) {
    const address = { family, value };
    if (!fixed.has(value) && !owners.has(formatAddress(address))) return address;
  }
  return undefined;
}
