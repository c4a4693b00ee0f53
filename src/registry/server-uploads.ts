import { algorithmOf, type Digest, type DigestAlgorithm, digestAlgorithms } from "../oci/mod.ts";
import {
  formatUploadRange,
  headers,
  isRepositoryName,
  parseChunkRange,
  parseWireDigest,
  paths,
} from "./protocol.ts";
import { Refusal, refusing } from "./refusal.ts";
import { empty } from "./server-answer.ts";
import { digestCodes } from "./server-blobs.ts";
import type { Call, Tell } from "./server-call.ts";
import type { Policy } from "./server-policy.ts";
import type { CheckRoom } from "./store-blobs.ts";
import type { RepositoryId } from "./store-names.ts";
import type { RegistryStore } from "./store-open.ts";

type Parts = { readonly store: RegistryStore; readonly policy: Policy; readonly tell: Tell };

/** POST of `/v2/<name>/blobs/uploads/`: begins an upload, takes a blob whole, or mounts one. */
export async function beginUpload(parts: Parts, name: string, call: Call): Promise<Response> {
  const { query, request } = call;
  const { store } = parts;
  const whole = query.get("digest");
  const digest = whole === null ? undefined : await digestIn(whole);
  const mounted = await mount(parts, name, call);
  if (mounted) return mounted;
  const algorithm = digest ? algorithmOf(digest) : algorithmIn(query);
  const repository = store.names.ensure(name);
  const isWhole = digest !== undefined;
  const { id } = await store.uploads.start(repository, clientOf(call), { isWhole, algorithm });
  if (digest === undefined) return uploadAnswer(202, name, { id, sizeBytes: 0 });
  try {
    await receive(parts, { name, repository, id }, request);
    return await finish(parts, { name, repository, id, digest }, call);
  } catch (error) {
    await store.uploads.cancel(id); // nobody knows its id: it cannot go on
    throw error;
  }
}

/** GET, PATCH, PUT and DELETE of an upload. */
export async function answerUpload(
  parts: Parts,
  { name, id }: { name: string; id: string },
  call: Call,
): Promise<Response> {
  const { store } = parts;
  const { request, query } = call;
  const repository = store.names.find(name);
  const upload = store.uploads.need(repository, id);
  const target = { name, id, repository: upload.repository };
  if (request.method === "GET" || request.method === "HEAD") {
    return uploadAnswer(204, name, { id, sizeBytes: await store.uploads.sizeOf(id) });
  }
  if (request.method === "DELETE") {
    await store.uploads.cancel(id);
    return empty(204);
  }
  if (request.method === "PATCH") {
    const sizeBytes = await receive(parts, target, request);
    return uploadAnswer(202, name, { id, sizeBytes });
  }
  const text = query.get("digest");
  if (text === null) {
    throw new Refusal("DIGEST_INVALID", "Cannot end the upload: the query names no digest");
  }
  const digest = await digestIn(text);
  await receive(parts, target, request);
  return await finish(parts, { ...target, digest }, call);
}

type Target = { readonly name: string; readonly id: string; readonly repository: RepositoryId };

/** Adds a request's body to an upload; returns its new length. */
async function receive(
  { store, policy }: Parts,
  { name, id, repository }: Target,
  request: Request,
): Promise<number> {
  const sizeBytes = await store.uploads.sizeOf(id);
  const length = request.headers.get("Content-Length");
  const range = request.headers.get("Content-Range");
  if (range !== null) checkRange(range, { name, id, sizeBytes, length });
  const checkRoom = roomFor({ store, policy }, name, repository);
  checkRoom(sizeBytes + Number(length ?? 0));
  const sizeBytesMax = policy.blobBytesMax(name, () => store.blobs.sizeOf(repository));
  if (request.body === null || length === "0") return sizeBytes;
  return await store.uploads.append(id, request.body, { sizeBytesMax });
}

/** A chunk must go on where the upload ends. */
function checkRange(
  text: string,
  at: { name: string; id: string; sizeBytes: number; length: string | null },
): void {
  const range = parseChunkRange(text);
  if (range?.first !== at.sizeBytes) {
    const message = `Cannot take chunk "${text.slice(0, 60)}": the upload has ${at.sizeBytes} bytes`;
    throw new Refusal("RANGE_INVALID", message, { headers: uploadFields(at.name, at) });
  }
  if (at.length !== null && Number(at.length) !== range.last - range.first + 1) {
    throw new Refusal(
      "SIZE_INVALID",
      `Cannot take chunk "${text}": its body has ${at.length} bytes`,
    );
  }
}

/** What is asked before a repository gets more. @throws Refusal SIZE_INVALID */
function roomFor(
  { store, policy }: Pick<Parts, "store" | "policy">,
  name: string,
  repository: RepositoryId,
): CheckRoom {
  return (sizeBytes) => {
    const sizeBytesMax = policy.blobBytesMax(name, () => store.blobs.sizeOf(repository));
    if (sizeBytes <= sizeBytesMax) return;
    const room = `"${name}" takes ${sizeBytesMax} more at a time, by its quota or the bound of a blob`;
    const message = `Cannot take a blob of ${sizeBytes} bytes: ${room}`;
    throw new Refusal("SIZE_INVALID", message, { status: 413 });
  };
}

async function finish(
  { store, policy, tell }: Parts,
  { name, repository, id, digest }: Target & { readonly digest: Digest },
  { who, peer }: Call,
): Promise<Response> {
  let sizeBytes = 0;
  await store.uploads.finish(id, digest, async (file) => {
    sizeBytes = file.sizeBytes;
    const checkRoom = roomFor({ store, policy }, name, repository);
    await store.blobs.adopt(repository, digest, { ...file, checkRoom });
  });
  const event = { kind: "blob", repository: name, digest, sizeBytes } as const;
  tell({ ...event, action: "push", who: who.name, peer });
  return stored(name, digest);
}

/** `?mount=<digest>&from=<name>`: undefined when there is nothing to mount, and an upload begins. */
async function mount(
  { store, policy, tell }: Parts,
  name: string,
  { query, who, peer }: Call,
): Promise<Response | undefined> {
  const text = query.get("mount");
  if (text === null) return undefined;
  const digest = await digestIn(text);
  const from = query.get("from");
  // Without `from`, only what this repository has already: others are not searched for it.
  const source = from === null ? name : from;
  if (!isRepositoryName(source) || !who.may(source, "pull")) return undefined;
  const found = store.names.find(source);
  if (found === undefined) return undefined;
  const to = store.names.ensure(name);
  const checkRoom = roomFor({ store, policy }, name, to);
  if (!(await store.blobs.mount({ from: found, to, checkRoom }, digest))) return undefined;
  tell({ action: "mount", kind: "blob", repository: name, digest, who: who.name, peer });
  return stored(name, digest);
}

function stored(name: string, digest: Digest): Response {
  return empty(201, { Location: paths.blob(name, digest), [headers.contentDigest]: digest });
}

function uploadFields(name: string, { id, sizeBytes }: { id: string; sizeBytes: number }) {
  return {
    Location: paths.upload(name, id),
    Range: formatUploadRange(sizeBytes),
    [headers.uploadId]: id,
  };
}

function uploadAnswer(
  status: number,
  name: string,
  upload: { id: string; sizeBytes: number },
): Response {
  return empty(status, uploadFields(name, upload));
}

async function digestIn(text: string): Promise<Digest> {
  return await refusing(digestCodes, () => parseWireDigest(text));
}

/** What the digest at the end will be by, so that the bytes are hashed once. */
function algorithmIn(query: URLSearchParams): DigestAlgorithm {
  const name = query.get("digest-algorithm") ?? "sha256";
  const found = digestAlgorithms.find((each) => each === name);
  if (found) return found;
  const message = `Cannot store by "${name.slice(0, 40)}": sha256 and sha512 are known`;
  throw new Refusal("UNSUPPORTED", message, { status: 400 });
}

/** Whom an upload counts for. */
function clientOf({ who, peer }: Call): string {
  return who.name === "anonymous" ? peer : who.name;
}
