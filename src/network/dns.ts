/**
 * The server at 127.0.0.11 in containers on user-defined networks. Its sockets are in the container's
 * namespace, on ports of the kernel's choice, and a rule there leads port 53 to them: a container may
 * serve names itself, on port 53 of all its addresses.
 */
import type { Socket } from "bun";
import { log } from "../base/mod.ts";
import {
  type NetworkNamespace,
  nftBatch,
  openNetlink,
  redirectRequests,
  withinNamespace,
} from "../sys/mod.ts";
import { parseAddress, toBytes } from "./address.ts";
import { ignoreReports, sendDatagram } from "./datagram.ts";
import { AnswerCache, cacheKey } from "./dns-cache.ts";
import { askTcp, askUdp } from "./dns-forward.ts";
import {
  cutShort,
  datagramBytesMax,
  encodeAnswer,
  encodeRefusal,
  extendedSize,
  readQuestion,
  recordType,
  responseCode,
  reverseAddress,
} from "./dns-message.ts";
import { embeddedServer } from "./files.ts";
import { addressesOf, type Directory, isOwnAddress, nameOf } from "./names.ts";

const table = "lading-names";
/** Questions of one container that are with other servers at the same time. */
const forwardsMax = 256;
const tcpQueryBytesMax = 4_096;
const tcpConnectionsMax = 64;
const tcpIdleSeconds = 10;
const answers = new AnswerCache();

export interface Asker {
  readonly containerId: string;
  readonly directory: Directory;
  /** Where to ask for what is not ours; undefined when the container has no way out. */
  servers(): readonly string[] | undefined;
}

export interface NameServer {
  close(): void;
}

/** Starts answering in a namespace; `isAnew` where an earlier server's rule is. @throws what sockets and netlink throw */
export async function serveNames(
  namespace: NetworkNamespace,
  isAnew: boolean,
  asker: Asker,
): Promise<NameServer> {
  const answerer = new Answerer(asker);
  const sockets = withinNamespace(namespace, () => ({
    udp: listenUdp(answerer),
    tcp: listenTcp(answerer),
  }));
  const udp = await sockets.udp;
  const close = () => {
    udp.close();
    sockets.tcp.stop(true);
  };
  try {
    const to = { udp: udp.port, tcp: sockets.tcp.port };
    const address = toBytes(parseAddress(embeddedServer));
    withinNamespace(namespace, () => {
      using netfilter = openNetlink("netfilter");
      netfilter.transact(redirectRequests({ table, address, port: 53, to }, isAnew), nftBatch);
    });
    return { close };
  } catch (error) {
    close();
    throw error;
  }
}

function listenUdp(answerer: Answerer) {
  return Bun.udpSocket({
    hostname: embeddedServer,
    port: 0,
    socket: {
      data(own, message, port, address) {
        answerer.answer(message, "udp").then(
          (reply) => reply && sendDatagram(() => own.send(reply, port, address)),
          (error: unknown) => log("debug", "Cannot answer a question for a name", { error }),
        );
      },
      error: ignoreReports,
    },
  });
}

interface Stream {
  buffer: Buffer;
}

function listenTcp(answerer: Answerer) {
  let connections = 0;
  return Bun.listen<Stream>({
    hostname: embeddedServer,
    port: 0,
    socket: {
      open(socket) {
        socket.data = { buffer: Buffer.alloc(0) };
        socket.timeout(tcpIdleSeconds);
        connections++;
        if (connections > tcpConnectionsMax) socket.terminate();
      },
      close() {
        connections--;
      },
      timeout(socket) {
        socket.terminate();
      },
      data(socket, chunk) {
        socket.data.buffer = Buffer.concat([socket.data.buffer, chunk]);
        readStream(socket, answerer);
      },
    },
  });
}

/** Over TCP, each message has its length in front: RFC 1035, 4.2.2. */
function readStream(socket: Socket<Stream>, answerer: Answerer): void {
  for (;;) {
    const { buffer } = socket.data;
    if (buffer.length < 2) return;
    const length = buffer.readUInt16BE(0);
    if (length > tcpQueryBytesMax) {
      socket.terminate();
      return;
    }
    if (buffer.length < 2 + length) return;
    const message = buffer.subarray(2, 2 + length);
    socket.data.buffer = buffer.subarray(2 + length);
    answerer.answer(message, "tcp").then(
      (reply) => {
        if (!reply) return;
        const head = Buffer.alloc(2);
        head.writeUInt16BE(reply.length);
        socket.write(Buffer.concat([head, reply]));
      },
      (error: unknown) => {
        log("debug", "Cannot answer a question for a name", { error });
        socket.terminate();
      },
    );
  }
}

/** Whether a reply repeats the question, letter by letter. */
function isAnswerTo(query: Buffer, reply: Uint8Array): boolean {
  const end = readQuestion(query)?.end ?? 0;
  return end > 0 && query.subarray(12, end).equals(reply.subarray(12, end));
}

/** What a datagram to whoever asked can hold. */
function sizeFor(query: Uint8Array): number {
  const question = readQuestion(query);
  return (question && extendedSize(query, question)) ?? datagramBytesMax;
}

/** Answers from the containers there are, and asks others for the rest. */
class Answerer {
  readonly #asker: Asker;
  #forwards = 0;

  constructor(asker: Asker) {
    this.#asker = asker;
  }

  async answer(message: Uint8Array, over: "udp" | "tcp"): Promise<Uint8Array | undefined> {
    if (message.length < 12) return undefined;
    const question = readQuestion(message);
    if (!question) return encodeRefusal(message, responseCode.format);
    const { directory, containerId } = this.#asker;
    if (question.type === recordType.ptr) {
      const address = reverseAddress(question.name);
      const name = address && nameOf(directory, containerId, address);
      if (name) return encodeAnswer(message, question, [name], over);
      // Nobody outside knows our addresses, and nobody outside needs to hear of them.
      if (address && isOwnAddress(directory, containerId, address)) {
        return encodeRefusal(message, responseCode.name);
      }
    } else {
      const addresses = addressesOf(directory, containerId, question);
      if (addresses) return encodeAnswer(message, question, addresses, over);
    }
    return await this.#forward(Buffer.from(message), over);
  }

  async #forward(message: Uint8Array, over: "udp" | "tcp"): Promise<Uint8Array> {
    const servers = this.#asker.servers();
    // A container without a way out has no other names than those it can reach.
    if (servers === undefined) return encodeRefusal(message, responseCode.name);
    const key = cacheKey(servers, message);
    const kept = answers.get(key, message);
    if (kept) return over === "udp" && kept.length > sizeFor(message) ? cutShort(kept) : kept;
    if (this.#forwards >= forwardsMax) return encodeRefusal(message, responseCode.refused);
    this.#forwards++;
    try {
      // An ID of ours: a container that asks cannot forge the answer that others get from the cache.
      const asked = Buffer.from(message);
      crypto.getRandomValues(asked.subarray(0, 2));
      for (const server of servers) {
        const reply = await (over === "udp" ? askUdp : askTcp)(server, asked);
        if (!reply) continue;
        if (isAnswerTo(asked, reply)) answers.put(key, reply);
        return Buffer.concat([message.subarray(0, 2), reply.subarray(2)]);
      }
      return encodeRefusal(message, responseCode.failure);
    } finally {
      this.#forwards--;
    }
  }
}
