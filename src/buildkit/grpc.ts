/**
 * gRPC over HTTP/2 on a connection that is open already: a server's calls, and a client's.
 * Spec: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Code, Failure, log, toFailure } from "../base/mod.ts";

/** BuildKit's own bound. */
const messageBytesMax = 16 << 20;
const headerBytes = 5;
/** At a time, on one connection. */
const callsMax = 250;
/** What may be on its way unread; the protocol's own 64 KiB make a folder's transfer slow. */
const windowBytes = 8 << 20;
const contentType = "application/grpc";

/** The statuses that callers branch on. Clients show the names of all but `unknown` to people. */
const unknown = 2;
const codes: Readonly<Record<string, Code>> = {
  1: "unavailable",
  3: "invalid",
  5: "not_found",
  6: "conflict",
  7: "denied",
  8: "exhausted",
  12: "unsupported",
  14: "unavailable",
  16: "denied",
};
const unimplemented = new Failure("unsupported", "unknown method");

/** One call to a server. */
export interface Call {
  readonly metadata: IncomingHttpHeaders;
  /** What the client sends, to its end. @throws Failure "invalid" */
  readonly messages: AsyncGenerator<Uint8Array, void>;
  write(message: Uint8Array): Promise<void>;
  /** Aborted when the client cancels the call, or goes away. */
  readonly signal: AbortSignal;
}

/** Methods by their path: `/moby.buildkit.v1.Control/Solve`. */
export type Methods = ReadonlyMap<string, (call: Call) => Promise<void>>;

/** A method with one request and one answer. */
export function unary(
  answer: (request: Uint8Array, call: Call) => Promise<Uint8Array> | Uint8Array,
): (call: Call) => Promise<void> {
  return async (call) => {
    const { value } = await call.messages.next();
    await call.write(await answer(value ?? new Uint8Array(), call));
  };
}

/** Serves methods on a connection, until it ends. */
export function serveGrpc(socket: Socket, methods: Methods): void {
  const server: Http2Server = createServer({ settings: { maxConcurrentStreams: callsMax } });
  server.on("sessionError", (error) => log("debug", "A gRPC connection failed", { error }));
  server.on("stream", (stream, headers) => {
    void answer(stream as ServerHttp2Stream, headers, methods);
  });
  endWhole(socket);
  server.emit("connection", socket);
}

/** The API's sockets stay half open; here a side that has ended is gone, and its calls with it. */
function endWhole(socket: Socket): void {
  socket.once("end", () => socket.destroy());
}

async function answer(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  methods: Methods,
): Promise<void> {
  const gone = new AbortController();
  const abort = () => gone.abort();
  stream.on("error", abort);
  stream.on("close", abort);
  const path = String(headers[":path"]);
  let trailers: OutgoingHttpHeaders = { "grpc-status": "0" };
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.respond({ ":status": 200, "content-type": contentType }, { waitForTrailers: true });
  try {
    const method = methods.get(path);
    if (!method) throw unimplemented;
    const write = (message: Uint8Array) => send(stream, [message]);
    await method({ metadata: headers, messages: received(stream), write, signal: gone.signal });
  } catch (error) {
    const { message, hint } = toFailure(error);
    log("debug", "A gRPC call failed", { path, error: message });
    trailers = {
      "grpc-status": String(error === unimplemented ? 12 : unknown),
      "grpc-message": encodeURIComponent(hint ? `${message}\n${hint}` : message),
    };
  }
  if (!stream.destroyed) stream.end();
}

async function send(stream: Duplex, messages: readonly Uint8Array[]): Promise<void> {
  if (stream.destroyed || stream.writableEnded) {
    throw new Failure("unavailable", "The other side has ended the call");
  }
  const framed = frame(messages);
  await new Promise<void>((resolve) => {
    const done = () => {
      stream.off("close", done);
      resolve();
    };
    stream.once("close", done);
    stream.write(framed, done);
  });
}

function frame(messages: readonly Uint8Array[]): Buffer {
  const length = messages.reduce((sum, message) => sum + headerBytes + message.length, 0);
  const framed = Buffer.allocUnsafe(length);
  let at = 0;
  for (const message of messages) {
    framed[at] = 0; // not compressed
    framed.writeUInt32BE(message.length, at + 1);
    framed.set(message, at + headerBytes);
    at += headerBytes + message.length;
  }
  return framed;
}

async function* received(stream: AsyncIterable<Buffer>): AsyncGenerator<Uint8Array, void> {
  let held: Buffer = Buffer.alloc(0);
  // What came after `held` and is not joined to it: a long message is copied once, not with each chunk.
  let more: Buffer[] = [];
  let size = 0;
  let wanted = headerBytes;
  for await (const chunk of stream) {
    more.push(chunk);
    size += chunk.length;
    if (size < wanted) continue;
    held = held.length === 0 && more.length === 1 ? chunk : Buffer.concat([held, ...more]);
    more = [];
    while (held.length >= headerBytes) {
      const length = held.readUInt32BE(1);
      if (held[0] !== 0) throw new Failure("unsupported", "Cannot read a compressed gRPC message");
      if (length > messageBytesMax) {
        throw new Failure("exhausted", `Cannot read a gRPC message of ${length} bytes`);
      }
      wanted = headerBytes + length;
      if (held.length < wanted) break;
      yield held.subarray(headerBytes, wanted);
      held = held.subarray(wanted);
      wanted = headerBytes;
    }
    size = held.length;
  }
  if (size > 0) throw new Failure("invalid", "A gRPC message was cut short");
}

/** A call that both sides go on with. */
export interface OpenCall {
  /** What the server sends, to its end. @throws Failure with the server's reason */
  readonly messages: AsyncGenerator<Uint8Array, void>;
  write(...messages: readonly Uint8Array[]): Promise<void>;
  /** No more of ours. */
  end(): void;
  cancel(): void;
}

/** The client's end of a connection: the other side serves. */
export class GrpcClient {
  readonly #session: ClientHttp2Session;
  readonly #gone = new AbortController();

  constructor(socket: Socket) {
    const settings = { initialWindowSize: windowBytes };
    this.#session = connect("http://localhost", { createConnection: () => socket, settings });
    this.#session.once("connect", () => this.#session.setLocalWindowSize(windowBytes));
    this.#session.on("error", (error) => log("debug", "A gRPC session failed", { error }));
    const abort = () => this.#gone.abort();
    this.#session.once("close", abort);
    socket.once("close", abort);
    endWhole(socket);
  }

  /** Aborted when the other side is gone. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  open(path: string, metadata: OutgoingHttpHeaders = {}): OpenCall {
    const stream = this.#session.request({
      ":method": "POST",
      ":path": path,
      "content-type": contentType,
      te: "trailers",
      ...metadata,
    });
    let status: IncomingHttpHeaders = {};
    stream.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined) status = headers;
    });
    stream.on("trailers", (headers) => {
      status = headers;
    });
    stream.on("error", (error) => log("debug", "A gRPC call was cut off", { path, error }));
    return {
      messages: answered(stream, () => status),
      write: (...messages) => send(stream, messages),
      end: () => void stream.end(),
      cancel: () => stream.close(),
    };
  }

  /** One request, one answer. @throws Failure with the server's reason */
  async ask(path: string, request: Uint8Array): Promise<Uint8Array> {
    const call = this.open(path);
    await call.write(request);
    call.end();
    let found: Uint8Array = new Uint8Array();
    for await (const message of call.messages) found = message;
    return found;
  }

  close(): void {
    this.#session.destroy();
  }
}

async function* answered(
  stream: Duplex,
  status: () => IncomingHttpHeaders,
): AsyncGenerator<Uint8Array, void> {
  yield* received(stream);
  const { "grpc-status": number, "grpc-message": text } = status();
  if (number === "0") return;
  const code = codes[String(number)] ?? "internal";
  throw new Failure(code, text ? decodeURIComponent(String(text)) : "The client ended the call");
}
