import type { Digest, ImageConfig } from "../oci/mod.ts";
import type { GrowingFile, UnpackGrowing } from "../snapshot/mod.ts";
import type { Inner } from "./inner.ts";
import type { KeptIndex, Origins } from "./origins.ts";
import { familiar, isCanonical, type LayerBlob, type NewImage } from "./records.ts";
import type { Image } from "./types.ts";

/** An image that a registry gave, its layers here. */
export interface PulledImage {
  readonly id: Digest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** Whole references: with a tag, with a digest. */
  readonly names: readonly string[];
  readonly manifest: NonNullable<NewImage["manifest"]>;
  readonly index: KeptIndex | undefined;
}

/** The image store as pull and push see it. */
export class Store {
  readonly inner: Inner;
  readonly #origins: Origins;

  constructor(inner: Inner, origins: Origins) {
    this.inner = inner;
    this.#origins = origins;
  }

  /** The image that has a whole name. */
  idOf(name: string): Digest | undefined {
    return this.inner.records.byName(name);
  }

  /** The image, if none of its layers is lost. */
  whole(id: Digest): Image | undefined {
    const row = this.inner.records.row(id);
    const isWhole = row?.config.rootfs.diff_ids.every((diffId) => this.hasLayer(diffId));
    return isWhole ? this.inner.get(id) : undefined;
  }

  hasLayer(diffId: Digest): boolean {
    return this.inner.snapshots.layer(diffId) !== undefined;
  }

  /** Keeps layers and blobs from being removed until it is disposed. */
  pin(digests: readonly Digest[]): Disposable {
    return this.inner.layers.pin(digests);
  }

  /** Unpacks a blob of the content store as a layer; one that is here already is success. */
  async unpack(digest: Digest, options: UnpackGrowing): Promise<void> {
    const { content, snapshots } = this.inner;
    await snapshots.unpack(content.path(digest), options);
  }

  /** As `unpack`, of a blob that is still on its way. */
  async unpackGrowing(file: GrowingFile, options: UnpackGrowing): Promise<void> {
    if (this.hasLayer(options.diffId)) return;
    await this.inner.snapshots.unpackGrowing(file, options);
  }

  /** Stores an image that a registry gave. Its layers are here; of their files, some may not be. */
  async take(image: PulledImage, files: readonly LayerBlob[]): Promise<Image> {
    const here = await Promise.all(files.map((file) => this.#isHere(file.digest)));
    const { id, configBytes, config, names, manifest, index } = image;
    const row = {
      id,
      config: configBytes,
      names,
      manifest,
      diffIds: config.rootfs.diff_ids,
      // A manifest whose files are not all here could not be pushed again.
      replaces: here.every(Boolean),
    };
    const taken = await this.inner.insert(
      row,
      files.filter((_, at) => here[at]),
    );
    this.#origins.setIndex(id, index);
    const shown = names.find((name) => !isCanonical(name)) ?? names[0];
    if (shown) this.inner.tell("pull", id, familiar(shown));
    return taken;
  }

  /** After a push: the digest under which a registry knows the image, and the manifest if it had none. */
  remember(
    id: Digest,
    name: string,
    manifest: { mediaType: string; digest: Digest; bytes: Uint8Array },
  ): void {
    const { mediaType, digest, bytes } = manifest;
    this.inner.name(id, name);
    if (!this.inner.records.row(id)?.manifest) {
      const descriptor = { mediaType, digest, size: bytes.length };
      this.inner.records.replaceManifest(id, { descriptor, bytes });
    }
    this.inner.tell("push", id, familiar(name));
  }

  async #isHere(digest: Digest): Promise<boolean> {
    return (await this.inner.content.size(digest)) !== undefined;
  }
}
