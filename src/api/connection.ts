/**
 * One connection of the server: reads requests off a socket one after another, hands each to a handler,
 * and lets the answer be a value, a stream, or the socket itself.
 */
import type { Socket } from "node:net";
import { Failure, log, toFailure } from "../base/mod.ts";
import { errorAnswer } from "./answers.ts";
import { Exchange } from "./exchange.ts";
import { BodyDecoder, framingOf, type Head, headBytesMax, headEnd, parseHead } from "./http1.ts";

export type Handler = (exchange: Exchange) => Promise<void>;

const queuedBytesMax = 1 << 20;
const drainedBytesMax = 1 << 20;
const headTimeoutMs = 30_000;
const lingerMs = 5_000;

/** What an Exchange may do with its connection. */
export class ServerConnection {
  readonly socket: Socket;
  readonly #handle: Handler;
  #pending: Buffer = Buffer.alloc(0);
  #exchange: Exchange | undefined;
  #decoder: BodyDecoder | undefined;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #wakeReader: (() => void) | undefined;
  #drainWaiters: (() => void)[] = [];
  #sink: { take(bytes: Uint8Array): void; end(): void } | undefined;
  #headTimer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #hasEnded = false;

  constructor(socket: Socket, handle: Handler) {
    this.socket = socket;
    this.#handle = handle;
    socket.on("data", (bytes: Buffer) => this.#received(bytes));
    socket.on("drain", () => this.#wakeWriters());
    socket.on("end", () => this.#ended());
    socket.on("error", (error) => log("debug", "A client's connection failed", { error }));
    socket.on("close", () => this.#closed());
  }

  /** True between requests. */
  get isIdle(): boolean {
    return this.#exchange === undefined;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  #received(bytes: Buffer): void {
    if (this.#sink) {
      this.#sink.take(bytes);
      return;
    }
    let rest: Buffer = bytes;
    if (this.#decoder && !this.#decoder.done) {
      const used = this.#feed(bytes);
      if (used === bytes.length) return;
      rest = bytes.subarray(used);
    }
    this.#pending = this.#pending.length === 0 ? rest : Buffer.concat([this.#pending, rest]);
    if (this.#exchange) {
      // A request sent before the answer to the last one waits in the kernel, not here.
      if (this.#pending.length > queuedBytesMax) this.socket.pause();
    } else this.#nextHead(this.#pending.length - rest.length);
  }

  #nextHead(seenBytes: number): void {
    if (this.#pending.length === 0 || this.#isClosed) return;
    const end = headEnd(this.#pending, Math.max(0, seenBytes - 3));
    if (end === -1) {
      if (this.#pending.length > headBytesMax) {
        this.#refuse(new Failure("invalid", "Cannot read the request: its head is too long"));
        return;
      }
      this.#headTimer ??= setTimeout(() => this.socket.destroy(), headTimeoutMs);
      return;
    }
    clearTimeout(this.#headTimer);
    this.#headTimer = undefined;
    const bytes = this.#pending.subarray(0, end);
    this.#pending = this.#pending.subarray(end);
    try {
      const head = parseHead(bytes);
      this.#begin(head);
    } catch (error) {
      this.#refuse(toFailure(error));
    }
  }

  #begin(head: Head): void {
    this.#decoder = new BodyDecoder(framingOf(head.headers, { length: 0 }));
    const exchange = new Exchange(this, head);
    this.#exchange = exchange;
    if (this.#hasEnded) exchange.abort();
    if (!this.#decoder.done && head.headers.get("expect")?.toLowerCase() === "100-continue") {
      this.socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    if (!this.#decoder.done && this.#pending.length > 0) {
      const early = this.#pending;
      const used = this.#feed(early);
      this.#pending = early.subarray(used);
    }
    void this.#serve(exchange);
  }

  async #serve(exchange: Exchange): Promise<void> {
    try {
      await this.#handle(exchange);
    } catch (error) {
      exchange.fail(error);
    }
    try {
      await exchange.release();
    } catch (error) {
      log("warn", "An answer that was streamed is denied", { path: exchange.path, error });
      this.socket.destroy();
    }
    if (exchange.isHijacked) return;
    exchange.finish();
    try {
      await this.#afterAnswer(exchange);
    } catch (error) {
      log("debug", "A request's rest could not be read", { error });
      this.socket.destroy();
    }
  }

  async #afterAnswer(exchange: Exchange): Promise<void> {
    if (!exchange.keepsAlive) return this.endGently();
    // What the handler did not read of the body must go by before the next head, if it is not long.
    let drained = 0;
    while (this.#decoder && !this.#decoder.done && drained <= drainedBytesMax) {
      const bytes = await this.readBody();
      if (!bytes) break;
      drained += bytes.length;
    }
    if (this.#isClosed) return;
    if (this.#decoder && !this.#decoder.done) return this.endGently();
    this.#decoder = undefined;
    this.#exchange = undefined;
    this.#queue = [];
    this.#queuedBytes = 0;
    if (this.socket.isPaused()) this.socket.resume();
    if (this.#hasEnded && this.#pending.length === 0) return this.endGently();
    this.#nextHead(0);
  }

  #refuse(failure: Failure): void {
    const { text } = errorAnswer(failure);
    this.#pending = Buffer.alloc(0);
    this.socket.write(
      "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n" +
        `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    );
    this.endGently();
  }

  #feed(bytes: Uint8Array): number {
    const decoder = this.#decoder!;
    let used = bytes.length;
    try {
      used = decoder.feed(bytes, (data) => {
        this.#queue.push(data);
        this.#queuedBytes += data.length;
      });
    } catch (error) {
      this.#decoder = undefined;
      this.#exchange?.bodyFailed(toFailure(error));
    }
    if (this.#queuedBytes > queuedBytesMax) this.socket.pause();
    this.#wakeReader?.();
    return used;
  }

  /** The next piece of the request's body; undefined at its end. @throws Failure "invalid" */
  async readBody(): Promise<Uint8Array | undefined> {
    for (;;) {
      const bytes = this.#queue.shift();
      if (bytes) {
        const wasFull = this.#queuedBytes > queuedBytesMax;
        this.#queuedBytes -= bytes.length;
        if (wasFull && this.#queuedBytes <= queuedBytesMax) this.socket.resume();
        return bytes;
      }
      if (this.#exchange?.bodyFailure) throw this.#exchange.bodyFailure;
      if (!this.#decoder || this.#decoder.done) return undefined;
      if (this.#isClosed || this.#hasEnded) {
        throw new Failure(
          "invalid",
          "Cannot read the request's body: the client went away amid it",
        );
      }
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
      this.#wakeReader = undefined;
    }
  }

  /** Waits until the kernel takes bytes again. @throws Failure "unavailable" — the client is gone */
  async drained(): Promise<void> {
    if (!this.#isClosed && this.socket.writableNeedDrain) {
      await new Promise<void>((resolve) => this.#drainWaiters.push(resolve));
    }
    if (this.#isClosed) throw new Failure("unavailable", "The client closed the connection");
  }

  /**
   * From here on `sink` gets what the client sends. A chunked body goes on being decoded when
   * `isRaw` is false: some clients send stdin so.
   */
  hijack(sink: { take(bytes: Uint8Array): void; end(): void }, isRaw: boolean): void {
    const decoder = this.#decoder;
    const queued = this.#queue.splice(0);
    const pending = this.#pending;
    this.#pending = Buffer.alloc(0);
    this.#queuedBytes = 0;
    if (decoder && !decoder.done && !isRaw) {
      this.#sink = {
        take: (bytes) => {
          decoder.feed(bytes, (data) => sink.take(data));
          if (decoder.done) sink.end();
        },
        end: () => sink.end(),
      };
    } else this.#sink = sink;
    this.#decoder = undefined;
    for (const bytes of queued) sink.take(bytes);
    if (pending.length > 0) this.#sink.take(pending);
    if (this.#hasEnded) sink.end();
    else if (this.socket.isPaused()) this.socket.resume();
  }

  /**
   * Writes `head`, and leaves the socket to another protocol's code.
   * @throws Failure "invalid" — the client has sent something already
   */
  surrender(head: string): Socket {
    if (this.#pending.length > 0 || this.#queuedBytes > 0) {
      throw new Failure("invalid", "Cannot change the protocol: the client did not wait for it");
    }
    this.#decoder = undefined;
    for (const event of ["data", "drain", "end"]) this.socket.removeAllListeners(event);
    this.socket.write(head);
    return this.socket;
  }

  /**
   * Ends our side and lets what was written arrive: a close with unread input would make the kernel
   * throw away the output on its way.
   */
  endGently(): void {
    if (this.#isClosed) return;
    this.#sink = { take: () => {}, end: () => {} };
    this.socket.resume();
    this.socket.end();
    if (this.#hasEnded) this.socket.destroySoon();
    // A slow reader gets all the time it takes; one that never closes does not.
    else
      this.socket.once("finish", () => setTimeout(() => this.socket.destroy(), lingerMs).unref());
  }

  #ended(): void {
    this.#hasEnded = true;
    this.#wakeReader?.();
    if (this.#sink) {
      this.#sink.end();
      if (this.socket.writableEnded) this.socket.destroySoon();
    } else if (this.#exchange) this.#exchange.abort();
    else this.socket.end();
  }

  #closed(): void {
    this.#isClosed = true;
    clearTimeout(this.#headTimer);
    this.#wakeReader?.();
    this.#wakeWriters();
    this.#exchange?.abort();
    this.#sink?.end();
  }

  #wakeWriters(): void {
    for (const wake of this.#drainWaiters.splice(0)) wake();
  }
}
