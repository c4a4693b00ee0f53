import { compressLayer } from "../image/mod.ts";
import {
  type Descriptor,
  type Digest,
  digestOf,
  formatImageConfig,
  hexOf,
  type Manifest,
  mediaTypes,
} from "../oci/mod.ts";
import { packTar } from "../snapshot/mod.ts";
import type { CachedStep } from "./cache.ts";
import {
  type CachePlace,
  cacheArtifactType,
  cacheConfigType,
  type RemoteFolder,
  type RemoteStep,
} from "./cache-config.ts";
import type { Blob, ImageTree } from "./image-tree.ts";
import type { Built } from "./result.ts";
import type { Tools } from "./tools.ts";

export interface CacheExport {
  /** The steps that the build used. */
  readonly keys: readonly Digest[];
  /** Layers of the result: all that a cache of mode min has. */
  readonly layers: ReadonlySet<Digest>;
  /** A folder for compressed layers. */
  readonly folder: string;
  /** Cache mounts that were used since then go along, when the place wants them. */
  readonly startedMs: number;
}

/** The steps of a build, and their layers, as a manifest. The same steps, the same bytes. */
export async function makeCacheTree(
  tools: Tools,
  place: CachePlace,
  { keys, layers: inResult, folder, startedMs }: CacheExport,
): Promise<ImageTree> {
  const packer = new Packer(folder, place);
  const steps: RemoteStep[] = [];
  for (const step of stepsOf(tools, keys)) {
    const { key, layer: diffId, sameAs, description, costMs } = step;
    if (diffId && place.mode === "min" && !inResult.has(diffId)) continue;
    if (diffId && !tools.snapshots.layer(diffId)) continue;
    const at = diffId && (await packer.add(diffId, () => tools.images.layerTar(diffId)));
    steps.push({
      ...{ key, description, costMs },
      ...(sameAs ? { sameAs } : {}),
      ...(diffId && at !== undefined ? { layer: at, diffId } : {}),
    });
  }
  const folders: RemoteFolder[] = [];
  if (place.mounts) {
    for (const { id, folder: name, usedMs } of tools.cache.folders()) {
      if (usedMs < startedMs) continue;
      const path = `${tools.directory}/folders/${name}`;
      folders.push({ id, layer: await packer.add(`folder ${id}`, () => packTar(path)) });
    }
  }
  return packer.finish({ steps, folders });
}

/** An image that says itself which steps made its layers. Nothing of the clock goes in. */
export function withInlineCache(tools: Tools, built: Built): Built {
  const places = new Map(built.config.rootfs.diff_ids.map((diffId, at) => [diffId, at] as const));
  const steps = stepsOf(tools, built.keys).flatMap(({ key, layer, sameAs }): RemoteStep[] => {
    const at = layer && places.get(layer);
    if (layer && at === undefined) return [];
    const about = { key, description: "", costMs: 0, ...(sameAs ? { sameAs } : {}) };
    return [layer && at !== undefined ? { ...about, layer: at, diffId: layer } : about];
  });
  const field = JSON.stringify({ steps });
  const config = { ...built.config, "lading.buildcache.v1": field };
  return { ...built, config, id: digestOf(formatImageConfig(config)), same: undefined };
}

function stepsOf({ cache }: Tools, keys: readonly Digest[]): CachedStep[] {
  return [...new Set(keys)].flatMap((key) => cache.find(key) ?? []);
}

const layerTypes = {
  gzip: mediaTypes.ociLayerGzip,
  zstd: mediaTypes.ociLayerZstd,
  uncompressed: mediaTypes.ociLayer,
} as const;

class Packer {
  readonly #folder: string;
  readonly #place: CachePlace;
  readonly #layers: Descriptor[] = [];
  readonly #places = new Map<string, number>();
  readonly #blobs = new Map<Digest, Blob>();

  constructor(folder: string, place: CachePlace) {
    this.#folder = folder;
    this.#place = place;
  }

  /** Packs a tar once, and tells where in the manifest it stands. */
  async add(name: string, tar: () => AsyncIterable<Uint8Array>): Promise<number> {
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const at = this.#layers.length;
    const path = `${this.#folder}/cache-${at}`;
    const { how, level } = this.#place;
    const { digest, sizeBytes } = await compressLayer(tar(), path, { how, level });
    this.#blobs.set(digest, { digest, sizeBytes, read: () => Bun.file(path).stream() });
    this.#layers.push({ mediaType: layerTypes[how], digest, size: sizeBytes });
    this.#places.set(name, at);
    return at;
  }

  finish(config: object): ImageTree {
    const text = Buffer.from(JSON.stringify(config));
    const about = { mediaType: cacheConfigType, digest: digestOf(text), size: text.length };
    async function* read() {
      yield text;
    }
    this.#blobs.set(about.digest, { digest: about.digest, sizeBytes: text.length, read });
    const manifest: Manifest & { artifactType: string } = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      artifactType: cacheArtifactType,
      config: about,
      layers: this.#layers,
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    const { mediaType } = { mediaType: mediaTypes.ociManifest };
    return {
      root: { mediaType, digest, size: bytes.length },
      manifests: new Map([[digest, { mediaType, bytes }]]),
      blobs: this.#blobs,
      images: [],
      rootAnnotations: { "org.opencontainers.image.title": `cache ${hexOf(digest).slice(0, 12)}` },
    };
  }
}
