/** Why one end reaches another, or does not: the steps of the way, each looked at where it is. */
import { isFailure } from "../base/mod.ts";
import { decodeRoute, getRoute, withinNamespace } from "../sys/mod.ts";
import { formatAddress, fromBytes, parseAddress, readAddress, toBytes } from "./address.ts";
import { bridgeOptions } from "./define.ts";
import { askUdp } from "./dns-forward.ts";
import { encodeQuery, readAddresses, recordType } from "./dns-message.ts";
import { resolvingOf } from "./files.ts";
import { hears, listenersHere } from "./listeners.ts";
import { addressesOf } from "./names.ts";
import { isBridge, type Networks } from "./networks.ts";
import { gatewayOf } from "./plan.ts";
import { probe } from "./probe.ts";
import type { Live, Sandboxes } from "./sandboxes.ts";
import type { BoundPort, Endpoint, Party, Question, WhyStep } from "./types.ts";
import type { Wire } from "./wire.ts";

interface Parts {
  readonly networks: Networks;
  readonly sandboxes: Sandboxes;
  readonly wire: Wire;
}

/** Ends a walk: the step that failed is its last. */
class Stopped extends Error {}

const [inputHook, forwardHook] = [1, 2];

/** As `NetworkStore.explain`. */
export async function explain(parts: Parts, question: Question): Promise<WhyStep[]> {
  const walk = new Walk(parts, question);
  try {
    await walk.go();
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  }
  return walk.steps;
}

interface Target {
  readonly address: string;
  /** The container whose own address it is. */
  readonly live?: Live;
  readonly endpoint?: Endpoint;
}

class Walk {
  readonly steps: WhyStep[] = [];
  readonly #parts: Parts;
  readonly #question: Question;
  readonly #port: string;

  constructor(parts: Parts, question: Question) {
    this.#parts = parts;
    this.#question = question;
    this.#port = `${question.port}/${question.protocol}`;
  }

  #ok(step: WhyStep["step"], detail: string): void {
    this.steps.push({ step, ok: true, detail });
  }

  #stop(step: WhyStep["step"], detail: string, hint?: string): never {
    this.steps.push({ step, ok: false, detail, ...(hint ? { hint } : {}) });
    throw new Stopped();
  }

  async go(): Promise<void> {
    const { from, to, port } = this.#question;
    const source = from.kind === "container" ? this.#running(from, "source") : undefined;
    if (from.kind === "address") {
      this.#fromOutside(from.address, to);
      return;
    }
    const target = await this.#resolve(source, to);
    this.#route(source, target);
    if (target.live) {
      this.#between(source, target);
      this.#listens(target.live, target.address, port);
    } else if (this.#isHost(target.address) || (!source && isLoopback(target.address))) {
      this.#intoHost(target.address);
    } else this.#outOfHost(source);
    await this.#connect(source, target.address);
  }

  #running(party: Party & { kind: "container" }, step: WhyStep["step"]): Live {
    const live = this.#parts.sandboxes.live.get(party.id);
    if (live) return live;
    const hint = `Start it: "lading start ${party.name}"`;
    return this.#stop(step, `container ${party.name} is not running, or has no network`, hint);
  }

  #isHost(address: string): boolean {
    return this.#parts.wire.hostAddresses().includes(address);
  }

  /** From a name to an address, as the source would find it. */
  async #resolve(source: Live | undefined, to: Party): Promise<Target> {
    if (to.kind === "host") {
      const address = source ? gatewayAddress(source) : "127.0.0.1";
      if (address) {
        this.#ok("dns", `the host is ${address} from there`);
        return { address };
      }
      const hint = "Connect the container to a network that is not internal";
      return this.#stop("route", "no network of the container leads to the host", hint);
    }
    if (to.kind === "address") return this.#owned(to.address, source);
    if (to.kind === "container") return this.#named(source, this.#running(to, "listener"));
    return await this.#foreign(source, to.name);
  }

  #owned(address: string, source?: Live): Target {
    if (source && isLoopback(address)) {
      this.#ok("dns", `${address} is the container itself`);
      return { address, live: source };
    }
    for (const live of this.#parts.sandboxes.live.values()) {
      const mine = live.attachments.find(
        ({ endpoint }) => endpoint.address === address || endpoint.address6 === address,
      );
      if (!mine) continue;
      this.#ok("dns", `${address} is container ${live.spec.containerName}`);
      return { address, live, endpoint: mine.endpoint };
    }
    this.#ok("dns", `${address} is an address: no name to look up`);
    return { address };
  }

  /** A container by its name: what the server at 127.0.0.11 says of it. */
  #named(source: Live | undefined, live: Live): Target {
    const name = live.spec.containerName;
    const at = (address: string, detail: string): Target => {
      const mine = live.attachments.find(
        ({ endpoint }) => endpoint.address === address || endpoint.address6 === address,
      );
      this.#ok("dns", detail);
      return { address, live, ...(mine ? { endpoint: mine.endpoint } : {}) };
    };
    const first = live.attachments.find(({ endpoint }) => endpoint.address || endpoint.address6);
    const own = first?.endpoint.address || first?.endpoint.address6;
    if (!own) return this.#stop("route", `${name} has no address: it is on no network`);
    if (!source) return at(own, `the host has no names of containers; ${name} is ${own}`);
    if (source === live) return at("127.0.0.1", `${name} is the container itself`);
    const found = [recordType.a, recordType.aaaa]
      .flatMap((type) => this.#asked(source, name, type) ?? [])
      .map((bytes) => formatAddress(fromBytes(bytes)));
    if (found[0]) return at(found[0], `127.0.0.11 answers ${found[0]} for ${name}`);
    return this.#stop("dns", ...this.#noName(source, live));
  }

  #asked(source: Live, name: string, type: number) {
    const question = { name: name.toLowerCase(), type };
    return addressesOf(this.#parts.sandboxes.live, source.spec.containerId, question);
  }

  #noName(source: Live, target: Live): [detail: string, hint: string] {
    const [one, other] = [source.spec.containerName, target.spec.containerName];
    const [mine, theirs] = [networkNames(source), networkNames(target)];
    const shared = mine.filter((name) => theirs.includes(name));
    if (shared.length === 0) {
      const detail = `${one} and ${other} share no network: ${one} is on ${list(mine)}, ${other} on ${list(theirs)}`;
      const named = [...theirs, ...mine].find((name) => name !== "bridge" && name !== "none");
      const [network, who] =
        named && theirs.includes(named) ? [named, one] : [named ?? "NETWORK", other];
      return [detail, `"lading network connect ${network} ${who}" joins them`];
    }
    const detail = `network ${shared[0]} has no names: ${one} cannot look ${other} up`;
    return [detail, "Names are on networks that you make: lading network create"];
  }

  /** A name that is no container's: an alias, or a name of the world outside. */
  async #foreign(source: Live | undefined, name: string): Promise<Target> {
    const ours = source && this.#asked(source, name, recordType.a)?.[0];
    if (ours) return this.#owned(formatAddress(fromBytes(ours)));
    const isShut = source && !gatewayOf(source.attachments);
    if (isShut) return this.#stop("dns", `there is no "${name}" on the networks of the container`);
    const spec = source?.spec ?? { dns: [], dnsSearch: [], dnsOptions: [] };
    const { nameservers } = resolvingOf(spec, [], "host");
    for (const server of nameservers.slice(0, 3)) {
      const reply = await askUdp(server, encodeQuery(Date.now() & 0xffff, name, recordType.a));
      const [bytes] = reply ? readAddresses(reply) : [];
      if (!bytes) continue;
      const address = formatAddress(fromBytes(bytes));
      this.#ok("dns", `${server} answers ${address} for ${name}`);
      return { address };
    }
    const asked =
      nameservers.length > 0 ? `${list(nameservers)} gave no address` : "no server is known";
    return this.#stop(
      "dns",
      `nobody knows the name "${name}": ${asked}`,
      "Check the spelling, and --dns",
    );
  }

  /** The way out of where the source is, by its own routes. */
  #route(source: Live | undefined, { address }: Target): void {
    const request = getRoute(toBytes(parseAddress(address)));
    try {
      const netlink = source?.place?.netlink;
      const answer = netlink ? netlink.get(request) : this.#parts.wire.ask(request);
      const { gateway } = decodeRoute(answer);
      const way = gateway ? `by the gateway ${formatAddress(fromBytes(gateway))}` : "directly";
      this.#ok("route", `${address} is reached ${way}`);
    } catch (error) {
      if (
        !isFailure(error, "internal") &&
        !isFailure(error, "invalid") &&
        !isFailure(error, "not_found")
      )
        throw error;
      const internal = source && this.#internals(source);
      const why = internal?.length ? `: ${list(internal)} is internal` : "";
      this.#stop(
        "route",
        `no route leads to ${address}${why}`,
        "Connect it to a network with a way out",
      );
    }
  }

  #internals({ attachments }: Live): string[] {
    return attachments
      .map(({ endpoint }) => this.#parts.networks.resolve(endpoint.networkId))
      .filter(({ internal }) => internal)
      .map(({ name }) => name);
  }

  /** Between a source and a container's own address: our rules, and those of others. */
  #between(source: Live | undefined, { live, endpoint }: Target): void {
    if (!source || source === live || !endpoint) {
      this.#ok(
        "firewall",
        source ? "within the container nothing is filtered" : "the host reaches its bridges",
      );
      return;
    }
    const network = this.#parts.networks.resolve(endpoint.networkId);
    const isShared = source.attachments.some((one) => one.endpoint.networkId === network.id);
    if (!isShared) {
      this.#acrossNetworks(source, network.name, endpoint);
      return;
    }
    if (isBridge(network) && !bridgeOptions(network).icc) {
      const hint =
        "Its option com.docker.network.bridge.enable_icc is false; publish a port instead";
      this.#stop("firewall", `network ${network.name} keeps its containers apart`, hint);
    }
    const walls = this.#parts.wire.walls(forwardHook);
    const others = walls.length > 0 ? `; others filter, too: ${list(walls)}` : "";
    this.#ok("firewall", `network ${network.name} lets its containers talk${others}`);
  }

  #acrossNetworks(source: Live, name: string, endpoint: Endpoint): void {
    const network = this.#parts.networks.resolve(endpoint.networkId);
    const family = endpoint.address ? 4 : 6;
    const mode = isBridge(network) ? bridgeOptions(network).modes[family] : "nat";
    if (mode === "nat-unprotected") {
      this.#ok("firewall", `network ${name} is open (${mode})`);
      return;
    }
    const detail = `network ${name} is closed to ${list(networkNames(source))}`;
    const hint = `"lading network connect ${name} ${source.spec.containerName}" joins them`;
    this.#stop("firewall", detail, hint);
  }

  /** A port of the host: published by a container, or a program's own. */
  #intoHost(address: string): void {
    const { port, protocol } = this.#question;
    const found = this.#publishers().find(({ bound }) => leadsFrom(bound, address, port));
    const walls = this.#parts.wire.walls(inputHook);
    if (found) {
      const { live, bound } = found;
      const inside = `${bound.containerPort}/${protocol} of ${live.spec.containerName}`;
      this.#ok("publish", `the host's port ${this.#port} is ${inside}`);
      const way = gatewayOf(live.attachments)?.endpoint;
      this.#listens(live, way?.address || way?.address6 || "", bound.containerPort);
      return;
    }
    const listeners = listenersHere(port, protocol);
    if (!hears(listeners, address)) {
      const only = listeners.length > 0 ? `only at ${list(listeners)}` : "nowhere on the host";
      const hint = `No container publishes ${this.#port} there: "lading update --publish-add"`;
      this.#stop("listener", `${this.#port} is listened to ${only}`, hint);
    }
    this.#ok("listener", `a program of the host listens at ${this.#port}`);
    if (walls.length > 0) this.#ok("firewall", `others filter what comes in: ${list(walls)}`);
  }

  #publishers(): { live: Live; bound: BoundPort }[] {
    const { protocol } = this.#question;
    return [...this.#parts.sandboxes.live.values()].flatMap((live) =>
      live.bindings
        .filter(({ port }) => port.protocol === protocol)
        .map(({ port }) => ({ live, bound: port })),
    );
  }

  #outOfHost(source: Live | undefined): void {
    if (!source) return;
    const walls = this.#parts.wire.walls(forwardHook);
    const others = walls.length > 0 ? `; others filter, too: ${list(walls)}` : "";
    this.#ok("firewall", `it leaves by the host's address${others}`);
  }

  /** From another machine: published ports alone lead in. */
  #fromOutside(from: string, to: Party): void {
    const { port } = this.#question;
    if (readAddress(from) && this.#isHost(from))
      this.#stop("source", `${from} is the host itself`, 'Use "host"');
    if (to.kind === "container") {
      const live = this.#running(to, "listener");
      const bound = this.#publishers().filter(
        (one) => one.live === live && one.bound.containerPort === port,
      );
      const open = bound.find((one) => !isLoopback(one.bound.hostIp));
      if (!open) {
        const only = bound[0]
          ? `only for the host itself, at ${bound[0].bound.hostIp}`
          : "not published";
        this.#stop(
          "publish",
          `${this.#port} of ${to.name} is ${only}`,
          `"lading update --publish-add ${port}:${port} ${to.name}"`,
        );
      }
      const where =
        open.bound.hostPort === 0
          ? "at the container's own address"
          : `as the host's port ${open.bound.hostPort}`;
      this.#ok("publish", `${this.#port} of ${to.name} is published ${where}`);
      const way = gatewayOf(live.attachments)?.endpoint;
      this.#listens(live, way?.address || way?.address6 || "", port);
    } else if (to.kind === "host" || (to.kind === "address" && this.#isHost(to.address))) {
      const address =
        to.kind === "address"
          ? to.address
          : (this.#parts.wire.hostAddresses().find((one) => !isLoopback(one)) ?? "");
      this.#intoHost(address);
    } else
      this.#stop(
        "route",
        "what is neither this host nor a container of it cannot be looked at from here",
      );
    this.#ok(
      "connection",
      `not tried: ${from} is another machine, and its way to this host is not seen from here`,
    );
  }

  #listens(live: Live, address: string, port: number): void {
    const { place, spec } = live;
    const { protocol } = this.#question;
    if (!place) return;
    const at = withinNamespace(place.namespace, () => listenersHere(port, protocol));
    if (hears(at, address) || (isLoopback(address) && at.length > 0)) {
      this.#ok(
        "listener",
        `${spec.containerName} listens at ${list(at)}, port ${port}/${protocol}`,
      );
      return;
    }
    const name = spec.containerName;
    if (at.length === 0) {
      const hint = `See what it does: "lading logs ${name}", "lading top ${name}"`;
      this.#stop("listener", `nothing in ${name} listens at port ${port}/${protocol}`, hint);
    }
    const hint = "Have the program listen at 0.0.0.0 or ::";
    this.#stop("listener", `${name} listens at ${list(at)} alone, not at ${address}`, hint);
  }

  /** The proof: a connection, where there can be one. */
  async #connect(source: Live | undefined, address: string): Promise<void> {
    const { port, protocol } = this.#question;
    if (protocol === "udp")
      return this.#ok("connection", "not tried: UDP says nothing of what arrived");
    const answer = await probe(source?.place?.namespace, address, port);
    if (answer === "open") return this.#ok("connection", `${address}:${port} takes connections`);
    const walls = [...this.#parts.wire.walls(inputHook), ...this.#parts.wire.walls(forwardHook)];
    const blame =
      walls.length > 0
        ? `a firewall may: ${list(walls)}`
        : "nothing on this host that is known of stops it";
    this.#stop("connection", `${address}:${port} ${answer}; ${blame}`);
  }
}

const list = (words: readonly string[]) => [...new Set(words)].join(", ") || "none";
const isLoopback = (address: string) => /^(127\.|::1$)/.test(address);
const networkNames = ({ attachments }: Live) =>
  attachments.map(({ endpoint }) => endpoint.networkName);

function gatewayAddress({ attachments }: Live): string | undefined {
  const endpoint = gatewayOf(attachments)?.endpoint;
  return endpoint?.gateway || endpoint?.gateway6 || undefined;
}

function leadsFrom(bound: BoundPort, address: string, port: number): boolean {
  const wildcard = address.includes(":") ? "::" : "0.0.0.0";
  return bound.hostPort === port && (bound.hostIp === address || bound.hostIp === wildcard);
}
