/**
 * Forwarding of SSH agents: whole messages, one question at a time.
 * Spec: https://datatracker.ietf.org/doc/html/draft-ietf-sshm-ssh-agent
 */
import { chmodSync, chownSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { Failure, Gate, log } from "../base/mod.ts";
import { closeFile, open, openPath } from "../sys/mod.ts";

/** Whoever answers an agent's questions. */
export interface Agent {
  /** One message, without its length, and its answer. @throws Failure "unavailable" */
  ask(message: Uint8Array): Promise<Uint8Array>;
}

const messageBytesMax = 256 << 10;
const connectionsMax = 64;
const [failure, requestIdentities, signRequest] = [5, 11, 13] as const;

/** Cuts a stream into messages. @throws Failure "invalid" — one is too long, or cut short */
export async function* readMessages(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  let held: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    held = held.length === 0 ? Buffer.from(chunk) : Buffer.concat([held, chunk]);
    while (held.length >= 4) {
      const length = held.readUInt32BE(0);
      if (length === 0 || length > messageBytesMax) {
        throw new Failure("invalid", `Cannot read the SSH agent's message of ${length} bytes`);
      }
      if (held.length < 4 + length) break;
      yield held.subarray(4, 4 + length);
      held = held.subarray(4 + length);
    }
  }
  if (held.length > 0) throw new Failure("invalid", "An SSH agent's message was cut short");
}

/** A message with its length before it. */
function framed(message: Uint8Array): Uint8Array {
  const out = Buffer.alloc(4 + message.length);
  out.writeUInt32BE(message.length, 0);
  out.set(message, 4);
  return out;
}

/** An agent at the other end of a connection. */
export function agentOver(
  input: AsyncIterable<Uint8Array>,
  write: (bytes: Uint8Array) => Promise<void>,
): Agent {
  const answers = readMessages(input);
  const turn = new Gate(1);
  return {
    ask: (message) =>
      turn.run(async () => {
        await write(framed(message));
        const answer = await answers.next();
        if (!answer.done) return answer.value;
        throw new Failure("unavailable", "Cannot ask the SSH agent: its connection has ended");
      }),
  };
}

interface AgentPlace {
  /** An existing folder for the socket. */
  readonly folder: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

interface ServedAgent extends AsyncDisposable {
  /** Short enough to connect to, from this process and its children, whatever the folder's path. */
  readonly path: string;
}

/**
 * Listens at `<folder>/agent` and passes questions on. A command may list keys and have them sign;
 * it can neither add nor remove nor lock any.
 */
export async function serveAgent(agent: Agent, place: AgentPlace): Promise<ServedAgent> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    answer(socket, agent).catch((error) => {
      log("debug", "A build's connection to an SSH agent failed", { error });
      socket.destroy();
    });
  });
  server.maxConnections = connectionsMax;
  // A socket's path has at most 107 bytes: the folder is named by its descriptor.
  const folder = openPath(place.folder, open.path | open.directory);
  const path = `/proc/${process.pid}/fd/${folder}/agent`;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ path }, () => resolve());
    });
    chownSync(path, place.uid, place.gid);
    chmodSync(path, place.mode);
  } catch (error) {
    closeFile(folder);
    throw error;
  }
  const dispose = async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
    closeFile(folder);
  };
  return { path, [Symbol.asyncDispose]: dispose };
}

async function answer(socket: Socket, agent: Agent): Promise<void> {
  for await (const message of readMessages(socket)) {
    const kind = message[0];
    const isAllowed = kind === requestIdentities || kind === signRequest;
    const reply = isAllowed ? await agent.ask(message) : Uint8Array.of(failure);
    socket.write(framed(reply));
  }
  socket.end();
}
