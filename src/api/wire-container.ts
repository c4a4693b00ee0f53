/** Containers as the wire has them. */
import type { Container, Engine } from "../engine/mod.ts";
import type { Endpoint, EndpointSpec, Sandbox } from "../network/mod.ts";
import { storageDriver } from "./graph-driver.ts";
import type {
  ContainerInspect,
  ContainerSummary,
  DriverData,
  EndpointSettings,
  NetworkSettings,
  Port,
  StateAnswer,
} from "./schema.ts";
import { statusWords } from "./words.ts";

/** True for the states in which the process exists. */
export function isUp({ state }: Pick<Container, "state">): boolean {
  return state.status === "running" || state.status === "paused" || state.status === "restarting";
}

export function stateAnswer({ state }: Container): StateAnswer {
  return {
    Status: state.status,
    Running:
      state.status === "running" || state.status === "paused" || state.status === "restarting",
    Paused: state.status === "paused",
    Restarting: state.status === "restarting",
    OOMKilled: state.oomKilled,
    Dead: state.status === "dead",
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
    ...(state.health ? { Health: state.health } : {}),
  };
}

/** One endpoint, asked for and given. */
export function endpointSettings(endpoint: Endpoint): EndpointSettings {
  return {
    IPAMConfig: ipamSettings(endpoint),
    Links: endpoint.links && endpoint.links.length > 0 ? endpoint.links : null,
    Aliases: endpoint.aliases && endpoint.aliases.length > 0 ? endpoint.aliases : null,
    MacAddress: endpoint.mac,
    DriverOpts: endpoint.driverOptions ?? null,
    GwPriority: endpoint.gatewayPriority ?? 0,
    NetworkID: endpoint.networkId,
    EndpointID: endpoint.endpointId,
    Gateway: endpoint.gateway,
    IPAddress: endpoint.address,
    IPPrefixLen: endpoint.prefix,
    IPv6Gateway: endpoint.gateway6,
    GlobalIPv6Address: endpoint.address6,
    GlobalIPv6PrefixLen: endpoint.prefix6,
    DNSNames: endpoint.dnsNames.length > 0 ? endpoint.dnsNames : null,
  };
}

function ipamSettings({ ipv4, ipv6, linkLocal = [] }: EndpointSpec) {
  if (!ipv4 && !ipv6 && linkLocal.length === 0) return null;
  return {
    ...(ipv4 ? { IPv4Address: ipv4 } : {}),
    ...(ipv6 ? { IPv6Address: ipv6 } : {}),
    ...(linkLocal.length > 0 ? { LinkLocalIPs: linkLocal } : {}),
  };
}

function networksOf(endpoints: readonly Endpoint[]): Record<string, EndpointSettings> {
  return Object.fromEntries(endpoints.map((each) => [each.networkName, endpointSettings(each)]));
}

function portMap(container: Container, sandbox: Sandbox | undefined): NetworkSettings["Ports"] {
  if (!hasPorts(container) || !sandbox) return {};
  const ports: Record<string, { HostIp: string; HostPort: string }[] | null> = {};
  for (const name of Object.keys(container.config.ExposedPorts ?? {}))
    ports[withProtocol(name)] = null;
  for (const { containerPort, protocol, hostIp, hostPort } of sandbox.ports) {
    const name = `${containerPort}/${protocol}`;
    ports[name] = [...(ports[name] ?? []), { HostIp: hostIp, HostPort: String(hostPort || "") }];
  }
  return ports;
}

/** Without a network nothing is reachable, whatever the image exposes. */
const hasPorts = (container: Container) =>
  isUp(container) && container.hostConfig.NetworkMode !== "none";

const withProtocol = (port: string) => (port.includes("/") ? port : `${port}/tcp`);

/** The `Ports` of a list: what is published, and what is exposed only. */
export function portList(container: Container, sandbox: Sandbox | undefined): Port[] {
  if (!hasPorts(container)) return [];
  const bound = sandbox?.ports ?? [];
  const list: Port[] = bound.map(({ containerPort, protocol, hostIp, hostPort }) => ({
    IP: hostIp,
    PrivatePort: containerPort,
    ...(hostPort === 0 ? {} : { PublicPort: hostPort }),
    Type: protocol,
  }));
  for (const name of Object.keys(container.config.ExposedPorts ?? {})) {
    const match = /^(\d+)(?:-(\d+))?\/(tcp|udp|sctp)$/.exec(withProtocol(name));
    if (!match) continue;
    const [, first, last = first, protocol] = match;
    const isBound = (port: number) =>
      bound.some((each) => each.containerPort === port && each.protocol === protocol);
    for (let port = Number(first); port <= Math.min(Number(last), 65_535); port++) {
      if (!isBound(port)) list.push({ PrivatePort: port, Type: protocol as Port["Type"] });
    }
  }
  return list;
}

export function networkSettings(
  container: Container,
  { sandbox, endpoints }: { sandbox: Sandbox | undefined; endpoints: readonly Endpoint[] },
): NetworkSettings {
  // The flat fields speak of the default bridge alone.
  const main = endpoints.find(({ networkName }) => networkName === "bridge");
  const isOpen = isUp(container) && sandbox !== undefined;
  return {
    Bridge: "",
    SandboxID: isOpen ? container.id : "",
    SandboxKey: isOpen ? sandbox.netnsPath : "",
    Ports: portMap(container, sandbox),
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: main?.endpointId ?? "",
    Gateway: main?.gateway ?? "",
    GlobalIPv6Address: main?.address6 ?? "",
    GlobalIPv6PrefixLen: main?.prefix6 ?? 0,
    IPAddress: main?.address ?? "",
    IPPrefixLen: main?.prefix ?? 0,
    IPv6Gateway: main?.gateway6 ?? "",
    MacAddress: main?.mac ?? "",
    Networks: networksOf(endpoints),
  };
}

/** What clients read of each container, whether it was asked for or not. */
const unsetConfig = {
  User: "",
  Cmd: null,
  Entrypoint: null,
  WorkingDir: "",
  OnBuild: null,
  Labels: {},
};
const windowsLimits = { CpuCount: 0, CpuPercent: 0, IOMaximumIOps: 0, IOMaximumBandwidth: 0 };

/** Docker's null where nothing was asked for, whether clients sent something empty or nothing. */
function unlessEmpty<Value extends object>(value: Value | null | undefined): Value | null {
  return value && Object.keys(value).length > 0 ? value : null;
}

/** `GET /containers/{id}/json`. Sizes only where they were asked for. */
export function containerInspect(
  engine: Engine,
  container: Container,
  {
    graph,
    sizes,
  }: {
    readonly graph: DriverData;
    readonly sizes?: { readonly rw: number; readonly root: number };
  },
): ContainerInspect {
  const sandbox = engine.sandbox(container.id);
  const endpoints = engine.endpoints(container.id);
  const { id } = container;
  return {
    Id: id,
    Created: container.created,
    Path: container.path,
    Args: container.args,
    State: stateAnswer(container),
    Image: container.imageId,
    ResolvConfPath: sandbox?.resolvConfPath ?? "",
    HostnamePath: sandbox?.hostnamePath ?? "",
    HostsPath: sandbox?.hostsPath ?? "",
    LogPath: container.hostConfig.LogConfig.Type === "none" ? "" : container.logDirectory,
    Name: `/${container.name}`,
    RestartCount: container.restartCount,
    Driver: storageDriver,
    Platform: "linux",
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: container.hostConfig.Privileged ? "unconfined" : "",
    ExecIDs: container.execIds.length > 0 ? container.execIds : null,
    HostConfig: { ...windowsLimits, ...withLinks(engine, container) },
    GraphDriver: graph,
    ...(sizes ? { SizeRw: sizes.rw, SizeRootFs: sizes.root } : {}),
    Mounts: container.mounts,
    Config: {
      ...unsetConfig,
      ...container.config,
      Env: unlessEmpty(container.config.Env),
      Volumes: unlessEmpty(container.config.Volumes),
    },
    NetworkSettings: networkSettings(container, { sandbox, endpoints }),
  };
}

/** `/target:/owner/alias` of each link, as Docker names them. */
function withLinks(engine: Engine, { name, hostConfig }: Container): Container["hostConfig"] {
  if (!hostConfig.Links || hostConfig.Links.length === 0) return hostConfig;
  const names = new Map(engine.list().map((other) => [other.id, other.name]));
  const Links = hostConfig.Links.map((link) => {
    const [target = "", alias = target] = link.replace(/^\//, "").split(":");
    const named = names.get(target) ?? target;
    return `/${named}:/${name}/${alias.split("/").at(-1)}`;
  });
  return { ...hostConfig, Links };
}

/** Shell words as people read them: Docker puts quotes around those with spaces. */
export function commandLine({ path, args }: Pick<Container, "path" | "args">): string {
  const quoted = args.map((each) => (/[ \t\n]/.test(each) || each === "" ? `'${each}'` : each));
  return [path, ...quoted].join(" ");
}

/** One line of `GET /containers/json`. `imageName` is what the list shows for the image. */
export function containerSummary(
  engine: Engine,
  container: Container,
  imageName: string,
): ContainerSummary {
  const { hostConfig } = container;
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: imageName,
    ImageID: container.imageId,
    Command: commandLine(container),
    Created: Math.floor(Date.parse(container.created) / 1000),
    Ports: portList(container, engine.sandbox(container.id)),
    Labels: container.config.Labels ?? {},
    State: container.state.status,
    Status: statusWords(container),
    HostConfig: {
      NetworkMode: hostConfig.NetworkMode,
      ...(hostConfig.Annotations ? { Annotations: hostConfig.Annotations } : {}),
    },
    NetworkSettings: { Networks: networksOf(engine.endpoints(container.id)) },
    Mounts: container.mounts,
  };
}
