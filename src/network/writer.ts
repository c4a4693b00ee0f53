import {
  extraLines,
  hostFile,
  hostsText,
  type Naming,
  ownLines,
  resolvConfText,
  resolvingOf,
  writeFiles,
} from "./files.ts";
import type { Networks } from "./networks.ts";
import type { Live } from "./sandboxes.ts";
import type { SandboxSpec } from "./types.ts";

/** Writes containers' files, and answers for the names in them. */
export class Writer {
  readonly #directory: string;
  readonly #networks: Networks;
  readonly #dns: readonly string[];
  readonly #hostGateways: readonly string[];

  constructor(parts: {
    directory: string;
    networks: Networks;
    dns: readonly string[];
    hostGateways: readonly string[];
  }) {
    this.#hostGateways = parts.hostGateways;
    this.#directory = parts.directory;
    this.#networks = parts.networks;
    this.#dns = parts.dns;
  }

  /** The three files of a sandbox. In place: connect and disconnect change what a container sees. */
  write({ spec, attachments, place }: Live) {
    const endpoints = attachments.map(({ endpoint }) => endpoint);
    const isNamed = endpoints.some(({ dnsNames }) => dnsNames.length > 0);
    const naming: Naming = !place ? "host" : isNamed ? "embedded" : "bridge";
    const addresses = endpoints.flatMap(({ address, address6 }) => [address, address6]);
    return this.#write(spec, naming, addresses);
  }

  /** The files alone, as the host has them. */
  hostFiles(spec: SandboxSpec) {
    return this.#write(spec, "host", []);
  }

  #write(spec: SandboxSpec, naming: Naming, addresses: readonly string[]) {
    const extra = extraLines(spec.extraHosts, this.hostGateways());
    const hosts =
      naming === "host"
        ? hostFile("/etc/hosts") +
          extra.map(({ address, names }) => `${address}\t${names}\n`).join("")
        : hostsText([...extra, ...ownLines(spec, addresses)]);
    return writeFiles(this.#directory, spec.containerId, {
      hosts,
      hostname: `${spec.hostname}\n`,
      resolvConf: this.#resolvConf(spec, naming),
    });
  }

  #resolvConf(spec: SandboxSpec, naming: Naming): string {
    const resolving = resolvingOf(spec, this.#dns);
    const isAsHost = naming === "host" && resolving.overrides.length === 0;
    return isAsHost ? hostFile("/etc/resolv.conf") : resolvConfText(resolving, naming);
  }

  /** What "host-gateway" stands for: the host, seen from the default bridge. */
  hostGateways(): readonly string[] {
    if (this.#hostGateways.length > 0) return this.#hostGateways;
    const { subnets } = this.#networks.resolve("bridge");
    return subnets.flatMap(({ gateway }) => (gateway ? [gateway] : []));
  }
}
