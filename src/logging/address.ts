import { Failure } from "../base/mod.ts";

/** Where a log server listens. */
export type Address =
  | { readonly kind: "tcp" | "udp" | "tls"; readonly host: string; readonly port: number }
  | { readonly kind: "unix" | "unixgram"; readonly path: string };

type Options = Readonly<Record<string, string>>;

const drivers: Readonly<Record<string, { port?: number; schemes: readonly string[] }>> = {
  syslog: { port: 514, schemes: ["tcp", "udp", "tcp+tls", "unix", "unixgram"] },
  fluentd: { port: 24224, schemes: ["tcp", "tls", "unix"] },
  gelf: { schemes: ["tcp", "udp"] },
};

/**
 * The address that a driver's options name; undefined is the host's own syslog.
 * @throws "invalid" in Docker's words
 */
export function parseAddress(driver: string, options: Options): Address | undefined {
  const option = `${driver}-address`;
  const text = options[option] ?? "";
  const { port, schemes } = drivers[driver]!;
  if (text === "") {
    if (driver === "syslog") return undefined;
    if (port !== undefined) return { kind: "tcp", host: "127.0.0.1", port };
    throw new Failure("invalid", `${option} is a required parameter`);
  }
  const match = /^([a-z+]+):\/\/(.*)$/.exec(text);
  const odd = (why: string) => {
    return new Failure("invalid", `invalid ${option} "${text.slice(0, 200)}": ${why}`);
  };
  if (!match && driver !== "fluentd") throw odd("it should be in form proto://address");
  const [, scheme = "tcp", rest = text] = match ?? [];
  if (!schemes.includes(scheme)) throw odd(`the scheme is one of ${schemes.join(", ")}`);
  if (scheme === "unix" || scheme === "unixgram") {
    if (rest.startsWith("/") && Buffer.byteLength(rest) <= 107) return { kind: scheme, path: rest };
    throw odd("it should name a socket by its full path");
  }
  const place = hostAndPort(rest, port);
  if (!place) throw odd(`please provide it as ${scheme}://host:port`);
  return { kind: scheme === "tcp+tls" ? "tls" : (scheme as "tcp" | "udp" | "tls"), ...place };
}

function hostAndPort(text: string, portDefault: number | undefined) {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:/[\]\s]+))(?::(\d{1,5}))?\/?$/.exec(text);
  const port = Number(match?.[3] ?? portDefault);
  if (!match || !(port >= 1 && port <= 65_535)) return undefined;
  return { host: match[1] ?? match[2]!, port };
}

/** As errors name it. */
export function addressText(address: Address): string {
  if ("path" in address) return `${address.kind} ${address.path}`;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${address.kind === "udp" ? "udp" : "tcp"} ${host}:${address.port}`;
}
