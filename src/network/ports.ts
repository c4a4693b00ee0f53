import { readFileSync } from "node:fs";
import { Failure, log } from "../base/mod.ts";
import type { NftElement } from "../sys/mod.ts";
import { type Address, formatAddress, parseAddress, readAddress } from "./address.ts";
import type { GatewayMode } from "./define.ts";
import { forwardFromHost } from "./host-forward.ts";
import { holderOf, type Taken } from "./others.ts";
import { type Listening, listenTcp, listenUdp } from "./proxy.ts";
import { portElement, routedElement } from "./ruleset.ts";
import type { BoundPort, PortSpec } from "./types.ts";

/** Who publishes: where packets go, and the name for messages. */
export interface Publisher {
  readonly endpointName: string;
  readonly address: string;
  readonly address6: string;
  /** The host's address where a port names none; "" for all. */
  readonly hostBinding: string;
  /** In a family that is routed, a port is opened where the container is; the host's stays free. */
  readonly modes: Readonly<Record<4 | 6, GatewayMode>>;
  /** Whether a route to the container's address leads to its ports, too: by no link, some, or all. */
  readonly direct: "none" | "trusted" | "all";
}

/** A port that is bound: what the kernel must know, and the socket that keeps it. */
export interface Binding {
  readonly port: BoundPort;
  readonly elements: readonly NftElement[];
  close(): void;
}

/** Tries for one random port before giving up. */
const triesMax = 4_096;
const wildcards = { 4: "0.0.0.0", 6: "::" } as const;

/** The host's ports that containers have. One per engine; other programs are met at bind(2). */
export class Ports {
  readonly #table: string;
  readonly #hostSocket: string | undefined;
  readonly #others: () => readonly Taken[];
  /** By protocol and port, the addresses that are taken. */
  readonly #claims = new Map<string, Set<string>>();
  #next: number;
  readonly #first: number;
  readonly #last: number;

  /**
   * `hostSocket`: that of slirp4netns, where this network is not the host's. `others` tells what the
   * rules of other engines publish.
   */
  constructor(
    table: string,
    parts: { hostSocket: string | undefined; others: () => readonly Taken[] },
  ) {
    this.#table = table;
    this.#hostSocket = parts.hostSocket;
    this.#others = parts.others;
    [this.#first, this.#last] = ephemeralRange();
    this.#next = this.#first;
  }

  /** Binds all of them or none. @throws Failure "conflict" | "invalid" | "exhausted" */
  async bindAll(specs: readonly PortSpec[], publisher: Publisher): Promise<Binding[]> {
    const bindings: Binding[] = [];
    const others = specs.length > 0 ? this.#others() : [];
    try {
      for (const spec of specs) bindings.push(...(await this.#bind(spec, publisher, others)));
      return bindings;
    } catch (error) {
      for (const binding of bindings) binding.close();
      throw error;
    }
  }

  /** Binds again what was bound before a restart. A port that was lost meanwhile is reported. */
  async restore(ports: readonly BoundPort[], publisher: Publisher): Promise<Binding[]> {
    const bindings: Binding[] = [];
    for (const port of ports) {
      try {
        bindings.push(await this.#open(port, publisher));
      } catch (error) {
        const { hostIp, hostPort } = port;
        log("warn", "Cannot take a published port back", { hostIp, hostPort, error });
        bindings.push(this.#translateOnly(port, publisher));
      }
    }
    return bindings;
  }

  async #bind(spec: PortSpec, publisher: Publisher, others: readonly Taken[]): Promise<Binding[]> {
    const addresses = hostAddresses(spec.hostIp || publisher.hostBinding);
    const isImplicit = spec.hostIp === "" && publisher.hostBinding === "";
    let last: unknown;
    for (const hostPort of this.#candidates(spec.hostPort)) {
      try {
        return await this.#bindOn(
          addresses,
          { ...spec, hostPort },
          { publisher, isImplicit, others },
        );
      } catch (error) {
        last = error;
        const isBusy = error instanceof Failure && error.code === "conflict";
        if (!isBusy) throw error;
      }
    }
    throw last ?? new Failure("exhausted", outside(publisher, "all ports are allocated"));
  }

  *#candidates(wanted: PortSpec["hostPort"]): Generator<number> {
    if (typeof wanted !== "number") {
      for (let port = wanted[0]; port <= wanted[1]; port++) yield port;
      return;
    }
    if (wanted !== 0) {
      yield wanted;
      return;
    }
    for (let tries = 0; tries < triesMax; tries++) {
      yield this.#next;
      this.#next = this.#next >= this.#last ? this.#first : this.#next + 1;
    }
  }

  async #bindOn(
    addresses: readonly string[],
    { containerPort, protocol, hostPort }: PortSpec & { hostPort: number },
    ways: { publisher: Publisher; isImplicit: boolean; others: readonly Taken[] },
  ): Promise<Binding[]> {
    const { publisher, isImplicit, others } = ways;
    const bindings: Binding[] = [];
    for (const hostIp of addresses) {
      try {
        const port = { containerPort, protocol, hostIp, hostPort };
        refuseOthers(port, publisher, others);
        bindings.push(await this.#open(port, publisher));
      } catch (error) {
        const isBusy = error instanceof Failure && error.code === "conflict";
        // Nobody asked for IPv6: a host without it publishes on IPv4.
        if (isImplicit && hostIp === wildcards[6] && !isBusy) continue;
        for (const binding of bindings) binding.close();
        throw error;
      }
    }
    return bindings;
  }

  /** Claims, listens, and says which elements belong to it. */
  async #open(port: BoundPort, publisher: Publisher): Promise<Binding> {
    const family = port.hostIp.includes(":") ? 6 : 4;
    if (publisher.modes[family] === "routed") return this.#route(port, publisher, family);
    const release = this.#claim(port, publisher);
    try {
      const listening = this.#hostSocket
        ? await forwardFromHost(this.#hostSocket, port)
        : await listen(port, publisher);
      return {
        port,
        elements: this.#elements(port, publisher),
        close() {
          listening?.close();
          release();
        },
      };
    } catch (error) {
      release();
      throw refusal(error, port, publisher);
    }
  }

  #route(port: BoundPort, publisher: Publisher, family: 4 | 6): Binding {
    const target = readAddress(family === 4 ? publisher.address : publisher.address6);
    const elements = target
      ? [routedElement(this.#table, port, { target, set: "routed_ports" })]
      : [];
    return { port: { ...port, hostPort: 0 }, elements, close() {} };
  }

  #translateOnly(port: BoundPort, publisher: Publisher): Binding {
    return { port, elements: this.#elements(port, publisher), close() {} };
  }

  /** What slirp4netns brings from any address of the host's is for its one address here. */
  #elements(port: BoundPort, publisher: Publisher): readonly NftElement[] {
    const here = this.#hostSocket ? { ...port, hostIp: wildcards[4] } : port;
    return elementsOf(this.#table, here, publisher);
  }

  #claim(port: BoundPort, publisher: Publisher): () => void {
    const { protocol, hostPort, hostIp } = port;
    const key = `${protocol}/${hostPort}`;
    const taken = this.#claims.get(key) ?? new Set();
    const own = parseAddress(hostIp, "host address");
    const wildcard = wildcards[own.family];
    const isSame = (other: string) =>
      parseAddress(other).family === own.family &&
      (other === hostIp || other === wildcard || hostIp === wildcard);
    if ([...taken].some(isSame)) {
      const reason = `Bind for ${place(port)} failed: port is already allocated`;
      throw new Failure("conflict", outside(publisher, reason), {
        hint: `"lading ps --filter publish=${hostPort}" shows which container has it`,
      });
    }
    this.#claims.set(key, taken.add(hostIp));
    return () => {
      taken.delete(hostIp);
      if (taken.size === 0) this.#claims.delete(key);
    };
  }
}

/** @throws Failure "conflict" when the rules of another engine lead the port elsewhere */
function refuseOthers(port: BoundPort, publisher: Publisher, others: readonly Taken[]): void {
  if (publisher.modes[port.hostIp.includes(":") ? 6 : 4] === "routed") return;
  const holder = holderOf(port, others);
  if (!holder) return;
  const { table } = holder;
  const reason = `Bind for ${place(port)} failed: port is already allocated`;
  throw new Failure("conflict", outside(publisher, reason), {
    hint:
      `Another engine has it, by its nftables "${table}". If that one is gone for good, ` +
      `"nft delete table ip ${table}; nft delete table ip6 ${table}" frees its ports`,
  });
}

function ephemeralRange(): [number, number] {
  const text = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
  const [first = 32_768, last = 60_999] = text.trim().split(/\s+/).map(Number);
  return [first, last];
}

function hostAddresses(hostIp: string): string[] {
  if (hostIp === "") return [wildcards[4], wildcards[6]];
  return [formatAddress(parseAddress(hostIp, "host address"))];
}

/** The socket that keeps the port. SCTP has none here: its ports are kept by the claims alone. */
async function listen(port: BoundPort, publisher: Publisher): Promise<Listening | undefined> {
  const { address, address6 } = publisher;
  const isV6 = port.hostIp.includes(":");
  const hostname = isV6 ? address6 || address : address || address6;
  const door = {
    hostname: port.hostIp,
    port: port.hostPort,
    target: { hostname, port: port.containerPort },
  };
  if (port.protocol === "sctp") return undefined;
  return port.protocol === "tcp" ? listenTcp(door) : await listenUdp(door);
}

/** The kernel translates within a family; what crosses families is the proxy's. */
function elementsOf(table: string, port: BoundPort, publisher: Publisher): NftElement[] {
  const host = parseAddress(port.hostIp);
  const text = host.family === 4 ? publisher.address : publisher.address6;
  if (!text) return [];
  const hostAddress: Address | undefined = host.value === 0n ? undefined : host;
  const target = parseAddress(text);
  const translated = portElement(table, port, { hostAddress, target });
  // What is published to the host itself alone is so by every way.
  if (publisher.direct === "none" || isLoopback(host)) return [translated];
  const set = publisher.direct === "all" ? "routed_ports" : "direct_ports";
  return [translated, routedElement(table, port, { target, set })];
}

function isLoopback({ family, value }: Address): boolean {
  return family === 4 ? value >> 24n === 127n : value === 1n;
}

function place({ hostIp, hostPort }: BoundPort): string {
  return hostIp.includes(":") ? `[${hostIp}]:${hostPort}` : `${hostIp}:${hostPort}`;
}

function outside({ endpointName }: Publisher, reason: string): string {
  const head = "driver failed programming external connectivity on endpoint";
  return `${head} ${endpointName}: ${reason}`;
}

/** What bind(2) said, in Docker's words. */
function refusal(cause: unknown, port: BoundPort, publisher: Publisher): Failure {
  if (cause instanceof Failure) return cause;
  const errno = (cause as { code?: string }).code ?? "";
  const head = `failed to bind host port ${place(port)}/${port.protocol}`;
  if (errno === "EADDRINUSE") {
    const hint = `Another program listens there; "ss -lnp sport = ${port.hostPort}" names it`;
    const message = outside(publisher, `${head}: address already in use`);
    return new Failure("conflict", message, { cause, hint });
  }
  const reasons: Record<string, string> = {
    EADDRNOTAVAIL: "cannot assign requested address",
    EACCES: "permission denied",
  };
  const message = outside(publisher, `${head}: ${reasons[errno] ?? (errno || String(cause))}`);
  return new Failure("invalid", message, { cause });
}
