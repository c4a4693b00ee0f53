/** The container's side of its networks: what is done within its namespace, without a break. */
import { writeFileSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import {
  addAddress,
  addRoute,
  changeLink,
  decodeLink,
  getLink,
  interfaceIndex,
  listLinks,
  type Netlink,
  type NetlinkRequest,
  removeAddress,
  removeDefaultRoute,
  setDefaultRoute,
  setDirectRoute,
  withinNamespace,
} from "../sys/mod.ts";
import { parseAddress, parseCidr, toBytes } from "./address.ts";
import type { Place } from "./namespaces.ts";
import type { Endpoint } from "./types.ts";

const loopback = 1;

/**
 * Gives interfaces their addresses, sets them up, and leaves by the gateway endpoint.
 *
 * @throws Failure "invalid" — a setting of `sysctl` that the namespace does not have or take
 */
export function setUpInside(
  { namespace, netlink }: Place,
  work: {
    readonly endpoints: readonly Endpoint[];
    readonly gateway: Endpoint | undefined;
    readonly sysctl: Readonly<Record<string, string>>;
  },
): void {
  const { endpoints, gateway, sysctl } = work;
  const indexes = new Map<Endpoint, number>();
  // Settings and names of interfaces are those of the namespace that the thread is in.
  withinNamespace(namespace, () => {
    for (const endpoint of endpoints) {
      const name = endpoint.interfaceName;
      indexes.set(endpoint, interfaceIndex(name));
      // As Docker: no link-local address where the network has no IPv6.
      const hasIPv6 = [endpoint.address6, ...(endpoint.linkLocal ?? [])].some(isIPv6);
      if (!hasIPv6) writeIfThere(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, "1");
    }
    for (const [key, value] of Object.entries(sysctl)) writeSysctl(key, value);
    for (const endpoint of endpoints) {
      for (const [key, value] of endpointSettings(endpoint)) writeSysctl(key, value);
    }
  });
  const leaving = gateway && indexes.get(gateway);
  netlink.execute([
    ...endpoints.flatMap((endpoint) => interfaceRequests(indexes.get(endpoint)!, endpoint)),
    ...(leaving ? routeRequests(leaving, gateway) : []),
  ]);
}

/** Moves the default routes to another endpoint's gateway, or takes them away. */
export function changeGateway({ netlink }: Place, gateway: Endpoint | undefined): void {
  // "replace" finds only a route through the same interface: remove first; absent is fine.
  netlink.attempt([removeDefaultRoute(4), removeDefaultRoute(6)]);
  if (!gateway) return;
  const index = indexOf(netlink, gateway.interfaceName);
  netlink.execute(routeRequests(index, gateway));
}

function indexOf(netlink: Netlink, name: string): number {
  return decodeLink(netlink.get(getLink(name))).index;
}

const bytes = (text: string) => toBytes(parseAddress(text));

const settingsOption = "com.docker.network.endpoint.sysctls";

/**
 * Settings of one interface, as `net.ipv4.conf.IFNAME.log_martians=1,…`.
 *
 * @throws Failure "invalid" — a setting that is not this interface's
 */
export function endpointSettings(
  endpoint: Pick<Endpoint, "driverOptions" | "interfaceName">,
): [key: string, value: string][] {
  const text = endpoint.driverOptions?.[settingsOption] ?? "";
  // Docker's client makes all of it lower case where it stands in --network.
  return text.split(",").flatMap((part) => {
    if (part.trim() === "") return [];
    const [, head, tail, value] =
      /^\s*(net\.(?:ipv4|ipv6|mpls)\.[a-z]+\.)IFNAME(\.[\w.]+)=(.*)$/i.exec(part) ?? [];
    if (head === undefined || tail === undefined || value === undefined) {
      throw new Failure("invalid", `invalid endpoint sysctl setting "${part.slice(0, 100)}"`, {
        hint: "Write net.ipv4.conf.IFNAME.NAME=VALUE; IFNAME stands for the interface",
      });
    }
    // With slashes, an interface's name may have a dot.
    const path = `${head.replaceAll(".", "/")}${endpoint.interfaceName}${tail.replaceAll(".", "/")}`;
    return [[path, value.trim()]] as [string, string][];
  });
}

const isIPv6 = (text: string | undefined) => text?.includes(":") ?? false;

/** Before anything is in the kernel, every address that an endpoint has. */
function addressesOf({ address, prefix, address6, prefix6, linkLocal = [] }: Endpoint) {
  const local = linkLocal.map((text) => ({ text, prefix: isIPv6(text) ? 64 : 16 }));
  const own = [
    { text: address, prefix },
    { text: address6, prefix: prefix6 },
  ];
  return [...own, ...local].flatMap(({ text, prefix: length }) =>
    text ? [{ address: bytes(text), prefix: length }] : [],
  );
}

/** Takes an interface's addresses, so that nobody answers for them while it goes. */
export function clearInside({ netlink }: Place, endpoint: Endpoint): void {
  const links = netlink.dump(listLinks).map(decodeLink);
  const index = links.find(({ name }) => name === endpoint.interfaceName)?.index;
  if (index === undefined) return;
  netlink.attempt(addressesOf(endpoint).map((one) => removeAddress({ index, ...one })));
}

function interfaceRequests(index: number, endpoint: Endpoint): NetlinkRequest[] {
  const routes = (endpoint.routes ?? []).map(({ to, gateway }) => {
    const { base, prefix } = parseCidr(to);
    const way = gateway === "" ? undefined : bytes(gateway);
    return addRoute(index, { destination: toBytes(base), prefix }, way);
  });
  const addresses = addressesOf(endpoint).map((one) => addAddress({ index, ...one }));
  return [...addresses, changeLink(index), ...routes];
}

function routeRequests(index: number, endpoint: Endpoint): NetlinkRequest[] {
  const { gateway, gateway6, address, address6 } = endpoint;
  if (endpoint.isDirect) {
    return [
      ...(address ? [setDirectRoute(index, 4)] : []),
      ...(address6 ? [setDirectRoute(index, 6)] : []),
    ];
  }
  const gateways = [gateway, gateway6].filter(Boolean);
  return gateways.map((text) => setDefaultRoute(index, bytes(text)));
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
export function countersInside({ netlink }: Place) {
  const links = netlink.dump(listLinks).map(decodeLink);
  const real = links.filter(({ index }) => index !== loopback);
  return Object.fromEntries(real.map(({ name, counters }) => [name, counters]));
}

/** The MAC of an interface, or undefined when there is none of that name. */
export function macInside({ netlink }: Place, name: string): string | undefined {
  const links = netlink.dump(listLinks).map(decodeLink);
  return links.find((link) => link.name === name)?.mac;
}
