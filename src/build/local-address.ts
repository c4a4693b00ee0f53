/**
 * Addresses that only this host or its network can reach. A Dockerfile's author may name one, but an
 * address in the open must not lead to one: that is how a stranger would ask the host's own services.
 */
import { BlockList, isIP } from "node:net";

const local = new BlockList();
for (const [net, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
] as const) {
  local.addSubnet(net, bits, "ipv4");
}
for (const [net, bits] of [
  ["::", 127],
  ["fc00::", 7],
  ["fe80::", 10],
] as const) {
  local.addSubnet(net, bits, "ipv6");
}

/** True for loopback, link-local, private and unspecified addresses, also as IPv4 in IPv6. */
export function isLocalAddress(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  const plain = mapped ?? address;
  const family = isIP(plain);
  return family !== 0 && local.check(plain, family === 6 ? "ipv6" : "ipv4");
}
