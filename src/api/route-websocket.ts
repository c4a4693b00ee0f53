/** `GET /containers/{id}/attach/ws`: attach for browsers. Output is binary, streams unmarked. */
import { Readable } from "node:stream";
import { Failure, log, toFailure } from "../base/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange, Stream } from "./exchange.ts";
import { flag } from "./query.ts";
import type { Route } from "./router.ts";
import { acceptKey, frameHead, WebSocketDecoder } from "./websocket.ts";

const closeOpcode = 8;
const pongOpcode = 10;

async function attach(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { query, headers } = exchange;
  const container = engine.resolve(name);
  const key = headers.get("sec-websocket-key") ?? "";
  if (headers.get("upgrade")?.toLowerCase() !== "websocket" || key === "") {
    throw new Failure("invalid", "Cannot attach: the request is no WebSocket handshake");
  }
  const request = {
    stdin: flag(query, "stdin"),
    stdout: flag(query, "stdout"),
    stderr: flag(query, "stderr"),
    logs: flag(query, "logs"),
    stream: flag(query, "stream"),
    detachKeys: query.get("detachKeys") ?? "",
  };
  const stream = exchange.hijackAs(
    `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n`,
  );
  const done = engine.attach(container.id, request, {
    ...(request.stdin ? { input: payloadOf(stream) } : {}),
    signal: stream.signal,
    output: ({ bytes }) => stream.write(bytes, frameHead(bytes.length)),
  });
  done.catch(() => {}); // it is awaited below
  await Promise.resolve();
  stream.accept();
  try {
    await done;
  } catch (error) {
    const bytes = Buffer.from(`${toFailure(error).message}\r\n`);
    if (!stream.signal.aborted) await stream.write(bytes, frameHead(bytes.length));
  } finally {
    if (!stream.signal.aborted) await stream.write(frameHead(0, closeOpcode));
    stream.end();
  }
}

/** What the client's frames carry; ends with its close frame. */
function payloadOf(stream: Stream): Readable {
  const payload = new Readable({ read: () => stream.input.resume() });
  const decoder = new WebSocketDecoder({
    data: (bytes) => {
      if (!payload.push(bytes)) stream.input.pause();
    },
    ping: (bytes) => {
      stream.write(bytes, frameHead(bytes.length, pongOpcode)).catch((error: unknown) => {
        log("debug", "Cannot answer a ping", { error });
      });
    },
    close: () => payload.push(null),
  });
  stream.input.on("data", (bytes: Buffer) => {
    try {
      decoder.feed(bytes);
    } catch (error) {
      payload.destroy(toFailure(error));
    }
  });
  stream.input.on("end", () => payload.push(null));
  payload.on("error", (error) => log("debug", "A WebSocket's input failed", { error }));
  return payload;
}

export const routes: readonly Route[] = [["GET", "/containers/{id}/attach/ws", attach]];
