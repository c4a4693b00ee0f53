import { createSocket } from "node:dgram";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type ConnectionOptions, connect as connectSecurely } from "node:tls";
import { Failure } from "../base/mod.ts";
import { closeFile, connectDatagrams, sendDatagram } from "../sys/mod.ts";
import { type Address, addressText } from "./address.ts";

const connectTimeoutMs = 10_000;
const fullWaitMs = 5;

/** An open way to a server. */
export interface Wire {
  /** Sends each message whole. Rejects when the way is closed. */
  send(messages: readonly Uint8Array[], timeoutMs: number): Promise<void>;
  /** The next bytes that the server sends. */
  receive(timeoutMs: number): Promise<Uint8Array>;
  close(): void;
}

/** @throws "unavailable" in Docker's words */
export async function openWire(address: Address, tls: ConnectionOptions = {}): Promise<Wire> {
  try {
    if (address.kind === "unixgram") return openDatagrams(address.path);
    if (address.kind === "udp") return await openUdp(address.host, address.port);
    return streamWire(await dial(address, tls));
  } catch (cause) {
    const why = wordsOf(cause);
    throw new Failure("unavailable", `dial ${addressText(address)}: ${why}`, { cause });
  }
}

function wordsOf(cause: unknown): string {
  const { code, message } = cause as { code?: string; message: string };
  if (code === "ECONNREFUSED" || /ECONNREFUSED/.test(message)) return "connect: connection refused";
  if (code === "ENOENT" || code === "not_found") return "connect: no such file or directory";
  return code === "ENOTFOUND" ? "lookup: no such host" : message;
}

function dial(address: Address, tls: ConnectionOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { kind, ...where } = address;
    const isSecure = kind === "tls";
    const name = "host" in where ? { servername: where.host } : {};
    const socket = isSecure
      ? connectSecurely({ ...name, ...tls, ...where })
      : connect(where as { path: string });
    const timer = setTimeout(() => socket.destroy(new Error("i/o timeout")), connectTimeoutMs);
    socket.once("error", reject);
    socket.once("close", () => {
      clearTimeout(timer);
      reject(new Error("the server closed the connection"));
    });
    socket.once(isSecure ? "secureConnect" : "connect", () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}

function streamWire(socket: Socket): Wire {
  const gone = Promise.withResolvers<never>();
  gone.promise.catch(() => {}); // whoever sends hears of it
  socket.on("error", gone.reject);
  socket.on("close", () => gone.reject(new Error("the server closed the connection")));
  // A server that ends its side reads no more.
  socket.on("end", () => socket.destroy());
  socket.resume();
  const within = async <T>(timeoutMs: number, begin: (done: (value: T) => void) => void) => {
    const timer = setTimeout(() => socket.destroy(new Error("i/o timeout")), timeoutMs);
    try {
      return await Promise.race([gone.promise, new Promise<T>(begin)]);
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    send: (messages, timeoutMs) =>
      within<void>(timeoutMs, (done) => {
        // An error comes as an event too: that one rejects.
        socket.write(Buffer.concat(messages), (error) => error ?? done());
      }),
    receive: (timeoutMs) => within<Uint8Array>(timeoutMs, (done) => socket.once("data", done)),
    close: () => {
      socket.end();
      setTimeout(() => socket.destroy(), 1_000).unref();
    },
  };
}

const noAnswer = () => Promise.reject(new Failure("unsupported", "No answer comes this way"));

async function openUdp(host: string, port: number): Promise<Wire> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.connect(port, host, resolve);
  });
  // "Connection refused" of an earlier datagram: nobody can say which one was lost.
  socket.on("error", () => {});
  return {
    async send(messages) {
      for (const message of messages) {
        await new Promise<void>((resolve) => socket.send(message, () => resolve()));
      }
    },
    receive: noAnswer,
    close: () => socket.close(),
  };
}

function openDatagrams(path: string): Wire {
  const socket = connectDatagrams(path);
  return {
    async send(messages, timeoutMs) {
      const until = Date.now() + timeoutMs;
      for (const message of messages) {
        while (!sendDatagram(socket, message)) {
          if (Date.now() > until)
            throw new Failure("timeout", `Cannot write to "${path}": it is full`);
          await sleep(fullWaitMs);
        }
      }
    },
    receive: noAnswer,
    close: () => closeFile(socket),
  };
}
