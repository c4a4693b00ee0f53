import { log } from "../base/mod.ts";
import { type NameServer, serveNames } from "./dns.ts";
import { resolvingOf } from "./files.ts";
import { gatewayOf } from "./plan.ts";
import type { Live } from "./sandboxes.ts";

/** The name servers of the containers that have one. */
export class NameServers {
  readonly #servers = new Map<string, NameServer>();
  readonly #live: ReadonlyMap<string, Live>;
  readonly #dns: readonly string[];

  constructor(live: ReadonlyMap<string, Live>, dns: readonly string[]) {
    this.#live = live;
    this.#dns = dns;
  }

  /** Starts a container's server when it is on a network with names and has none yet; `isAnew` after a restart. */
  async ensure({ spec, place, attachments }: Live, isAnew = false): Promise<void> {
    const { containerId } = spec;
    const isNamed = attachments.some(({ endpoint }) => endpoint.dnsNames.length > 0);
    if (!isNamed || !place || this.#servers.has(containerId)) return;
    const server = await serveNames(place.namespace, isAnew, {
      containerId,
      directory: this.#live,
      servers: () => this.#serversFor(containerId),
    });
    this.#servers.set(containerId, server);
  }

  /** Nobody is asked for a container without a way out: a question would carry data to the outside. */
  #serversFor(containerId: string): readonly string[] | undefined {
    const live = this.#live.get(containerId);
    if (!live || !gatewayOf(live.attachments)) return undefined;
    // Asked for from the host, so that a resolver on its localhost is as good as another.
    return resolvingOf(live.spec, this.#dns, "host").nameservers;
  }

  stop(containerId: string): void {
    const server = this.#servers.get(containerId);
    this.#servers.delete(containerId);
    try {
      server?.close();
    } catch (error) {
      log("warn", "Cannot close a container's name server", { containerId, error });
    }
  }
}
