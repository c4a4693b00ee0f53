import { Failure } from "../base/mod.ts";
import { readAhead } from "./client-ahead.ts";
import type { TlsOptions } from "./client-certificates.ts";
import { connectionFailure, refusalOf } from "./client-failure.ts";

/** One request as it goes onto the wire. */
export interface Call {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Made anew for each try. */
  readonly body?: () => Body;
  readonly tls: TlsOptions;
  readonly signal: AbortSignal;
  /** No answer and no byte for that long: the call is given up. */
  readonly idleMs?: number;
}

export interface Body {
  readonly content: Uint8Array | ReadableStream<Uint8Array>;
  readonly sizeBytes: number;
}

/** An answer: its head, and a body that is read once or discarded. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Where it came from: another host after a redirect. */
  readonly url: URL;
  /** The body as it comes. @throws Failure "unavailable" — broken; "timeout"; "exhausted" */
  stream(sizeBytesMax: number): AsyncGenerator<Uint8Array, void>;
  /** The whole body. @throws as `stream` */
  bytes(sizeBytesMax: number): Promise<Uint8Array>;
  /** Frees the connection. */
  discard(): Promise<void>;
}

const idleMsDefault = 60_000;
const redirectsMax = 5;
const refusalBytesMax = 64 << 10;
/** Of an answer's body, that wait for whoever reads it. */
const aheadBytesMax = 1 << 20;

/**
 * Sends a request and gives the answer whatever its status; redirects of GET and HEAD are followed,
 * with `Authorization` only as long as the origin stays the same.
 * @throws Failure "unavailable" | "timeout" | "denied" (TLS) | "invalid" (a redirect that leads astray)
 */
export async function send(call: Call): Promise<Answer> {
  let current = call;
  for (let count = 0; ; count++) {
    const answer = await sendOnce(current);
    const location = answer.headers.get("location");
    const isRedirect = [301, 302, 303, 307, 308].includes(answer.status) && location !== null;
    if (!isRedirect || (call.method !== "GET" && call.method !== "HEAD")) return answer;
    await answer.discard();
    if (count >= redirectsMax) throw astray(call.url, "it redirects too often");
    current = redirected(current, location);
  }
}

function redirected(call: Call, location: string): Call {
  const url = parseUrl(location, call.url);
  if (!url) throw astray(call.url, "it redirects to something that is not an address");
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw astray(call.url, `it redirects to "${url.protocol}"`);
  }
  if (call.url.protocol === "https:" && url.protocol !== "https:") {
    throw astray(call.url, `it redirects to ${url.host} without TLS`);
  }
  url.username = "";
  url.password = "";
  if (url.origin === call.url.origin) return { ...call, url };
  // Elsewhere: neither our credentials nor our certificates.
  const { Authorization: _secret, ...headers } = call.headers ?? {};
  return { ...call, url, headers, tls: {} };
}

export function parseUrl(text: string, base?: URL): URL | undefined {
  return text.length <= 8192 && URL.canParse(text, base?.href)
    ? new URL(text, base?.href)
    : undefined;
}

function astray(url: URL, why: string): Failure {
  return new Failure("invalid", `Cannot follow the registry ${url.host}: ${why}`);
}

async function sendOnce(call: Call): Promise<Answer> {
  const { method, url, signal } = call;
  const shown = `${url.origin}${url.pathname}`;
  const patience = new Patience(call.idleMs ?? idleMsDefault, signal, shown);
  const body = call.body?.();
  const content =
    body?.content instanceof ReadableStream ? patience.watch(body.content) : body?.content;
  try {
    const response = await fetch(url, {
      method,
      headers: {
        "Accept-Encoding": "identity",
        "User-Agent": "lading",
        ...call.headers,
        ...(body ? { "Content-Length": String(body.sizeBytes) } : {}),
      },
      redirect: "manual",
      decompress: false,
      signal: patience.signal,
      timeout: false,
      tls: call.tls,
      ...(content ? { body: content, duplex: "half" } : {}),
    } as RequestInit);
    patience.feel();
    return answerOf(response, { patience, url, method });
  } catch (error) {
    patience.end();
    throw patience.reason() ?? connectionFailure(error, method, shown);
  }
}

/** Gives up on a connection that has gone quiet, without a timer for each piece. */
class Patience {
  readonly #abort = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #outer: AbortSignal;
  readonly #give: () => void;
  #feltMs = performance.now();
  #isPaused = false;

  constructor(idleMs: number, outer: AbortSignal, shown: string) {
    this.#outer = outer;
    this.#give = () => this.#abort.abort(cancelled());
    if (outer.aborted) this.#give();
    else outer.addEventListener("abort", this.#give, { once: true });
    this.#timer = setInterval(
      () => {
        if (this.#isPaused || performance.now() - this.#feltMs < idleMs) return;
        const seconds = Math.round(idleMs / 1000);
        const why = `nothing came from the registry for ${seconds} s`;
        this.#abort.abort(new Failure("timeout", `Cannot read "${shown}": ${why}`));
      },
      Math.min(1000, idleMs),
    );
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** While we do not ask for more, silence is ours. */
  pause(is: boolean): void {
    this.#isPaused = is;
    this.feel();
  }

  feel(): void {
    this.#feltMs = performance.now();
  }

  reason(): Failure | undefined {
    return this.#abort.signal.aborted ? (this.#abort.signal.reason as Failure) : undefined;
  }

  end(): void {
    clearInterval(this.#timer);
    this.#outer.removeEventListener("abort", this.#give);
  }

  /** Breaks off what still comes. */
  cut(): void {
    this.end();
    this.#abort.abort(cancelled());
  }

  /** The same stream; each piece that is taken from it is a sign of life. */
  watch(stream: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = stream.getReader();
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          this.feel();
          const next = await reader.read();
          if (next.done) controller.close();
          else controller.enqueue(next.value);
        },
        cancel: (why) => reader.cancel(why),
      },
      { highWaterMark: 1 },
    );
  }
}

export function cancelled(): Failure {
  return new Failure("unavailable", "Cannot finish: it was given up");
}

type About = { readonly patience: Patience; readonly url: URL; readonly method: string };

function answerOf(response: Response, { patience, url, method }: About): Answer {
  const shown = `${url.origin}${url.pathname}`;
  const { status, headers } = response;
  async function* stream(sizeBytesMax: number): AsyncGenerator<Uint8Array, void> {
    let isDone = false;
    let count = 0;
    try {
      const body = (response.body ?? new Blob([]).stream()) as AsyncIterable<Uint8Array>;
      const asks = (is: boolean) => patience.pause(!is);
      for await (const chunk of readAhead(body[Symbol.asyncIterator](), aheadBytesMax, asks)) {
        count += chunk.length;
        if (count > sizeBytesMax) {
          const why = `the answer is over ${sizeBytesMax} bytes`;
          throw new Failure("exhausted", `Cannot read "${shown}": ${why}`);
        }
        yield chunk;
      }
      isDone = true;
    } catch (error) {
      throw patience.reason() ?? connectionFailure(error, method, shown);
    } finally {
      if (isDone) patience.end();
      else patience.cut();
    }
  }
  const bytes = async (sizeBytesMax: number) => {
    const parts = await Array.fromAsync(stream(sizeBytesMax));
    return Buffer.concat(parts);
  };
  const discard = async () => {
    const length = Number(headers.get("content-length") ?? 0);
    if (method === "HEAD" || length === 0 || !response.body) patience.end();
    else if (length < refusalBytesMax) await bytes(refusalBytesMax);
    else patience.cut();
  };
  return { status, headers, url, stream, bytes, discard };
}

/** The answer's refusal as a Failure. */
export async function refused(answer: Answer, what: string): Promise<Failure> {
  const body = await answer.bytes(refusalBytesMax).catch(() => new Uint8Array()); // its status is enough
  // To a HEAD, which has no body, the challenge alone says that a login would not help.
  const challenge = answer.headers.get("www-authenticate") ?? "";
  const lacksRight = body.length === 0 && /error="?insufficient_scope/.test(challenge);
  const status = lacksRight ? 403 : answer.status;
  return refusalOf(status, Buffer.from(body).toString(), what);
}
