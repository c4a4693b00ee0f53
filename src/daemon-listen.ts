/** Where the daemon listens: addresses, TLS files, and sockets that systemd opened. */
import { readFileSync } from "node:fs";
import type { Listen } from "./api/mod.ts";
import { Failure, fileFailure, log } from "./base/mod.ts";
import type { DaemonOptions, TlsFiles } from "./options.ts";
import { connectDatagrams, sendDatagram } from "./sys/mod.ts";

/** What `--host` says. @throws "invalid" | "not_found" — a TLS file is absent | "denied" */
export function listenPlaces(options: DaemonOptions): Listen[] {
  const tls = options.tls && readTls(options.tls);
  const group = options.group === undefined ? {} : { group: options.group };
  return options.hosts.flatMap((host): Listen[] => {
    if (/^fd:\/\/\*?$/.test(host)) return inheritedSockets();
    if (/^unix:\/\/\/./.test(host)) return [{ unixPath: host.slice("unix://".length), ...group }];
    const place = parseTcp(host, tls !== undefined);
    if (tls) return [{ ...place, tls }];
    if (!isLoopback(place.host)) warnOfPlainTcp(host, options.allowsPlainTcp);
    return [place];
  });
}

/** `tcp://host:port`; without a port Docker's own. @throws "invalid" */
function parseTcp(text: string, hasTls: boolean): { host: string; port: number } {
  const match = /^tcp:\/\/(\[[0-9a-fA-F:.]+\]|[^:/]*)(?::(\d{1,5}))?$/.exec(text);
  const port = Number(match?.[2] ?? (hasTls ? 2376 : 2375));
  if (match && port <= 65_535) {
    return { host: match[1]!.replace(/^\[|\]$/g, "") || "localhost", port };
  }
  throw new Failure("invalid", `Cannot listen on "${text}": not an address`, {
    hint: "Use unix:///PATH, tcp://HOST:PORT or fd://",
  });
}

const isLoopback = (host: string) => /^(localhost|127(\.\d+){3}|::1)$/.test(host);

function warnOfPlainTcp(host: string, isAllowed: boolean): void {
  if (!isAllowed) {
    throw new Failure("denied", `Cannot listen on "${host}" without TLS: it is not loopback`, {
      hint:
        "Whoever reaches it would be root on this host: use --tlsverify with certificates, or say " +
        "--allow-plain-tcp",
    });
  }
  log("warn", "Whoever reaches this address is root on this host: it has no TLS", { host });
}

function readTls({ ca, cert, key, verifies }: TlsFiles) {
  const read = (what: string, path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch (cause) {
      throw fileFailure(`read the ${what} "${path}"`, cause, {
        hint: "Name them with --tlscacert, --tlscert and --tlskey",
      });
    }
  };
  return {
    cert: read("certificate", cert),
    key: read("key", key),
    ...(verifies ? { ca: read("authority's certificate", ca) } : {}),
  };
}

const firstSocket = 3;

/** The protocol of sd_listen_fds(3): sockets from 3 on, which are meant for this process. */
function inheritedSockets(): Listen[] {
  const { LISTEN_PID: pid, LISTEN_FDS: count = "0" } = process.env;
  const number = pid === String(process.pid) && /^\d{1,2}$/.test(count) ? Number(count) : 0;
  if (number === 0) {
    throw new Failure("invalid", "Cannot listen on fd://: no socket was handed over", {
      hint: "It is for socket activation: start the daemon from a systemd socket unit",
    });
  }
  return Array.from({ length: number }, (_, at) => ({ fd: firstSocket + at }));
}

/** Tells systemd, where it started this daemon: sd_notify(3). Failing to costs nothing else. */
export function notifySupervisor(state: string): void {
  const path = process.env["NOTIFY_SOCKET"];
  if (!path?.startsWith("/")) return;
  try {
    const socket = connectDatagrams(path);
    sendDatagram(socket, Buffer.from(state));
  } catch (error) {
    log("warn", "Cannot tell the supervisor", { state: state.trim(), error });
  }
}
