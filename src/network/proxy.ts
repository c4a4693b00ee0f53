/**
 * The way into a container where the kernel cannot translate: from ::1, and from IPv6 to containers
 * without it. The listening socket also keeps the port ours, and tells when someone else has it.
 */
import type { Socket, SocketHandler, TCPSocketListenOptions } from "bun";
import { log } from "../base/mod.ts";
import { ignoreReports, sendDatagram } from "./datagram.ts";

const connectionsMax = 4_096;
const flowsMax = 1_024;
const flowIdleMs = 90_000;
/** Datagrams of one flow that wait for its socket. */
const earlyMax = 16;

export interface Door {
  readonly hostname: string;
  readonly port: number;
  readonly target: { readonly hostname: string; readonly port: number };
}

export interface Listening {
  readonly port: number;
  close(): void;
}

/** One end of a connection. What its socket did not take at once waits here, and its peer pauses. */
interface End {
  peer: Socket<End> | undefined;
  waiting: Buffer | undefined;
  isEnding: boolean;
}

function pass(to: Socket<End>, chunk: Uint8Array): boolean {
  const written = Math.max(0, to.write(chunk));
  if (written === chunk.length) return true;
  to.data.waiting = Buffer.from(chunk.subarray(written));
  return false;
}

const ends: SocketHandler<End> = {
  binaryType: "buffer",
  data(from, chunk) {
    const { peer } = from.data;
    if (!peer) return;
    if (peer.data.waiting) {
      peer.data.waiting = Buffer.concat([peer.data.waiting, chunk]);
      from.pause();
    } else if (!pass(peer, chunk)) from.pause();
  },
  drain(to) {
    const { waiting, peer } = to.data;
    if (!waiting) return;
    to.data.waiting = undefined;
    if (!pass(to, waiting)) return;
    if (to.data.isEnding) to.shutdown();
    peer?.resume();
  },
  end(from) {
    const { peer } = from.data;
    if (!peer) return;
    if (peer.data.waiting) peer.data.isEnding = true;
    else peer.shutdown();
  },
  close(one) {
    const { peer } = one.data;
    one.data.peer = undefined;
    if (!peer) return;
    peer.data.peer = undefined;
    if (peer.data.waiting) peer.data.isEnding = true;
    peer.end();
  },
  error(one) {
    one.terminate(); // A reset: the other end hears of it through `close`.
  },
};

/** Listens, and carries each connection to the target. @throws what listen(2) says: EADDRINUSE */
export function listenTcp({ hostname, port, target }: Door): Listening {
  const open = new Set<Socket<End>>();
  const options: TCPSocketListenOptions<End> & { ipv6Only: boolean } = {
    hostname,
    port,
    exclusive: true,
    ipv6Only: hostname.includes(":"),
    allowHalfOpen: true,
    socket: {
      ...ends,
      open(client) {
        client.data = { peer: undefined, waiting: undefined, isEnding: false };
        if (open.size >= connectionsMax) return void client.terminate();
        open.add(client);
        client.pause(); // Until there is somewhere to send it.
        connect(client, target).catch((error: unknown) => {
          log("debug", "Cannot reach a published port", { port, error });
          client.terminate();
        });
      },
      close(client, error) {
        open.delete(client);
        ends.close?.(client, error);
      },
    },
  };
  const listener = Bun.listen<End>(options);
  return {
    port: listener.port,
    close() {
      listener.stop(true);
      for (const client of open) client.terminate();
    },
  };
}

async function connect(client: Socket<End>, target: Door["target"]): Promise<void> {
  const server = await Bun.connect<End>({
    ...target,
    allowHalfOpen: true,
    socket: ends,
    data: { peer: client, waiting: undefined, isEnding: false },
  });
  if (client.readyState <= 0) return void server.terminate();
  client.data.peer = server;
  client.resume();
}

interface Flow {
  send: ((bytes: Uint8Array) => void) | undefined;
  readonly early: Uint8Array[];
  close(): void;
  idleSince: number;
}

/** The same for datagrams: a socket per client, closed when idle. @throws what bind(2) says */
export async function listenUdp({ hostname, port, target }: Door): Promise<Listening> {
  const flows = new Map<string, Flow>();
  const socket = await Bun.udpSocket({
    hostname,
    port,
    // What node:dgram passes for ipv6Only: without it, [::] takes 0.0.0.0 too.
    ...(hostname.includes(":") ? { flags: 8 } : {}),
    socket: {
      data(own, bytes, clientPort, client) {
        const key = `${client} ${clientPort}`;
        const flow =
          flows.get(key) ??
          open(key, (reply) => sendDatagram(() => own.send(reply, clientPort, client)));
        flow.idleSince = Date.now();
        if (flow.send) flow.send(bytes);
        else if (flow.early.length < earlyMax) flow.early.push(Buffer.from(bytes));
      },
      error: ignoreReports,
    },
  });
  function open(key: string, answer: (reply: Uint8Array) => void): Flow {
    if (flows.size >= flowsMax) drop(flows.keys().next().value!);
    const flow: Flow = { send: undefined, early: [], close() {}, idleSince: Date.now() };
    flows.set(key, flow);
    start(flow, target, answer).catch((error: unknown) => {
      log("debug", "Cannot reach a published port", { port, error });
      flows.delete(key);
    });
    return flow;
  }
  function drop(key: string) {
    flows.get(key)?.close();
    flows.delete(key);
  }
  const sweep = setInterval(() => {
    for (const [key, flow] of flows) if (Date.now() - flow.idleSince > flowIdleMs) drop(key);
  }, flowIdleMs / 3);
  sweep.unref();
  return {
    port: socket.port,
    close() {
      clearInterval(sweep);
      for (const key of [...flows.keys()]) drop(key);
      socket.close();
    },
  };
}

async function start(
  flow: Flow,
  target: Door["target"],
  answer: (reply: Uint8Array) => void,
): Promise<void> {
  let isClosed = false;
  flow.close = () => {
    isClosed = true;
  };
  const server = await Bun.udpSocket({
    hostname: target.hostname.includes(":") ? "::" : "0.0.0.0",
    connect: target,
    socket: {
      data(_own, bytes) {
        flow.idleSince = Date.now();
        answer(bytes);
      },
      error: ignoreReports,
    },
  });
  if (isClosed) return void server.close();
  flow.close = () => server.close();
  flow.send = (bytes) => sendDatagram(() => server.send(bytes));
  for (const bytes of flow.early.splice(0)) flow.send(bytes);
}
