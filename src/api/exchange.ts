/** One request and its answer. */
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { Failure, limits, log, toFailure } from "../base/mod.ts";
import { answerHead, errorAnswer } from "./answers.ts";
import type { ServerConnection } from "./connection.ts";
import { chunkHeader, chunkTail, type Head, lastChunk } from "./http1.ts";

/** A header and so many bytes are joined to one write. */
const joinedBytesMax = 32 << 10;

/** An answer that goes on: each write is on its way at once. */
export interface Output {
  /** Resolves when the client's connection took it. @throws Failure "unavailable" — client gone */
  write(bytes: Uint8Array | string): Promise<void>;
  /** One JSON value and a line's end. */
  line(value: unknown): Promise<void>;
}

/** A connection that is a container's stream now. */
export interface Stream {
  /** What the client sends; ends when it half-closes. Destroying it leaves the connection alone. */
  readonly input: Readable;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
  /** Answers the request: from here on the client may send. Call it once the stream is set up. */
  accept(): void;
  /** Resolves when the connection took it. `header`, if any, goes before `bytes`. */
  write(bytes: Uint8Array, header?: Uint8Array): Promise<void>;
  /** No more output: closes, once the client has what was written. */
  end(): void;
}

/** Told each answer that is a value, for tests that check them against the specification. */
export type Recorder = (answer: {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly body: string;
}) => void;

let recorder: Recorder | undefined;

/** Sets who is told; nobody by default. */
export function recordAnswers(to: Recorder | undefined): void {
  recorder = to;
}

/** What is asked about an answer: of one that was streamed without the body. */
export type Review = (answer: {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}) => Promise<void>;

export class Exchange {
  readonly method: string;
  readonly target: string;
  readonly headers: ReadonlyMap<string, string>;
  /** Path without version, percent-decoded; `router.ts` sets it. */
  path = "";
  /** The minor number of the API version that the client speaks: 51 is v1.51. */
  minor = 51;
  isHijacked = false;
  bodyFailure: Failure | undefined;
  readonly #connection: ServerConnection;
  readonly #isOld: boolean;
  #query: URLSearchParams | undefined;
  #abort: AbortController | undefined;
  #isAborted = false;
  #state: "open" | "streaming" | "done" = "open";
  #isChunked = false;
  #mustClose = false;
  #peeked: Buffer | undefined;
  /** Sees an answer before it is sent, or when it was streamed; may throw a Failure instead of it. */
  review: Review | undefined;
  #held: { status: number; headers: string; body: string | Buffer } | undefined;

  constructor(connection: ServerConnection, head: Head) {
    this.#connection = connection;
    this.method = head.start[0];
    this.target = head.start[1];
    this.headers = head.headers;
    this.#isOld = head.start[2] !== "HTTP/1.1";
    if (this.#isOld || /\bclose\b/i.test(head.headers.get("connection") ?? "")) {
      this.#mustClose = true;
    }
  }

  /** Aborted when the client is gone before it has its answer. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#isAborted) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  get query(): URLSearchParams {
    if (!this.#query) {
      const at = this.target.indexOf("?");
      this.#query = new URLSearchParams(at === -1 ? "" : this.target.slice(at + 1));
    }
    return this.#query;
  }

  get hasAnswered(): boolean {
    return this.#state !== "open";
  }

  get keepsAlive(): boolean {
    return !this.#mustClose;
  }

  abort(): void {
    this.#isAborted = true;
    this.#abort?.abort();
  }

  bodyFailed(failure: Failure): void {
    this.bodyFailure = failure;
    this.#mustClose = true;
  }

  /** The connection that the request came by. */
  get socket(): Socket {
    return this.#connection.socket;
  }

  /** The whole body, which `body` then gives once more. @throws Failure "invalid" — too long */
  async peek(sizeBytesMax: number): Promise<Buffer> {
    this.#peeked = await this.bytes(sizeBytesMax);
    return this.#peeked;
  }

  /** The body as it comes. @throws Failure "invalid" — malformed, or cut short */
  async *body(): AsyncGenerator<Uint8Array> {
    const peeked = this.#peeked;
    this.#peeked = undefined;
    if (peeked && peeked.length > 0) yield peeked;
    for (;;) {
      const bytes = await this.#connection.readBody();
      if (!bytes) return;
      yield bytes;
    }
  }

  /** The whole body. @throws Failure "invalid" — longer than `sizeBytesMax` */
  async bytes(sizeBytesMax: number = limits.bodyBytesMax): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of this.body()) {
      size += part.length;
      if (size > sizeBytesMax) {
        this.#mustClose = true;
        throw new Failure(
          "invalid",
          `Cannot read the request: its body is over ${sizeBytesMax} bytes`,
        );
      }
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  /** Answers with a value, or with text or bytes that are JSON already. */
  json(status: number, value: unknown): void {
    const isJson = typeof value === "string" || Buffer.isBuffer(value);
    const text = isJson ? value : `${JSON.stringify(value)}\n`;
    this.#whole(status, "Content-Type: application/json\r\n", text);
  }

  text(status: number, text: string, headers = ""): void {
    this.#whole(status, `Content-Type: text/plain; charset=utf-8\r\n${headers}`, text);
  }

  /** Answers without a body; `headers` are whole lines. */
  empty(status: number, headers = ""): void {
    this.#whole(status, headers, "");
  }

  #whole(status: number, headers: string, body: string | Buffer): void {
    if (this.#state !== "open") throw new Error("Broken invariant: answered twice");
    this.#state = "done";
    if (this.review) this.#held = { status, headers, body };
    else this.#send(status, headers, body);
  }

  /** Sends what was held back, if it may be. */
  async release(): Promise<void> {
    const { review } = this;
    const held = this.#held;
    this.review = undefined;
    this.#held = undefined;
    if (!review) return;
    const { status = 200, headers = "", body = "" } = held ?? {};
    const lines = headers.split("\r\n").filter((line) => line !== "");
    const pairs = lines.map((line) => line.split(/: (.*)/s).slice(0, 2));
    try {
      await review({ status, headers: Object.fromEntries(pairs), body });
      if (held) this.#send(status, headers, body);
    } catch (error) {
      if (!held) throw error;
      this.#state = "open";
      this.fail(error);
    }
  }

  #send(status: number, headers: string, body: string | Buffer): void {
    const isBare = status === 204 || status === 304;
    recorder?.({ method: this.method, path: this.path, status, body: body.toString() });
    const length = isBare ? "" : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
    const head = this.#head(status) + headers + length + this.#closing();
    const sent = isBare || this.method === "HEAD" ? "" : body;
    const { socket } = this.#connection;
    if (typeof sent === "string") socket.write(`${head}\r\n${sent}`);
    else socket.write(Buffer.concat([Buffer.from(`${head}\r\n`), sent]));
  }

  /** A client of HTTP/1.0 is answered in it; libnss-docker knows an absence by "HTTP/1.0 404" alone. */
  #head(status: number): string {
    return answerHead(status, this.#isOld ? "HTTP/1.0" : "HTTP/1.1");
  }

  #closing(): string {
    return this.#mustClose ? "Connection: close\r\n" : "";
  }

  /** Sends the head now; the body follows in pieces. */
  stream(status: number, contentType: string, headers = ""): Output {
    if (this.#state !== "open") throw new Error("Broken invariant: answered twice");
    this.#state = "streaming";
    this.#isChunked = !this.#isOld;
    const framing = this.#isChunked ? "Transfer-Encoding: chunked\r\n" : "";
    const { socket } = this.#connection;
    const head = this.#head(status) + headers + framing + this.#closing();
    socket.write(`${head}Content-Type: ${contentType}\r\n\r\n`);
    const write = (data: Uint8Array | string) => {
      const bytes = typeof data === "string" ? Buffer.from(data) : data;
      return bytes.length === 0 ? Promise.resolve() : this.#writeChunk(bytes);
    };
    const line = (value: unknown) => {
      const text = `${JSON.stringify(value)}\r\n`;
      recorder?.({ method: this.method, path: this.path, status, body: text });
      return write(text);
    };
    return { write, line };
  }

  async #writeChunk(bytes: Uint8Array): Promise<void> {
    const connection = this.#connection;
    const { socket } = connection;
    if (!connection.isClosed) {
      if (this.#isChunked) {
        socket.cork();
        socket.write(chunkHeader(bytes.length));
        socket.write(bytes);
        socket.write(chunkTail);
        socket.uncork();
      } else socket.write(bytes);
    }
    await connection.drained();
  }

  /** Ends an answer that was streamed; an exchange without any answer is a defect and says so. */
  finish(): void {
    if (this.#state === "streaming" && this.#isChunked) this.#connection.socket.write(lastChunk);
    if (this.#state === "open") this.fail(new Error("the request got no answer"));
    this.#state = "done";
  }

  /** Answers with an error, or breaks off an answer that has begun. */
  fail(error: unknown): void {
    if (this.#state === "open") {
      const { status, text } = errorAnswer(error);
      if (this.bodyFailure) this.#mustClose = true;
      if (status === 304) this.empty(304);
      else this.json(status, text);
      return;
    }
    const failure = toFailure(error);
    const isGone = this.#connection.isClosed || this.#isAborted;
    log(isGone ? "debug" : "warn", "A request failed amid its answer", {
      request: `${this.method} ${this.path}`,
      error: failure,
    });
    // Without the last chunk the client knows that something is missing.
    if (this.#state === "streaming") {
      this.#isChunked = false;
      this.#mustClose = true;
    }
  }

  /** Makes the connection a stream: with `Upgrade` by 101, without it by 200 and raw bytes. */
  hijack(contentType: string): Stream {
    const isUpgrade = this.headers.get("upgrade") !== undefined;
    const type = `Content-Type: ${contentType}\r\n`;
    if (isUpgrade) return this.hijackAs(`Connection: Upgrade\r\nUpgrade: tcp\r\n${type}`);
    return this.#open(`${answerHead(200)}${type}\r\n`, false);
  }

  /** Makes the connection a stream by 101 with these headers. */
  hijackAs(headers: string): Stream {
    return this.#open(`${answerHead(101)}${headers}\r\n`, true);
  }

  /** Answers 101 and gives the socket away, for a protocol of its own. @throws Failure "invalid" */
  surrender(protocol: string): Socket {
    if (this.#state !== "open") throw new Error("Broken invariant: answered twice");
    const headers = `Connection: Upgrade\r\nUpgrade: ${protocol}\r\n`;
    const socket = this.#connection.surrender(`${answerHead(101)}${headers}\r\n`);
    this.#state = "done";
    this.isHijacked = true;
    return socket;
  }

  #open(head: string, isRaw: boolean): Stream {
    if (this.#state !== "open") throw new Error("Broken invariant: answered twice");
    this.#state = "done";
    this.isHijacked = true;
    return openStream(this.#connection, { head, isRaw });
  }
}

function openStream(
  connection: ServerConnection,
  { head, isRaw }: { head: string; isRaw: boolean },
): Stream {
  const { socket } = connection;
  const gone = new AbortController();
  let hasEnded = false;
  const input = new Readable({
    read: () => {
      if (!hasEnded && !connection.isClosed) socket.resume();
    },
    // Whoever stops reading stdin must not stop the output.
    destroy: (_error, done) => done(null),
  });
  input.on("error", () => log("debug", "A stream's input failed"));
  const sink = {
    take: (bytes: Uint8Array) => {
      if (!hasEnded && !input.destroyed && !input.push(bytes)) socket.pause();
    },
    end: () => {
      if (!hasEnded && !input.destroyed) input.push(null);
      hasEnded = true;
    },
  };
  const whenClosed = () => gone.abort();
  if (connection.isClosed) gone.abort();
  else socket.once("close", whenClosed);
  return {
    input,
    signal: gone.signal,
    accept: () => {
      socket.write(head);
      connection.hijack(sink, isRaw);
    },
    write: async (bytes, header) => {
      if (!connection.isClosed) {
        // Together they are one call of the kernel, but joined by a copy, which costs more for many bytes.
        const isJoined = header !== undefined && bytes.length < joinedBytesMax;
        if (isJoined) socket.cork();
        if (header) socket.write(header);
        socket.write(bytes);
        if (isJoined) socket.uncork();
      }
      await connection.drained();
    },
    end: () => {
      socket.off("close", whenClosed);
      hasEnded = true;
      input.destroy();
      connection.endGently();
    },
  };
}
