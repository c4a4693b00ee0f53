/**
 * Links, addresses and routes as rtnetlink messages, pure: rtnetlink(7),
 * https://man7.org/linux/man-pages/man7/rtnetlink.7.html.
 */
import {
  attribute,
  decodeAttributes,
  flag,
  type NetlinkMessage,
  type NetlinkRequest,
  nested,
  readText,
  text,
  uint8,
  uint32,
} from "./netlink-message.ts";

const type = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
} as const;
const link = {
  address: 1,
  name: 3,
  mtu: 4,
  master: 10,
  protocolInfo: 12,
  linkInfo: 18,
  stats64: 23,
  alias: 20,
  namespaceFd: 28,
} as const;
const up = 0x1;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly isUp: boolean;
  readonly kind: string;
  readonly mtu: number;
  readonly master: number;
  readonly mac: string;
  readonly counters: Readonly<Record<string, number>>;
}

export interface Address {
  readonly index: number;
  readonly address: Uint8Array;
  readonly prefix: number;
}

export interface Route {
  readonly index: number;
  /** Empty for the default route. */
  readonly destination: Uint8Array;
  readonly prefix: number;
  readonly gateway: Uint8Array | undefined;
}

/** `02:42:ac:11:00:02` as six bytes. */
export function macBytes(mac: string): Uint8Array {
  return Buffer.from(mac.replaceAll(/[:-]/g, ""), "hex");
}

function linkBody(index: number, flags: number, ...attributes: Uint8Array[]): Buffer {
  const head = Buffer.alloc(16);
  head.writeInt32LE(index, 4);
  head.writeUInt32LE(flags, 8);
  head.writeUInt32LE(flags, 12);
  return Buffer.concat([head, ...attributes]);
}

/** A message that makes a link; it is refused when there is one of the name. */
export function linkRequest(link: {
  readonly attributes: readonly Uint8Array[];
  readonly isUp: boolean;
  readonly subject: string;
}): NetlinkRequest {
  const body = linkBody(0, link.isUp ? up : 0, ...link.attributes);
  const flags = flag.create | flag.exclusive;
  return { type: type.newLink, flags, body, what: "create", subject: link.subject };
}

interface Ends {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
}
const common = ({ name, mac, mtu }: Ends) => [
  text(link.name, name),
  ...(mac ? [attribute(link.address, macBytes(mac))] : []),
  ...(mtu ? [uint32(link.mtu, mtu)] : []),
];
const kind = (name: string, ...data: Uint8Array[]) =>
  nested(link.linkInfo, text(1, name), ...(data.length > 0 ? [nested(2, ...data)] : []));

/** A bridge that is up. Its address is set, so that it does not follow its ports' addresses. */
export function createBridge(bridge: Ends): NetlinkRequest {
  return {
    type: type.newLink,
    flags: flag.create | flag.exclusive,
    body: linkBody(0, up, ...common(bridge), kind("bridge")),
    what: "create bridge",
    subject: bridge.name,
  };
}

/** A pair whose near end is up and a port of `master`, and whose far end is in another namespace. */
export function createVeth(pair: {
  readonly near: Ends & { readonly master?: number };
  readonly far: Ends & { readonly namespaceFd: number };
}): NetlinkRequest {
  const { near, far } = pair;
  const peer = linkBody(0, 0, ...common(far), uint32(link.namespaceFd, far.namespaceFd));
  const master = near.master ? [uint32(link.master, near.master)] : [];
  return {
    type: type.newLink,
    flags: flag.create | flag.exclusive,
    body: linkBody(0, up, ...common(near), ...master, kind("veth", attribute(1, peer))),
    what: "create link",
    subject: near.name,
  };
}

interface Change {
  readonly master?: number;
  readonly name?: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly namespaceFd?: number;
}

/** Changes a link and, unless told otherwise, sets it up. */
export function changeLink(index: number, change: Change = {}, isUp = true): NetlinkRequest {
  const attributes = [
    ...(change.name ? [text(link.name, change.name)] : []),
    ...(change.mac ? [attribute(link.address, macBytes(change.mac))] : []),
    ...(change.mtu ? [uint32(link.mtu, change.mtu)] : []),
    ...(change.master === undefined ? [] : [uint32(link.master, change.master)]),
    ...(change.namespaceFd === undefined ? [] : [uint32(link.namespaceFd, change.namespaceFd)]),
  ];
  const body = linkBody(index, isUp ? up : 0, ...attributes);
  return { type: type.newLink, flags: 0, body, what: "change link", subject: `#${index}` };
}

/** How a bridge treats a port: `hairpin` sends frames back where they came from. */
export function changePort(
  index: number,
  { hairpin, isolated }: { hairpin: boolean; isolated: boolean },
): NetlinkRequest {
  const port = nested(link.protocolInfo, uint8(4, +hairpin), uint8(33, +isolated));
  const body = linkBody(index, 0, port);
  body[0] = 7; // AF_BRIDGE
  return { type: type.setLink, flags: 0, body, what: "change bridge port", subject: `#${index}` };
}

export function deleteLink(name: string): NetlinkRequest {
  const body = linkBody(0, 0, text(link.name, name));
  return { type: type.deleteLink, flags: 0, body, what: "delete link", subject: name };
}

export function getLink(name: string): NetlinkRequest {
  const body = linkBody(0, 0, text(link.name, name));
  return { type: type.getLink, flags: 0, body, what: "find link", subject: name };
}

export const listLinks: NetlinkRequest = {
  type: type.getLink,
  flags: 0,
  body: linkBody(0, 0),
  what: "list",
  subject: "links",
};

const counterNames = [
  "rx_packets",
  "tx_packets",
  "rx_bytes",
  "tx_bytes",
  "rx_errors",
  "tx_errors",
  "rx_dropped",
  "tx_dropped",
];

export function decodeLink({ body }: NetlinkMessage): Link {
  const found = decodeAttributes(body, 16);
  const info = found.get(link.linkInfo);
  const stats = found.get(link.stats64);
  const counter = (at: number) =>
    stats && stats.length >= at * 8 + 8 ? Number(stats.readBigUInt64LE(at * 8)) : 0;
  return {
    index: body.readInt32LE(4),
    name: readText(found.get(link.name)),
    isUp: (body.readUInt32LE(8) & up) !== 0,
    kind: info ? readText(decodeAttributes(info).get(1)) : "",
    mtu: found.get(link.mtu)?.readUInt32LE(0) ?? 0,
    master: found.get(link.master)?.readUInt32LE(0) ?? 0,
    mac: (found.get(link.address)?.toString("hex").match(/../g) ?? []).join(":"),
    counters: Object.fromEntries(counterNames.map((name, at) => [name, counter(at)])),
  };
}

const familyOf = (bytes: Uint8Array) => (bytes.length === 16 ? 10 : 2);

function addressBody({ index, address, prefix }: Address): Buffer {
  const head = Buffer.alloc(8);
  head[0] = familyOf(address);
  head[1] = prefix;
  // IPv6: no duplicate address detection. The address is ours to give, and must work at once.
  head[2] = address.length === 16 ? 0x02 : 0;
  head.writeUInt32LE(index, 4);
  return Buffer.concat([head, attribute(2, address), attribute(1, address)]);
}

export function addAddress(address: Address): NetlinkRequest {
  const broadcast = address.address.length === 4 ? [attribute(4, broadcastOf(address))] : [];
  return {
    type: type.newAddress,
    flags: flag.create | flag.replace,
    body: Buffer.concat([addressBody(address), ...broadcast]),
    what: "add address",
    subject: `${[...address.address].join(".")}/${address.prefix}`,
  };
}

function broadcastOf({ address, prefix }: Address): Uint8Array {
  const bytes = Buffer.from(address);
  const mask = prefix === 0 ? 0 : (-1 << (32 - prefix)) >>> 0;
  bytes.writeUInt32BE((bytes.readUInt32BE(0) | ~mask) >>> 0);
  return bytes;
}

export function removeAddress(address: Address): NetlinkRequest {
  const subject = `${[...address.address].join(".")}/${address.prefix}`;
  const body = addressBody(address);
  return { type: type.deleteAddress, flags: 0, body, what: "remove address", subject };
}

export function listAddresses(family: 4 | 6): NetlinkRequest {
  const body = Buffer.alloc(8);
  body[0] = family === 4 ? 2 : 10;
  return { type: type.getAddress, flags: 0, body, what: "list", subject: "addresses" };
}

export function decodeAddress({ body }: NetlinkMessage): Address {
  const found = decodeAttributes(body, 8);
  const address = found.get(2) ?? found.get(1) ?? Buffer.alloc(0);
  return { index: body.readUInt32LE(4), prefix: body[1]!, address };
}

function routeBody(family: number, attributes: readonly Uint8Array[], prefix = 0): Buffer {
  const [mainTable, protocolBoot, scopeUniverse, unicast] = [254, 3, 0, 1];
  const head = Buffer.from([family, prefix, 0, 0, mainTable, protocolBoot, scopeUniverse, unicast]);
  return Buffer.concat([head, Buffer.alloc(4), ...attributes]);
}

/** The default route through `gateway`; replaces the one that is there. */
export function setDefaultRoute(index: number, gateway: Uint8Array): NetlinkRequest {
  return {
    type: type.newRoute,
    flags: flag.create | flag.replace,
    body: routeBody(familyOf(gateway), [attribute(5, gateway), uint32(4, index)]),
    what: "set the default route to",
    subject: [...gateway].join("."),
  };
}

/** The default route through an interface that needs no gateway; replaces the one that is there. */
export function setDirectRoute(index: number, family: 4 | 6): NetlinkRequest {
  const body = routeBody(family === 4 ? 2 : 10, [uint32(4, index)]);
  body[6] = 253; // scope link
  return {
    type: type.newRoute,
    flags: flag.create | flag.replace,
    body,
    what: "set the default route to interface",
    subject: `#${index}`,
  };
}

/** A route of its own to a network, through a gateway or, without one, straight out of the interface. */
export function addRoute(
  index: number,
  to: { readonly destination: Uint8Array; readonly prefix: number },
  gateway: Uint8Array | undefined,
): NetlinkRequest {
  const attributes = [
    attribute(1, to.destination),
    ...(gateway ? [attribute(5, gateway)] : []),
    uint32(4, index),
  ];
  const body = routeBody(familyOf(to.destination), attributes, to.prefix);
  if (!gateway) body[6] = 253; // scope link
  return {
    type: type.newRoute,
    flags: flag.create | flag.replace,
    body,
    what: "add a route to",
    subject: `${[...to.destination].join(".")}/${to.prefix}`,
  };
}

export function removeDefaultRoute(family: 4 | 6): NetlinkRequest {
  const body = routeBody(family === 4 ? 2 : 10, []);
  return { type: type.deleteRoute, flags: 0, body, what: "remove", subject: "default route" };
}

export function listRoutes(family: 4 | 6): NetlinkRequest {
  const body = Buffer.alloc(12);
  body[0] = family === 4 ? 2 : 10;
  return { type: type.getRoute, flags: 0, body, what: "list", subject: "routes" };
}

/** Asks which way a packet to this address would go. */
export function getRoute(destination: Uint8Array): NetlinkRequest {
  const family = familyOf(destination);
  const body = routeBody(family, [attribute(1, destination)], destination.length * 8);
  body.fill(0, 4, 8); // Any table, and whatever kind of route there is.
  return {
    type: type.getRoute,
    flags: 0,
    body,
    what: "find a route to",
    subject: [...destination].join("."),
  };
}

export function decodeRoute({ body }: NetlinkMessage): Route {
  const found = decodeAttributes(body, 12);
  return {
    index: found.get(4)?.readUInt32LE(0) ?? 0,
    destination: found.get(1) ?? Buffer.alloc(0),
    prefix: body[1]!,
    gateway: found.get(5),
  };
}
