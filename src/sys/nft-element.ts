/**
 * Elements of nftables' sets and maps as nfnetlink messages, pure. A rule set is text for nft(8), which
 * costs a process; elements come and go with each container and cost one datagram.
 * Format: linux/netfilter/nf_tables.h (NFTA_SET_ELEM_*), nft(8) for the types.
 */
import {
  attribute,
  decodeAttributes,
  decodeList,
  flag,
  type NetlinkMessage,
  type NetlinkRequest,
  nested,
  readText,
  text,
  uint32be,
} from "./netlink-message.ts";

const subsystem = 10;
export const nftMessage = {
  newTable: (subsystem << 8) | 0,
  getTable: (subsystem << 8) | 1,
  deleteTable: (subsystem << 8) | 2,
  newChain: (subsystem << 8) | 3,
  getChain: (subsystem << 8) | 4,
  newRule: (subsystem << 8) | 6,
  newElement: (subsystem << 8) | 12,
  getElement: (subsystem << 8) | 13,
  deleteElement: (subsystem << 8) | 14,
} as const;
const batch = { begin: 16, end: 17 } as const;
const familyNumber = { none: 0, inet: 1, ip: 2, ip6: 10 } as const;
const intervalEnd = 1;

export interface NftElement {
  readonly family: "ip" | "ip6";
  readonly table: string;
  readonly set: string;
  /** The fields of the key, each as its own bytes; concatenated, padded to four bytes each. */
  readonly key: readonly Uint8Array[];
  readonly value?: readonly Uint8Array[];
  /** For interval sets: the first address behind the interval that starts at `key`. */
  readonly end?: Uint8Array;
}

/** The `nfgenmsg`, the head of each message of this family. */
export function nftHead(family: keyof typeof familyNumber, resource = 0): Buffer {
  const head = Buffer.from([familyNumber[family], 0, 0, 0]);
  head.writeUInt16BE(resource, 2);
  return head;
}

const mark = (type: number): NetlinkRequest => ({
  type,
  flags: 0,
  body: nftHead("none", subsystem),
  what: "change",
  subject: "nftables",
});

/** What stands before and after the messages of one transaction. */
export const nftBatch = { begin: mark(batch.begin), end: mark(batch.end) };

/** `lo` as nftables compares interface names: sixteen bytes. */
export function interfaceName(name: string): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return bytes;
}

export function portNumber(port: number): Uint8Array {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
}

function concatenation(fields: readonly Uint8Array[]): Buffer {
  if (fields.length === 1) return Buffer.from(fields[0]!);
  return Buffer.concat(
    fields.map((field) => Buffer.concat([field, Buffer.alloc((4 - (field.length & 3)) & 3)])),
  );
}

const data = (type: number, bytes: Uint8Array) => nested(type, attribute(1, bytes));

function elements({ key, value, end }: NftElement): Buffer {
  const first = nested(
    1,
    data(1, concatenation(key)),
    ...(value ? [data(2, concatenation(value))] : []),
  );
  const last = end ? [nested(1, uint32be(3, intervalEnd), data(1, end))] : [];
  return nested(3, first, ...last);
}

function request(element: NftElement, type: number, flags: number, what: string): NetlinkRequest {
  const { family, table, set } = element;
  const body = Buffer.concat([nftHead(family), text(1, table), text(2, set), elements(element)]);
  return { type, flags, body, what, subject: `${family} ${table} ${set}` };
}

/** Adds an element; one that is there already, with the same value, is fine. */
export function addElement(element: NftElement): NetlinkRequest {
  return request(element, nftMessage.newElement, flag.create, "add an element to");
}

/** @throws Failure "not_found" when sent and the element is absent */
export function removeElement(element: NftElement): NetlinkRequest {
  return request(element, nftMessage.deleteElement, 0, "remove an element of");
}

/** Empties a set or map. */
export function flushSet(set: Pick<NftElement, "family" | "table" | "set">): NetlinkRequest {
  const body = Buffer.concat([nftHead(set.family), text(1, set.table), text(2, set.set)]);
  const subject = `${set.family} ${set.table} ${set.set}`;
  return { type: nftMessage.deleteElement, flags: 0, body, what: "empty", subject };
}

/** Asks for all tables. */
export const listTables: NetlinkRequest = {
  type: nftMessage.getTable,
  flags: 0,
  body: nftHead("none"),
  what: "list",
  subject: "tables",
};

/** Undefined for tables of neither IPv4 nor IPv6 alone. */
export function decodeTable({
  body,
}: NetlinkMessage): Pick<NftElement, "family" | "table"> | undefined {
  const table = readText(decodeAttributes(body, 4).get(1));
  if (body[0] === familyNumber.ip) return { family: "ip", table };
  return body[0] === familyNumber.ip6 ? { family: "ip6", table } : undefined;
}

/** Asks for a table. @throws Failure "not_found" when sent and there is none */
export function getTable(family: "ip" | "ip6" | "inet", table: string): NetlinkRequest {
  const body = Buffer.concat([nftHead(family), text(1, table)]);
  return { type: nftMessage.getTable, flags: 0, body, what: "find table", subject: table };
}

/** The kernel's number for a table, which one that is deleted and made again has anew. */
export function decodeHandle({ body }: NetlinkMessage): bigint {
  return decodeAttributes(body, 4).get(4)?.readBigUInt64BE(0) ?? 0n;
}

/** Asks for the elements of a set or map. @throws Failure "not_found" when sent and it is absent */
export function listElements(set: Pick<NftElement, "family" | "table" | "set">): NetlinkRequest {
  const body = Buffer.concat([nftHead(set.family), text(1, set.table), text(2, set.set)]);
  const subject = `${set.family} ${set.table} ${set.set}`;
  return { type: nftMessage.getElement, flags: 0, body, what: "list elements of", subject };
}

/** The keys of the elements in one answer, each with its fields padded to four bytes. */
export function decodeKeys({ body }: NetlinkMessage): Buffer[] {
  const list = decodeAttributes(body, 4).get(3);
  if (!list) return [];
  return decodeList(list).flatMap((element) => {
    const key = decodeAttributes(element).get(1);
    return (key && decodeAttributes(key).get(1)) ?? [];
  });
}

/** Asks for a chain. @throws Failure "not_found" when sent and there is no such chain or table */
export function getChain(family: "ip" | "ip6", table: string, chain: string): NetlinkRequest {
  const body = Buffer.concat([nftHead(family), text(1, table), text(3, chain)]);
  return {
    type: nftMessage.getChain,
    flags: 0,
    body,
    what: "find chain",
    subject: `${table} ${chain}`,
  };
}

/** Asks for all chains of a family. */
export function listChains(family: "ip" | "ip6" | "inet"): NetlinkRequest {
  return {
    type: nftMessage.getChain,
    flags: 0,
    body: nftHead(family),
    what: "list",
    subject: "chains",
  };
}

/** A chain that is called by the kernel, and what becomes of packets that it does not decide on. */
export interface BaseChain {
  readonly table: string;
  readonly name: string;
  /** 2 is forward. */
  readonly hook: number;
  readonly drops: boolean;
}

/** Undefined for chains that only other chains call. */
export function decodeChain({ body }: NetlinkMessage): BaseChain | undefined {
  const found = decodeAttributes(body, 4);
  const hook = found.get(4);
  const policy = found.get(5);
  if (!hook || !policy) return undefined;
  return {
    table: readText(found.get(1)),
    name: readText(found.get(3)),
    hook: decodeAttributes(hook).get(1)?.readUInt32BE(0) ?? -1,
    drops: policy.readUInt32BE(0) === 0,
  };
}
