/** Who listens in a network namespace, as the kernel lists it: proc(5), /proc/net/tcp and the like. */
import { readFileSync } from "node:fs";
import { type Address, formatAddress, readAddress } from "./address.ts";

const listening = "0A";
/** A socket for datagrams that is not connected. */
const unconnected = "07";

/** The addresses that somebody listens at, for one protocol and port. */
export function readListeners(
  text: string,
  { port, protocol }: { port: number; protocol: "tcp" | "udp" },
): string[] {
  const state = protocol === "tcp" ? listening : unconnected;
  return text.split("\n").flatMap((line) => {
    const [, hex, number, found] =
      /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ ([0-9A-F]{2})/.exec(line) ?? [];
    const isIt = hex && number && Number.parseInt(number, 16) === port && found === state;
    return isIt ? [formatAddress(readKernelAddress(hex))] : [];
  });
}

/** Words of 32 bits, each in the machine's order: the last byte first. */
function readKernelAddress(hex: string): Address {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.map((word) => word.match(/../g)!.reverse().join("")).join("");
  return { family: words.length === 1 ? 4 : 6, value: BigInt(`0x${bytes}`) };
}

/** The listeners of the namespace that the thread is in. */
export function listenersHere(port: number, protocol: "tcp" | "udp"): string[] {
  return [protocol, `${protocol}6`].flatMap((name) => {
    try {
      const text = readFileSync(`/proc/thread-self/net/${name}`, "utf8");
      return readListeners(text, { port, protocol });
    } catch {
      return []; // A kernel without IPv6.
    }
  });
}

/** Whether one of them hears what comes to `address`. */
export function hears(listeners: readonly string[], address: string): boolean {
  const mapped = readAddress(`::ffff:${address}`);
  const able = address.includes(":")
    ? ["::", address]
    : ["::", "0.0.0.0", address, ...(mapped ? [formatAddress(mapped)] : [])];
  return listeners.some((one) => able.includes(one));
}
