import { assert, Failure, KeyedLock, log } from "../base/mod.ts";
import { closeNamespace, type NetworkNamespace, openNamespace } from "../sys/mod.ts";
import { filePaths, removeFiles } from "./files.ts";
import { changeGateway, clearInside, countersInside, setUpInside } from "./inside.ts";
import type { Ipam } from "./ipam.ts";
import { NameServers } from "./name-servers.ts";
import { leavePlace, Namespaces, type Place, setUp } from "./namespaces.ts";
import { isBridge, isClosed, type Networks } from "./networks.ts";
import { gatewayOf, type Planned, planEndpoint, portOf } from "./plan.ts";
import type { Binding } from "./ports.ts";
import { Publishing } from "./publishing.ts";
import { Reaper } from "./reaper.ts";
import type { Attachment, Records, SandboxRecord } from "./records.ts";
import { isRemote, type Remotes } from "./remote.ts";
import type { RemoteIpam } from "./remote-ipam.ts";
import type { EndpointSpec, PortSpec, Sandbox, SandboxSpec } from "./types.ts";
import type { Wire } from "./wire.ts";
import type { Writer } from "./writer.ts";

/** A sandbox that is there. */
export interface Live {
  spec: SandboxSpec;
  /** Undefined on the host's network, and for one that a restart did not find again. */
  place: Place | undefined;
  attachments: readonly Attachment[];
  bindings: readonly Binding[];
}

export interface Parts {
  readonly directory: string;
  readonly records: Records;
  readonly wire: Wire;
  readonly ipam: Ipam;
  readonly networks: Networks;
  readonly writer: Writer;
  readonly dns: readonly string[];
  readonly remotes: Remotes;
  readonly remoteIpam: RemoteIpam;
  /** As `NetworkOptions.hostSocket`. */
  readonly hostSocket: string | undefined;
  readonly directRouting: boolean;
}

/** How long a container that starts again waits for what it left behind. */
const leftoverMs = 250;

/** Containers' places on the network: open, change, close. */
export class Sandboxes {
  readonly live = new Map<string, Live>();
  readonly reaper: Reaper;
  readonly #publishing: Publishing;
  readonly #names: NameServers;
  readonly #parts: Parts;
  readonly #namespaces = new Namespaces();
  readonly #locks = new KeyedLock();
  readonly #shown = new WeakMap<Live, Live & { readonly sandbox: Sandbox }>();
  #isBusy = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#publishing = new Publishing(parts, () => this.elements());
    this.#names = new NameServers(this.live, parts.dns);
    this.reaper = new Reaper(parts.wire, parts.ipam);
  }

  prepare(): void {
    this.#namespaces.prepare();
  }

  open(spec: SandboxSpec, takeNamespace?: () => NetworkNamespace): Promise<Sandbox> {
    if (!/^[\w.-]+$/.test(spec.containerId) || /^\.+$/.test(spec.containerId)) {
      throw new Failure("invalid", `invalid container ID "${spec.containerId}"`);
    }
    return this.#locks.run(spec.containerId, async () => {
      await this.#turn();
      if (this.live.has(spec.containerId)) this.#close(spec.containerId);
      await this.reaper.settled(spec.containerId, leftoverMs);
      for (const { network, ipv4, ipv6 } of spec.endpoints) {
        await this.#awaitAddresses(network, [ipv4, ipv6]);
      }
      const assigned = { ...spec, endpoints: await this.#assign(spec.endpoints) };
      return await this.#open(assigned, takeNamespace);
    });
  }

  /** Addresses of plugins come first: all or none. */
  async #assign(endpoints: readonly EndpointSpec[]): Promise<EndpointSpec[]> {
    const { networks, remoteIpam } = this.#parts;
    const whole: EndpointSpec[] = [];
    try {
      for (const spec of endpoints) {
        whole.push(await remoteIpam.assign(spec, networks.resolve(spec.network)));
      }
      return whole;
    } catch (error) {
      await this.#giveBack(whole);
      throw error;
    }
  }

  async #giveBack(endpoints: readonly EndpointSpec[]): Promise<void> {
    const { networks, remoteIpam } = this.#parts;
    for (const spec of endpoints) await remoteIpam.release(spec, networks.resolve(spec.network));
  }

  /** One sandbox between two looks at the event loop: each is a millisecond or two without a break. */
  async #turn(): Promise<void> {
    while (this.#isBusy) await new Promise((resolve) => setImmediate(resolve));
    this.#isBusy = true;
    setImmediate(() => {
      this.#isBusy = false;
    });
  }

  /** An address asked for by name may be about to become free. */
  async #awaitAddresses(network: string, addresses: readonly (string | undefined)[]) {
    const { id } = this.#parts.networks.resolve(network);
    for (const address of addresses) {
      const owner = address && this.#parts.ipam.ownerOf(id, address);
      if (owner) await this.reaper.settled(owner, leftoverMs * 10);
    }
  }

  async #open(spec: SandboxSpec, takeNamespace?: () => NetworkNamespace): Promise<Sandbox> {
    const { records, wire, writer } = this.#parts;
    const networks = spec.endpoints.map(({ network }) => this.#parts.networks.resolve(network));
    const isHost = networks.some(({ driver }) => driver === "host");
    const take = () => (takeNamespace ? setUp(takeNamespace()) : this.#namespaces.take());
    const place = isHost ? undefined : take();
    const live: Live = { spec, place, attachments: [], bindings: [] };
    try {
      records.together(() => {
        for (const endpoint of spec.endpoints) this.#plan(live, endpoint);
        records.saveSandbox(recordOf(live));
      });
      this.live.set(spec.containerId, live);
      await this.#joinRemotes(live, live.attachments);
      const gateway = gatewayOf(live.attachments);
      this.#attach(live, live.attachments, { sysctl: spec.sysctl, gateway });
      await this.#publishing.publish(live);
      records.saveSandbox(recordOf(live));
      await this.#names.ensure(live);
      writer.write(live);
      if (networks.some(isBridge)) wire.checkRulesSoon(() => this.elements());
      return this.sandboxOf(live);
    } catch (error) {
      const isPlanned = ({ network }: EndpointSpec) =>
        live.attachments.some(({ endpoint }) => endpoint.network === network);
      await this.#giveBack(spec.endpoints.filter((one) => !isPlanned(one)));
      this.#undo(live);
      throw error;
    }
  }

  /** Adds an endpoint to `live`, with its addresses. */
  #plan(live: Live, spec: EndpointSpec): Planned {
    const { networks, ipam } = this.#parts;
    const network = networks.resolve(spec.network);
    if (live.attachments.some(({ endpoint }) => endpoint.networkId === network.id)) {
      const reason = `endpoint with name ${live.spec.containerName} already exists in network ${network.name}`;
      throw new Failure("denied", reason);
    }
    const usedNames = new Set(live.attachments.map(({ endpoint }) => endpoint.interfaceName));
    const container = { id: live.spec.containerId, name: live.spec.containerName };
    const planned = planEndpoint(spec, { network, container, usedNames, ipam });
    live.attachments = [...live.attachments, { endpoint: planned.endpoint, link: planned.link }];
    return planned;
  }

  /** Makes the links and sets them up inside. No `await`: nothing comes between. */
  #attach(
    live: Live,
    added: readonly Attachment[],
    { sysctl, gateway }: Pick<SandboxSpec, "sysctl"> & { gateway: Attachment | undefined },
  ): void {
    const { place } = live;
    if (!place) return;
    const wired = added.filter(({ endpoint }) => endpoint.interfaceName !== "");
    for (const attachment of wired) this.#connectLink(attachment, place, live);
    const endpoints = wired.map(({ endpoint }) => endpoint);
    if (endpoints.length === 0 && Object.keys(sysctl).length === 0) return;
    setUpInside(place, { endpoints, gateway: gateway?.endpoint, sysctl });
  }

  /** Has plugins make their interfaces, of which they say more than we knew. */
  async #joinRemotes(live: Live, added: readonly Attachment[]): Promise<void> {
    const { networks, remotes, records } = this.#parts;
    for (const attachment of added) {
      const network = networks.resolve(attachment.endpoint.networkId);
      if (!isRemote(network) || !live.place) continue;
      const others = live.attachments.filter((one) => one !== attachment);
      const usedNames = new Set(others.map(({ endpoint }) => endpoint.interfaceName));
      const joined = await remotes.join(network, attachment, { ...live.place, usedNames });
      live.attachments = live.attachments.map((one) => (one === attachment ? joined : one));
      records.saveSandbox(recordOf(live));
    }
  }

  /** Tells plugins that endpoints are gone. Holds the namespace until their interfaces are out of it. */
  async leaveRemotes(gone: readonly Attachment[], namespace: NetworkNamespace | undefined) {
    const { networks, remotes, remoteIpam } = this.#parts;
    for (const { endpoint } of gone.filter((one) => one.endpoint.assigned)) {
      const network = networks.list().find(({ id }) => id === endpoint.networkId);
      if (network) await remoteIpam.release(endpoint, network);
    }
    const theirs = gone.flatMap((attachment) => {
      const network = networks.list().find(({ id }) => id === attachment.endpoint.networkId);
      return network && isRemote(network) ? [{ network, attachment }] : [];
    });
    if (theirs.length === 0) return;
    const held = namespace && openNamespace(namespace.path);
    try {
      for (const { network, attachment } of theirs) await remotes.leave(network, attachment, held);
    } catch (error) {
      log("warn", "Cannot take an endpoint back from a network plugin", { error });
    } finally {
      if (held) closeNamespace(held);
    }
  }

  #connectLink({ endpoint, link }: Attachment, { namespace }: Place, live: Live): void {
    const { wire, networks } = this.#parts;
    const network = networks.resolve(endpoint.networkId);
    const { interfaceName: name, mac } = endpoint;
    if (isRemote(network)) return; // It is there: `#joinRemotes`.
    if (!isBridge(network)) {
      wire.connectChild(network, { namespaceFd: namespace.fd, name, mac });
      return;
    }
    wire.connect(network, { link, namespaceFd: namespace.fd, name, mac });
    wire.changePort(link, portOf(network, live.spec.ports.length > 0));
  }

  /** The same object until something changes: others keep what they made of it. */
  sandboxOf(live: Live): Sandbox {
    const { spec, place, attachments, bindings } = live;
    const shown = this.#shown.get(live);
    const isSame =
      shown?.spec === spec && shown.attachments === attachments && shown.bindings === bindings;
    if (shown && isSame) return shown.sandbox;
    const sandbox = {
      containerId: spec.containerId,
      netnsPath: place?.namespace.path ?? "",
      endpoints: attachments.map(({ endpoint }) => endpoint),
      ports: bindings.map(({ port }) => port),
      ...filePaths(this.#parts.directory, spec.containerId),
    };
    this.#shown.set(live, { ...live, sandbox });
    return sandbox;
  }

  #undo(live: Live): void {
    this.live.delete(live.spec.containerId);
    this.#release(live);
  }

  close(containerId: string): Promise<void> {
    return this.#locks.run(containerId, () => this.#close(containerId));
  }

  #close(containerId: string): void {
    const live = this.live.get(containerId);
    if (live) {
      this.live.delete(containerId);
      this.#release(live);
    } else removeFiles(this.#parts.directory, containerId); // Those of `files` alone.
  }

  /** What is quick is done now; links and addresses go when the kernel has let go of them. */
  #release(live: Live): void {
    const { records, directory } = this.#parts;
    const { containerId } = live.spec;
    records.removeSandbox(containerId);
    this.#names.stop(containerId);
    this.#publishing.unpublish(live);
    const left = this.leaveRemotes(live.attachments, live.place?.namespace);
    if (live.place) this.#leave(live.place, live.attachments);
    removeFiles(directory, containerId);
    this.reaper.take(containerId, live.attachments, left);
  }

  /** Links without an end on the host cannot be waited for: their addresses go now. */
  #leave(place: Place, attachments: readonly Attachment[]): void {
    for (const { endpoint, link } of attachments) {
      if (link === "" && endpoint.interfaceName) clearInside(place, endpoint);
    }
    leavePlace(place);
  }

  connect(containerId: string, spec: EndpointSpec): Promise<Sandbox> {
    return this.#locks.run(containerId, async () => {
      const live = this.#get(containerId);
      const network = this.#parts.networks.resolve(spec.network);
      if ((isClosed(network) && !network.configOnly) || !live.place) {
        const reason =
          "container cannot be disconnected from host network or connected to host network";
        throw new Failure("denied", reason);
      }
      await this.#awaitAddresses(spec.network, [spec.ipv4, spec.ipv6]);
      const before = live.attachments;
      try {
        const [whole = spec] = await this.#assign([spec]);
        const planned = await this.#planOrGiveBack(live, whole);
        const { endpointId } = planned.endpoint;
        const find = () => live.attachments.filter((one) => one.endpoint.endpointId === endpointId);
        await this.#joinRemotes(live, find());
        const added = find();
        // The routes are changed below, where a crash's next daemon would change them back.
        this.#attach(live, added, { sysctl: {}, gateway: undefined });
        await this.#changeGateway(live, before);
        await this.#names.ensure(live);
        this.#parts.writer.write(live);
        return this.sandboxOf(live);
      } catch (error) {
        await this.#detach(
          live,
          live.attachments.filter((one) => !before.includes(one)),
        );
        this.#parts.records.saveSandbox(recordOf(live));
        throw error;
      }
    });
  }

  async #planOrGiveBack(live: Live, spec: EndpointSpec): Promise<Planned> {
    const { records } = this.#parts;
    try {
      return records.together(() => {
        const planned = this.#plan(live, spec);
        // Before anything is made: what a crash leaves is found by it.
        records.saveSandbox(recordOf(live));
        return planned;
      });
    } catch (error) {
      await this.#giveBack([spec]);
      throw error;
    }
  }

  disconnect(containerId: string, networkId: string): Promise<Sandbox> {
    return this.#locks.run(containerId, async () => {
      const live = this.#get(containerId);
      const { id, name } = this.#parts.networks.resolve(networkId);
      const gone = live.attachments.filter(({ endpoint }) => endpoint.networkId === id);
      if (gone.length === 0) {
        throw new Failure("denied", `container ${containerId} is not connected to network ${name}`);
      }
      const before = live.attachments;
      await this.#detach(live, gone);
      await this.#changeGateway(live, before);
      // Last: after a crash it can be disconnected again, which does what is left to do.
      this.#parts.records.saveSandbox(recordOf(live));
      this.#parts.writer.write(live);
      return this.sandboxOf(live);
    });
  }

  async #detach(live: Live, gone: readonly Attachment[]): Promise<void> {
    const { ipam, wire } = this.#parts;
    live.attachments = live.attachments.filter((one) => !gone.includes(one));
    await wire.deleteLinks(gone.flatMap(({ link }) => (link ? [link] : [])));
    await this.leaveRemotes(gone, live.place?.namespace);
    const own = gone.filter(({ link, source }) => link === "" && source === undefined);
    const inside = own.map((one) => one.endpoint.interfaceName);
    await wire.deleteLinks(inside.filter(Boolean), live.place?.namespace);
    for (const { endpoint } of gone) {
      for (const address of [endpoint.address, endpoint.address6]) {
        if (address) ipam.release(endpoint.networkId, address);
      }
    }
  }

  /** Routes and published ports follow the endpoint that leads out. */
  async #changeGateway(live: Live, before: readonly Attachment[]): Promise<void> {
    const [old, now] = [gatewayOf(before), gatewayOf(live.attachments)];
    if (old === now || !live.place) return;
    changeGateway(live.place, now?.endpoint);
    const ports = live.bindings.map(({ port }) => port);
    this.#publishing.unpublish(live);
    if (!now || live.spec.ports.length === 0) return;
    if (ports.length === 0) return await this.#publishing.publish(live);
    // The same ports as before: a random one stays what it was.
    live.bindings = ports.map((port) => ({ port, elements: [], close() {} }));
    await this.#publishing.publishAgain(live);
  }

  publish(containerId: string, ports: readonly PortSpec[]): Promise<Sandbox> {
    return this.#locks.run(containerId, async () => {
      const live = this.#get(containerId);
      await this.#publishing.change(live, ports);
      this.#parts.records.saveSandbox(recordOf(live));
      return this.sandboxOf(live);
    });
  }

  rename(containerId: string, name: string): void {
    const live = this.live.get(containerId);
    if (!live) return;
    const old = live.spec.containerName;
    live.spec = { ...live.spec, containerName: name };
    live.attachments = live.attachments.map(({ endpoint, link }) => {
      const dnsNames = endpoint.dnsNames.map((one) => (one === old ? name : one));
      return { link, endpoint: { ...endpoint, dnsNames } };
    });
    this.#parts.records.saveSandbox(recordOf(live));
  }

  counters(containerId: string) {
    const { place } = this.#get(containerId);
    return place ? countersInside(place) : {};
  }

  #get(containerId: string): Live {
    const live = this.live.get(containerId);
    if (!live) throw new Failure("not_found", `container ${containerId} is not on any network now`);
    return live;
  }

  /** Takes a sandbox back that an earlier daemon opened; the rules are set when all are back. */
  async restore(record: SandboxRecord, place: Place | undefined): Promise<void> {
    const { spec, attachments, ports } = record;
    const bindings = ports.map((port) => ({ port, elements: [], close() {} }));
    const live: Live = { spec, place, attachments, bindings };
    assert(!this.live.has(spec.containerId), "a sandbox is restored once");
    this.live.set(spec.containerId, live);
    await this.#publishing.restore(live);
    await this.#names.ensure(live, true);
    this.#parts.writer.write(live);
  }

  /** What the rules must hold for the networks and ports that are there. */
  elements() {
    const ports = [...this.live.values()].flatMap(({ bindings }) => bindings);
    return [...this.#parts.networks.elements(), ...ports.flatMap(({ elements }) => elements)];
  }

  /** Lets go of everything but the containers' namespaces. */
  async shutdown(): Promise<void> {
    this.#namespaces.close();
    for (const live of this.live.values()) {
      for (const binding of live.bindings) binding.close();
      if (live.place) leavePlace(live.place);
      this.#names.stop(live.spec.containerId);
    }
    await this.reaper.finish().catch((error: unknown) => {
      log("warn", "Cannot delete links", { error });
    });
  }
}

export function recordOf({ spec, place, attachments, bindings }: Live): SandboxRecord {
  const ports = bindings.map(({ port }) => port);
  return { spec, inode: place?.namespace.inode ?? 0, attachments, ports };
}
