/** The container's side of its networks: what is done within its namespace, without a break. */
import { writeFileSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import {
  addAddress,
  changeLink,
  decodeLink,
  getLink,
  listLinks,
  type Netlink,
  type NetworkNamespace,
  openNetlink,
  removeDefaultRoute,
  setDefaultRoute,
  withinNamespace,
} from "../sys/mod.ts";
import { parseAddress, toBytes } from "./address.ts";
import type { Endpoint } from "./types.ts";

const loopback = 1;

/** Sets the loopback up, which a new namespace has down. */
export function startLoopback(namespace: NetworkNamespace): void {
  withinNamespace(namespace, () => {
    using netlink = openNetlink();
    netlink.execute([changeLink(loopback)]);
  });
}

/**
 * Gives interfaces their addresses, sets them up, and leaves by the gateway endpoint.
 *
 * @throws Failure "invalid" — a setting of `sysctl` that the namespace does not have or take
 */
export function setUpInside(
  namespace: NetworkNamespace,
  work: {
    readonly endpoints: readonly Endpoint[];
    readonly gateway: Endpoint | undefined;
    readonly sysctl?: Readonly<Record<string, string>>;
  },
): void {
  withinNamespace(namespace, () => {
    using netlink = openNetlink();
    for (const endpoint of work.endpoints) setUpInterface(netlink, endpoint);
    leaveBy(netlink, work.gateway, false);
    for (const [key, value] of Object.entries(work.sysctl ?? {})) writeSysctl(key, value);
  });
}

/** Moves the default routes to another endpoint's gateway, or takes them away. */
export function changeGateway(namespace: NetworkNamespace, gateway: Endpoint | undefined): void {
  withinNamespace(namespace, () => {
    using netlink = openNetlink();
    leaveBy(netlink, gateway, true);
  });
}

function setUpInterface(netlink: Netlink, endpoint: Endpoint): void {
  const { interfaceName: name, address, prefix, address6, prefix6 } = endpoint;
  const { index } = decodeLink(netlink.get(getLink(name)));
  // As Docker: no link-local address where the network has no IPv6.
  if (!address6) writeIfThere(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, "1");
  const bytes = (text: string) => toBytes(parseAddress(text));
  netlink.execute([
    ...(address ? [addAddress({ index, address: bytes(address), prefix })] : []),
    ...(address6 ? [addAddress({ index, address: bytes(address6), prefix: prefix6 })] : []),
    changeLink(index),
  ]);
}

function leaveBy(netlink: Netlink, endpoint: Endpoint | undefined, isChange: boolean): void {
  const routes = [
    { family: 4, gateway: endpoint?.gateway },
    { family: 6, gateway: endpoint?.gateway6 },
  ] as const;
  for (const { family, gateway } of routes) {
    // "replace" finds only a route through the same interface with the same metric: remove first.
    if (isChange) netlink.attempt([removeDefaultRoute(family)]);
    if (!gateway || !endpoint) continue;
    const { index } = decodeLink(netlink.get(getLink(endpoint.interfaceName)));
    netlink.execute([setDefaultRoute(index, toBytes(parseAddress(gateway)))]);
  }
}

function writeIfThere(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // A kernel without IPv6.
  }
}

/** Only `net.` belongs to this namespace; a path that climbs is an attempt to reach the rest. */
function writeSysctl(key: string, value: string): void {
  if (!key.startsWith("net.") && !key.startsWith("net/")) return;
  const parts = key.includes("/") ? key.split("/") : key.split(".");
  if (parts.some((part) => !/^[\w.-]+$/.test(part) || /^\.+$/.test(part))) {
    throw new Failure("invalid", `invalid sysctl "${key}"`);
  }
  try {
    writeFileSync(`/proc/sys/${parts.join("/")}`, value);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new Failure("invalid", `Cannot set sysctl "${key}" to "${value}": ${reason}`, {
      cause: error,
    });
  }
}

/** Interface counters by name, without loopback. */
export function countersInside(namespace: NetworkNamespace) {
  return withinNamespace(namespace, () => {
    using netlink = openNetlink();
    const links = netlink.dump(listLinks).map(decodeLink);
    const real = links.filter(({ index }) => index !== loopback);
    return Object.fromEntries(real.map(({ name, counters }) => [name, counters]));
  });
}

/** The MAC of an interface, or undefined when there is none of that name. */
export function macInside(namespace: NetworkNamespace, name: string): string | undefined {
  return withinNamespace(namespace, () => {
    using netlink = openNetlink();
    const links = netlink.dump(listLinks).map(decodeLink);
    return { mac: links.find((link) => link.name === name)?.mac };
  }).mac;
}
