import { Failure, log, toFailure } from "../base/mod.ts";
import { tokenPath } from "./access-bearer.ts";
import { answerPage } from "./page-answer.ts";
import { Refusal, toRefusal } from "./refusal.ts";
import { adminPrefix, answerAdmin } from "./server-admin.ts";
import { json, refused } from "./server-answer.ts";
import type { Call } from "./server-call.ts";
import { answerProtocol, type ServerParts } from "./server-protocol.ts";
import { splitTarget } from "./server-route.ts";

export interface RegistryServer {
  /** `http://127.0.0.1:5000`. */
  readonly address: string;
  /** Takes no more requests and settles when those under way have ended, or after `timeoutMs`. */
  close(options: { timeoutMs: number }): Promise<void>;
}

export type Listen =
  | {
      readonly host: string;
      /** 0: any that is free. */
      readonly port: number;
      readonly tls?: { readonly cert: string; readonly key: string };
      /** A client that sends and takes nothing for so long is cut off. */
      readonly idleSeconds?: number;
    }
  /** A socket that only who may enter its folder reaches. */
  | { readonly unixPath: string };

const idleSecondsDefault = 120;

/** Serves a registry over HTTP. @throws Failure "unavailable" — the address is taken */
export function serveRegistry(parts: ServerParts, listen: Listen): RegistryServer {
  const shared = {
    maxRequestBodySize: Number.MAX_SAFE_INTEGER, // each path has its own bound
    fetch: (request: Request, self: Bun.Server<undefined>) => {
      const answering = answer(parts, request, self.requestIP(request)?.address ?? "local");
      return "host" in listen && mayTakeLong(parts, request)
        ? patiently(request, self, answering, listen)
        : answering;
    },
    error: (error: unknown) => refused(broken(error, "a request"), "GET"),
  };
  const server = start(listen, shared);
  return {
    address: addressOf(listen, server),
    close: async ({ timeoutMs }) => {
      await Promise.race([server.stop(), Bun.sleep(timeoutMs)]);
      await server.stop(true);
    },
  };
}

/** What a client waits for without sending: a collection, a blob on its way to a bucket or from elsewhere. */
function mayTakeLong({ cache }: ServerParts, { method, headers }: Request): boolean {
  if (method === "GET" || method === "HEAD") return cache !== undefined;
  // With a body the client has to send; after it, Bun waits as long as it takes.
  return headers.get("Content-Length") === "0" || !isSending(headers);
}

function isSending(headers: Headers): boolean {
  return headers.has("Content-Length") || headers.has("Transfer-Encoding");
}

/** A client that waits for our work is not idle. */
async function patiently(
  request: Request,
  server: Bun.Server<undefined>,
  answering: Promise<Response>,
  { idleSeconds = idleSecondsDefault }: { readonly idleSeconds?: number },
): Promise<Response> {
  server.timeout(request, 0);
  const response = await answering; // it never rejects
  server.timeout(request, idleSeconds);
  return response;
}

type Shared = {
  readonly maxRequestBodySize: number;
  readonly fetch: (request: Request, self: Bun.Server<undefined>) => Promise<Response>;
  readonly error: (error: unknown) => Response;
};

function start(listen: Listen, shared: Shared): Bun.Server<undefined> {
  try {
    if ("unixPath" in listen) {
      // Its owner may wait. Bun's types know no such option for sockets; without it 10 seconds hold.
      const options: object = { ...shared, unix: listen.unixPath, idleTimeout: 0 };
      return Bun.serve(options as Parameters<typeof Bun.serve<undefined>>[0]);
    }
    const { host: hostname, port, tls, idleSeconds = idleSecondsDefault } = listen;
    return Bun.serve({
      ...shared,
      hostname,
      port,
      idleTimeout: idleSeconds,
      ...(tls ? { tls } : {}),
    });
  } catch (cause) {
    const at = "unixPath" in listen ? listen.unixPath : `${listen.host}:${listen.port}`;
    const why = (cause as Error).message;
    throw new Failure("unavailable", `Cannot listen on ${at}: ${why}`, { cause });
  }
}

function addressOf(listen: Listen, { port }: Bun.Server<undefined>): string {
  if ("unixPath" in listen) return `unix://${listen.unixPath}`;
  const host = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
  return `${listen.tls ? "https" : "http"}://${host}:${port}`;
}

async function answer(parts: ServerParts, request: Request, peer: string): Promise<Response> {
  const { path, query } = splitTarget(request.url);
  const startMs = performance.now();
  const response = await dispatch(parts, path, { request, query, peer }).catch((error) => {
    if (error instanceof Refusal) {
      tellRefused(parts, error, { request, path, peer });
      return refused(error, request.method);
    }
    if (request.signal.aborted) return new Response(null, { status: 499 }); // nobody reads it
    return refused(broken(error, `${request.method} ${path}`), request.method);
  });
  const seconds = (performance.now() - startMs) / 1000;
  parts.metrics?.request(request.method, response.status, seconds);
  return response;
}

/**
 * Tells of wrong passwords and of what is not allowed. To ask without credentials, or with a token that
 * ran out, is how clients find out what it takes: that is no event.
 */
function tellRefused(
  { tellRefused: tell }: ServerParts,
  { wire }: Refusal,
  { request, path, peer }: { request: Request; path: string; peer: string },
): void {
  const pair = /^basic (.+)$/i.exec(request.headers.get("Authorization") ?? "")?.[1] ?? "";
  const isWrong = wire === "UNAUTHORIZED" && (pair !== "" || path === tokenPath);
  if (!tell || (wire !== "DENIED" && !isWrong)) return;
  const [claims] = Buffer.from(pair, "base64").toString().slice(0, 255).split(":");
  const about = { code: wire, method: request.method, path: path.slice(0, 300), peer };
  tell({ action: "refuse", ...about, ...(claims ? { claims } : {}) });
}

async function dispatch(
  parts: ServerParts,
  path: string,
  asked: Omit<Call, "who">,
): Promise<Response> {
  const { request, peer } = asked;
  if (path === "/lading/health") return health(parts);
  parts.limitRate?.(peer);
  checkOrigin(request);
  if (path === tokenPath && parts.access.giveToken) {
    return await parts.access.giveToken({ request, peer });
  }
  if (path === "/metrics" && parts.metrics) {
    await parts.access.admit(asked, [{ repository: "", action: "pull" }]);
    const type = { "Content-Type": "text/plain; version=0.0.4" };
    return new Response(parts.metrics.text(parts.store), { headers: type });
  }
  if (path === "/") return await answerPage(parts, asked);
  if (path.startsWith(adminPrefix)) return await answerAdmin(parts, path, asked);
  return await answerProtocol(parts, path, asked);
}

/** 200 while the names can be read; what is wrong else is in the log. */
function health({ store }: ServerParts): Response {
  store.database.query("SELECT 1").get();
  return json({ status: "ok" }, { "Cache-Control": "no-store" });
}

function broken(error: unknown, what: string): Refusal {
  const refusal = toRefusal(error);
  if (refusal.wire === "UNKNOWN") {
    const { cause, message } = toFailure(error);
    log("error", `Cannot answer ${what.slice(0, 300)}`, {
      message,
      at: cause instanceof Error ? (cause.stack ?? "") : "",
    });
  }
  return refusal;
}

/** A page of elsewhere, open in the browser of somebody on this host, may not write here. */
function checkOrigin(request: Request): void {
  if (request.method === "GET" || request.method === "HEAD") return;
  const origin = request.headers.get("Origin");
  if (origin === null || origin.replace(/^https?:\/\//, "") === request.headers.get("Host")) return;
  throw new Refusal("DENIED", "Cannot take a request that a page of another site makes");
}
