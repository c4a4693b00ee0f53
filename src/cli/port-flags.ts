/** `-p` and `--expose`. Spec: https://docs.docker.com/reference/cli/docker/container/run/#publish */
import type { PortBinding } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";

export interface Ports {
  readonly exposed: Record<string, Record<string, never>>;
  readonly bindings: Record<string, PortBinding[]>;
}

interface Range {
  readonly first: number;
  readonly last: number;
}

function parseRange(text: string, what: string, whole: string): Range {
  const found = /^(\d+)(?:-(\d+))?$/.exec(text);
  const first = Number(found?.[1]);
  const last = Number(found?.[2] ?? found?.[1]);
  if (!found || first > 65535 || last > 65535 || first > last) {
    throw new Failure("invalid", `invalid ${what}: ${whole}`);
  }
  return { first, last };
}

function parseProtocol(text: string): string {
  const protocol = text.toLowerCase();
  if (!["tcp", "udp", "sctp"].includes(protocol)) {
    throw new Failure("invalid", `invalid proto: ${text}`);
  }
  return protocol;
}

/** All of `-p` and `--expose` as the create body has it. @throws Failure "invalid" */
export function parsePorts(publish: readonly string[], expose: readonly string[]): Ports {
  const ports: Ports = { exposed: {}, bindings: {} };
  for (const text of publish) addPublished(ports, text.includes("=") ? shortForm(text) : text);
  for (const text of expose) {
    if (text.includes(":")) {
      throw new Failure("invalid", `invalid port format for --expose: ${text}`);
    }
    const [range, protocol = "tcp"] = text.split("/") as [string, string?];
    if (!/^\d+(-\d+)?$/.test(range)) {
      const why = `strconv.ParseUint: parsing ${JSON.stringify(range)}: invalid syntax`;
      throw new Failure("invalid", `invalid range format for --expose: ${text}, error: ${why}`);
    }
    const { first, last } = parseRange(range, "range format for --expose", text);
    for (let port = first; port <= last; port++) {
      ports.exposed[`${port}/${parseProtocol(protocol)}`] = {};
    }
  }
  return ports;
}

/** `target=80,published=8080,protocol=tcp` → `8080:80/tcp`. */
function shortForm(text: string): string {
  const fields = new Map<string, string>();
  for (const part of text.split(",")) {
    const [name, value] = part.split(/=(.*)/s) as [string, string?];
    if (value === undefined || value === "") {
      throw new Failure(
        "invalid",
        `invalid publish opts format (should be name=value but got '${part}')`,
      );
    }
    fields.set(name, value);
  }
  const protocol = fields.get("protocol") ?? "tcp";
  const published = fields.get("published");
  const target = fields.get("target") ?? "";
  return published ? `${published}:${target}/${protocol}` : `${target}/${protocol}`;
}

function addPublished(ports: Ports, text: string): void {
  const { address, host, container, protocol: named } = splitSpec(text);
  if (container === "") throw new Failure("invalid", `no port specified: ${text}<empty>`);
  const inside = parseRange(container, "containerPort", container);
  const outside = host === "" ? undefined : parseRange(host, "hostPort", host);
  const isSpread = outside && outside.last - outside.first !== inside.last - inside.first;
  // One port inside and many outside: the engine takes the first free one.
  if (isSpread && inside.first !== inside.last) {
    throw new Failure(
      "invalid",
      `invalid ranges specified for container and host Ports: ${container} and ${host}`,
    );
  }
  const protocol = parseProtocol(named);
  for (let port = inside.first; port <= inside.last; port++) {
    const HostPort = isSpread ? host : outside ? String(outside.first + port - inside.first) : "";
    const key = `${port}/${protocol}`;
    ports.exposed[key] = {};
    (ports.bindings[key] ??= []).push({ HostIp: address, HostPort });
  }
}

/** `[::1]:80-81:90-91/udp` apart. */
function splitSpec(text: string) {
  const [spec, protocol = "tcp"] = text.split("/") as [string, string?];
  const found = /^(?:(\[[^\]]*\]|[^:]*):)?(?:([^:]*):)?([^:]*)$/.exec(spec);
  const bare = /^((?:[0-9a-fA-F]*:){2,}[0-9a-fA-F.]*):([\d-]*):([\d-]+)$/.exec(spec);
  if (!found) {
    // An IPv6 address without brackets, as Docker takes it.
    if (!bare) throw new Failure("invalid", `invalid containerPort: ${text}`);
    return { address: checkAddress(bare[1]!), host: bare[2]!, container: bare[3]!, protocol };
  }
  const [, one, two, container] = found;
  if (one === undefined) return { address: "", host: "", container: container!, protocol };
  if (two === undefined) return { address: "", host: one, container: container!, protocol };
  return {
    address: checkAddress(one.replace(/^\[|\]$/g, "")),
    host: two,
    container: container!,
    protocol,
  };
}

function checkAddress(text: string): string {
  if (text === "" || isAddress(text)) return text;
  throw new Failure("invalid", `invalid IP address: ${text}`);
}

/** True for an IPv4 or IPv6 address. */
export function isAddress(text: string): boolean {
  if (text.includes(":")) return /^[0-9a-fA-F:.]+(%\w+)?$/.test(text);
  return (
    /^\d{1,3}(\.\d{1,3}){3}$/.test(text) && text.split(".").every((part) => Number(part) < 256)
  );
}
