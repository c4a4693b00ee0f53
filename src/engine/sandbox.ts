import { Failure } from "../base/mod.ts";
import {
  type Endpoint,
  type EndpointSpec,
  type Network,
  parseExtraHost,
  type Sandbox,
  type SandboxSpec,
} from "../network/mod.ts";
import { groupIdMax, type NetworkNamespace } from "../sys/mod.ts";
import type { Core } from "./core.ts";
import { linksOf } from "./links.ts";
import { portsOf } from "./ports.ts";
import type { Container, CreateRequest, HostConfig } from "./types.ts";

/** What a container needs of the network, once it is there. */
export interface Place {
  /** The network namespace; undefined for the host's. */
  readonly netnsPath: string | undefined;
  readonly files: Pick<Sandbox, "hostsPath" | "hostnamePath" | "resolvConfPath">;
}

/** What an unprivileged process may do in a network of its own. */
const sysctlDefaults: Readonly<Record<string, string>> = {
  "net.ipv4.ip_unprivileged_port_start": "0",
  "net.ipv4.ping_group_range": `0 ${groupIdMax}`,
};

/** "default" is "bridge". */
export function networkModeOf(host: Pick<HostConfig, "NetworkMode">): string {
  return host.NetworkMode === "" || host.NetworkMode === "default" ? "bridge" : host.NetworkMode;
}

/** The container whose namespace `container:X` borrows. @throws "not_found" | "conflict" */
export function donorOf(core: Core, mode: string): Container | undefined {
  if (!mode.startsWith("container:")) return undefined;
  return core.records.resolve(mode.slice("container:".length));
}

/**
 * The endpoints that a container shall have: the mode's network first, if it is asked for. As in Docker,
 * endpoints that are asked for stand instead of the mode's network, not beside it. @throws "not_found"
 */
export function planEndpoints(core: Core, request: CreateRequest): EndpointSpec[] {
  const mode = networkModeOf(request.hostConfig);
  if (mode.startsWith("container:")) {
    donorOf(core, mode);
    return [];
  }
  const primary = core.networks.resolve(mode);
  const asked = request.endpoints.map((spec) => {
    const isMode = spec.network === mode || (spec.network === "default" && mode === "bridge");
    const { id, name } = isMode ? primary : core.networks.resolve(spec.network);
    // By its name, whatever it was asked for by: a part of its ID would not be found again.
    return { spec: { ...spec, network: name }, id };
  });
  const others = asked.filter(({ id }) => id !== primary.id);
  const closed = core.networks
    .list()
    .filter(({ driver }) => driver === "host" || driver === "null");
  const isClosed = (id: string) => closed.some((network) => network.id === id);
  if (others.length > 0 && [primary.id, ...others.map(({ id }) => id)].some(isClosed)) {
    throw new Failure(
      "invalid",
      `conflicting options: cannot attach both user-defined and non-user-defined network-modes`,
    );
  }
  const ordered = [...asked.filter(({ id }) => id === primary.id), ...others];
  const [first = { network: primary.name }, ...rest] = ordered.map(({ spec }) => spec);
  const mac = request.config.MacAddress;
  const isMacAsked = mac !== undefined && mac !== "" && !first.macAddress;
  const all = [isMacAsked ? { ...first, macAddress: mac } : first, ...rest];
  for (const spec of all) core.networks.check(spec);
  return all;
}

export function sandboxSpec(core: Core, container: Container): SandboxSpec {
  const { id, name, config, hostConfig } = container;
  const sysctl = Object.entries(hostConfig.Sysctls ?? {}).filter(([key]) => key.startsWith("net."));
  return {
    containerId: id,
    containerName: name,
    hostname: config.Hostname,
    domainname: config.Domainname,
    endpoints: container.endpoints,
    ports: networkModeOf(hostConfig) === "host" ? [] : portsOf(container),
    dns: hostConfig.Dns ?? [],
    dnsSearch: hostConfig.DnsSearch ?? [],
    dnsOptions: hostConfig.DnsOptions ?? [],
    extraHosts: [
      ...(hostConfig.ExtraHosts ?? []).map(parseExtraHost),
      ...linkHosts(core, container),
    ],
    sysctl: { ...sysctlDefaults, ...Object.fromEntries(sysctl) },
  };
}

/** Names of other containers on the same network. */
function linkHosts(core: Core, container: Container): [string, string][] {
  return linksOf(core, container).flatMap(({ target, alias, address }) => {
    const names = new Set([alias, target.config.Hostname, target.name]);
    return [...names].map((each): [string, string] => [each, address]);
  });
}

/** Puts a container on its networks. @throws as `NetworkStore.open`; "conflict" — the donor is down */
export async function openPlace(
  core: Core,
  container: Container,
  takeNetwork?: () => NetworkNamespace,
): Promise<Place> {
  const mode = networkModeOf(container.hostConfig);
  const donor = donorOf(core, mode);
  if (donor) return await borrowPlace(core, container, donor);
  if (mode === "host") {
    return { netnsPath: undefined, files: await core.networks.files(sandboxSpec(core, container)) };
  }
  const sandbox = await core.tally.timed("network", "allocate", () =>
    core.networks.open(sandboxSpec(core, container), takeNetwork),
  );
  tell(core, container, sandbox.endpoints, "connect");
  return { netnsPath: sandbox.netnsPath, files: sandbox };
}

async function borrowPlace(core: Core, container: Container, donor: Container): Promise<Place> {
  const live = core.live.get(donor.id);
  if (!live) {
    throw new Failure(
      "conflict",
      `cannot join network namespace of container: Container ${donor.name} is not running`,
    );
  }
  const sandbox = core.networks.sandbox(donor.id);
  if (sandbox) return { netnsPath: sandbox.netnsPath, files: sandbox };
  const files = await core.networks.files(sandboxSpec(core, container));
  return { netnsPath: `/proc/${live.process.pid}/ns/net`, files };
}

/** Takes a container off its networks; absent is fine. */
export async function closePlace(core: Core, container: Container): Promise<void> {
  const endpoints = core.networks.sandbox(container.id)?.endpoints ?? [];
  await core.tally.timed("network", "release", () => core.networks.close(container.id));
  tell(core, container, endpoints, "disconnect");
}

function tell(
  core: Core,
  { id }: Container,
  endpoints: readonly Endpoint[],
  action: "connect" | "disconnect",
): void {
  for (const { networkId, networkName } of endpoints) {
    const type = core.networks.list().find((network) => network.id === networkId)?.driver ?? "";
    const attributes = { container: id, name: networkName, type };
    core.events.emit({ type: "network", action, actor: { id: networkId, attributes } });
  }
}

/** As `inspect` shows them: what is, or, when it does not run, what is wanted. */
export function endpointsOf(core: Core, container: Container): readonly Endpoint[] {
  const open = core.networks.sandbox(container.id)?.endpoints;
  if (open) return open;
  return container.endpoints.map((spec) => {
    const network = core.networks.list().find(({ id, name }) => {
      return name === spec.network || id === spec.network;
    });
    return {
      ...spec,
      networkId: network?.id ?? "",
      networkName: network?.name ?? spec.network,
      endpointId: "",
      interfaceName: "",
      address: "",
      prefix: 0,
      gateway: "",
      address6: "",
      prefix6: 0,
      gateway6: "",
      mac: "",
      dnsNames: [],
    };
  });
}

/** `network connect`. A container that does not run gets it at its next start. */
export async function connect(
  core: Core,
  networkId: string,
  id: string,
  endpoint: EndpointSpec,
): Promise<void> {
  const network = core.networks.resolve(networkId);
  await core.locks.run(id, async () => {
    const container = core.records.get(id);
    refuseSharedMode(container);
    const spec = { ...macFor(container, network), ...endpoint, network: network.name };
    const isThere = container.endpoints.some(({ network: name }) => isSame(name, network));
    if (isThere) {
      throw new Failure(
        "denied",
        `endpoint with name ${container.name} already exists in network ${network.name}`,
      );
    }
    refuseClosed(core, container, network);
    core.networks.check(spec);
    if (core.live.has(id)) await core.networks.connect(id, spec);
    core.records.change(id, { endpoints: [...container.endpoints, spec] });
    const attributes = { container: id, name: network.name, type: network.driver };
    const actor = { id: network.id, attributes };
    core.events.emit({ type: "network", action: "connect", actor });
  });
}

/** The container's own `MacAddress` is for the network that its mode names, each time it comes there. */
function macFor({ config, hostConfig }: Container, network: Network) {
  const isMain = config.MacAddress && isSame(networkModeOf(hostConfig), network);
  return isMain ? { macAddress: config.MacAddress } : {};
}

/** `network disconnect`. @throws "denied" — it is not on that network */
export async function disconnect(core: Core, networkId: string, id: string): Promise<void> {
  const network = core.networks.resolve(networkId);
  await core.locks.run(id, async () => {
    const container = core.records.get(id);
    refuseSharedMode(container);
    const left = container.endpoints.filter(({ network: name }) => !isSame(name, network));
    if (left.length === container.endpoints.length) {
      throw new Failure(
        "denied",
        `container ${id} is not connected to the network ${network.name}`,
      );
    }
    // First what is wanted: after a crash `leaveUnwanted` does the rest.
    core.records.change(id, { endpoints: left });
    try {
      if (core.live.has(id)) await core.networks.disconnect(id, network.id);
    } catch (error) {
      core.records.change(id, { endpoints: container.endpoints });
      throw error;
    }
    const attributes = { container: id, name: network.name, type: network.driver };
    const actor = { id: network.id, attributes };
    core.events.emit({ type: "network", action: "disconnect", actor });
  });
}

/** Takes a container off networks that it has no record of: a crash cut `connect` or `disconnect` off. */
export async function leaveUnwanted(core: Core, id: string): Promise<void> {
  const wanted = core.records.get(id).endpoints.map((one) => core.networks.resolve(one.network).id);
  for (const { networkId } of core.networks.sandbox(id)?.endpoints ?? []) {
    if (!wanted.includes(networkId)) await core.networks.disconnect(id, networkId);
  }
}

function refuseSharedMode({ hostConfig }: Container): void {
  const mode = networkModeOf(hostConfig);
  if (mode !== "host" && !mode.startsWith("container:")) return;
  throw new Failure(
    "denied",
    "container sharing network namespace with another container or host cannot be connected " +
      "to any other network",
  );
}

/** The host's network and none are no networks that one joins besides others. */
function refuseClosed(core: Core, { endpoints }: Container, network: Network): void {
  if (network.driver === "host") {
    const reason =
      "container cannot be disconnected from host network or connected to host network";
    throw new Failure("invalid", reason);
  }
  const all = [network, ...endpoints.map((one) => core.networks.resolve(one.network))];
  if (all.length === 1 || !all.some(({ driver }) => driver === "null")) return;
  const reason =
    "container cannot be connected to multiple networks with one of the networks in private " +
    "(none) mode";
  throw new Failure("invalid", reason);
}

function isSame(name: string, network: { id: string; name: string }): boolean {
  return (
    name === network.name ||
    name === network.id ||
    (name === "default" && network.name === "bridge")
  );
}
