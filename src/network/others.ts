/**
 * What other engines of this host publish. An engine that was killed has no sockets left to keep its
 * ports by, but its rules go on, and those of the older table win: who published such a port again
 * would get no connections.
 */
import { isFailure } from "../base/mod.ts";
import {
  decodeKeys,
  decodeTable,
  listElements,
  listTables,
  type Netlink,
  type NftElement,
} from "../sys/mod.ts";
import { type Address, fromBytes, parseAddress } from "./address.ts";
import { type Family, isEngineTable, protocolNumber, publishMaps } from "./ruleset.ts";
import type { BoundPort } from "./types.ts";

/** A port of the host that the rules of another engine lead elsewhere. */
export interface Taken {
  readonly family: Family;
  readonly table: string;
  readonly protocol: number;
  readonly port: number;
  /** Undefined for all addresses of the host. */
  readonly address: Address | undefined;
}

/** Protocol and port, at the end of each key, padded to four bytes each. */
const serviceBytes = 8;

/** Costs 10 µs where there is no other engine. `own` is this engine's table. */
export function publishedByOthers(filter: Netlink, own: string): readonly Taken[] {
  const tables = filter.dump(listTables).flatMap((message) => decodeTable(message) ?? []);
  return tables
    .filter(({ table }) => table !== own && isEngineTable(table))
    .flatMap((place) => publishMaps.flatMap((set) => takenIn(filter, { ...place, set })));
}

function takenIn(filter: Netlink, map: Pick<NftElement, "family" | "table" | "set">): Taken[] {
  const { family, table } = map;
  return keysIn(filter, map).map((key) => {
    const service = key.subarray(-serviceBytes);
    const address = key.subarray(0, -serviceBytes);
    return {
      family,
      table,
      protocol: service[0]!,
      port: service.readUInt16BE(4),
      address: address.length > 0 ? fromBytes(address) : undefined,
    };
  });
}

function keysIn(filter: Netlink, map: Parameters<typeof listElements>[0]): Buffer[] {
  try {
    return filter.dump(listElements(map)).flatMap(decodeKeys);
  } catch (error) {
    if (isFailure(error, "not_found")) return []; // its engine has just taken it along
    throw error;
  }
}

/** Whose rules have this port, or a part of it. */
export function holderOf(port: BoundPort, taken: readonly Taken[]): Taken | undefined {
  const host = parseAddress(port.hostIp);
  const family = host.family === 4 ? "ip" : "ip6";
  return taken.find(
    (one) =>
      one.family === family &&
      one.port === port.hostPort &&
      one.protocol === protocolNumber[port.protocol] &&
      (host.value === 0n || one.address === undefined || one.address.value === host.value),
  );
}
