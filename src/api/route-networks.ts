/** The endpoints of networks. */
import { Failure } from "../base/mod.ts";
import type { Network, NetworkSpec, Subnet } from "../network/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { Fields, readFields } from "./fields.ts";
import { parseEndpoint, withoutAbsent } from "./parse-container.ts";
import {
  anyOf,
  booleanFilter,
  type FilterMap,
  matchesLabels,
  matchesName,
  parseFilters,
  parsePrune,
  parseTimeNs,
} from "./query.ts";
import type { Route } from "./router.ts";
import type { NetworkInspect } from "./schema.ts";
import { isUp } from "./wire-container.ts";

type Parameters = readonly string[];

const knownFilters = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type"];

/** A network as the wire has it, with those who are on it when `context` is given. */
export function networkAnswer(network: Network, context?: Context): NetworkInspect {
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: "local",
    Driver: network.driver,
    EnableIPv4: network.enableIPv4,
    EnableIPv6: network.enableIPv6,
    IPAM: {
      Driver: network.ipamDriver ?? "default",
      Options: network.ipamOptions ?? {},
      Config: network.subnets.map((subnet) => ({
        Subnet: subnet.subnet,
        ...(subnet.ipRange ? { IPRange: subnet.ipRange } : {}),
        ...(subnet.gateway ? { Gateway: subnet.gateway } : {}),
        ...(subnet.auxAddresses ? { AuxiliaryAddresses: subnet.auxAddresses } : {}),
      })),
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: false,
    ConfigFrom: { Network: network.configFrom ?? "" },
    ConfigOnly: network.configOnly ?? false,
    Containers: context ? containersOn(network, context) : {},
    Options: network.options,
    Labels: network.labels,
  };
}

/** Those on the host's network have no endpoint of their own. */
function containersOn(
  network: Network,
  { networks, engine }: Context,
): NetworkInspect["Containers"] {
  if (network.driver === "host") {
    const nowhere = { EndpointID: "", MacAddress: "", IPv4Address: "", IPv6Address: "" };
    const there = engine.list().filter((one) => isUp(one) && one.hostConfig.NetworkMode === "host");
    return Object.fromEntries(there.map(({ id, name }) => [id, { Name: name, ...nowhere }]));
  }
  const entries = [...networks.endpointsOf(network.id)].map(([id, { name, endpoint }]) => {
    const answer = {
      Name: name,
      EndpointID: endpoint.endpointId,
      MacAddress: endpoint.mac,
      IPv4Address: endpoint.address ? `${endpoint.address}/${endpoint.prefix}` : "",
      IPv6Address: endpoint.address6 ? `${endpoint.address6}/${endpoint.prefix6}` : "",
    };
    return [id, answer] as const;
  });
  return Object.fromEntries(entries);
}

function list(exchange: Exchange, context: Context): void {
  const filters = parseFilters(exchange.query, knownFilters);
  const matches = matcherOf(filters, context);
  const chosen = context.networks.list().filter(matches);
  exchange.json(
    200,
    chosen.map((network) => networkAnswer(network)),
  );
}

function matcherOf(filters: FilterMap, { networks }: Context) {
  const dangling = booleanFilter(filters, "dangling");
  const type = filters.get("type")?.find((value) => value !== "custom" && value !== "builtin");
  if (type !== undefined) {
    throw new Failure("invalid", `invalid filter: 'type'='${type.slice(0, 100)}'`);
  }
  return (network: Network): boolean => {
    const { id, name, driver, labels, predefined } = network;
    const isDangling = () => !predefined && networks.endpointsOf(id).size === 0;
    return (
      anyOf(filters, "driver", (value) => driver === value) &&
      anyOf(filters, "id", (value) => id.startsWith(value)) &&
      anyOf(filters, "name", (value) => name.includes(value) || matchesName(value, name)) &&
      anyOf(filters, "scope", (value) => value === "local") &&
      anyOf(filters, "type", (value) => (value === "builtin") === predefined) &&
      matchesLabels(filters, labels) &&
      (dangling === undefined || isDangling() === dangling)
    );
  };
}

function inspect(exchange: Exchange, context: Context, [name = ""]: Parameters): void {
  const network = context.networks.resolve(name);
  // Networks of another scope take a swarm.
  if (![null, "", "local"].includes(exchange.query.get("scope"))) {
    throw new Failure("not_found", `network ${name} not found`);
  }
  exchange.json(200, networkAnswer(network, context));
}

async function create(exchange: Exchange, { networks, engine }: Context): Promise<void> {
  const spec = parseNetwork(await readFields(exchange));
  const network = await networks.create(spec);
  engine.emit({
    type: "network",
    action: "create",
    actor: { id: network.id, attributes: { name: network.name, type: network.driver } },
  });
  exchange.json(201, { Id: network.id, Warning: "" });
}

function parseNetwork(body: Fields): NetworkSpec {
  const name = body.text("Name") ?? "";
  if (name === "") throw new Failure("invalid", "network name cannot be empty");
  if (body.flag("Ingress")) {
    throw new Failure("unsupported", `Cannot create network "${name}": Ingress takes a swarm`);
  }
  const scope = body.text("Scope") ?? "";
  if (scope !== "" && scope !== "local") {
    const message = `Cannot create network "${name}": scope "${scope.slice(0, 100)}" takes a swarm`;
    throw new Failure("unsupported", message);
  }
  const ipam = body.object("IPAM");
  const ipamDriver = ipam?.text("Driver") ?? "default";
  const ipamOptions = ipam?.labels("Options");
  const isOwnIpam = ipamDriver === "" || ipamDriver === "default";
  return withoutAbsent({
    name,
    driver: body.text("Driver") || "bridge",
    internal: body.flag("Internal") ?? false,
    attachable: body.flag("Attachable") ?? false,
    enableIPv4: body.flag("EnableIPv4") ?? true,
    enableIPv6: body.flag("EnableIPv6") ?? false,
    subnets: ipam?.list("Config", parseSubnet) ?? [],
    options: body.labels("Options") ?? {},
    labels: body.labels("Labels") ?? {},
    configOnly: body.flag("ConfigOnly") || undefined,
    configFrom: body.object("ConfigFrom")?.text("Network") || undefined,
    ipamDriver: isOwnIpam ? undefined : ipamDriver,
    ipamOptions: ipamOptions && Object.keys(ipamOptions).length > 0 ? ipamOptions : undefined,
  });
}

function parseSubnet(value: unknown, where: string): Subnet {
  const fields = new Fields(value, where);
  return withoutAbsent({
    subnet: fields.text("Subnet") ?? "",
    gateway: fields.text("Gateway") || undefined,
    ipRange: fields.text("IPRange") || undefined,
    auxAddresses: fields.labels("AuxiliaryAddresses"),
  });
}

async function remove(
  exchange: Exchange,
  context: Context,
  [name = ""]: Parameters,
): Promise<void> {
  await removeNetwork(context, context.networks.resolve(name));
  exchange.empty(204);
}

async function removeNetwork({ networks, engine }: Context, network: Network): Promise<void> {
  await networks.remove(network.id);
  engine.emit({
    type: "network",
    action: "destroy",
    actor: { id: network.id, attributes: { name: network.name, type: network.driver } },
  });
}

async function connect(
  exchange: Exchange,
  { engine, networks }: Context,
  [name = ""]: Parameters,
): Promise<void> {
  const body = await readFields(exchange);
  const network = networks.resolve(name);
  const container = engine.resolve(body.text("Container") ?? "");
  const config = body.object("EndpointConfig") ?? new Fields({}, "EndpointConfig");
  await engine.connect(network.id, container.id, parseEndpoint(network.name, config));
  exchange.empty(200);
}

async function disconnect(
  exchange: Exchange,
  { engine, networks }: Context,
  [name = ""]: Parameters,
): Promise<void> {
  const body = await readFields(exchange);
  const network = networks.resolve(name);
  const container = engine.resolve(body.text("Container") ?? "");
  await engine.disconnect(network.id, container.id, body.flag("Force") ?? false);
  exchange.empty(200);
}

async function prune(exchange: Exchange, context: Context): Promise<void> {
  const { filters, isDry } = parsePrune(exchange.query, ["until", "label", "label!"]);
  const { networks } = context;
  const until = filters.get("until")?.map((value) => {
    const time = parseTimeNs(value);
    if (time !== undefined) return time;
    throw new Failure("invalid", `invalid until filter: "${value.slice(0, 100)}"`);
  });
  const isOldEnough = ({ created }: Network) =>
    until === undefined || until.every((time) => BigInt(Date.parse(created)) * 1_000_000n < time);
  const deleted: string[] = [];
  for (const network of networks.list()) {
    // Settings for other networks stay, as with Docker.
    const isKept = network.predefined || network.configOnly;
    const isIdle = !isKept && networks.endpointsOf(network.id).size === 0;
    if (!isIdle || !isOldEnough(network) || !matchesLabels(filters, network.labels)) continue;
    if (!isDry) await removeNetwork(context, network);
    deleted.push(network.name);
  }
  if (!isDry) {
    const actor = { id: "", attributes: { reclaimed: "0" } };
    context.engine.emit({ type: "network", action: "prune", actor });
  }
  exchange.json(200, { NetworksDeleted: deleted });
}

export const routes: readonly Route[] = [
  ["GET", "/networks", list],
  ["GET", "/networks/", list],
  ["POST", "/networks/create", create],
  ["POST", "/networks/prune", prune],
  ["GET", "/networks/{id}", inspect],
  ["DELETE", "/networks/{id}", remove],
  ["POST", "/networks/{id}/connect", connect],
  ["POST", "/networks/{id}/disconnect", disconnect],
];
