/**
 * Ports of the host for an engine without root: its network is not the host's, and slirp4netns, which
 * joins the two, listens in its stead.
 * https://github.com/rootless-containers/slirp4netns/blob/master/slirp4netns.1.md#api-socket
 */
import { connect } from "node:net";
import { Failure, log } from "../base/mod.ts";
import type { BoundPort } from "./types.ts";

/** slirp4netns's own address for us. */
const guest = "10.0.2.100";
const timeoutMs = 5_000;
const answerBytesMax = 1 << 20;

interface Entry {
  readonly id: number;
  readonly proto: string;
  readonly host_addr: string;
  readonly host_port: number;
}
interface Answer {
  readonly return?: { readonly id?: number };
  readonly entries?: readonly Entry[];
  readonly error?: { readonly desc?: string };
}

/** Has a port of the host lead here. @throws Failure "conflict" | "invalid" — IPv6, or SCTP */
export async function forwardFromHost(socket: string, port: BoundPort): Promise<{ close(): void }> {
  if (port.hostIp.includes(":") || port.protocol === "sctp") {
    throw Object.assign(new Error("not by slirp4netns"), { code: "EADDRNOTAVAIL" });
  }
  const entry = { proto: port.protocol, host_addr: port.hostIp, host_port: port.hostPort };
  const target = { guest_addr: guest, guest_port: port.hostPort };
  const added = await ask(socket, "add_hostfwd", { ...entry, ...target });
  const id = added.return?.id ?? (await idOf(socket, entry));
  if (id === undefined) throw Object.assign(new Error("in use"), { code: "EADDRINUSE" });
  return {
    close: () => {
      ask(socket, "remove_hostfwd", { id }).catch((error) =>
        log("warn", "Cannot close a port of the host", { port: port.hostPort, error }),
      );
    },
  };
}

/** The forward that a daemon before this one made. */
async function idOf(socket: string, wanted: Omit<Entry, "id">): Promise<number | undefined> {
  const { entries } = await ask(socket, "list_hostfwd", {});
  const same = (entry: Entry) =>
    entry.proto === wanted.proto &&
    entry.host_addr === wanted.host_addr &&
    entry.host_port === wanted.host_port;
  return entries?.find(same)?.id;
}

function ask(socketPath: string, execute: string, args: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let text = "";
    const failed = (why: string) => {
      socket.destroy();
      reject(new Failure("unavailable", `Cannot publish the port: slirp4netns ${why}`));
    };
    socket.setTimeout(timeoutMs, () => failed("does not answer"));
    socket.on("error", ({ message }) => failed(message));
    socket.on("data", (bytes) => {
      text += bytes;
      if (text.length > answerBytesMax) failed("says too much");
    });
    socket.on("end", () => {
      socket.destroy();
      try {
        resolve(JSON.parse(text) as Answer);
      } catch {
        failed("answers without sense");
      }
    });
    socket.on("connect", () => socket.write(JSON.stringify({ execute, arguments: args })));
  });
}
