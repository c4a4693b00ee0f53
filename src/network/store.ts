import type { Database } from "bun:sqlite";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { log } from "../base/mod.ts";
import type { Plugins } from "../plugin/mod.ts";
import { findNamespaces, type NetworkNamespace } from "../sys/mod.ts";
import type { DefaultBridge } from "./default-bridge.ts";
import type { AddressPool } from "./define.ts";
import { macInside } from "./inside.ts";
import { Ipam } from "./ipam.ts";
import { leavePlace, type Place, placeOf } from "./namespaces.ts";
import { isBridge, Networks } from "./networks.ts";
import { checkEndpoint } from "./plan.ts";
import { Records, type SandboxRecord } from "./records.ts";
import { Remotes } from "./remote.ts";
import { RemoteIpam } from "./remote-ipam.ts";
import { tableName } from "./ruleset.ts";
import { Sandboxes } from "./sandboxes.ts";
import type { Endpoint, NetworkStore, SandboxSpec } from "./types.ts";
import { explain } from "./why.ts";
import { Wire } from "./wire.ts";
import { Writer } from "./writer.ts";

export interface NetworkOptions {
  readonly database: Database;
  /** For containers' hosts, hostname and resolv.conf; `files/` in it is this folder's. */
  readonly directory: string;
  /** The default network's bridge device, which also names the engine's nftables. */
  readonly bridge: string;
  /** Name servers for containers that name none; the host's otherwise. */
  readonly dns?: readonly string[];
  /** Where drivers are looked for that are not ours. */
  readonly plugins?: Plugins;
  /** "respect": the host's rules for what comes in decide about published ports, too. */
  readonly firewall?: "publish" | "respect";
  /** Where networks without a subnet get theirs from; Docker's otherwise. */
  readonly pools?: readonly AddressPool[];
  /** slirp4netns's socket, where this network is not the host's: ports of the host are had from it. */
  readonly hostSocket?: string | undefined;
  /** What the default network shall be. */
  readonly defaultBridge?: DefaultBridge;
  /** What "host-gateway" stands for; none for the default bridge's addresses. */
  readonly hostGateways?: readonly string[];
  /** Published ports are reached by a route to the container's address, too. */
  readonly directRouting?: boolean;
}

/**
 * Opens the networks: the default bridge stands and the rules are in place when it returns. What an
 * earlier daemon left is untouched until `reconcile`, which is due next.
 *
 * @throws Failure "denied" — not root; "unavailable" — nft is not installed; "exhausted" — no subnet
 */
export async function openNetworkStore(options: NetworkOptions): Promise<NetworkStore> {
  const { database, directory, bridge, dns = [], hostSocket } = options;
  mkdirSync(`${directory}/files`, { recursive: true, mode: 0o711 });
  const records = new Records(database);
  const wire = new Wire(tableName(bridge), options.firewall);
  try {
    const ipam = new Ipam(records);
    const remotes = new Remotes(options.plugins);
    const remoteIpam = new RemoteIpam(options.plugins);
    const both = { remotes, remoteIpam };
    const networks = new Networks({ records, wire, ipam, ...both, pools: options.pools });
    networks.start(bridge, (id) => ipam.count(id) > 0, options.defaultBridge);
    const { hostGateways = [], directRouting = false } = options;
    const writer = new Writer({ directory, networks, dns, hostGateways });
    const parts = {
      directory,
      records,
      wire,
      ipam,
      networks,
      writer,
      dns,
      ...both,
      hostSocket,
      directRouting,
    };
    const sandboxes = new Sandboxes(parts);
    await wire.ensureRules(() => networks.elements());
    sandboxes.prepare();
    return storeOf({ ...parts, sandboxes });
  } catch (error) {
    wire[Symbol.dispose]();
    throw error;
  }
}

interface All {
  readonly directory: string;
  readonly records: Records;
  readonly wire: Wire;
  readonly ipam: Ipam;
  readonly networks: Networks;
  readonly writer: Writer;
  readonly sandboxes: Sandboxes;
}

function storeOf(all: All): NetworkStore {
  const { networks, sandboxes, writer } = all;
  return {
    list: () => networks.list(),
    resolve: (nameOrId) => networks.resolve(nameOrId),
    create: (spec) => networks.create(spec),
    remove: async (id) => {
      const network = networks.resolve(id);
      await networks.remove(network.id, endpointsOf(sandboxes, network.id));
    },
    endpointsOf: (networkId) => endpointsOf(sandboxes, networkId),
    open: async (spec, take) => await sandboxes.open(spec, take),
    sandbox: (containerId) => {
      const live = sandboxes.live.get(containerId);
      return live && sandboxes.sandboxOf(live);
    },
    files: async (spec) => writer.hostFiles(spec),
    hostGateways: () => writer.hostGateways(),
    close: (containerId) => sandboxes.close(containerId),
    check: (endpoint) => checkEndpoint(endpoint, networks.resolve(endpoint.network)),
    connect: (containerId, endpoint) => sandboxes.connect(containerId, endpoint),
    disconnect: (containerId, networkId) => sandboxes.disconnect(containerId, networkId),
    explain: (question) => explain(all, question),
    publish: (containerId, ports) => sandboxes.publish(containerId, ports),
    rename: (containerId, name) => sandboxes.rename(containerId, name),
    openForBuild: async (id, how, take) => await sandboxes.open(buildSpec(id, how), take),
    counters: async (containerId) => sandboxes.counters(containerId),
    reconcile: (containerIds) => reconcile(all, containerIds),
    shutdown: () => shutdown(all),
  };
}

function endpointsOf({ live }: Sandboxes, networkId: string) {
  const found = new Map<string, { name: string; endpoint: Endpoint }>();
  for (const { spec, attachments } of live.values()) {
    for (const { endpoint } of attachments) {
      if (endpoint.networkId !== networkId) continue;
      found.set(spec.containerId, { name: spec.containerName, endpoint });
    }
  }
  return found;
}

function buildSpec(id: string, how: "default" | "none"): SandboxSpec {
  return {
    containerId: id,
    containerName: id,
    hostname: "buildkitsandbox",
    domainname: "",
    endpoints: [{ network: how === "default" ? "bridge" : "none" }],
    ports: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
    sysctl: {},
  };
}

async function reconcile(all: All, containerIds: ReadonlySet<string>): Promise<string[]> {
  const { records, sandboxes, wire, networks } = all;
  const done: string[] = [];
  const kept = records.sandboxes().filter(({ spec }) => containerIds.has(spec.containerId));
  const known = kept.filter(({ spec }) => !sandboxes.live.has(spec.containerId));
  const namespaces = findNamespaces(new Set(known.map(({ inode }) => inode).filter(Boolean)));
  for (const record of known) {
    const place = verified(record, namespaces);
    await sandboxes.restore(record, place);
    const how = place || record.inode === 0 ? "Took back" : "Lost the namespace of";
    done.push(`${how} the network of container ${record.spec.containerId.slice(0, 12)}`);
  }
  done.push(...dropRecords(all, containerIds));
  done.push(...(await dropLinks(all)));
  if (networks.list().some(isBridge)) {
    await wire.ensureRules(() => []);
    wire.setElements(sandboxes.elements());
  }
  for (const line of done) log("debug", line);
  return done;
}

/**
 * Inodes are used again: the namespace is the right one when one of our interfaces is in it, or when
 * none is there, as a crash within `connect` or `disconnect` of the only one leaves it.
 */
function verified(record: SandboxRecord, found: Map<number, NetworkNamespace>): Place | undefined {
  const namespace = found.get(record.inode);
  if (!namespace) return undefined;
  const place = placeOf(namespace);
  const wanted = record.attachments.filter(({ endpoint }) => endpoint.interfaceName);
  const there = wanted.flatMap(({ endpoint }) => {
    const mac = macInside(place, endpoint.interfaceName);
    // An ipvlan has its parent's MAC: that there is such an interface must do.
    return mac === undefined ? [] : [mac === (endpoint.mac || mac)];
  });
  if (there.length === 0 || there.includes(true)) return place;
  leavePlace(place);
  return undefined;
}

/** Forgets sandboxes that nobody has: their addresses and files. */
function dropRecords(all: All, containerIds: ReadonlySet<string>): string[] {
  const { records, sandboxes, ipam, directory } = all;
  const { live } = sandboxes;
  const gone = records.sandboxes().filter(({ spec }) => !live.has(spec.containerId));
  // A crash in the middle of `connect` or `disconnect` leaves one to a container that is still there.
  const isUsed = ({ network, address, container }: ReturnType<Records["addresses"]>[number]) =>
    live.get(container)?.attachments.some(({ endpoint }) => {
      const { address: own, address6 } = endpoint;
      return endpoint.networkId === network && (own === address || address6 === address);
    }) ?? false;
  const orphans = records
    .addresses()
    .filter((one) => !isUsed(one) && !sandboxes.reaper.has(one.container));
  records.together(() => {
    for (const { spec } of gone) records.removeSandbox(spec.containerId);
    for (const { network, address } of orphans) ipam.release(network, address);
  });
  for (const record of gone) sandboxes.leaveRemotes(record.attachments, undefined);
  const files = readdirSync(`${directory}/files`).filter(
    (name) => !live.has(name) && !containerIds.has(name),
  );
  for (const name of files) rmSync(`${directory}/files/${name}`, { recursive: true, force: true });
  return gone.map(({ spec }) => `Forgot the network of container ${spec.containerId.slice(0, 12)}`);
}

/** Deletes ports of our bridges that belong to no sandbox. */
async function dropLinks({ wire, networks, sandboxes }: All): Promise<string[]> {
  const links = wire.links();
  const bridges = new Set(networks.bridges());
  const masters = new Set(links.filter(({ name }) => bridges.has(name)).map(({ index }) => index));
  const ours = new Set(
    [...sandboxes.live.values()].flatMap(({ attachments }) => attachments.map(({ link }) => link)),
  );
  const stray = links.filter(
    ({ kind, master, name }) => kind === "veth" && masters.has(master) && !ours.has(name),
  );
  await wire.deleteLinks(stray.map(({ name }) => name));
  return stray.map(({ name }) => `Deleted link ${name}`);
}

/** A stopped engine without containers leaves nothing in the kernel; one with them leaves theirs. */
async function shutdown({ sandboxes, wire, networks }: All): Promise<void> {
  const isUsed = sandboxes.live.size > 0;
  await sandboxes.shutdown();
  if (!isUsed) {
    await wire.deleteLinks(networks.links());
    await wire.removeRules();
  }
  wire[Symbol.dispose]();
}
