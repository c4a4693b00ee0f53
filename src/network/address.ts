import { isIPv4, isIPv6 } from "node:net";
import { Failure } from "../base/mod.ts";

/** An IP address as a number, so that subnets are arithmetic. */
export interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A subnet; `base` has no bit set behind the prefix. */
export interface Cidr {
  readonly base: Address;
  readonly prefix: number;
}

const widthOf = (family: 4 | 6) => (family === 4 ? 32 : 128);

/** Reads `172.17.0.2` or `fd00::2`; undefined for anything else, zones included. */
export function readAddress(text: string): Address | undefined {
  if (isIPv4(text)) {
    const value = text.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
    return { family: 4, value };
  }
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const [head = "", tail] = unfoldIPv4(text).split("::");
  const left = head ? head.split(":") : [];
  const right = tail ? tail.split(":") : [];
  const zeros = new Array<string>(8 - left.length - right.length).fill("0");
  const groups = tail === undefined ? left : [...left, ...zeros, ...right];
  return { family: 6, value: BigInt(`0x${groups.map((g) => g.padStart(4, "0")).join("")}`) };
}

/** `::ffff:1.2.3.4` with its last part in groups. */
function unfoldIPv4(text: string): string {
  const dotted = /[\d.]+$/.exec(text)?.[0] ?? "";
  if (!dotted.includes(".")) return text;
  const [a, b, c, d] = dotted.split(".").map(Number) as [number, number, number, number];
  const groups = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  return text.slice(0, -dotted.length) + groups;
}

/** @throws Failure "invalid" — `what` names it in the message */
export function parseAddress(text: string, what = "IP address"): Address {
  const address = readAddress(text);
  if (!address) throw new Failure("invalid", `invalid ${what}: "${text}"`);
  return address;
}

/** RFC 5952 for IPv6: lower case, the longest run of zero groups as `::`. */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) {
    return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");
  }
  const groups = value.toString(16).padStart(32, "0").match(/.{4}/g)!;
  const short = groups.map((group) => group.replace(/^0{1,3}/, ""));
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && short[at + length] === "0") length++;
    if (length > best.length) best = { at, length };
  }
  if (best.at === -1) return short.join(":");
  const left = short.slice(0, best.at).join(":");
  return `${left}::${short.slice(best.at + best.length).join(":")}`;
}

export function toBytes({ family, value }: Address): Uint8Array {
  const digits = widthOf(family) / 4;
  return Buffer.from(value.toString(16).padStart(digits, "0").slice(-digits), "hex");
}

export function fromBytes(bytes: Uint8Array): Address {
  const value = BigInt(`0x${Buffer.from(bytes).toString("hex") || "0"}`);
  return { family: bytes.length === 16 ? 6 : 4, value };
}

/** Reads `172.17.0.0/16`; bits behind the prefix are cleared. @throws Failure "invalid" */
export function parseCidr(text: string): Cidr {
  const [head = "", tail = "", ...rest] = text.split("/");
  const address = readAddress(head);
  const prefix = /^\d{1,3}$/.test(tail) ? Number(tail) : -1;
  if (!address || rest.length > 0 || prefix < 0 || prefix > widthOf(address.family)) {
    throw new Failure("invalid", `invalid CIDR address: ${text}`);
  }
  return cidrOf(address, prefix);
}

/** The subnet of that length that an address is in. */
export function cidrOf(address: Address, prefix: number): Cidr {
  const behind = BigInt(widthOf(address.family) - prefix);
  return { base: { ...address, value: (address.value >> behind) << behind }, prefix };
}

export function formatCidr({ base, prefix }: Cidr): string {
  return `${formatAddress(base)}/${prefix}`;
}

/** The value of a subnet's last address: IPv4's broadcast. */
export function lastOf({ base, prefix }: Cidr): bigint {
  return base.value + (1n << BigInt(widthOf(base.family) - prefix)) - 1n;
}

export function contains(subnet: Cidr, { family, value }: Address): boolean {
  return family === subnet.base.family && value >= subnet.base.value && value <= lastOf(subnet);
}

export function overlaps(one: Cidr, other: Cidr): boolean {
  return contains(one, other.base) || contains(other, one.base);
}

/** 02:42 and the address: the same address has the same MAC, so that no neighbour's cache is stale. */
export function macOf(address: Address): string {
  const last = Buffer.from(toBytes(address)).subarray(-4).toString("hex");
  return `02:42:${last.match(/../g)!.join(":")}`;
}

/** The family of an address. @throws Failure "invalid" — it is none; `name` says of what */
export function checkAddress(text: string, name: string): 4 | 6 {
  return parseAddress(text, `value for "${name}"`).family;
}
