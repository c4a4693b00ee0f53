import { Failure, limits } from "../base/mod.ts";
import {
  blobPath,
  type Descriptor,
  type Digest,
  digestOf,
  formatPlatform,
  hostPlatform,
  isAttestation,
  isDigestOf,
  isImageConfigType,
  type Manifest,
  type Platform,
  parseImageConfig,
  parseIndex,
  parseManifestOrIndex,
  rankPlatform,
} from "../oci/mod.ts";
import type { ArchiveEntry, ArchiveFile } from "./archive-file.ts";
import { type PlannedImage, pairLayers, tagName } from "./planned.ts";

const manifestsMax = 1_000;
const depthMax = 5;

/** One image of a layout; those of one group differ by platform, and one of them is taken. */
interface Candidate {
  readonly group: string;
  readonly image: PlannedImage;
}

/**
 * Reads an OCI layout: the index, the indexes in it, and their images. What an index names but the
 * archive does not have (other platforms of a saved image) is passed over.
 * Spec: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export async function readLayout(
  archive: ArchiveFile,
  { index, platform }: { index: ArchiveEntry; platform: Platform | undefined },
): Promise<{ chosen: PlannedImage[]; seen: Set<Digest> }> {
  const { manifests } = parseIndex(await archive.bytes(index, limits.manifestBytesMax));
  const walk = new Walk(archive);
  const platforms = manifests.map(({ platform: own }) => (own ? formatPlatform(own) : ""));
  const isOneImage = !platforms.includes("") && new Set(platforms).size === platforms.length;
  for (const [at, descriptor] of manifests.entries()) {
    const names = namesIn(descriptor);
    const group = names.length > 0 ? names.join(" ") : isOneImage ? "all" : `#${at}`;
    await walk.descend(descriptor, { group, names, depth: 0, isOptional: false });
  }
  const groups = Map.groupBy(walk.found, ({ group }) => group);
  const wanted = platform ?? hostPlatform();
  return {
    chosen: [...groups.values()].flatMap((group) => choose(group, wanted)),
    seen: new Set(walk.found.map(({ image }) => image.id)),
  };
}

/** The best of a group; without one that this machine runs, the first. */
function choose(group: readonly Candidate[], wanted: Platform): PlannedImage[] {
  const ranked = group.map(({ image }) => ({ image, rank: rankPlatform(wanted, image.config) }));
  const best = ranked.reduce((a, b) => (b.rank > a.rank ? b : a), ranked[0]!);
  return [best.image];
}

/** The names that tools write beside a manifest: containerd's whole one, or OCI's, which may be a bare tag. */
function namesIn({ annotations }: Descriptor): string[] {
  const whole = annotations?.["io.containerd.image.name"];
  if (whole) return [tagName(whole)];
  const name = annotations?.["org.opencontainers.image.ref.name"];
  return name && /[/:]/.test(name) ? [tagName(name)] : [];
}

interface Place {
  readonly group: string;
  readonly names: readonly string[];
  readonly depth: number;
  readonly isOptional: boolean;
}

class Walk {
  readonly #archive: ArchiveFile;
  readonly found: Candidate[] = [];
  #count = 0;

  constructor(archive: ArchiveFile) {
    this.#archive = archive;
  }

  async descend(descriptor: Descriptor, place: Place): Promise<void> {
    if (++this.#count > manifestsMax || place.depth > depthMax) {
      throw new Failure("exhausted", "Cannot load the archive: its index has too many manifests");
    }
    if (isAttestation(descriptor)) return;
    const entry = this.#archive.find(blobPath(descriptor.digest));
    if (!entry && place.isOptional) return;
    const bytes = await this.#verified(descriptor, limits.manifestBytesMax);
    const parsed = parseManifestOrIndex(bytes);
    if ("manifest" in parsed)
      return await this.#take(parsed.manifest, { descriptor, bytes, place });
    for (const child of parsed.index.manifests) {
      const inner = { ...place, depth: place.depth + 1, isOptional: true };
      await this.descend(child, inner);
    }
  }

  async #take(
    manifest: Manifest,
    from: { descriptor: Descriptor; bytes: Uint8Array; place: Place },
  ): Promise<void> {
    if (!isImageConfigType(manifest.config.mediaType)) return; // an artifact
    const { descriptor, bytes, place } = from;
    const archive = this.#archive;
    const isThere = (digest: Digest) => archive.find(blobPath(digest)) !== undefined;
    const isWhole = [manifest.config, ...manifest.layers].every(({ digest }) => isThere(digest));
    if (!isWhole && place.isOptional) return;
    const configBytes = await this.#verified(manifest.config, limits.configBytesMax);
    const config = parseImageConfig(configBytes);
    const layers = pairLayers(config, manifest.layers).map(([diffId, layer]) => ({
      diffId,
      entry: this.#entryOf(layer),
      descriptor: layer,
    }));
    const { mediaType, digest, size } = descriptor;
    const id = digestOf(configBytes);
    const kept = { descriptor: { mediaType, digest, size }, bytes };
    const image = { id, configBytes, config, names: place.names, layers, manifest: kept };
    this.found.push({ group: place.group, image });
  }

  async #verified(descriptor: Descriptor, sizeBytesMax: number): Promise<Uint8Array> {
    const bytes = await this.#archive.bytes(this.#entryOf(descriptor), sizeBytesMax);
    if (isDigestOf(descriptor.digest, bytes)) return bytes;
    throw new Failure("corrupt", `Cannot load the archive: blob ${descriptor.digest} is damaged`);
  }

  #entryOf(descriptor: Descriptor): ArchiveEntry {
    const entry = this.#archive.get(blobPath(descriptor.digest));
    if (entry.sizeBytes === descriptor.size) return entry;
    const why = `it has ${entry.sizeBytes} bytes, its descriptor says ${descriptor.size}`;
    throw new Failure("corrupt", `Cannot load the archive: blob ${descriptor.digest}: ${why}`);
  }
}
