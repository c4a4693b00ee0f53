import { limits } from "../base/mod.ts";
import { algorithmOf, type Digest, digestBy } from "../oci/mod.ts";
import {
  headers,
  isTag,
  type ManifestReference,
  parseManifestReference,
  paths,
} from "./protocol.ts";
import { Refusal, refusing } from "./refusal.ts";
import { empty, readBody, withVersion } from "./server-answer.ts";
import type { Call, Tell } from "./server-call.ts";
import type { Policy } from "./server-policy.ts";
import { readManifest } from "./store-manifest-facts.ts";
import { type ManifestRow, unknownManifest } from "./store-manifests.ts";
import type { RepositoryId } from "./store-names.ts";
import type { RegistryStore } from "./store-open.ts";

type Parts = { readonly store: RegistryStore; readonly policy: Policy; readonly tell: Tell };
type Target = { readonly name: string; readonly reference: string };

/** GET, HEAD, PUT and DELETE of `/v2/<name>/manifests/<tag or digest>`. */
export async function answerManifest(parts: Parts, target: Target, call: Call): Promise<Response> {
  const isGet = call.request.method === "GET" || call.request.method === "HEAD";
  // To read, what is no tag is as good as a tag that is not there.
  const reference = await refusing(
    { invalid: isGet ? "MANIFEST_UNKNOWN" : "MANIFEST_INVALID", unsupported: "DIGEST_INVALID" },
    () => parseManifestReference(target.reference),
  );
  if (isGet) return await getManifest(parts, { ...target, at: reference }, call);
  if (call.request.method === "PUT")
    return await putManifest(parts, { ...target, at: reference }, call);
  return deleteManifest(parts, { ...target, at: reference }, call);
}

const tagsMax = 10;

type Found = Target & { readonly at: ManifestReference };

async function getManifest(
  { store, tell }: Parts,
  { name, reference, at }: Found,
  { request, who, peer }: Call,
): Promise<Response> {
  const row = findManifest(store, store.names.find(name), at);
  if (!row) throw unknownManifest(reference);
  const fields = withVersion({
    "Content-Type": row.mediaType,
    ETag: `"${row.digest}"`,
    [headers.contentDigest]: row.digest,
  });
  if (request.method === "HEAD") {
    return new Response(null, { headers: { ...fields, "Content-Length": String(row.sizeBytes) } });
  }
  const tag = "tag" in at ? { tag: at.tag } : {};
  const { digest, mediaType, sizeBytes } = row;
  const event = {
    kind: "manifest",
    repository: name,
    digest,
    mediaType,
    sizeBytes,
    ...tag,
  } as const;
  tell({ ...event, action: "pull", who: who.name, peer });
  if (request.headers.get("If-None-Match") === `"${row.digest}"`) {
    return new Response(null, { status: 304, headers: fields });
  }
  const bytes = await refusing({ not_found: "MANIFEST_UNKNOWN", corrupt: "UNKNOWN" }, () =>
    store.manifests.bytes(row.digest),
  );
  return new Response(bytes as Uint8Array<ArrayBuffer>, { headers: fields });
}

export function findManifest(
  store: RegistryStore,
  repository: RepositoryId | undefined,
  at: ManifestReference,
): ManifestRow | undefined {
  if (repository === undefined) return undefined;
  const digest = "digest" in at ? at.digest : store.names.tagged(repository, at.tag)?.digest;
  return digest && store.manifests.find(repository, digest);
}

async function putManifest(
  { store, policy, tell }: Parts,
  { name, at }: Found,
  { request, query, who, peer }: Call,
): Promise<Response> {
  const bytes = await readBody(request, limits.manifestBytesMax, () => {
    const message = `Cannot take the manifest: over ${limits.manifestBytesMax} bytes`;
    return new Refusal("SIZE_INVALID", message, { status: 413 });
  });
  const digest = digestBy("digest" in at ? algorithmOf(at.digest) : "sha256", bytes);
  if ("digest" in at && at.digest !== digest) {
    throw new Refusal("DIGEST_INVALID", `Cannot take the manifest: its bytes hash to ${digest}`, {
      detail: { digest: at.digest },
    });
  }
  const facts = readManifest(bytes, request.headers.get("Content-Type") ?? "");
  const repository = store.names.ensure(name);
  checkQuota({ store, policy }, { name, repository, digest, sizeBytes: bytes.length });
  const tags = "tag" in at ? [at.tag] : tagsIn(query);
  for (const tag of tags) checkTag({ store, policy }, { name, repository, tag, to: digest });
  await store.manifests.put(repository, { bytes, digest }, { facts, tags, who: who.name });
  const event = { kind: "manifest", repository: name, digest, mediaType: facts.mediaType } as const;
  for (const tag of tags.length > 0 ? tags : [undefined]) {
    const named = tag === undefined ? {} : { tag };
    tell({ ...event, ...named, action: "push", sizeBytes: bytes.length, who: who.name, peer });
  }
  return empty(201, {
    Location: paths.manifest(name, digest),
    [headers.contentDigest]: digest,
    ...(facts.subject ? { [headers.subject]: facts.subject } : {}),
    ...("digest" in at && tags.length > 0 ? { [headers.tag]: tags.join(", ") } : {}),
  });
}

/** A push by digest may name its tags: so a tag can stand for a manifest that is known by sha512. */
function tagsIn(query: URLSearchParams): string[] {
  const tags = [...new Set(query.getAll("tag"))];
  if (tags.length > tagsMax || !tags.every(isTag)) {
    throw new Refusal("TAG_INVALID", `Cannot take the manifest: at most ${tagsMax} tags, as v1`);
  }
  return tags;
}

/** Removes a tag, or a manifest with its tags. Whoever calls has looked at the right to it. */
export function deleteManifest(
  { store, policy, tell }: Parts,
  { name, reference, at }: Found,
  { who, peer }: Call,
): Response {
  const repository = store.names.need(name);
  const row = findManifest(store, repository, at);
  if (!row) throw unknownManifest(reference);
  const event = { repository: name, digest: row.digest, who: who.name, peer } as const;
  if ("tag" in at) {
    checkTag({ store, policy }, { name, repository, tag: at.tag, to: undefined });
    store.database.transaction(() => {
      store.names.move(repository, at.tag, { digest: null, who: who.name });
    })();
    tell({ ...event, action: "delete", kind: "tag", tag: at.tag });
    return empty(202);
  }
  for (const tag of store.names.tagsOf(repository, row.digest)) {
    checkTag({ store, policy }, { name, repository, tag, to: undefined });
  }
  store.manifests.hide(repository, row.digest, who.name);
  tell({ ...event, action: "delete", kind: "manifest", mediaType: row.mediaType });
  return empty(202);
}

type Rules = { readonly store: RegistryStore; readonly policy: Policy };

/** An immutable tag, once set, stays. @throws Refusal DENIED */
export function checkTag(
  { store, policy }: Rules,
  move: { name: string; repository: RepositoryId; tag: string; to: Digest | undefined },
): void {
  if (!policy.isImmutable(move.name, move.tag)) return;
  const now = store.names.tagged(move.repository, move.tag)?.digest;
  if (now === undefined || now === move.to) return;
  const message = `Cannot move tag "${move.tag}" of "${move.name}": it is immutable`;
  throw new Refusal("DENIED", message, { detail: { digest: now } });
}

function checkQuota(
  { store, policy }: Rules,
  put: { name: string; repository: RepositoryId; digest: Digest; sizeBytes: number },
): void {
  if (store.manifests.find(put.repository, put.digest)) return;
  const room = policy.blobBytesMax(put.name, () => store.blobs.sizeOf(put.repository));
  if (put.sizeBytes <= room) return;
  const message = `Cannot take the manifest: repository "${put.name}" has used its quota`;
  throw new Refusal("DENIED", message);
}
