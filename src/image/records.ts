import type { Database } from "bun:sqlite";
import { log } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  familiarReference,
  type ImageConfig,
  parseDigest,
  parseImageConfig,
  parseManifest,
  parseReference,
} from "../oci/mod.ts";

/** One image as the tables have it. */
export interface ImageRow {
  readonly id: Digest;
  readonly config: ImageConfig;
  readonly parent: Digest | undefined;
  readonly taggedMs: number;
  readonly manifest: Descriptor | undefined;
  /** The layers of the manifest that it came with. */
  readonly manifestLayers: readonly Descriptor[];
}

/** What makes a row: the bytes are kept as they came, for their digests are names. */
export interface NewImage {
  readonly id: Digest;
  readonly config: Uint8Array;
  readonly parent?: Digest | undefined;
  readonly manifest?: { readonly descriptor: Descriptor; readonly bytes: Uint8Array } | undefined;
}

/** A file in the content store that unpacks to a layer. */
export interface LayerBlob {
  readonly diffId: Digest;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

interface StoredImage {
  readonly id: string;
  readonly config: Uint8Array;
  readonly parent: string | null;
  readonly tagged_ms: number;
  readonly manifest: string | null;
  readonly manifest_bytes: Uint8Array | null;
}

const tables = [
  `CREATE TABLE IF NOT EXISTS image_images (id TEXT PRIMARY KEY, config BLOB NOT NULL, parent TEXT,
    tagged_ms INTEGER NOT NULL, manifest TEXT, manifest_bytes BLOB)`,
  "CREATE TABLE IF NOT EXISTS image_names (name TEXT PRIMARY KEY, id TEXT NOT NULL)",
  `CREATE TABLE IF NOT EXISTS image_blobs (diff_id TEXT NOT NULL, digest TEXT NOT NULL,
    media_type TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (diff_id, digest))`,
  "CREATE TABLE IF NOT EXISTS image_tar_sizes (diff_id TEXT PRIMARY KEY, size INTEGER NOT NULL)",
];

/**
 * The tables of this folder and their copy in memory, which is what is read. A name is a whole
 * reference with a tag or a digest: `docker.io/library/busybox:latest`.
 */
export class Records {
  readonly #database: Database;
  readonly #rows = new Map<Digest, ImageRow>();
  readonly #names = new Map<string, Digest>();
  readonly #namesOf = new Map<Digest, Set<string>>();
  readonly #blobs = new Map<Digest, LayerBlob[]>();

  constructor(database: Database) {
    this.#database = database;
    for (const table of tables) database.run(table);
    const images = database.query<StoredImage, []>("SELECT * FROM image_images").all();
    for (const image of images) {
      try {
        this.#rows.set(parseDigest(image.id), rowOf(image));
      } catch (error) {
        log("error", "An image's row cannot be read", { image: image.id, why: error });
      }
    }
    const names = database.query<{ name: string; id: string }, []>("SELECT * FROM image_names");
    for (const { name, id } of names.all()) this.#link(name, parseDigest(id));
    const blobs = database.query<
      { diff_id: string; digest: string; media_type: string; size: number },
      []
    >("SELECT * FROM image_blobs");
    for (const blob of blobs.all()) {
      this.#remember({
        diffId: parseDigest(blob.diff_id),
        digest: parseDigest(blob.digest),
        mediaType: blob.media_type,
        sizeBytes: blob.size,
      });
    }
  }

  rows(): IterableIterator<ImageRow> {
    return this.#rows.values();
  }

  row(id: Digest): ImageRow | undefined {
    return this.#rows.get(id);
  }

  byName(name: string): Digest | undefined {
    return this.#names.get(name);
  }

  /** The names of an image, sorted: those with tags as well as those with digests. */
  namesOf(id: Digest): string[] {
    return [...(this.#namesOf.get(id) ?? [])].sort();
  }

  /** All names with their images. */
  names(): IterableIterator<[string, Digest]> {
    return this.#names.entries();
  }

  children(id: Digest): Digest[] {
    return [...this.#rows.values()].filter(({ parent }) => parent === id).map((row) => row.id);
  }

  /** The bytes of the config; undefined when the image is gone. */
  configBytes(id: Digest): Uint8Array | undefined {
    const query = "SELECT config FROM image_images WHERE id = ?";
    return this.#database.query<{ config: Uint8Array }, [string]>(query).get(id)?.config;
  }

  /** The bytes of the manifest that the image came with. */
  manifestBytes(id: Digest): Uint8Array | undefined {
    const query = "SELECT manifest_bytes AS bytes FROM image_images WHERE id = ?";
    const found = this.#database.query<{ bytes: Uint8Array | null }, [string]>(query).get(id);
    return found?.bytes ?? undefined;
  }

  /** The files of a layer, the one to be preferred first: plain, then by digest. */
  blobsOf(diffId: Digest): readonly LayerBlob[] {
    return this.#blobs.get(diffId) ?? [];
  }

  layersWithBlobs(): IterableIterator<Digest> {
    return this.#blobs.keys();
  }

  /** Makes all of it durable at once: rows, files of layers, names. A row that is there stays. */
  insert(
    images: readonly (NewImage & { readonly names: readonly string[] })[],
    blobs: readonly LayerBlob[],
  ): void {
    const nowMs = Date.now();
    // What could not be read back must not be written.
    for (const { config, manifest } of images) {
      parseImageConfig(config);
      if (manifest) parseManifest(manifest.bytes);
    }
    this.#transaction(() => {
      for (const image of images) this.#insertImage(image, nowMs);
      for (const { diffId, digest, mediaType, sizeBytes } of blobs) {
        const values = [diffId, digest, mediaType, sizeBytes];
        this.#database.run("INSERT OR REPLACE INTO image_blobs VALUES (?, ?, ?, ?)", values);
      }
      for (const { id, names } of images) for (const name of names) this.#insertName(name, id);
    });
    for (const { id, names } of images) {
      this.#reload(id);
      for (const name of names) this.#link(name, id);
    }
    for (const blob of blobs) this.#remember(blob);
  }

  #insertImage({ id, config, parent, manifest }: NewImage, nowMs: number): void {
    this.#database.run(
      `INSERT INTO image_images VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
        tagged_ms = excluded.tagged_ms,
        manifest_bytes = CASE WHEN manifest IS NULL THEN excluded.manifest_bytes
          ELSE manifest_bytes END,
        manifest = coalesce(manifest, excluded.manifest)`,
      [
        id,
        config,
        parent ?? null,
        nowMs,
        manifest ? JSON.stringify(manifest.descriptor) : null,
        manifest?.bytes ?? null,
      ],
    );
  }

  /** Of an image that came again with another manifest, the new one counts. */
  replaceManifest(id: Digest, manifest: NewImage["manifest"]): void {
    if (manifest) parseManifest(manifest.bytes);
    this.#database.run("UPDATE image_images SET manifest = ?, manifest_bytes = ? WHERE id = ?", [
      manifest ? JSON.stringify(manifest.descriptor) : null,
      manifest?.bytes ?? null,
      id,
    ]);
    this.#reload(id);
  }

  #insertName(name: string, id: Digest): void {
    this.#database.run("INSERT OR REPLACE INTO image_names VALUES (?, ?)", [name, id]);
  }

  /** Gives an image a name, which another one may have lost by it. */
  name(name: string, id: Digest): void {
    this.#transaction(() => {
      this.#insertName(name, id);
      this.#database.run("UPDATE image_images SET tagged_ms = ? WHERE id = ?", [Date.now(), id]);
    });
    this.#link(name, id);
    this.#reload(id);
  }

  /** Takes names and rows away, all at once. */
  remove(names: readonly string[], ids: readonly Digest[]): void {
    this.#transaction(() => {
      for (const name of names)
        this.#database.run("DELETE FROM image_names WHERE name = ?", [name]);
      for (const id of ids) {
        this.#database.run("DELETE FROM image_names WHERE id = ?", [id]);
        this.#database.run("DELETE FROM image_images WHERE id = ?", [id]);
      }
    });
    for (const name of [...names, ...ids.flatMap((id) => this.namesOf(id))]) this.#unlink(name);
    for (const id of ids) this.#rows.delete(id);
  }

  forgetBlob(diffId: Digest, digest: Digest): void {
    const where = "DELETE FROM image_blobs WHERE diff_id = ? AND digest = ?";
    this.#database.run(where, [diffId, digest]);
    const left = this.blobsOf(diffId).filter((blob) => blob.digest !== digest);
    if (left.length > 0) this.#blobs.set(diffId, left);
    else this.#blobs.delete(diffId);
  }

  /** How long the tar of a layer is that no file holds, once that was counted. */
  tarSize(diffId: Digest): number | undefined {
    const query = "SELECT size FROM image_tar_sizes WHERE diff_id = ?";
    return this.#database.query<{ size: number }, [string]>(query).get(diffId)?.size;
  }

  setTarSize(diffId: Digest, sizeBytes: number): void {
    this.#database.run("INSERT OR REPLACE INTO image_tar_sizes VALUES (?, ?)", [diffId, sizeBytes]);
  }

  forgetTarSize(diffId: Digest): void {
    this.#database.run("DELETE FROM image_tar_sizes WHERE diff_id = ?", [diffId]);
  }

  #transaction(change: () => void): void {
    this.#database.transaction(change).immediate();
  }

  #reload(id: Digest): void {
    const query = "SELECT * FROM image_images WHERE id = ?";
    const found = this.#database.query<StoredImage, [string]>(query).get(id);
    if (found) this.#rows.set(id, rowOf(found));
  }

  #link(name: string, id: Digest): void {
    this.#unlink(name);
    this.#names.set(name, id);
    const names = this.#namesOf.get(id) ?? new Set();
    this.#namesOf.set(id, names.add(name));
  }

  #unlink(name: string): void {
    const id = this.#names.get(name);
    if (id === undefined) return;
    this.#names.delete(name);
    const names = this.#namesOf.get(id);
    names?.delete(name);
    if (names?.size === 0) this.#namesOf.delete(id);
  }

  #remember(blob: LayerBlob): void {
    const others = this.blobsOf(blob.diffId).filter(({ digest }) => digest !== blob.digest);
    const rank = ({ diffId, digest }: LayerBlob) => (digest === diffId ? "" : digest);
    const sorted = [...others, blob].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
    this.#blobs.set(blob.diffId, sorted);
  }
}

function rowOf(stored: StoredImage): ImageRow {
  return {
    id: parseDigest(stored.id),
    config: parseImageConfig(stored.config),
    parent: stored.parent === null ? undefined : parseDigest(stored.parent),
    taggedMs: stored.tagged_ms,
    manifest: stored.manifest === null ? undefined : (JSON.parse(stored.manifest) as Descriptor),
    manifestLayers: stored.manifest_bytes ? parseManifest(stored.manifest_bytes).layers : [],
  };
}

/** `busybox:latest` for `docker.io/library/busybox:latest`. */
export function familiar(name: string): string {
  return familiarReference(parseReference(name));
}

/** True for a name with a digest in a tag's place. */
export function isCanonical(name: string): boolean {
  return name.includes("@");
}

/** The name without its tag or digest. */
export function repositoryOf(name: string): string {
  const at = name.indexOf("@");
  if (at >= 0) return name.slice(0, at);
  return name.slice(0, name.lastIndexOf(":"));
}
