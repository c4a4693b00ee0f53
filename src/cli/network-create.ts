import type { NetworkCreateBody } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import type { FlagValues } from "./flags.ts";
import { toMap } from "./key-values.ts";
import { complain, print } from "./output.ts";

type IpamConfig = NonNullable<NonNullable<NetworkCreateBody["IPAM"]>["Config"]>[number];

const flags = {
  attachable: { kind: "bool", about: "Let containers join it by hand" },
  "aux-address": {
    kind: "list",
    word: "map",
    about: "Address that the driver must not give away: NAME=ADDRESS",
  },
  "config-from": { kind: "string", about: "Network to copy the settings from" },
  "config-only": { kind: "bool", about: "Make settings alone, no network" },
  driver: { kind: "string", short: "d", default: "bridge", about: "Driver of the network" },
  gateway: { kind: "list", about: "Gateway of a subnet" },
  ingress: { kind: "bool", about: "For swarm routing" },
  internal: { kind: "bool", about: "Without a way out" },
  "ip-range": { kind: "list", about: "Give addresses of this part of the subnet" },
  "ipam-driver": { kind: "string", default: "default", about: "Driver that gives addresses" },
  "ipam-opt": { kind: "list", word: "map", about: "Option for it: NAME=VALUE" },
  ipv4: { kind: "bool", default: true, about: "Give IPv4 addresses" },
  ipv6: { kind: "bool", about: "Give IPv6 addresses" },
  label: { kind: "list", about: "Set a label: NAME=VALUE" },
  opt: { kind: "list", short: "o", word: "map", about: "Option for the driver: NAME=VALUE" },
  scope: { kind: "string", about: "Scope of the network" },
  subnet: { kind: "list", about: "Subnet, such as 10.1.0.0/16" },
} as const;

export const command = defineCommand({
  usage: "[OPTIONS] NETWORK",
  flags,
  arguments: { min: 1, max: 1 },
  async run({ flags: values, args, given, globals }) {
    const { Id, Warning } = await engineOf(globals).networks.create({
      Name: args[0]!,
      ...(values["config-only"] && !given.has("driver") ? {} : { Driver: values.driver }),
      ...(values["config-only"] ? { ConfigOnly: true } : {}),
      ...(values["config-from"] ? { ConfigFrom: { Network: values["config-from"] } } : {}),
      ...(values.scope ? { Scope: values.scope } : {}),
      Internal: values.internal,
      Attachable: values.attachable,
      Ingress: values.ingress,
      ...(given.has("ipv4") ? { EnableIPv4: values.ipv4 } : {}),
      ...(given.has("ipv6") ? { EnableIPv6: values.ipv6 } : {}),
      IPAM: {
        Driver: values["ipam-driver"],
        Options: toMap(values["ipam-opt"]),
        Config: addressing(values),
      },
      Options: toMap(values.opt),
      Labels: toMap(values.label),
    });
    if (Warning) complain(`WARNING: ${Warning}`);
    print(Id);
    return 0;
  },
});

/** Each gateway, range and reserved address belongs to the subnet that holds it. */
export function addressing(
  values: Pick<FlagValues<typeof flags>, "subnet" | "gateway" | "ip-range" | "aux-address">,
): IpamConfig[] {
  if (
    values.subnet.length < values["ip-range"].length ||
    values.subnet.length < values.gateway.length
  ) {
    throw new Failure("invalid", "every ip-range or gateway must have a corresponding subnet");
  }
  const blocks = new Map<string, { -readonly [K in keyof IpamConfig]: IpamConfig[K] }>();
  for (const subnet of values.subnet) {
    if (blocks.has(subnet))
      throw new Failure("invalid", "multiple overlapping subnet configuration is not supported");
    blocks.set(subnet, { Subnet: subnet });
  }
  const blockOf = (address: string, what: string) => {
    const found = values.subnet.find((subnet) => holds(subnet, address.split("/")[0]!));
    if (!found) throw new Failure("invalid", `no matching subnet for ${what} ${address}`);
    return blocks.get(found)!;
  };
  for (const range of values["ip-range"]) blockOf(range, "range").IPRange = range;
  for (const gateway of values.gateway) blockOf(gateway, "gateway").Gateway = gateway;
  for (const [name, address] of Object.entries(toMap(values["aux-address"]))) {
    const block = blockOf(address, "aux-address");
    block.AuxiliaryAddresses = { ...block.AuxiliaryAddresses, [name]: address };
  }
  return [...blocks.values()];
}

/** True when `address` is in `subnet` (CIDR). */
export function holds(subnet: string, address: string): boolean {
  const [base = "", length = ""] = subnet.split("/");
  const a = addressBits(base);
  const b = addressBits(address);
  if (!a || !b || a.size !== b.size || !/^\d+$/.test(length)) return false;
  const shift = BigInt(a.size - Number(length));
  return a.bits >> shift === b.bits >> shift;
}

function addressBits(text: string): { bits: bigint; size: 32 | 128 } | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    return {
      bits: text.split(".").reduce((sum, part) => (sum << 8n) + BigInt(part), 0n),
      size: 32,
    };
  }
  if (!/^[0-9a-fA-F:]+$/.test(text) || !text.includes(":")) return undefined;
  const [head = "", tail] = text.split("::");
  const words = (part: string) => part.split(":").filter((word) => word !== "");
  const last = tail === undefined ? [] : words(tail);
  const first = words(head);
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => "0");
  const bits = [...first, ...zeros, ...last].reduce(
    (sum, word) => (sum << 16n) + BigInt(`0x${word}`),
    0n,
  );
  return { bits, size: 128 };
}
