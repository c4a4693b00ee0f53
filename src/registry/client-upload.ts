import { Failure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { isPassing, RegistryFailure } from "./client-failure.ts";
import { type Answer, type Body, parseUrl, refused } from "./client-fetch.ts";
import { patienceMs, pause } from "./client-retry.ts";
import type { Request } from "./client-session.ts";
import { headers, paths } from "./protocol.ts";

/** A blob on its way to a registry. */
export interface Upload {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Its bytes from an offset on; may be asked for again. */
  readonly read: (offset: number) => AsyncIterable<Uint8Array>;
  /** Repositories of the same registry that may have it. */
  readonly sources?: readonly string[];
  /** Told how many bytes are on their way. */
  readonly told?: (bytes: number) => void;
  readonly signal: AbortSignal;
}

type Send = (request: Omit<Request, "scopes"> & { sources?: readonly string[] }) => Promise<Answer>;

/** An upload that the registry has open. */
interface Session {
  readonly location: URL;
  readonly sizeBytes: number;
  /** The least that the registry takes as a chunk; 0 when it does not care. */
  readonly chunkBytesMin: number;
}

const triesMax = 5;
const sourcesMax = 3;

/**
 * Brings a blob into a repository: mounted from a source, or sent whole in one PATCH and closed by a PUT.
 * A connection that breaks goes on where the registry says that it stopped.
 * Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
 */
export async function uploadBlob(
  send: Send,
  path: string,
  upload: Upload,
): Promise<{ mountedFrom: string | undefined }> {
  const { signal } = upload;
  const mounted = await mountBlob(send, path, upload);
  if (typeof mounted === "string") return { mountedFrom: mounted };
  let session = mounted;
  for (let count = 1; ; count++) {
    try {
      if (count > 1) session &&= await resumed(send, session, signal);
      session ??= await openPlain(send, path, signal);
      await transfer(send, session, upload);
      return { mountedFrom: undefined };
    } catch (error) {
      // What broke on our side may have come through there, and ended the upload. `fetch` itself sends a
      // request again whose kept connection broke before an answer, so this may be the first we hear.
      const isGone =
        error instanceof RegistryFailure && error.status === 404 && session !== undefined;
      if (isGone && (await isThere(send, path, upload))) return { mountedFrom: undefined };
      if (signal.aborted || !(isGone || isPassing(error)) || count >= triesMax) throw error;
      await pause(patienceMs(count), signal);
      if (isGone) session = undefined; // and its blob is not there (yet): it begins anew
    }
  }
}

async function isThere(send: Send, path: string, { digest, signal }: Upload): Promise<boolean> {
  const answer = await send({ method: "HEAD", target: paths.blob(path, digest), signal });
  await answer.discard();
  return answer.status === 200;
}

/** The source that gave the blob; else the upload that the registry opened instead, if it did. */
async function mountBlob(
  send: Send,
  path: string,
  { digest, signal, sources = [] }: Pick<Upload, "digest" | "signal" | "sources">,
): Promise<string | Session | undefined> {
  let session: Session | undefined;
  for (const source of sources.slice(0, sourcesMax)) {
    const opened = await open(send, path, { digest, signal, source });
    if (opened === "mounted") return source;
    session = opened ?? session;
  }
  return session;
}

/** Has a blob mounted from one of the sources; an upload that was opened instead is given up. */
export async function mountOnly(
  send: Send,
  path: string,
  upload: Pick<Upload, "digest" | "signal" | "sources">,
): Promise<string | undefined> {
  const found = await mountBlob(send, path, upload);
  if (typeof found !== "object") return found;
  const { signal } = upload;
  await (await send({ method: "DELETE", target: found.location, signal, triesMax: 1 })).discard();
  return undefined;
}

async function openPlain(send: Send, path: string, signal: AbortSignal): Promise<Session> {
  const opened = await open(send, path, { signal });
  if (typeof opened === "object") return opened;
  throw new Failure("invalid", `Cannot upload to ${path}: the registry opened no upload`);
}

async function open(
  send: Send,
  path: string,
  { digest, signal, source }: { digest?: Digest; signal: AbortSignal; source?: string },
): Promise<Session | "mounted" | undefined> {
  const query = source && digest ? `?mount=${digest}&from=${encodeURIComponent(source)}` : "";
  const answer = await send({
    method: "POST",
    target: `${paths.uploads(path)}${query}`,
    headers: { "Content-Length": "0" },
    signal,
    ...(source ? { sources: [source] } : {}),
  });
  if (answer.status === 201 && source) {
    await answer.discard();
    return "mounted";
  }
  if (answer.status === 202) return await sessionOf(answer, 0);
  // Without the right to pull from the source there may still be one to push here.
  const isOptional = source && answer.status < 500;
  const failure = await refused(answer, `Cannot upload to ${path}`);
  if (isOptional) return undefined;
  throw failure;
}

async function sessionOf(answer: Answer, sizeBytes: number): Promise<Session> {
  await answer.discard();
  const location = parseUrl(answer.headers.get("location") ?? "", answer.url);
  if (!location || !/^https?:$/.test(location.protocol)) {
    throw new Failure("invalid", `Cannot upload to ${answer.url.host}: it gave no place for it`);
  }
  const isDowngrade = answer.url.protocol === "https:" && location.protocol !== "https:";
  // Behind a proxy that ends TLS some registries forget about it: the same host is meant.
  if (isDowngrade && location.hostname === answer.url.hostname) {
    location.protocol = "https:";
    location.port = answer.url.port;
  } else if (isDowngrade) {
    throw new Failure("invalid", `Cannot upload to ${location.host}: that is without TLS`);
  }
  const chunkBytesMin = Number(answer.headers.get(headers.chunkMinLength) ?? 0) || 0;
  return { location, sizeBytes, chunkBytesMin };
}

/** Where an upload stands after a break; undefined when it is to begin anew. */
async function resumed(
  send: Send,
  session: Session,
  signal: AbortSignal,
): Promise<Session | undefined> {
  const answer = await send({ method: "GET", target: session.location, signal });
  if (answer.status !== 204 && answer.status !== 202) {
    await answer.discard();
    return undefined;
  }
  const range = /^(?:bytes=)?0-(\d{1,15})$/.exec(answer.headers.get("range") ?? "");
  const end = Number(range?.[1] ?? 0);
  const has = answer.headers.get("location") !== null;
  if (!has) {
    await answer.discard();
    return undefined;
  }
  return await sessionOf(answer, end > 0 ? end + 1 : 0);
}

async function transfer(send: Send, session: Session, upload: Upload): Promise<void> {
  const { digest, signal, sizeBytes } = upload;
  let { location } = session;
  if (session.sizeBytes > sizeBytes) {
    throw new Failure(
      "unavailable",
      `Cannot upload ${digest}: the registry has more than there is`,
    );
  }
  if (session.sizeBytes < sizeBytes) {
    const answer = await send({
      method: "PATCH",
      target: location,
      headers: {
        "Content-Type": "application/octet-stream",
        ...(session.sizeBytes > 0
          ? { "Content-Range": `${session.sizeBytes}-${sizeBytes - 1}` }
          : {}),
      },
      body: () => bodyOf(upload, session.sizeBytes),
      signal,
      triesMax: 1,
    });
    if (answer.status !== 202 && answer.status !== 201 && answer.status !== 204) {
      throw await refused(answer, `Cannot upload ${digest}`);
    }
    ({ location } = await sessionOf(answer, sizeBytes));
  }
  const target = new URL(location);
  target.searchParams.set("digest", digest);
  const answer = await send({
    method: "PUT",
    target,
    headers: { "Content-Length": "0", "Content-Type": "application/octet-stream" },
    signal,
    triesMax: 1,
  });
  if (answer.status !== 201 && answer.status !== 204 && answer.status !== 202) {
    throw await refused(answer, `Cannot finish the upload of ${digest}`);
  }
  await answer.discard();
}

function bodyOf({ read, sizeBytes, told }: Upload, offset: number): Body {
  const source = read(offset)[Symbol.asyncIterator]();
  let at = offset;
  const content = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await source.next();
        if (next.done) {
          controller.close();
          return;
        }
        at += next.value.length;
        told?.(at);
        controller.enqueue(next.value);
      },
      async cancel() {
        await source.return?.();
      },
    },
    { highWaterMark: 1 },
  );
  return { content, sizeBytes: sizeBytes - offset };
}
