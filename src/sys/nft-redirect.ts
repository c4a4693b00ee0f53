/**
 * One rule set as netlink messages, pure: in a container's namespace, an address and port of its own
 * loopback lead to another port. By netlink and not by nft(8), since each container pays for it.
 * Format: linux/netfilter/nf_tables.h; `nft --debug=netlink` shows the same expressions.
 */
import { attribute, flag, type NetlinkRequest, nested, text, uint32be } from "./netlink-message.ts";
import { nftHead, nftMessage, portNumber } from "./nft-element.ts";

const chain = "output";
const hook = { output: 3, priority: -100 };
const register = { address: 1, port: 2 };
const layer = { network: 1, transport: 2 };
const metaL4Protocol = 16;
const protocols = { udp: 17, tcp: 6 } as const;

const expression = (name: string, ...data: Uint8Array[]) =>
  nested(1, text(1, name), nested(2, ...data));
const value = (type: number, bytes: Uint8Array) => nested(type, attribute(1, bytes));
const equals = (bytes: Uint8Array) =>
  expression("cmp", uint32be(1, register.address), uint32be(2, 0), value(3, bytes));
const load = (base: number, offset: number, length: number) =>
  expression(
    "payload",
    uint32be(1, register.address),
    uint32be(2, base),
    uint32be(3, offset),
    uint32be(4, length),
  );
const set = (target: number, bytes: Uint8Array) =>
  expression("immediate", uint32be(1, target), value(2, bytes));

export interface Redirect {
  readonly table: string;
  /** IPv4, four bytes. */
  readonly address: Uint8Array;
  readonly port: number;
  /** Where it leads, on the same address. */
  readonly to: { readonly udp: number; readonly tcp: number };
}

/**
 * Requests for one transaction. Where the table may be there already, `isAnew` removes it first, which
 * takes the kernel some 10 ms.
 */
export function redirectRequests(redirect: Redirect, isAnew: boolean): NetlinkRequest[] {
  const { table } = redirect;
  const request = (type: number, flags: number, ...attributes: Uint8Array[]): NetlinkRequest => ({
    type,
    flags,
    body: Buffer.concat([nftHead("ip"), ...attributes]),
    what: "redirect in table",
    subject: table,
  });
  const hooked = nested(4, uint32be(1, hook.output), uint32be(2, hook.priority));
  const rules = (["udp", "tcp"] as const).map((protocol) =>
    request(
      nftMessage.newRule,
      flag.create | flag.append,
      text(1, table),
      text(2, chain),
      nested(4, ...ruleOf(redirect, protocol)),
    ),
  );
  const before = [
    request(nftMessage.newTable, flag.create, text(1, table)),
    request(nftMessage.deleteTable, 0, text(1, table)),
  ];
  return [
    ...(isAnew ? before : []),
    request(nftMessage.newTable, flag.create, text(1, table)),
    request(
      nftMessage.newChain,
      flag.create,
      text(1, table),
      text(3, chain),
      hooked,
      text(7, "nat"),
    ),
    ...rules,
  ];
}

/** ip daddr ADDRESS, PROTOCOL dport PORT, dnat to ADDRESS:TO */
function ruleOf({ address, port, to }: Redirect, protocol: "udp" | "tcp"): Uint8Array[] {
  const [dnat, ipv4] = [1, 2];
  return [
    load(layer.network, 16, 4),
    equals(address),
    expression("meta", uint32be(1, register.address), uint32be(2, metaL4Protocol)),
    equals(Buffer.of(protocols[protocol])),
    load(layer.transport, 2, 2),
    equals(portNumber(port)),
    set(register.address, address),
    set(register.port, portNumber(to[protocol])),
    expression(
      "nat",
      uint32be(1, dnat),
      uint32be(2, ipv4),
      uint32be(3, register.address),
      uint32be(5, register.port),
    ),
  ];
}
