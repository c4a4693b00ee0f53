/** A client's requests: connections kept alive, answers as streams, hijacked connections. */
import { Failure } from "../base/mod.ts";
import { type Address, Connection } from "./dial.ts";
import { type Frame, FrameDecoder } from "./frames.ts";
import {
  BodyDecoder,
  chunkHeader,
  chunkTail,
  type Framing,
  framingOf,
  type Head,
  headBytesMax,
  headEnd,
  lastChunk,
  parseHead,
} from "./http1.ts";
import type { ErrorBody } from "./schema.ts";

export type Bytes = AsyncIterable<Uint8Array>;
type QueryValue = string | number | boolean | undefined | readonly string[] | object;
/** Objects go as JSON, lists as repeated names, false and undefined not at all. */
export type Query = Readonly<Record<string, QueryValue>>;

export interface RequestOptions {
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as application/json. */
  readonly json?: unknown;
  /** Sent chunked, as application/x-tar unless `headers` says otherwise. */
  readonly body?: Bytes;
  readonly signal?: AbortSignal;
}

const newestVersion = "1.51";
const answerBytesMax = 64 << 20;
const idleConnectionsMax = 4;

/** An answer whose body may still be on its way. Read it to the end, or `close` it. */
export class Reply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly #chunks: Bytes;
  readonly close: () => void;

  constructor(head: Head, chunks: Bytes, close: () => void) {
    this.status = Number(head.start[1]);
    this.headers = head.headers;
    this.#chunks = chunks;
    this.close = close;
  }

  /** The body as it comes. Leaving the loop early closes the connection. */
  bytes(): Bytes {
    return this.#chunks;
  }

  /** @throws Failure "exhausted" — more than 64 MiB */
  async text(): Promise<string> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of this.#chunks) {
      size += part.length;
      if (size > answerBytesMax) {
        throw new Failure("exhausted", "Cannot read the engine's answer: it is too large");
      }
      parts.push(part);
    }
    return Buffer.concat(parts).toString();
  }

  /** The body as JSON; undefined when it is empty. @throws Failure "corrupt" */
  async json<T>(): Promise<T> {
    const text = await this.text();
    if (text === "") return undefined as T;
    return parseJson(text);
  }

  /** The body as one JSON value a line, each as soon as it is whole. */
  async *lines<T>(): AsyncIterable<T> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of this.#chunks) {
      rest += decoder.decode(bytes, { stream: true });
      if (rest.length > answerBytesMax) {
        throw new Failure("exhausted", "Cannot read the engine's answer: a line is too long");
      }
      const lines = rest.split("\n");
      rest = lines.pop()!;
      for (const line of lines) if (line.trim() !== "") yield parseJson<T>(line);
    }
    if (rest.trim() !== "") yield parseJson<T>(rest);
  }
}

function parseJson<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new Failure("corrupt", "Cannot read the engine's answer: it is not JSON", { cause });
  }
}

/** A connection that has become a stream of a container: stdin one way, output the other. */
export class Hijacked {
  readonly #connection: Connection;
  /** False for a terminal, whose output has no frames. */
  readonly isMultiplexed: boolean;

  constructor(connection: Connection, head: Head) {
    this.#connection = connection;
    this.isMultiplexed =
      head.headers.get("content-type") === "application/vnd.docker.multiplexed-stream";
  }

  /** Sends bytes to stdin; resolves when the kernel took them. */
  write(bytes: Uint8Array | string): Promise<void> {
    return this.#connection.write(bytes);
  }

  /** Ends stdin; output goes on. */
  closeWrite(): void {
    this.#connection.closeWrite();
  }

  /** Output until its end; all of a terminal's is stream 1. Frames may come in several pieces. */
  async *output(): AsyncIterable<Frame> {
    const decoder = new FrameDecoder();
    for (;;) {
      const bytes = await this.#connection.read();
      if (bytes === undefined) return;
      if (this.isMultiplexed) yield* decoder.feed(bytes);
      else yield { stream: 1, bytes };
    }
  }

  close(): void {
    this.#connection.close();
  }
}

/** All requests of one client. */
export class Transport {
  readonly #address: Address;
  readonly #shown: string;
  readonly #headers: Readonly<Record<string, string>>;
  #version: string;
  /** The version is the highest that both sides know. */
  #isAgreed: boolean;
  readonly #idle: Connection[] = [];

  constructor(
    address: Address,
    options: {
      readonly shown: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly apiVersion: string | undefined;
    },
  ) {
    this.#address = address;
    this.#shown = options.shown;
    this.#headers = options.headers;
    this.#version = options.apiVersion ?? newestVersion;
    this.#isAgreed = options.apiVersion !== undefined;
  }

  /** Sends a request and waits for the head of its answer. @throws the Failure that the engine names */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<Reply> {
    // A body can be sent once only.
    if (options.body && !this.#isAgreed) await this.request("GET", "/_ping").then(drain);
    const { connection, head, sent } = await this.#exchange(method, path, options, {});
    const reply = this.#reply(connection, method, head, sent);
    if (reply.status < 300) {
      this.#isAgreed = true;
      return reply;
    }
    const failure = await failureOf(reply);
    if (this.#agreesTo(failure)) return await this.request(method, path, options);
    this.#isAgreed = true;
    throw failure;
  }

  /** An older engine has done nothing yet when it names the version that it knows. */
  #agreesTo({ message }: Failure): boolean {
    const version = /Maximum supported API version is (\d+\.\d+)$/.exec(message)?.[1];
    if (this.#isAgreed || version === undefined) return false;
    this.#version = version;
    this.#isAgreed = true;
    return true;
  }

  /** Sends a request that turns the connection into a stream. */
  async hijack(path: string, options: RequestOptions = {}): Promise<Hijacked> {
    if (!this.#isAgreed) await this.request("GET", "/_ping").then(drain);
    const upgrade = { upgrade: "tcp" };
    const { connection, head, sent } = await this.#exchange("POST", path, options, upgrade);
    const status = Number(head.start[1]);
    if (status === 101 || status === 200) return new Hijacked(connection, head);
    throw await failureOf(this.#reply(connection, "POST", head, sent));
  }

  /** Closes the connections that nobody uses. */
  close(): void {
    for (const connection of this.#idle.splice(0)) connection.close();
  }

  async #exchange(
    method: string,
    path: string,
    options: RequestOptions,
    { upgrade }: { upgrade?: string },
  ) {
    options.signal?.throwIfAborted();
    const target = `/v${this.#version}${path}` + queryText(options.query ?? {});
    const headers = { ...this.#headers, ...options.headers };
    const head = requestHead(method, target, { ...options, headers }, upgrade);
    for (let isRetry = false; ; isRetry = true) {
      const kept = isRetry || options.body ? undefined : this.#takeIdle();
      const connection = kept ?? (await Connection.open(this.#address, this.#shown));
      const stop = () => connection.close();
      options.signal?.addEventListener("abort", stop, { once: true });
      try {
        await connection.write(head);
        // The engine may answer (an error) before it has read the whole body: read while writing.
        const sent = options.body ? sendBody(connection, options.body) : Promise.resolve();
        return { connection, sent, head: await readHead(connection, this.#shown) };
      } catch (error) {
        connection.close();
        options.signal?.throwIfAborted();
        // The engine may have closed a kept connection while it was idle.
        if (kept && (method === "GET" || method === "HEAD")) continue;
        throw error;
      }
    }
  }

  #reply(connection: Connection, method: string, head: Head, sent: Promise<void>): Reply {
    const status = Number(head.start[1]);
    const isBare = method === "HEAD" || status === 204 || status === 304;
    const decoder = new BodyDecoder(
      isBare ? { length: 0 } : framingOf(head.headers, "close" as Framing),
    );
    const keep = async () => {
      await sent;
      const mayStay = head.headers.get("connection") !== "close";
      if (mayStay && connection.isOpen && this.#idle.length < idleConnectionsMax) {
        connection.idle(true);
        this.#idle.push(connection);
      } else connection.close();
    };
    return new Reply(head, readBody(connection, decoder, keep), () => connection.close());
  }

  #takeIdle(): Connection | undefined {
    for (;;) {
      const connection = this.#idle.pop();
      if (!connection) return undefined;
      if (connection.isOpen) {
        connection.idle(false);
        return connection;
      }
      connection.close();
    }
  }
}

async function drain(reply: Reply): Promise<void> {
  await reply.text();
}

async function readHead(connection: Connection, shown: string): Promise<Head> {
  let seen: Uint8Array = new Uint8Array(0);
  for (;;) {
    const bytes = await connection.read();
    if (bytes === undefined) {
      throw new Failure("unavailable", `The engine at ${shown} closed the connection`);
    }
    const from = Math.max(0, seen.length - 3);
    seen = seen.length === 0 ? bytes : Buffer.concat([seen, bytes]);
    const end = headEnd(seen, from);
    if (end === -1) {
      if (seen.length <= headBytesMax) continue;
      throw new Failure("corrupt", `Cannot read the answer of the engine at ${shown}`);
    }
    const head = parseHead(seen.subarray(0, end));
    connection.unread(seen.subarray(end));
    // 100 Continue and its like come before the answer; 101 is the answer.
    if (!/^1\d\d$/.test(head.start[1]) || head.start[1] === "101") return head;
    seen = new Uint8Array(0);
  }
}

async function* readBody(
  connection: Connection,
  decoder: BodyDecoder,
  keep: () => Promise<void>,
): AsyncGenerator<Uint8Array> {
  let isWhole = false;
  try {
    const pieces: Uint8Array[] = [];
    while (!decoder.done) {
      const bytes = await connection.read();
      if (bytes === undefined) {
        if (decoder.endsWithConnection) break;
        throw new Failure("unavailable", "The engine closed the connection amid its answer");
      }
      decoder.feed(bytes, (data) => pieces.push(data));
      yield* pieces.splice(0);
    }
    isWhole = decoder.done;
  } finally {
    if (isWhole) await keep();
    else connection.close();
  }
}

async function sendBody(connection: Connection, body: Bytes): Promise<void> {
  try {
    for await (const bytes of body) {
      if (bytes.length === 0) continue;
      if (bytes.length < 4096) {
        await connection.write(Buffer.concat([chunkHeader(bytes.length), bytes, chunkTail]));
        continue;
      }
      await connection.write(chunkHeader(bytes.length));
      await connection.write(bytes);
      await connection.write(chunkTail);
    }
    await connection.write(lastChunk);
  } catch (error) {
    // Whoever reads the answer learns of it: an engine that refused has sent the reason before.
    connection.fail(error);
  }
}

function requestHead(
  method: string,
  target: string,
  { headers = {}, json, body }: RequestOptions,
  upgrade: string | undefined,
): string {
  const text = json === undefined ? "" : JSON.stringify(json);
  const lines = [`${method} ${target} HTTP/1.1`, "Host: lading", "User-Agent: lading"];
  const isMuteMethod = method === "GET" || method === "HEAD" || method === "DELETE";
  if (upgrade) lines.push("Connection: Upgrade", `Upgrade: ${upgrade}`);
  if (body) {
    lines.push("Transfer-Encoding: chunked");
    if (!headers["Content-Type"]) lines.push("Content-Type: application/x-tar");
  } else if (text !== "") {
    lines.push("Content-Type: application/json", `Content-Length: ${Buffer.byteLength(text)}`);
  } else if (!isMuteMethod) lines.push("Content-Length: 0");
  for (const [name, value] of Object.entries(headers)) {
    if (/[\r\n\0]/.test(value)) throw new Failure("invalid", `Cannot send the header ${name}`);
    lines.push(`${name}: ${value}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n${text}`;
}

function queryText(query: Query): string {
  const parts: string[] = [];
  const add = (name: string, value: string) => parts.push(`${name}=${encodeURIComponent(value)}`);
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === false || value === "") continue;
    if (Array.isArray(value)) for (const each of value) add(name, String(each));
    else if (value === true) add(name, "1");
    else if (typeof value !== "object") add(name, String(value));
    else if (Object.keys(value).length > 0) add(name, JSON.stringify(value));
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

async function failureOf(reply: Reply): Promise<Failure> {
  const text = await reply.text();
  let body: ErrorBody = { message: text.trim() || `The engine answered ${reply.status}` };
  try {
    body = JSON.parse(text) as ErrorBody;
  } catch {
    // Not JSON: the text itself is the message.
  }
  const { hint } = body;
  const isTold = hint !== undefined && body.message.endsWith(hint);
  // What the hint is joined with is a full stop or a new line.
  const message = isTold
    ? body.message.slice(0, -hint.length).replace(/(\. |\n)$/, "")
    : body.message;
  // The cause tells an answer of the engine from a failure of the connection.
  const cause = { status: reply.status };
  return new Failure(
    codeOf(reply.status),
    message,
    hint === undefined ? { cause } : { hint, cause },
  );
}

function codeOf(status: number): Failure["code"] {
  if (status === 304) return "not_modified";
  if (status === 400) return "invalid";
  if (status === 401 || status === 403) return "denied";
  if (status === 404) return "not_found";
  if (status === 409) return "conflict";
  if (status === 501) return "unsupported";
  if (status === 503) return "unavailable";
  return "internal";
}
