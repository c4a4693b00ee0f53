import { Failure, limits } from "../base/mod.ts";
import {
  blobPath,
  type Descriptor,
  type Digest,
  fullReference,
  isDigest,
  isDigestOf,
  isIndexType,
  mediaTypes,
  parseIndex,
  parseManifestOrIndex,
  parseReference,
  withDefaultTag,
} from "../oci/mod.ts";
import type { CopySource, FetchedManifest } from "../registry/mod.ts";

/** The files of a layout, wherever they are. */
export interface LayoutFiles {
  /** How it is called in messages. */
  readonly where: string;
  size(name: string): Promise<number | undefined>;
  read(name: string): Promise<Uint8Array>;
  stream(name: string, from: number): AsyncIterable<Uint8Array>;
}

export const nameKey = "org.opencontainers.image.ref.name";
export const wholeNameKey = "io.containerd.image.name";

/**
 * An OCI layout as the source of a copy. A manifest is verified; blobs are by who takes them.
 * Spec: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export class LayoutSource implements CopySource {
  readonly domain: string;
  readonly path = "";
  readonly #files: LayoutFiles;

  constructor(files: LayoutFiles) {
    this.#files = files;
    this.domain = files.where;
  }

  /** @throws Failure "not_found" — there is no layout */
  async index(): Promise<readonly Descriptor[]> {
    return parseIndex(await this.#small("index.json", "index.json: it is no OCI layout")).manifests;
  }

  /** By digest or name; with an empty one, the only one that there is. */
  async manifest(reference: string): Promise<FetchedManifest> {
    const digest = isDigest(reference) ? reference : await this.#find(reference);
    const bytes = await this.#verified(digest);
    const parsed = parseManifestOrIndex(bytes);
    const own = "index" in parsed ? parsed.index.mediaType : parsed.manifest.mediaType;
    const other = "index" in parsed ? mediaTypes.ociIndex : mediaTypes.ociManifest;
    return { descriptor: { mediaType: own ?? other, digest, size: bytes.length }, bytes };
  }

  async blob(digest: Digest, { from = 0 }: { from?: number }): ReturnType<CopySource["blob"]> {
    if (!(await this.hasBlob(digest))) throw this.#absent(`blob ${digest}`);
    return { offset: from, stream: () => this.#files.stream(blobPath(digest), from) };
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    return (await this.#files.size(blobPath(digest))) !== undefined;
  }

  /** Those manifests of the index that refer to it. */
  async referrers(digest: Digest): Promise<Uint8Array> {
    const found: Descriptor[] = [];
    for (const descriptor of await this.index()) {
      if (isIndexType(descriptor.mediaType)) continue;
      if ((await this.#subjectOf(descriptor)) === digest) found.push(descriptor);
    }
    return indexBytes(found);
  }

  async #find(reference: string): Promise<Digest> {
    const all = await this.index();
    const whole = wholeNameOf(reference);
    const named = all.find(({ annotations }) => {
      const names = [annotations?.[nameKey], annotations?.[wholeNameKey]];
      return reference !== "" && (names.includes(reference) || names.includes(whole));
    });
    if (named) return named.digest;
    const names = new Set(
      all.flatMap(({ annotations }) => annotations?.[wholeNameKey] ?? annotations?.[nameKey] ?? []),
    );
    if (reference !== "") throw this.#absent(`"${reference}"`, names);
    const roots = new Set<Digest>();
    for (const each of all) if (!(await this.#subjectOf(each))) roots.add(each.digest);
    // What refers to another manifest counts where there is nothing else.
    const chosen = roots.size > 0 ? roots : new Set(all.map(({ digest }) => digest));
    const [only] = chosen;
    if (only && chosen.size === 1) return only;
    throw this.#absent("the one image, since there are several: give a name", names);
  }

  /** What a manifest refers to; undefined also where it is not here. */
  async #subjectOf({ digest }: Descriptor): Promise<Digest | undefined> {
    if (!(await this.hasBlob(digest))) return undefined;
    const parsed = parseManifestOrIndex(await this.#verified(digest));
    return ("index" in parsed ? parsed.index : parsed.manifest).subject?.digest;
  }

  async #verified(digest: Digest): Promise<Uint8Array> {
    const bytes = await this.#small(blobPath(digest), `manifest ${digest}`);
    if (isDigestOf(digest, bytes)) return bytes;
    const why = "its bytes hash to another digest";
    throw new Failure("corrupt", `Cannot trust ${digest} in ${this.domain}: ${why}`);
  }

  async #small(name: string, what: string): Promise<Uint8Array> {
    const size = await this.#files.size(name);
    if (size === undefined) throw this.#absent(what);
    if (size <= limits.manifestBytesMax) return await this.#files.read(name);
    throw new Failure("exhausted", `Cannot read ${name} in ${this.domain}: it has ${size} bytes`);
  }

  #absent(what: string, names: ReadonlySet<string> = new Set()): Failure {
    const hint = names.size > 0 ? { hint: `There are ${[...names].slice(0, 50).join(", ")}` } : {};
    return new Failure("not_found", `Cannot find ${what} (${this.domain})`, hint);
  }
}

function wholeNameOf(text: string): string | undefined {
  try {
    return fullReference(withDefaultTag(parseReference(text)));
  } catch {
    return undefined; // not a name of Docker's: a layout's may be any text
  }
}

export function indexBytes(manifests: readonly Descriptor[]): Uint8Array {
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }),
  );
}
