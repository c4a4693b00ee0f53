import { Failure, toFailure } from "../base/mod.ts";
import type { Core } from "./core.ts";
import { parsePort } from "./ports.ts";
import type { Container, HostConfig } from "./types.ts";

/** `--link TARGET:ALIAS`, resolved. */
export interface Link {
  readonly target: Container;
  readonly alias: string;
  readonly address: string;
}

/**
 * Whether the links of the predefined networks can be: on others a name may come to be later.
 * @throws "invalid"
 */
export function checkLinks(core: Core, { Links, NetworkMode }: HostConfig): void {
  if (NetworkMode !== "bridge" && NetworkMode !== "none") return;
  for (const link of Links ?? []) {
    if (link === "") throw new Failure("invalid", "empty string specified for links");
    const [target = "", , ...rest] = link.replace(/^\//, "").split(":");
    if (rest.length > 0) {
      throw new Failure("invalid", `bad format for links: ${link.slice(0, 200)}`);
    }
    try {
      core.records.resolve(target);
    } catch (cause) {
      const { message } = toFailure(cause);
      const subject = target.slice(0, 200);
      throw new Failure("invalid", `could not get container for ${subject}: ${message}`, { cause });
    }
  }
}

/** The links of a container. @throws "conflict" — one is down | "not_found" */
export function linksOf(core: Core, { name, hostConfig }: Container): Link[] {
  return (hostConfig.Links ?? []).map((link) => {
    const [nameOrId = "", given = nameOrId] = link.replace(/^\//, "").split(":");
    const target = core.records.resolve(nameOrId);
    const alias = given.split("/").at(-1) || target.name;
    const address = core.networks.sandbox(target.id)?.endpoints[0]?.address;
    if (address) return { target, alias, address };
    throw new Failure(
      "conflict",
      `Cannot link to a non running container: /${target.name} AS /${name}/${alias}`,
    );
  });
}

/** As `Engine.unlink`: the name is forgotten at once by the record, by the container when it starts. */
export async function unlink(core: Core, owner: string, alias: string): Promise<void> {
  const { id } = core.records.resolve(owner);
  await core.locks.run(id, () => {
    const { name, hostConfig } = core.records.get(id);
    const all = hostConfig.Links ?? [];
    const left = all.filter((link) => (link.split(":")[1] ?? link).split("/").at(-1) !== alias);
    if (left.length === all.length) {
      throw new Failure("not_found", `No such link: /${name}/${alias}`);
    }
    core.records.change(id, { hostConfig: { ...hostConfig, Links: left } });
  });
}

/** What a linked container is told of by variables, on the default bridge only. */
export function linkEnvironment(core: Core, container: Container): string[] {
  if (container.hostConfig.NetworkMode !== "bridge") return [];
  return linksOf(core, container).flatMap((link) => variablesOf(link, container.name));
}

/** The same for a process that is added later: of those that run by then. */
export function linkEnvironmentNow(core: Core, container: Container): string[] {
  const { hostConfig } = container;
  return (hostConfig.Links ?? []).flatMap((link) => {
    try {
      return linkEnvironment(core, { ...container, hostConfig: { ...hostConfig, Links: [link] } });
    } catch (error) {
      if (error instanceof Failure) return []; // it is down, or gone
      throw error;
    }
  });
}

type Port = { readonly port: number; readonly protocol: string };

/** Docker's names: `DB_PORT_5432_TCP_ADDR`, `DB_NAME`, `DB_ENV_…`. */
export function variablesOf({ target, alias, address }: Link, owner: string): string[] {
  const prefix = alias.toUpperCase().replaceAll("-", "_");
  const ports = portsOf(target);
  const url = ({ port, protocol }: Port) => `${protocol}://${address}:${port}`;
  const named = ({ port, protocol }: Port) => `${prefix}_PORT_${port}_${protocol.toUpperCase()}`;
  const variables = ports[0] ? [`${prefix}_PORT=${url(ports[0])}`] : [];
  for (const one of ports) {
    const name = named(one);
    variables.push(
      `${name}=${url(one)}`,
      `${name}_ADDR=${address}`,
      `${name}_PORT=${one.port}`,
      `${name}_PROTO=${one.protocol}`,
    );
  }
  for (const [first, last] of rangesOf(ports)) {
    const name = named(first);
    variables.push(`${name}_START=${url(first)}`, `${name}_PORT_START=${first.port}`);
    variables.push(`${name}_END=${url(last)}`, `${name}_PORT_END=${last.port}`);
  }
  const inherited = (target.config.Env ?? []).filter((entry) => {
    return entry.includes("=") && !/^(HOME|PATH)=/.test(entry);
  });
  return [
    ...variables,
    `${prefix}_NAME=/${owner}/${alias}`,
    ...inherited.map((entry) => `${prefix}_ENV_${entry}`),
  ];
}

/** The exposed ports: TCP first, by number. */
function portsOf({ config, hostConfig }: Container): Port[] {
  const keys = [
    ...Object.keys(config.ExposedPorts ?? {}),
    ...Object.keys(hostConfig.PortBindings ?? {}),
  ];
  const all = new Map<string, Port>();
  for (const { first, last, protocol } of keys.map(parsePort)) {
    for (let port = first; port <= last; port++) all.set(`${port}/${protocol}`, { port, protocol });
  }
  const rank = ({ protocol }: Port) => (protocol === "tcp" ? 0 : 1);
  return [...all.values()].sort((a, b) => rank(a) - rank(b) || a.port - b.port);
}

/** Ports of one protocol that follow each other, two at least. */
function rangesOf(ports: readonly Port[]): (readonly [Port, Port])[] {
  const ranges: [Port, Port][] = [];
  for (const port of ports) {
    const range = ranges.at(-1);
    const isNext = range && range[1].port + 1 === port.port && range[1].protocol === port.protocol;
    if (isNext) range[1] = port;
    else ranges.push([port, port]);
  }
  return ranges.filter(([first, last]) => first !== last);
}
