import { Failure, isFailure } from "../base/mod.ts";
import type { NftElement } from "../sys/mod.ts";
import { bridgeOptions } from "./define.ts";
import { isBridge } from "./networks.ts";
import { gatewayOf, portOf } from "./plan.ts";
import { type Binding, Ports, type Publisher } from "./ports.ts";
import type { Live, Parts } from "./sandboxes.ts";
import type { BoundPort, Network, PortSpec } from "./types.ts";

/** Sandboxes' published ports: bound on the host, told to the kernel, and taken back. */
export class Publishing {
  readonly #ports: Ports;
  readonly #parts: Parts;
  readonly #elements: () => readonly NftElement[];

  /** `elements` is all that the rules must hold, for when they have to be made again. */
  constructor(parts: Parts, elements: () => readonly NftElement[]) {
    this.#ports = new Ports(parts.wire.table, {
      hostSocket: parts.hostSocket,
      others: () => parts.wire.publishedByOthers(),
    });
    this.#parts = parts;
    this.#elements = elements;
  }

  /** Binds the ports on the endpoint that leads out. */
  async publish(live: Live): Promise<void> {
    const way = this.#wayInto(live);
    if (live.spec.ports.length === 0 || !way) return;
    live.bindings = await this.#ports.bindAll(live.spec.ports, way.publisher);
    await this.#tell(live.bindings);
    this.#parts.wire.forgetFlows(live.bindings.map(({ port }) => port));
  }

  /** Binds again what was bound before, on the endpoint that leads out now. */
  async publishAgain(live: Live): Promise<void> {
    await this.restore(live);
    await this.#tell(live.bindings);
  }

  /**
   * As `publishAgain`, but leaves the kernel's rules alone: who restores all sets them as a whole, for
   * an earlier daemon's may lead to an endpoint that its end left without the ports.
   */
  async restore(live: Live): Promise<void> {
    const way = this.#wayInto(live);
    if (live.spec.ports.length === 0 || !way) return;
    const before = live.bindings.map(({ port }) => port);
    live.bindings = await this.#ports.restore(before, way.publisher);
  }

  /** The bridge network that the container leaves by: Docker publishes there, and nowhere else. */
  #wayInto(live: Live): { network: Network; link: string; publisher: Publisher } | undefined {
    const gateway = gatewayOf(live.attachments);
    if (!gateway) return undefined;
    const { endpoint, link } = gateway;
    const network = this.#parts.networks.resolve(endpoint.networkId);
    if (!isBridge(network)) return undefined;
    const { hostBinding, modes, trusted } = bridgeOptions(network);
    const direct = this.#parts.directRouting ? "all" : trusted.length > 0 ? "trusted" : "none";
    const endpointName = `${live.spec.containerName} (${endpoint.endpointId})`;
    const { address, address6 } = endpoint;
    const addresses = { address, address6, hostBinding };
    return { network, link, publisher: { endpointName, ...addresses, modes, direct } };
  }

  async #tell(bindings: readonly Binding[]): Promise<void> {
    try {
      this.#parts.wire.addElements(bindings.flatMap(({ elements }) => elements));
    } catch (error) {
      if (!isFailure(error, "not_found")) throw error;
      await this.#parts.wire.ensureRules(this.#elements);
    }
  }

  /** As `NetworkStore.publish`. */
  async change(live: Live, ports: readonly PortSpec[]): Promise<void> {
    const { wire } = this.#parts;
    const [old, wanted] = [live.spec.ports.map(keyOf), ports.map(keyOf)];
    const added = ports.filter((_, at) => !old.includes(wanted[at]!));
    const removed = live.spec.ports.filter((_, at) => !wanted.includes(old[at]!));
    if (added.length === 0 && removed.length === 0) return;
    const way = this.#wayInto(live);
    if (!way) {
      const who = live.spec.containerName;
      throw new Failure(
        "conflict",
        `Cannot publish ports of ${who}: no bridge network leads to it`,
      );
    }
    const gone = live.bindings.filter(({ port }) => {
      const owner = ownerOf(port, live.spec.ports);
      return owner !== undefined && removed.includes(owner);
    });
    this.#close(gone);
    const kept = live.bindings.filter((binding) => !gone.includes(binding));
    try {
      const fresh = await this.#ports.bindAll(added, way.publisher);
      live.bindings = [...kept, ...fresh];
      live.spec = { ...live.spec, ports };
      await this.#tell(fresh);
      wire.forgetFlows(fresh.map(({ port }) => port));
      wire.changePort(way.link, portOf(way.network, ports.length > 0));
    } catch (error) {
      const back = gone.map(({ port }) => port);
      live.bindings = [...kept, ...(await this.#ports.restore(back, way.publisher))];
      await this.#tell(live.bindings);
      throw error;
    }
  }

  #close(bindings: readonly Binding[]): void {
    this.#parts.wire.removeElements(bindings.flatMap((binding) => binding.elements));
    for (const binding of bindings) binding.close();
  }

  unpublish(live: Live): void {
    this.#close(live.bindings);
    live.bindings = [];
  }
}

const keyOf = (port: PortSpec) => JSON.stringify(port);

/** Which of the wishes a bound port came from: the one that says most of the host's port. */
export function ownerOf(port: BoundPort, specs: readonly PortSpec[]): PortSpec | undefined {
  const isOf = ({ containerPort, protocol, hostIp, hostPort }: PortSpec) => {
    const [first, last] = typeof hostPort === "number" ? [hostPort, hostPort] : hostPort;
    return (
      containerPort === port.containerPort &&
      protocol === port.protocol &&
      (hostIp === "" || hostIp === port.hostIp) &&
      (hostPort === 0 || port.hostPort === 0 || (first <= port.hostPort && port.hostPort <= last))
    );
  };
  const vagueness = ({ hostIp, hostPort }: PortSpec) =>
    (hostPort === 0 ? 4 : typeof hostPort === "number" ? 0 : 2) + (hostIp === "" ? 1 : 0);
  return specs.filter(isOf).toSorted((one, other) => vagueness(one) - vagueness(other))[0];
}
