/**
 * HTTP/1.1 as pure functions: heads and bodies, bytes in and bytes out. Both ends of the API stand on
 * it, because hijacked connections (attach, exec) need the socket itself, and because loading node:http
 * costs a client more time than the rest of its work.
 * Spec: https://www.rfc-editor.org/rfc/rfc9112
 */
import { Failure } from "../base/mod.ts";

/** Go's default bound for a request's head, which Docker's clients are used to. */
export const headBytesMax = 1 << 20;
const headersMax = 256;
const chunkLineBytesMax = 4096;
const trailerBytesMax = 16 << 10;

/** The three words of the first line, and the headers by lower-case name. */
export interface Head {
  readonly start: readonly [string, string, string];
  readonly headers: ReadonlyMap<string, string>;
}

/** How a message's body ends. */
export type Framing = { readonly length: number } | "chunked" | "close";

const newline = 10;
const carriageReturn = 13;

/** Offset after the empty line that ends a head; -1 when it is not there yet. `from` skips what was seen. */
export function headEnd(bytes: Uint8Array, from = 0): number {
  for (let at = bytes.indexOf(newline, from); at !== -1; at = bytes.indexOf(newline, at + 1)) {
    if (bytes[at + 1] === newline) return at + 2;
    if (bytes[at + 1] === carriageReturn && bytes[at + 2] === newline) return at + 3;
  }
  return -1;
}

/** Parses the bytes up to `headEnd`. @throws Failure "invalid" */
export function parseHead(bytes: Uint8Array): Head {
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .toString("latin1")
    .split(/\r?\n/);
  const start = /^(\S+) (\S+) ?(.*)$/.exec(lines[0] ?? "");
  if (!start) throw new Failure("invalid", "Cannot read the HTTP message: malformed first line");
  const headers = new Map<string, string>();
  if (lines.length > headersMax) {
    throw new Failure("invalid", `Cannot read the HTTP message: more than ${headersMax} headers`);
  }
  for (let at = 1; at < lines.length; at++) {
    const line = lines[at]!;
    if (line === "") continue;
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    // A space before the colon or a folded line is how requests are smuggled (RFC 9112, 5.1).
    if (colon < 1 || /[^!#$%&'*+.^_`|~0-9a-z-]/.test(name)) {
      throw new Failure("invalid", "Cannot read the HTTP message: malformed header");
    }
    const value = line.slice(colon + 1).trim();
    const before = headers.get(name);
    if (before !== undefined && name === "content-length" && before !== value) {
      throw new Failure("invalid", "Cannot read the HTTP message: two lengths");
    }
    headers.set(
      name,
      before === undefined || name === "content-length" ? value : `${before}, ${value}`,
    );
  }
  return { start: [start[1]!, start[2]!, start[3]!], headers };
}

/** How the body of a message ends. `fallback` is what no header means. @throws Failure "invalid" */
export function framingOf(headers: ReadonlyMap<string, string>, fallback: Framing): Framing {
  const encoding = headers.get("transfer-encoding");
  const length = headers.get("content-length");
  if (encoding !== undefined) {
    if (encoding.toLowerCase() === "chunked" && length === undefined) return "chunked";
    if (encoding.toLowerCase() !== "identity") {
      throw new Failure("invalid", "Cannot read the HTTP message: unknown transfer encoding");
    }
  }
  if (length === undefined) return fallback;
  if (!/^\d{1,15}$/.test(length)) {
    throw new Failure("invalid", "Cannot read the HTTP message: malformed length");
  }
  return { length: Number(length) };
}

/** Takes the framing off a body. Feed it what arrives; it hands back data, and says when it is whole. */
export class BodyDecoder {
  #state: "length" | "close" | "size" | "data" | "after" | "trailer" | "done";
  #left = 0;
  #line = "";
  #trailerBytes = 0;

  constructor(framing: Framing) {
    if (framing === "chunked") this.#state = "size";
    else if (framing === "close") this.#state = "close";
    else {
      this.#left = framing.length;
      this.#state = framing.length === 0 ? "done" : "length";
    }
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /** True when the end of the connection is a proper end of the body. */
  get endsWithConnection(): boolean {
    return this.#state === "close" || this.#state === "done";
  }

  /**
   * Calls `take` with each piece of data (views, not copies). Returns how many bytes it used: fewer
   * than given only when the body is whole. @throws Failure "invalid"
   */
  feed(bytes: Uint8Array, take: (data: Uint8Array) => void): number {
    let at = 0;
    while (at < bytes.length && this.#state !== "done") {
      if (this.#state === "close") {
        take(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      }
      if (this.#state === "length" || this.#state === "data") {
        const size = Math.min(this.#left, bytes.length - at);
        take(size === bytes.length ? bytes : bytes.subarray(at, at + size));
        at += size;
        this.#left -= size;
        if (this.#left === 0) this.#state = this.#state === "length" ? "done" : "after";
      } else at = this.#feedLine(bytes, at);
    }
    return at;
  }

  #feedLine(bytes: Uint8Array, from: number): number {
    const end = bytes.indexOf(newline, from);
    const piece = bytes.subarray(from, end === -1 ? bytes.length : end);
    if (this.#line.length + piece.length > chunkLineBytesMax) {
      throw new Failure("invalid", "Cannot read the body: a chunk's header is too long");
    }
    this.#line += String.fromCharCode(...piece);
    if (end === -1) return bytes.length;
    const line = this.#line.endsWith("\r") ? this.#line.slice(0, -1) : this.#line;
    this.#line = "";
    this.#takeLine(line);
    return end + 1;
  }

  #takeLine(line: string): void {
    if (this.#state === "after") {
      if (line !== "") throw new Failure("invalid", "Cannot read the body: malformed chunk");
      this.#state = "size";
    } else if (this.#state === "size") {
      const size = /^([0-9a-fA-F]{1,12})[ \t]*(;.*)?$/.exec(line);
      if (!size) throw new Failure("invalid", "Cannot read the body: malformed chunk size");
      this.#left = Number.parseInt(size[1]!, 16);
      this.#state = this.#left === 0 ? "trailer" : "data";
    } else {
      this.#trailerBytes += line.length + 2;
      if (this.#trailerBytes > trailerBytesMax) {
        throw new Failure("invalid", "Cannot read the body: its trailer is too long");
      }
      if (line === "") this.#state = "done";
    }
  }
}

/** The header of one chunk; its data and `chunkTail` follow. */
export function chunkHeader(sizeBytes: number): Buffer {
  return Buffer.from(`${sizeBytes.toString(16)}\r\n`, "latin1");
}
export const chunkTail: Buffer = Buffer.from("\r\n", "latin1");
export const lastChunk: Buffer = Buffer.from("0\r\n\r\n", "latin1");
