/** The server's end of the Engine API. */
import { appendFileSync, mkdirSync, rmSync } from "node:fs";
import type { Server, Socket } from "node:net";
import { log } from "../base/mod.ts";
import { nameServer } from "./answers.ts";
import { authorizing } from "./authorize.ts";
import { type Handler, ServerConnection } from "./connection.ts";
import type { Context } from "./context.ts";
import { recordAnswers } from "./exchange.ts";
import { type Listen, listen } from "./listen.ts";
import { preload, route } from "./router.ts";

export interface ServeOptions extends Context {
  readonly listen: readonly Listen[];
}

export interface ApiServer {
  /** `unix:///path` and `tcp://host:port`, with the ports that were chosen. */
  readonly addresses: readonly string[];
  /** Refuses new connections, closes idle ones, and others when `graceMs` (1,000) has passed. */
  close(graceMs?: number): Promise<void>;
}

const connectionsMax = 4096;

/**
 * Serves the API on every address of `listen`. `directory` is emptied: it held the bodies of requests
 * that a crash cut off.
 * @throws Failure "conflict" — an address is taken
 */
export async function serveApi({ listen: wanted, ...context }: ServeOptions): Promise<ApiServer> {
  rmSync(context.directory, { recursive: true, force: true });
  mkdirSync(context.directory, { recursive: true, mode: 0o700 });
  nameServer(context.info.version);
  recordToFile(process.env["LADING_API_RECORD"]);
  const { authorization } = context;
  const answer: Handler = (exchange) => route(exchange, context);
  const handle = authorization?.names.length
    ? authorizing(authorization.plugins, authorization.names, answer)
    : answer;
  const connections = new Set<ServerConnection>();
  const take = (socket: Socket) => {
    if (connections.size >= connectionsMax) {
      log("warn", "Refused a connection: too many are open", { open: connections.size });
      socket.on("error", () => socket.destroy());
      socket.end("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    const connection = new ServerConnection(socket, handle);
    connections.add(connection);
    socket.once("close", () => connections.delete(connection));
  };
  const listening: { address: string; server: Server }[] = [];
  try {
    for (const where of wanted) listening.push(await listen(where, take));
  } catch (error) {
    for (const { server } of listening) server.close();
    throw error;
  }
  // The first `run` should not wait for code to be read.
  void preload("containers");
  void preload("_ping");
  return {
    addresses: listening.map(({ address }) => address),
    close: (graceMs = 1_000) => close(listening, connections, graceMs),
  };
}

/** For tests: each answer as a line of JSON, which `spec-check.ts` can judge later. */
function recordToFile(path: string | undefined): void {
  if (path) recordAnswers((answer) => appendFileSync(path, `${JSON.stringify(answer)}\n`));
}

async function close(
  listening: readonly { server: Server }[],
  connections: ReadonlySet<ServerConnection>,
  graceMs: number,
): Promise<void> {
  for (const { server } of listening) server.close();
  for (const connection of connections) if (connection.isIdle) connection.socket.destroy();
  const until = performance.now() + graceMs;
  while (connections.size > 0 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  for (const connection of connections) connection.socket.destroy();
}
