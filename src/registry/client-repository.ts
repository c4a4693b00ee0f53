import { Failure, limits } from "../base/mod.ts";
import {
  algorithmOf,
  type Descriptor,
  type Digest,
  digestBy,
  digestOf,
  isDigest,
  mediaTypes,
} from "../oci/mod.ts";
import { RegistryFailure } from "./client-failure.ts";
import { type Answer, refused } from "./client-fetch.ts";
import { listPages } from "./client-lists.ts";
import { recordReferrer, taggedReferrers } from "./client-referrers.ts";
import type { Request, Session } from "./client-session.ts";
import { mountOnly, type Upload, uploadBlob } from "./client-upload.ts";
import { headers, paths } from "./protocol.ts";

/** A manifest or index as it came, verified. */
export interface FetchedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A repository of a registry, as one user sees it. Bytes that it gives are not verified, but manifests. */
export interface Repository {
  /** `docker.io` */
  readonly domain: string;
  /** `library/busybox` */
  readonly path: string;
  /** @throws "not_found" | "denied" | "corrupt" — another digest than was asked for, or said */
  manifest(reference: string, signal: AbortSignal): Promise<FetchedManifest>;
  /** The digest that a tag or digest stands for; undefined when there is none, or it is not told. */
  head(reference: string, signal: AbortSignal): Promise<Digest | undefined>;
  /** The bytes of a blob from `from` on; `offset` is where they start after all: 0 without ranges. */
  blob(
    digest: Digest,
    options: { from?: number; signal: AbortSignal },
  ): Promise<{ offset: number; stream(sizeBytesMax: number): AsyncIterable<Uint8Array> }>;
  /** What came of this blob was wrong. True when there is another who may have it right: ask again. */
  distrust(digest: Digest): boolean;
  hasBlob(digest: Digest, signal: AbortSignal): Promise<boolean>;
  /** Uploads a blob unless it can be had from one of the `sources`, other repositories of this registry. */
  upload(upload: Upload): Promise<{ mountedFrom: string | undefined }>;
  /** Has a blob mounted from one of the sources, and tells which. */
  mount(blob: Pick<Upload, "digest" | "sources" | "signal">): Promise<string | undefined>;
  /** Gives the digest that it has there: `digest`, unless what is put by a tag is known by sha256 alone. */
  putManifest(reference: string, manifest: SentManifest, signal: AbortSignal): Promise<Digest>;
  /** Tags and manifests may be removed, where the registry allows it. */
  remove(reference: string, signal: AbortSignal): Promise<void>;
  tags(signal: AbortSignal): Promise<string[]>;
  /** An index of what refers to it, also where the registry keeps it under a tag as before OCI 1.1. */
  referrers(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined>;
}

export interface SentManifest {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  /** By which it is known where it comes from. Default: its sha256. */
  readonly digest?: Digest;
}

const accept = [
  mediaTypes.ociIndex,
  mediaTypes.dockerList,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifest,
  mediaTypes.dockerSchema1Signed,
  mediaTypes.dockerSchema1,
].join(", ");

export class RemoteRepository implements Repository {
  readonly domain: string;
  readonly path: string;
  readonly #session: Session;
  readonly #actions: string;

  constructor(session: Session, path: string, actions: readonly string[]) {
    this.#session = session;
    this.domain = session.domain;
    this.path = path;
    this.#actions = actions.join(",");
  }

  #send(
    request: Omit<Request, "scopes"> & { sources?: readonly string[]; actions?: string },
  ): Promise<Answer> {
    const { sources = [], actions = this.#actions } = request;
    const scopes = [
      `repository:${this.path}:${actions}`,
      ...sources.map((path) => `repository:${path}:pull`),
    ];
    return this.#session.send({ ...request, scopes });
  }

  async manifest(reference: string, signal: AbortSignal): Promise<FetchedManifest> {
    const target = paths.manifest(this.path, reference);
    const answer = await this.#send({ method: "GET", target, headers: { Accept: accept }, signal });
    if (answer.status !== 200) throw await refused(answer, `Cannot get manifest ${reference}`);
    const bytes = await answer.bytes(limits.manifestBytesMax);
    const said = answer.headers.get(headers.contentDigest) ?? "";
    const wanted = [reference, said].find(isDigest);
    const digest = digestBy(wanted ? algorithmOf(wanted) : "sha256", bytes);
    if (wanted !== undefined && wanted !== digest) {
      const why = `its bytes hash to ${digest} instead of ${wanted}`;
      throw new Failure(
        "corrupt",
        `Cannot trust the manifest of ${this.domain}/${this.path}: ${why}`,
      );
    }
    const mediaType = mediaTypeOf(answer, bytes);
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  async head(reference: string, signal: AbortSignal): Promise<Digest | undefined> {
    const target = paths.manifest(this.path, reference);
    const answer = await this.#send({
      method: "HEAD",
      target,
      headers: { Accept: accept },
      signal,
    });
    await answer.discard();
    const digest = answer.headers.get(headers.contentDigest);
    return answer.status === 200 && digest && isDigest(digest) ? digest : undefined;
  }

  async blob(
    digest: Digest,
    { from = 0, signal }: { from?: number; signal: AbortSignal },
  ): ReturnType<Repository["blob"]> {
    const range: Record<string, string> = from > 0 ? { Range: `bytes=${from}-` } : {};
    const target = paths.blob(this.path, digest);
    const answer = await this.#send({ method: "GET", target, headers: range, signal });
    if (answer.status === 416 && from > 0) {
      await answer.discard();
      return await this.blob(digest, { signal });
    }
    if (answer.status !== 200 && answer.status !== 206) {
      throw await refused(answer, `Cannot get blob ${digest} from ${answer.url.host}`);
    }
    const offset = answer.status === 206 ? rangeStart(answer) : 0;
    if (offset !== 0 && offset !== from) {
      await answer.discard();
      return await this.blob(digest, { signal });
    }
    return { offset, stream: (sizeBytesMax: number) => answer.stream(sizeBytesMax) };
  }

  distrust(): boolean {
    return false; // there is nobody else
  }

  async hasBlob(digest: Digest, signal: AbortSignal): Promise<boolean> {
    const target = paths.blob(this.path, digest);
    const answer = await this.#send({ method: "HEAD", target, signal });
    await answer.discard();
    if (answer.status === 200) return true;
    // An answer to HEAD has no words: what a registry in trouble has to say, it says to the upload.
    if (answer.status === 404 || answer.status === 503) return false;
    throw await refused(answer, `Cannot look for blob ${digest}`);
  }

  async upload(upload: Upload): Promise<{ mountedFrom: string | undefined }> {
    return await uploadBlob((request) => this.#send(request), this.path, upload);
  }

  async mount(blob: Pick<Upload, "digest" | "sources" | "signal">): Promise<string | undefined> {
    return await mountOnly((request) => this.#send(request), this.path, blob);
  }

  async putManifest(
    reference: string,
    manifest: SentManifest,
    signal: AbortSignal,
  ): Promise<Digest> {
    const { bytes, digest = digestOf(bytes) } = manifest;
    const target = paths.manifest(this.path, reference);
    if (isDigest(reference)) {
      await this.#accepted(reference, await this.#put(target, manifest, signal), manifest, signal);
      return reference;
    }
    if (algorithmOf(digest) !== "sha256") {
      const named = `${paths.manifest(this.path, digest)}?tag=${reference}`;
      const answer = await this.#put(named, manifest, signal);
      if (answer.headers.get(headers.tag) === reference) {
        await this.#accepted(reference, answer, manifest, signal);
        return digest;
      }
      await answer.discard(); // it takes no name along with a digest
    }
    await this.#accepted(reference, await this.#put(target, manifest, signal), manifest, signal);
    return digestOf(bytes);
  }

  async #put(
    target: string,
    { mediaType, bytes }: SentManifest,
    signal: AbortSignal,
  ): Promise<Answer> {
    return await this.#send({
      method: "PUT",
      target,
      headers: { "Content-Type": mediaType },
      body: () => ({ content: bytes, sizeBytes: bytes.length }),
      signal,
    });
  }

  async #accepted(
    reference: string,
    answer: Answer,
    manifest: SentManifest,
    signal: AbortSignal,
  ): Promise<void> {
    if (answer.status !== 201 && answer.status !== 200 && answer.status !== 202) {
      throw await refused(answer, `Cannot put manifest ${reference}`);
    }
    await answer.discard();
    if (answer.headers.get(headers.subject) === null) {
      await recordReferrer(this, manifest, signal);
    }
  }

  async remove(reference: string, signal: AbortSignal): Promise<void> {
    const target = paths.manifest(this.path, reference);
    const actions = "pull,push,delete"; // registries differ in which of them it takes
    const answer = await this.#send({ method: "DELETE", target, signal, actions });
    if (answer.status !== 202 && answer.status !== 200) {
      throw await refused(answer, `Cannot remove ${this.domain}/${this.path} ${reference}`);
    }
    await answer.discard();
  }

  async tags(signal: AbortSignal): Promise<string[]> {
    const get = (target: string) => this.#send({ method: "GET", target, signal });
    return await listPages(get, paths.tags(this.path), "tags");
  }

  async referrers(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const target = paths.referrers(this.path, digest);
    const answer = await this.#send({ method: "GET", target, signal });
    if (answer.status === 200) return await answer.bytes(limits.manifestBytesMax);
    await answer.discard();
    return await taggedReferrers(this, digest, signal);
  }
}

/** The media type that the manifest itself states outweighs the header. */
function mediaTypeOf(answer: Answer, bytes: Uint8Array): string {
  const said = (answer.headers.get("content-type") ?? "").split(";")[0]!.trim();
  let own: unknown;
  try {
    own = (JSON.parse(Buffer.from(bytes).toString()) as { mediaType?: unknown } | null)?.mediaType;
  } catch {
    own = undefined; // whoever parses it says what is wrong
  }
  return typeof own === "string" && own !== "" ? own : said;
}

function rangeStart(answer: Answer): number {
  const match = /^bytes (\d{1,15})-\d{1,15}\/(?:\d{1,15}|\*)$/.exec(
    answer.headers.get("content-range") ?? "",
  );
  return match ? Number(match[1]) : -1;
}

/** True when the registry says that there is no such thing. */
export function isUnknown(error: unknown): boolean {
  return error instanceof RegistryFailure && error.status === 404;
}
