import { Failure } from "../base/mod.ts";
import type { PortSpec } from "../network/mod.ts";
import type { Container } from "./types.ts";

type Protocol = PortSpec["protocol"];
/** All ports of one protocol, and some to spare; more is a mistake. */
const portsMax = 70_000;

/** The ports to publish: what `-p` bound and, with `-P`, what is exposed besides. @throws "invalid" */
export function portsOf({ config, hostConfig }: Pick<Container, "config" | "hostConfig">) {
  const ports: PortSpec[] = [];
  const bound = hostConfig.PortBindings ?? {};
  for (const [key, bindings] of Object.entries(bound)) {
    const { first, last, protocol } = parsePort(key);
    for (let containerPort = first; containerPort <= last; containerPort++) {
      for (const { HostIp, HostPort } of bindings ?? []) {
        const hostPort = parseHostPort(HostPort ?? "");
        ports.push({ containerPort, protocol, hostIp: HostIp ?? "", hostPort });
      }
      if (ports.length > portsMax) throw new Failure("invalid", "Cannot publish so many ports");
    }
  }
  if (!hostConfig.PublishAllPorts) return ports;
  for (const key of Object.keys(config.ExposedPorts ?? {})) {
    const { first, last, protocol } = parsePort(key);
    for (let port = first; port <= last; port++) {
      const isBound = ports.some((p) => p.containerPort === port && p.protocol === protocol);
      if (!isBound) ports.push({ containerPort: port, protocol, hostIp: "", hostPort: 0 });
    }
  }
  return ports;
}

/** `80`, `80/udp`, `8000-8010/tcp`. @throws "invalid" */
export function parsePort(text: string): { first: number; last: number; protocol: Protocol } {
  const [range = "", protocol = "tcp", ...rest] = text.split("/");
  const name = protocol.toLowerCase();
  if (rest.length > 0 || !isProtocol(name)) {
    throw new Failure("invalid", `Invalid proto: ${protocol} in port "${text.slice(0, 100)}"`);
  }
  const [first, last] = parseRange(range);
  if (first === 0) throw badPort(text);
  return { first, last, protocol: name };
}

function parseHostPort(text: string): PortSpec["hostPort"] {
  if (text === "") return 0;
  const [first, last] = parseRange(text);
  return first === last ? first : [first, last];
}

function parseRange(text: string): [first: number, last: number] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first > last || last > 65_535) throw badPort(text);
  return [first, last];
}

function badPort(text: string): Failure {
  return new Failure("invalid", `invalid port specification: "${text.slice(0, 100)}"`);
}

function isProtocol(text: string): text is Protocol {
  return text === "tcp" || text === "udp" || text === "sctp";
}
