/**
 * Connections that the kernel tracks: ctnetlink, linux/netfilter/nfnetlink_conntrack.h. A flow of
 * datagrams keeps the translation of its first one for as long as it goes on.
 */
import type { Netlink } from "./netlink.ts";
import {
  attribute,
  decodeAttributes,
  type NetlinkRequest,
  nested,
  uint8,
  uint32,
} from "./netlink-message.ts";
import { nftHead, portNumber } from "./nft-element.ts";

const subsystem = 1;
const message = { get: (subsystem << 8) | 1, delete: (subsystem << 8) | 2 };
const [tupleOriginal, tupleProtocol, filterAttribute] = [1, 2, 25];
const filterBy = { protocol: 1 << 3, destinationPort: 1 << 5 };
const udp = 17;

/** Asks for flows of UDP whose first datagram went to `port`; the kernel picks them. */
export function listFlows(family: "ip" | "ip6", port: number): NetlinkRequest {
  const protocol = nested(tupleProtocol, uint8(1, udp), attribute(3, portNumber(port)));
  const filter = nested(filterAttribute, uint32(1, filterBy.protocol | filterBy.destinationPort));
  const body = Buffer.concat([nftHead(family), nested(tupleOriginal, protocol), filter]);
  return { type: message.get, flags: 0, body, what: "list", subject: "tracked flows" };
}

/** The request to forget a flow that `listFlows` found. */
export function forgetFlow(family: "ip" | "ip6", original: Uint8Array): NetlinkRequest {
  const body = Buffer.concat([nftHead(family), nested(tupleOriginal, original)]);
  return { type: message.delete, flags: 0, body, what: "forget", subject: "tracked flow" };
}

/** Makes flows to a UDP port start anew, so that they meet the rules as they are now. */
export function forgetFlows(netfilter: Netlink, port: number): number {
  let count = 0;
  for (const family of ["ip", "ip6"] as const) {
    const found = netfilter.dump(listFlows(family, port));
    const originals = found.map(({ body }) => decodeAttributes(body, 4).get(tupleOriginal));
    const requests = originals.flatMap((tuple) => (tuple ? [forgetFlow(family, tuple)] : []));
    // One that ended meanwhile is as good as forgotten.
    for (const request of requests) netfilter.attempt([request]);
    count += requests.length;
  }
  return count;
}
