/** `--network` in both forms, with the flags that speak of its first network. */
import type { EndpointSettings } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { csvFields } from "./mount-flags.ts";

interface Wanted {
  target: string;
  aliases: string[];
  links: string[];
  linkLocal: string[];
  driverOptions: Record<string, string>;
  ipv4: string;
  ipv6: string;
  mac: string;
  gatewayPriority: number;
}

const nothing = (target: string): Wanted => ({
  target,
  aliases: [],
  links: [],
  linkLocal: [],
  driverOptions: {},
  ipv4: "",
  ipv6: "",
  mac: "",
  gatewayPriority: 0,
});

function parseNetwork(text: string): Wanted {
  if (text === "") throw new Failure("invalid", "no name set for network");
  const wanted = nothing(text);
  if (!text.includes("=") && !text.includes(",")) return wanted;
  wanted.target = "";
  for (const field of csvFields(text)) {
    const [key = "", value] = field.split(/=(.*)/s) as [string, string?];
    if (value === undefined) throw new Failure("invalid", `invalid field ${field}`);
    setField(wanted, key.trim().toLowerCase(), value.trim());
  }
  if (wanted.target === "") throw new Failure("invalid", "network name/id is not specified");
  return wanted;
}

function setField(wanted: Wanted, key: string, value: string): void {
  if (key === "name") wanted.target = value;
  else if (key === "alias") wanted.aliases.push(value);
  else if (key === "ip") wanted.ipv4 = value;
  else if (key === "ip6") wanted.ipv6 = value;
  else if (key === "mac-address") wanted.mac = value;
  else if (key === "link-local-ip") wanted.linkLocal.push(value);
  else if (key === "gw-priority") {
    if (!/^-?\d+$/.test(value)) throw new Failure("invalid", `invalid gw-priority: ${value}`);
    wanted.gatewayPriority = Number(value);
  } else if (key === "driver-opt") {
    const [name = "", setting] = value.split(/=(.*)/s) as [string, string?];
    if (setting === undefined)
      throw new Failure("invalid", "invalid key value pair format in driver options");
    wanted.driverOptions[name.trim().toLowerCase()] = setting.trim();
  } else throw new Failure("invalid", `invalid field key ${key}`);
}

/** The flags of `create` and `run` that this file reads. */
export interface NetworkFlags {
  readonly network: readonly string[];
  readonly "network-alias": readonly string[];
  readonly ip: string;
  readonly ip6: string;
  readonly link: readonly string[];
  readonly "link-local-ip": readonly string[];
  readonly "mac-address": string;
}

export interface NetworkRequest {
  readonly mode: string;
  readonly endpoints: Record<string, Partial<EndpointSettings>>;
}

/** What the networking part of the create body says. @throws Failure "invalid" */
export function networkRequest(flags: NetworkFlags): NetworkRequest {
  const all = flags.network.map(parseNetwork);
  const networks = all.length === 0 ? [nothing("default")] : all;
  const [first] = networks as [Wanted, ...Wanted[]];
  addShorthands(first, flags);
  const endpoints: Record<string, Partial<EndpointSettings>> = {};
  for (const wanted of networks) {
    if (Object.hasOwn(endpoints, wanted.target)) {
      throw new Failure("conflict", `network "${wanted.target}" is specified multiple times`);
    }
    if (networks.length > 1 && !isUserDefined(wanted.target) && wanted.target !== "bridge") {
      throw new Failure(
        "conflict",
        `conflicting options: cannot attach both user-defined and non-user-defined network-modes`,
      );
    }
    const settings = settingsOf(wanted);
    // One network without any wish of its own: the engine makes the endpoint.
    if (all.length === 1 && Object.values(settings).every(isNothing)) continue;
    endpoints[wanted.target] = settings;
  }
  return { mode: first.target, endpoints };
}

function isNothing(value: unknown): boolean {
  return value === null || value === "" || value === 0;
}

function isUserDefined(mode: string): boolean {
  return !/^(default|bridge|host|none|container:.*)$/.test(mode);
}

function addShorthands(first: Wanted, flags: NetworkFlags): void {
  const conflict = (flag: string, field: string) =>
    new Failure(
      "conflict",
      `conflicting options: cannot specify both --${flag} and per-network ${field}`,
    );
  const aliases = flags["network-alias"];
  if (aliases.length > 0 && first.aliases.length > 0) throw conflict("network-alias", "alias");
  if (flags.ip && first.ipv4) throw conflict("ip", "IPv4 address");
  if (flags.ip6 && first.ipv6) throw conflict("ip6", "IPv6 address");
  if (flags["mac-address"] && first.mac) throw conflict("mac-address", "MAC address");
  if (flags["link-local-ip"].length > 0 && first.linkLocal.length > 0) {
    throw conflict("link-local-ip", "link-local IP addresses");
  }
  first.aliases.push(...aliases);
  if (first.aliases.length > 0 && !isUserDefined(first.target)) {
    throw new Failure(
      "invalid",
      "network-scoped aliases are only supported for user-defined networks",
    );
  }
  if (isUserDefined(first.target)) first.links.push(...flags.link);
  first.linkLocal.push(...flags["link-local-ip"]);
  first.ipv4 ||= flags.ip;
  first.ipv6 ||= flags.ip6;
  first.mac ||= flags["mac-address"];
}

function settingsOf(wanted: Wanted): Partial<EndpointSettings> {
  const hasAddress = wanted.ipv4 || wanted.ipv6 || wanted.linkLocal.length > 0;
  return {
    IPAMConfig: hasAddress
      ? {
          ...(wanted.ipv4 ? { IPv4Address: wanted.ipv4 } : {}),
          ...(wanted.ipv6 ? { IPv6Address: wanted.ipv6 } : {}),
          ...(wanted.linkLocal.length > 0 ? { LinkLocalIPs: wanted.linkLocal } : {}),
        }
      : null,
    Links: wanted.links.length > 0 ? wanted.links : null,
    Aliases: wanted.aliases.length > 0 ? wanted.aliases : null,
    MacAddress: wanted.mac,
    DriverOpts: Object.keys(wanted.driverOptions).length > 0 ? wanted.driverOptions : null,
    GwPriority: wanted.gatewayPriority,
  };
}
