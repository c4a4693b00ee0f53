/** A build's images as manifests and blobs: what archives, registries and the store take. */
import { Failure } from "../base/mod.ts";
import type { ImageStore } from "../image/mod.ts";
import { compressLayer } from "../image/mod.ts";
import {
  type Descriptor,
  type Digest,
  digestOf,
  formatImageConfig,
  formatPlatform,
  type Index,
  type Manifest,
  mediaTypes,
  type Platform,
} from "../oci/mod.ts";
import type { Annotation, Packing } from "./output.ts";
import type { Built } from "./result.ts";

/** Bytes that a manifest names. */
export interface Blob {
  readonly digest: Digest;
  readonly sizeBytes: number;
  read(): AsyncIterable<Uint8Array>;
}

/** One platform's image in the tree. */
export interface TreeImage {
  readonly id: Digest;
  readonly platform: Platform;
  /** The digest of its manifest. */
  readonly manifest: Digest;
  readonly layers: readonly Descriptor[];
}

export interface ImageTree {
  /** The manifest of the one image, or the index of all. */
  readonly root: Descriptor;
  /** Manifests and the index; what is named comes before what names it. */
  readonly manifests: ReadonlyMap<Digest, { mediaType: string; bytes: Uint8Array }>;
  readonly blobs: ReadonlyMap<Digest, Blob>;
  readonly images: readonly TreeImage[];
  /** What a layout's own index says of the root. */
  readonly rootAnnotations: Readonly<Record<string, string>>;
}

/** A statement about an image that goes along with it: its in-toto envelope's content. */
export interface Attestation {
  readonly predicateType: string;
  statement(subject: { name: string; digest: Digest }): Uint8Array;
}

export interface TreeOptions {
  readonly images: ImageStore;
  /** A folder for compressed layers; gone after the tree. */
  readonly folder: string;
  readonly packing: Packing;
  readonly annotations: readonly Annotation[];
  readonly ociTypes: boolean;
  /** By image, in the order of `built`. */
  readonly attestations: readonly (readonly Attestation[])[];
  /** How a statement names its subject. */
  readonly name: string;
  /** An index also for one image. */
  readonly isIndex?: boolean;
}

/** Makes manifests, and compresses layers where that is wanted. The same images, the same bytes. */
export async function makeTree(built: readonly Built[], options: TreeOptions): Promise<ImageTree> {
  const maker = new TreeMaker(options);
  for (const [at, one] of built.entries()) await maker.image(one, at);
  const isAttested = options.attestations.some((list) => list.length > 0);
  return maker.finish(built.length > 1 || isAttested || options.isIndex === true);
}

const intoto = "application/vnd.in-toto+json";

class TreeMaker {
  readonly #options: TreeOptions;
  readonly #manifests = new Map<Digest, { mediaType: string; bytes: Uint8Array }>();
  readonly #blobs = new Map<Digest, Blob>();
  readonly #images: TreeImage[] = [];
  readonly #children: Descriptor[] = [];
  readonly #attached: Descriptor[] = [];

  constructor(options: TreeOptions) {
    this.#options = options;
  }

  async image({ config, platform }: Built, at: number): Promise<void> {
    const { ociTypes } = this.#options;
    const types = ociTypes
      ? [mediaTypes.ociManifest, mediaTypes.ociConfig]
      : [mediaTypes.dockerManifest, mediaTypes.dockerConfig];
    const layers: Descriptor[] = [];
    for (const diffId of config.rootfs.diff_ids) layers.push(await this.#layer(diffId));
    const about = this.#bytes(types[1]!, formatImageConfig(config));
    const named = this.#annotations("manifest", platform);
    const manifest = this.#manifest({
      schemaVersion: 2,
      mediaType: types[0]!,
      config: about,
      layers,
      ...(Object.keys(named).length > 0 ? { annotations: named } : {}),
    });
    const { architecture, os, variant } = platform;
    const words = this.#annotations("manifest-descriptor", platform);
    this.#children.push({
      ...manifest,
      ...(Object.keys(words).length > 0 ? { annotations: words } : {}),
      platform: { architecture, os, ...(variant ? { variant } : {}) },
    });
    this.#images.push({ id: about.digest, platform, manifest: manifest.digest, layers });
    const attestations = this.#options.attestations[at] ?? [];
    if (attestations.length > 0) this.#attach(manifest, attestations);
  }

  finish(isIndex: boolean): ImageTree {
    const indexed = this.#annotations("index");
    const words = this.#annotations(isIndex ? "index-descriptor" : "manifest-descriptor");
    if (!isIndex && Object.keys({ ...indexed, ...this.#annotations("index-descriptor") }).length) {
      throw new Failure("invalid", "index annotations not supported for single platform export", {
        hint: "Build for several platforms, or annotate the manifest",
      });
    }
    const root = isIndex ? this.#index(indexed) : this.#children[0]!;
    const { mediaType, digest, size } = root;
    return {
      root: { mediaType, digest, size },
      manifests: this.#manifests,
      blobs: this.#blobs,
      images: this.#images,
      rootAnnotations: isIndex ? words : (root.annotations ?? {}),
    };
  }

  #index(annotations: Readonly<Record<string, string>>): Descriptor {
    const index: Index = {
      schemaVersion: 2,
      mediaType: this.#options.ociTypes ? mediaTypes.ociIndex : mediaTypes.dockerList,
      manifests: [...this.#children, ...this.#attached],
      ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    };
    return this.#manifest(index);
  }

  /** The layout that BuildKit gives attestations: a manifest of statements beside the image's. */
  #attach(image: Descriptor, attestations: readonly Attestation[]): void {
    const layers = attestations.map(({ predicateType, statement }): Descriptor => {
      const bytes = statement({ name: this.#options.name, digest: image.digest });
      const annotations = { "in-toto.io/predicate-type": predicateType };
      return { ...this.#bytes(intoto, bytes), annotations };
    });
    const config = {
      architecture: "unknown",
      os: "unknown",
      config: {},
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
    };
    const manifest = this.#manifest({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: this.#bytes(mediaTypes.ociConfig, Buffer.from(JSON.stringify(config))),
      layers,
    });
    this.#attached.push({
      ...manifest,
      annotations: {
        "vnd.docker.reference.digest": image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
      },
      platform: { architecture: "unknown", os: "unknown" },
    });
  }

  #annotations(on: Annotation["on"], platform?: Platform): Record<string, string> {
    const own = platform && formatPlatform(platform);
    const found = this.#options.annotations.filter(
      (each) => each.on === on && (each.platform === undefined || each.platform === own),
    );
    return Object.fromEntries(
      found.map(({ key, value }) => [key, value] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }

  #manifest(manifest: Manifest | Index): Descriptor {
    const bytes = Buffer.from(JSON.stringify(manifest));
    const mediaType = manifest.mediaType!;
    const digest = digestOf(bytes);
    this.#manifests.set(digest, { mediaType, bytes });
    return { mediaType, digest, size: bytes.length };
  }

  #bytes(mediaType: string, bytes: Uint8Array): Descriptor {
    const digest = digestOf(bytes);
    async function* read() {
      yield bytes;
    }
    this.#blobs.set(digest, { digest, sizeBytes: bytes.length, read });
    return { mediaType, digest, size: bytes.length };
  }

  async #layer(diffId: Digest): Promise<Descriptor> {
    const { images, packing, ociTypes } = this.#options;
    const file = await images.layerFile(diffId);
    const isPlain = file.digest === diffId;
    const isRight = isPlain ? packing.how === "uncompressed" : !packing.force;
    if (isRight) {
      this.#blobs.set(file.digest, file);
      const mediaType = mediaTypeOf(kindOf(file.mediaType), ociTypes);
      return { mediaType, digest: file.digest, size: file.sizeBytes };
    }
    return await this.#packed(diffId, packing);
  }

  async #packed(diffId: Digest, { how, level }: Packing): Promise<Descriptor> {
    const { images, folder, ociTypes } = this.#options;
    const path = `${folder}/${diffId.slice("sha256:".length)}.${how}`;
    const tar = images.layerTar(diffId);
    const { digest, sizeBytes } = await compressLayer(tar, path, { how, level });
    this.#blobs.set(digest, { digest, sizeBytes, read: () => Bun.file(path).stream() });
    return { mediaType: mediaTypeOf(how, ociTypes), digest, size: sizeBytes };
  }
}

function kindOf(mediaType: string): Packing["how"] {
  if (mediaType.endsWith("gzip")) return "gzip";
  return mediaType.endsWith("zstd") ? "zstd" : "uncompressed";
}

function mediaTypeOf(how: Packing["how"], ociTypes: boolean): string {
  if (how === "zstd") return mediaTypes.ociLayerZstd;
  if (how === "gzip") return ociTypes ? mediaTypes.ociLayerGzip : mediaTypes.dockerLayerGzip;
  return ociTypes ? mediaTypes.ociLayer : mediaTypes.dockerLayer;
}
