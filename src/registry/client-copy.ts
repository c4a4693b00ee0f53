import { Failure, Gate, isFailure } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  isForeignLayer,
  parseIndex,
  parseManifestOrIndex,
} from "../oci/mod.ts";
import type { FetchedManifest, Repository } from "./client-repository.ts";

/** One step of a copy. */
export interface Copied {
  readonly what: "blob" | "manifest";
  readonly digest: Digest;
  readonly how: "there" | "mounted" | "copied" | "foreign";
}

/** What can be copied from: a repository, or a layout. */
export type CopySource = Pick<Repository, "domain" | "path" | "manifest" | "blob" | "referrers">;
/** What can be copied to. */
export type CopyTarget = Pick<
  Repository,
  "domain" | "path" | "head" | "putManifest" | "hasBlob" | "upload"
>;

interface Ways {
  readonly source: CopySource;
  readonly target: CopyTarget;
}

interface CopyOptions {
  readonly signal: AbortSignal;
  readonly told?: (step: Copied) => void;
  /** What refers to the manifest goes along: signatures, SBOMs. */
  readonly withReferrers?: boolean;
}

const depthMax = 5;
const blobsAtOnce = 4;
const manifestsMax = 1_000;

/**
 * Copies a manifest or index with all that it names, byte for byte, children first, so that nothing is
 * named in the target before it is there. Blobs are mounted within a registry, and else stream from one
 * to the other, which verifies them; nothing is kept here. Gives the digest.
 */
export async function copyManifest(
  ways: Ways,
  [from, to]: readonly [string, string],
  options: CopyOptions,
): Promise<Digest> {
  const copier = new Copier(ways, options);
  return await copier.copy(await ways.source.manifest(from, options.signal), to);
}

class Copier {
  readonly #ways: Ways;
  readonly #options: CopyOptions;
  readonly #seen = new Set<Digest>();
  readonly #gate = new Gate(blobsAtOnce);

  constructor(ways: Ways, options: CopyOptions) {
    this.#ways = ways;
    this.#options = options;
  }

  async copy(manifest: FetchedManifest, to: string): Promise<Digest> {
    await this.#copyParts(manifest, 0);
    const { digest, mediaType } = manifest.descriptor;
    const { target } = this.#ways;
    const sent = { mediaType, digest, bytes: manifest.bytes };
    const known = await target.putManifest(to, sent, this.#options.signal);
    this.#tell("manifest", known, "copied");
    await this.#copyReferrers(digest, 0);
    return known;
  }

  async #copyParts({ bytes, descriptor }: FetchedManifest, depth: number): Promise<void> {
    if (depth > depthMax || this.#seen.size > manifestsMax) {
      throw new Failure(
        "exhausted",
        `Cannot copy ${descriptor.digest}: it names too many manifests`,
      );
    }
    this.#seen.add(descriptor.digest);
    const parsed = parseManifestOrIndex(bytes);
    if ("manifest" in parsed) {
      const { config, layers } = parsed.manifest;
      await this.#copyBlobs([config, ...layers]);
      return;
    }
    for (const child of parsed.index.manifests) await this.#copyChild(child.digest, depth + 1);
  }

  async #copyChild(digest: Digest, depth: number): Promise<void> {
    if (this.#seen.has(digest)) return;
    const { source, target } = this.#ways;
    const { signal } = this.#options;
    if ((await target.head(digest, signal)) === digest) {
      this.#seen.add(digest);
      this.#tell("manifest", digest, "there");
    } else {
      const child = await source.manifest(digest, signal);
      await this.#copyParts(child, depth);
      const { mediaType } = child.descriptor;
      await target.putManifest(digest, { mediaType, bytes: child.bytes }, signal);
      this.#tell("manifest", digest, "copied");
    }
    await this.#copyReferrers(digest, depth);
  }

  async #copyReferrers(digest: Digest, depth: number): Promise<void> {
    if (!this.#options.withReferrers) return;
    const { source } = this.#ways;
    const bytes = await source.referrers(digest, this.#options.signal);
    if (!bytes) return; // this registry knows none
    for (const each of parseIndex(bytes).manifests) await this.#copyChild(each.digest, depth + 1);
  }

  /** Some at a time; the first that fails gives up the others. */
  async #copyBlobs(blobs: readonly Descriptor[]): Promise<void> {
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, failed.signal]);
    let first: unknown;
    const copying = blobs.map((blob) =>
      this.#gate
        .run(() => this.#copyBlob(blob, signal))
        .catch((error: unknown) => {
          first ??= error;
          failed.abort();
        }),
    );
    await Promise.all(copying);
    if (first !== undefined) throw first;
  }

  async #copyBlob(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { source, target } = this.#ways;
    const { digest, size } = descriptor;
    if (this.#seen.has(digest)) return;
    this.#seen.add(digest);
    if (await target.hasBlob(digest, signal)) {
      this.#tell("blob", digest, "there");
      return;
    }
    try {
      const { mountedFrom } = await target.upload({
        digest,
        sizeBytes: size,
        read: (offset) => this.#read({ digest, size }, offset, signal),
        sources: source.domain === target.domain ? [source.path] : [],
        signal,
      });
      this.#tell("blob", digest, mountedFrom === undefined ? "copied" : "mounted");
    } catch (error) {
      // Its maker does not want it spread: it is where its addresses say.
      if (!isForeignLayer(descriptor) || !isFailure(error, "not_found")) throw error;
      this.#tell("blob", digest, "foreign");
    }
  }

  async *#read(
    { digest, size }: Pick<Descriptor, "digest" | "size">,
    from: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void> {
    const { source } = this.#ways;
    const { offset, stream } = await source.blob(digest, { from, signal });
    let skip = from - offset;
    for await (const chunk of stream(size - offset)) {
      const part = chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - part.length;
      if (part.length > 0) yield part;
    }
  }

  #tell(what: Copied["what"], digest: Digest, how: Copied["how"]): void {
    this.#options.told?.({ what, digest, how });
  }
}
