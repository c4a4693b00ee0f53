/**
 * The client's end of the Engine API: one typed function for each endpoint. A command line loads this
 * before its first request, so it imports little: types, sockets, HTTP framing.
 */
import { Failure } from "../base/mod.ts";
import { containerCalls, execCalls } from "./client-containers.ts";
import { imageCalls, networkCalls, systemCalls, volumeCalls } from "./client-stores.ts";
import { type Address, Connection, type Tls } from "./dial.ts";
import { Transport } from "./transport.ts";

export { type Archive, type AttachQuery, framesOf, type LogQuery } from "./client-containers.ts";
export type { Tls } from "./dial.ts";
export type { Frame } from "./frames.ts";
export type { Bytes, Hijacked, Query, Reply, RequestOptions } from "./transport.ts";

export interface ConnectOptions {
  /** `unix:///path`, `tcp://host:port` or `/path`. */
  readonly host: string;
  /** For `tcp://`: speak TLS. */
  readonly tls?: Tls;
  /** Default "1.51", or the highest that an older engine names. */
  readonly apiVersion?: string;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>;
}

export type Client = ReturnType<typeof connect>;

/**
 * A client of the engine at `host`. It connects with the first request. Every function throws the
 * Failure that the engine answered with, or "unavailable" when there is no engine.
 * @throws Failure "invalid" — a host of no known form
 */
export function connect({ host, tls, apiVersion, headers = {} }: ConnectOptions) {
  const transport = new Transport(parseHost(host, tls), { shown: host, apiVersion, headers });
  return {
    containers: containerCalls(transport),
    execs: execCalls(transport),
    images: imageCalls(transport),
    networks: networkCalls(transport),
    volumes: volumeCalls(transport),
    system: systemCalls(transport),
    /** Any request, for what has no function here. */
    request: transport.request.bind(transport),
    hijack: transport.hijack.bind(transport),
    /** Closes the connections kept for later requests. Running requests go on. */
    close: () => transport.close(),
  };
}

/** A bare connection to the engine. @throws as `connect`, and "unavailable" */
export function dial({ host, tls }: ConnectOptions): Promise<Connection> {
  return Connection.open(parseHost(host, tls), host);
}

/**
 * What runs on the other host: it speaks the API on its standard input and output. Docker's client will
 * do, where Lading's is not installed. The other side's shell may be any.
 */
const farEnd =
  "sh -c 'command -v lading >/dev/null 2>&1 && exec lading system dial-stdio; " +
  "exec docker system dial-stdio'";

/** `ssh://[user@]host[:port]`. */
function sshAddress(host: string): Address | undefined {
  const match = /^ssh:\/\/(?:([\w.+-]+)@)?(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?\/?$/.exec(
    host,
  );
  const name = match?.[2]?.replace(/^\[|\]$/g, "");
  // A name that begins with a dash would be a flag of ssh's.
  if (!match || !name || name.startsWith("-") || match[1]?.startsWith("-")) return undefined;
  const user = match[1] ? ["-l", match[1]] : [];
  const port = match[3] ? ["-p", match[3]] : [];
  const timeout = ["-o", "ConnectTimeout=30", "-T"];
  return { command: ["ssh", ...user, ...port, ...timeout, "--", name, farEnd] };
}

/** @throws Failure "invalid" */
export function parseHost(host: string, tls?: Tls): Address {
  if (host.startsWith("unix://")) return { unixPath: host.slice("unix://".length) };
  if (host.startsWith("/")) return { unixPath: host };
  const address = /^(tcp|http|https):\/\/(\[[0-9a-fA-F:.]+\]|[^:/]+)(?::(\d{1,5}))?\/?$/.exec(host);
  if (address) {
    const port = Number(address[3] ?? (tls || address[1] === "https" ? 2376 : 2375));
    const name = address[2]!.replace(/^\[|\]$/g, "");
    const secure = tls ?? (address[1] === "https" ? {} : undefined);
    return { host: name, port, ...(secure ? { tls: secure } : {}) };
  }
  const far = sshAddress(host);
  if (far) return far;
  throw new Failure("invalid", `Cannot connect to "${host}": it is no address of an engine`, {
    hint: "An address is unix:///PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT]",
  });
}
