/**
 * Links that hang on another link, as rtnetlink messages, pure: macvlan, ipvlan and vlan, and the dummy
 * that stands in for a parent. ip-link(8), https://man7.org/linux/man-pages/man8/ip-link.8.html.
 */
import { linkRequest, macBytes } from "./netlink-link.ts";
import { attribute, type NetlinkRequest, nested, text, uint32 } from "./netlink-message.ts";

const link = { address: 1, name: 3, mtu: 4, parent: 5, linkInfo: 18, namespaceFd: 28 } as const;
const [infoKind, infoData] = [1, 2];

const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const;
const ipvlanFlags = { bridge: 0, private: 1, vepa: 2 } as const;

export type MacvlanMode = keyof typeof macvlanModes;
export type IpvlanMode = keyof typeof ipvlanModes;
export type IpvlanFlag = keyof typeof ipvlanFlags;

export type ChildKind =
  | { readonly kind: "macvlan"; readonly mode: MacvlanMode }
  | { readonly kind: "ipvlan"; readonly mode: IpvlanMode; readonly flag: IpvlanFlag };

export interface Child {
  readonly name: string;
  /** Index of the parent in the namespace of the socket. */
  readonly parent: number;
  /** Where the child begins its life. */
  readonly namespaceFd: number;
  readonly mac?: string;
  readonly mtu?: number;
}

function uint16(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return attribute(type, bytes);
}

function kindData(kind: ChildKind): Buffer[] {
  if (kind.kind === "macvlan") return [uint32(1, macvlanModes[kind.mode])];
  return [uint16(1, ipvlanModes[kind.mode]), uint16(2, ipvlanFlags[kind.flag])];
}

/** A macvlan or ipvlan link of `parent`, made in another namespace. */
export function createChild(kind: ChildKind, child: Child): NetlinkRequest {
  const { name, parent, namespaceFd, mac, mtu } = child;
  const attributes = [
    text(link.name, name),
    uint32(link.parent, parent),
    uint32(link.namespaceFd, namespaceFd),
    ...(mac ? [attribute(link.address, macBytes(mac))] : []),
    ...(mtu ? [uint32(link.mtu, mtu)] : []),
    nested(link.linkInfo, text(infoKind, kind.kind), nested(infoData, ...kindData(kind))),
  ];
  return linkRequest({ attributes, isUp: false, subject: `${kind.kind} ${name}` });
}

/** A link for the frames of `parent` with this tag: 1 to 4094. It is up. */
export function createVlan(name: string, parent: number, tag: number): NetlinkRequest {
  const attributes = [
    text(link.name, name),
    uint32(link.parent, parent),
    nested(link.linkInfo, text(infoKind, "vlan"), nested(infoData, uint16(1, tag))),
  ];
  return linkRequest({ attributes, isUp: true, subject: `vlan ${name}` });
}

/** A link that leads nowhere. It is up. */
export function createDummy(name: string): NetlinkRequest {
  const attributes = [text(link.name, name), nested(link.linkInfo, text(infoKind, "dummy"))];
  return linkRequest({ attributes, isUp: true, subject: `dummy ${name}` });
}
