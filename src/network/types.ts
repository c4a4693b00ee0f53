import type { NetworkNamespace } from "../sys/mod.ts";

/** Docker's IPAM block, one entry per subnet. */
export interface Subnet {
  readonly subnet: string;
  readonly gateway?: string;
  readonly ipRange?: string;
  readonly auxAddresses?: Readonly<Record<string, string>>;
  /** What the plugin calls it that gives its addresses. */
  readonly poolId?: string;
}

export interface NetworkSpec {
  readonly name: string;
  readonly driver: string;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly enableIPv4: boolean;
  readonly enableIPv6: boolean;
  readonly subnets: readonly Subnet[];
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Settings for other networks alone: no container can be on it. */
  readonly configOnly?: boolean;
  /** The network of that kind whose settings this one has. */
  readonly configFrom?: string;
  readonly ipamDriver?: string;
  readonly ipamOptions?: Readonly<Record<string, string>>;
}

export interface Network extends NetworkSpec {
  /** 64 hex digits. */
  readonly id: string;
  /** RFC 3339 with nanoseconds. */
  readonly created: string;
  /** "bridge", "host" and "none" cannot be removed. */
  readonly predefined: boolean;
  /** Its bridge was there before it: somebody else's, which stays, with all other ports. */
  readonly foreignBridge?: true;
  /** The parent of its containers' links was made for it, and goes with it. */
  readonly ownParent?: true;
}

/** How a container wants to be on one network. */
export interface EndpointSpec {
  readonly network: string;
  readonly aliases?: readonly string[];
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly macAddress?: string;
  /** Addresses besides, of 169.254.0.0/16 and fe80::/64. */
  readonly linkLocal?: readonly string[];
  /** Other containers on it under names for this one alone: `container:alias`. */
  readonly links?: readonly string[];
  readonly driverOptions?: Readonly<Record<string, string>>;
  readonly gatewayPriority?: number;
  /** The addresses that a plugin gave for it; they go back there. */
  readonly assigned?: readonly string[];
}

/** How it is on it. Addresses without prefix; empty strings where there is none. */
export interface Endpoint extends EndpointSpec {
  readonly networkId: string;
  readonly networkName: string;
  readonly endpointId: string;
  readonly interfaceName: string;
  readonly address: string;
  readonly prefix: number;
  readonly gateway: string;
  readonly address6: string;
  readonly prefix6: number;
  readonly gateway6: string;
  readonly mac: string;
  readonly dnsNames: readonly string[];
  /** Its default route needs no gateway: ipvlan in the modes l3 and l3s. */
  readonly isDirect?: true;
  /** What else a plugin's network leads to: through a gateway, or "" for straight out. */
  readonly routes?: readonly { readonly to: string; readonly gateway: string }[];
}

export interface PortSpec {
  readonly containerPort: number;
  readonly protocol: "tcp" | "udp" | "sctp";
  /** "" for all addresses, v4 and v6. */
  readonly hostIp: string;
  /** 0 for any free one; a range [first, last] for the first free one in it. */
  readonly hostPort: number | readonly [number, number];
}

/** One bound port; `hostPort` is what was chosen. An empty hostIp gives two: 0.0.0.0 and ::. */
export interface BoundPort {
  readonly containerPort: number;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly hostIp: string;
  readonly hostPort: number;
}

export interface SandboxSpec {
  readonly containerId: string;
  readonly containerName: string;
  readonly hostname: string;
  readonly domainname: string;
  readonly endpoints: readonly EndpointSpec[];
  readonly ports: readonly PortSpec[];
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** `--add-host`: name and address; the address may be "host-gateway". */
  readonly extraHosts: readonly (readonly [name: string, address: string])[];
  readonly sysctl: Readonly<Record<string, string>>;
}

/** A container's place on the network: a namespace with interfaces, and the files that name things. */
export interface Sandbox {
  readonly containerId: string;
  /**
   * Path of the network namespace; give it to the runtime. It leads through this process, so after a
   * restart it is another one. Empty on the host's network.
   */
  readonly netnsPath: string;
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly BoundPort[];
  /** Files to bind over /etc/hosts, /etc/hostname, /etc/resolv.conf. */
  readonly hostsPath: string;
  readonly hostnamePath: string;
  readonly resolvConfPath: string;
}

/** One end of a way that `explain` walks. */
export type Party =
  | { readonly kind: "host" }
  | { readonly kind: "container"; readonly id: string; readonly name: string }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "address"; readonly address: string };

export interface Question {
  readonly from: Party;
  readonly to: Party;
  readonly port: number;
  readonly protocol: "tcp" | "udp";
}

export interface WhyStep {
  readonly step: "source" | "dns" | "publish" | "route" | "firewall" | "listener" | "connection";
  readonly ok: boolean;
  readonly detail: string;
  readonly hint?: string;
}

export interface NetworkStore {
  /** Walks from one end to the other; the last step says what stops it, or that nothing does. */
  explain(question: Question): Promise<WhyStep[]>;
  list(): readonly Network[];
  /** By name, full ID or unambiguous ID prefix. @throws "not_found" | "conflict" (ambiguous) */
  resolve(nameOrId: string): Network;
  /** @throws "conflict" — the name is taken, or no subnet is free or it overlaps; "invalid" */
  create(spec: NetworkSpec): Promise<Network>;
  /** @throws "denied" — predefined, or containers are on it (the API's 403) */
  remove(id: string): Promise<void>;
  /** Endpoints on a network, by container ID. */
  endpointsOf(networkId: string): ReadonlyMap<string, { name: string; endpoint: Endpoint }>;
  /**
   * Makes a namespace, joins it to the networks, publishes the ports, writes the files. All or nothing.
   * Endpoints on "host" and "none" make no interface; "none" has loopback only. `takeNamespace` gives one
   * that is new, to be used in place of one of the store's own, which closes it.
   * @throws "conflict" — a port or address is taken; "not_found" — a network; "exhausted" — no address
   */
  open(spec: SandboxSpec, takeNamespace?: () => NetworkNamespace): Promise<Sandbox>;
  sandbox(containerId: string): Sandbox | undefined;
  /** What "host-gateway" stands for. */
  hostGateways(): readonly string[];
  /** The three files only, for --network host and container:X. */
  files(spec: SandboxSpec): Promise<Pick<Sandbox, "hostsPath" | "hostnamePath" | "resolvConfPath">>;
  /** Takes all of it away; absent is fine. */
  close(containerId: string): Promise<void>;
  /** Refuses what an endpoint asks for and its network can never give. @throws "invalid" | "not_found" */
  check(endpoint: EndpointSpec): void;
  connect(containerId: string, endpoint: EndpointSpec): Promise<Sandbox>;
  disconnect(containerId: string, networkId: string): Promise<Sandbox>;
  /**
   * Makes the published ports of a sandbox these: those that it has and keeps stay as they are, random
   * ones too. All or nothing. @throws "conflict" — a port is taken, or nothing leads into the sandbox
   */
  publish(containerId: string, ports: readonly PortSpec[]): Promise<Sandbox>;
  rename(containerId: string, name: string): void;
  /** A namespace for a build step: "default" network, or loopback only. */
  openForBuild(
    id: string,
    how: "default" | "none",
    takeNamespace?: () => NetworkNamespace,
  ): Promise<Sandbox>;
  /** Interface counters in a container's namespace, by interface name. */
  counters(
    containerId: string,
  ): Promise<Readonly<Record<string, Readonly<Record<string, number>>>>>;
  /** Brings kernel and state in line after a start: running sandboxes stay, others go. */
  reconcile(containerIds: ReadonlySet<string>): Promise<string[]>;
  shutdown(): Promise<void>;
}
