import { Failure, log } from "../base/mod.ts";
import type { Image } from "../image/mod.ts";
import {
  type Descriptor,
  type Digest,
  hexOf,
  parseImageConfig,
  parseIndex,
  parseManifest,
  parseReference,
} from "../oci/mod.ts";
import { unpackTar } from "../snapshot/mod.ts";
import {
  type CacheConfig,
  type CachePlace,
  type CacheSource,
  cacheConfigType,
  parseCacheConfig,
  type RemoteStep,
} from "./cache-config.ts";
import type { OpenRepository } from "./produce.ts";
import { Root } from "./rooted.ts";
import type { StepScope } from "./scope.ts";
import { type LayerStep, newId, type Tools } from "./tools.ts";
import type { BuildRequest } from "./types.ts";

const configBytesMax = 16 << 20;
const manifestBytesMax = 4 << 20;

interface Opened {
  readonly source: CacheSource;
  readonly config: CacheConfig;
  readonly layers: readonly Descriptor[];
}

interface Found {
  readonly step: RemoteStep & { readonly diffId: Digest };
  readonly descriptor: Descriptor;
  readonly source: CacheSource;
}

export interface ImportOptions {
  readonly request: BuildRequest;
  readonly repository: OpenRepository | undefined;
  readonly warn: (text: string) => void;
}

/** Caches of other builds: their layers are fetched when a step asks for them. */
export class ImportedCache {
  readonly #tools: Tools;
  readonly #found = new Map<Digest, Found>();

  private constructor(tools: Tools) {
    this.#tools = tools;
  }

  /** Opens what `--cache-from` names. One that cannot be had is told and left out, as everywhere. */
  static async open(
    tools: Tools,
    places: readonly CachePlace[],
    options: ImportOptions,
  ): Promise<ImportedCache> {
    const imported = new ImportedCache(tools);
    for (const place of places) {
      try {
        const here = place.type === "local" ? undefined : tools.images.find(place.ref);
        if (here) imported.#image(here);
        if (here || place.type === "image") continue;
        const opened = await openPlace(place, options);
        if (!opened) continue;
        imported.#add(opened);
        await imported.#folders(opened, options.request.signal);
      } catch (error) {
        options.warn(`Cannot use the cache ${place.ref}: ${(error as Error).message}`);
      }
    }
    return imported;
  }

  #add({ config, layers, source }: Opened): void {
    for (const step of config.steps) {
      const { key, diffId, layer: at, sameAs, description, costMs } = step;
      const descriptor = at === undefined ? undefined : layers[at];
      if (diffId && descriptor) {
        if (!this.#found.has(key))
          this.#found.set(key, { step: { ...step, diffId }, descriptor, source });
      } else if (!this.#tools.cache.find(key)) {
        const about = { key, sameAs, description, costMs, layer: undefined };
        this.#tools.cache.put({ ...about, createdMs: Date.now() });
      }
    }
  }

  /** The steps of an image that is here, with its layers. */
  #image({ config }: Image): void {
    const field = config["lading.buildcache.v1"];
    if (field === undefined) return;
    const { cache, snapshots } = this.#tools;
    const places = config.rootfs.diff_ids.map((digest) => ({ mediaType: "", digest, size: 0 }));
    for (const step of parseCacheConfig(field, places).steps) {
      const { key, diffId: layer, sameAs, description, costMs } = step;
      if (cache.find(key) || (layer && !snapshots.layer(layer))) continue;
      cache.put({ key, layer, sameAs, description, costMs, createdMs: Date.now() });
    }
  }

  /** Fills cache mounts that are not here yet. */
  async #folders({ config, layers, source }: Opened, signal: AbortSignal): Promise<void> {
    for (const { id, layer } of config.folders) {
      if (this.#tools.cache.folder(id)) continue;
      const wish = { id, sharing: "shared", mode: 0o755, uid: 0, gid: 0 } as const;
      await using held = await this.#tools.folders.hold(wish);
      await unpackTar(await source.blob(layers[layer]!), held.path, { signal, devices: false });
    }
  }

  /** Makes a step's layer of what another build made; undefined when there is none, or it is not the same. */
  async find(scope: StepScope, key: Digest): Promise<LayerStep | undefined> {
    const found = this.#found.get(key);
    if (!found) return undefined;
    const { diffId, description, costMs } = found.step;
    const { build, state } = scope;
    try {
      if (!build.tools.snapshots.layer(diffId)) await this.#fetch(scope, found);
      if (!build.tools.snapshots.layer(diffId)) return undefined;
    } catch (error) {
      if (build.signal.aborted) throw error;
      log("warn", "Cannot take a step from another cache", { error, key });
      return undefined;
    }
    build.pin([diffId]);
    const step = { key, layer: diffId, createdMs: state.createdMs };
    build.tools.cache.put({ ...step, description, costMs });
    return step;
  }

  async #fetch(scope: StepScope, { step, descriptor, source }: Found): Promise<void> {
    const { build, state } = scope;
    const { snapshots } = build.tools;
    const scratch = `build-${newId()}`;
    await snapshots.prepare(scratch, state.layers, { volatile: true });
    await using _ = { [Symbol.asyncDispose]: () => snapshots.remove(scratch) };
    await snapshots.lay(scratch, await source.blob(descriptor), build.signal);
    const { diffId } = await snapshots.commit(scratch, { how: "move" });
    if (diffId === step.diffId) return;
    await snapshots.removeLayer(diffId);
    throw new Failure("corrupt", `A layer of the cache is ${diffId}, and was to be ${step.diffId}`);
  }
}

async function openPlace(place: CachePlace, options: ImportOptions): Promise<Opened | undefined> {
  const source = sourceOf(place, options);
  const bytes = await source.manifest();
  if (isOfBuildKit(Buffer.from(bytes).toString())) throw ofBuildKit();
  const manifest = parseManifest(bytes);
  const text = (await whole(await source.blob(manifest.config), configBytesMax)).toString();
  const isCache = manifest.config.mediaType === cacheConfigType;
  const steps = isCache ? text : parseImageConfig(Buffer.from(text))["lading.buildcache.v1"];
  if (steps === undefined && isOfBuildKit(text)) throw ofBuildKit();
  if (steps === undefined) return undefined; // an image that says nothing of its steps
  const config = parseCacheConfig(steps, manifest.layers);
  return { source, config, layers: manifest.layers };
}

function sourceOf(place: CachePlace, options: ImportOptions): CacheSource {
  const { source, type } = place;
  if (type !== "local") return registrySource(place, options);
  if (source === undefined) return localSource(place);
  const blob: CacheSource["blob"] = async (about) => {
    return verified(await source.blob(about), about.digest);
  };
  return { manifest: source.manifest, blob };
}

/** A manifest, an index, or an image's config that has a cache of BuildKit's in it. */
function isOfBuildKit(text: string): boolean {
  return text.includes("vnd.buildkit.cacheconfig.") || text.includes('"moby.buildkit.cache.v0"');
}

/** Its keys are digests of BuildKit's own graph, which no other builder makes. */
function ofBuildKit(): Failure {
  return new Failure(
    "unsupported",
    "it is a cache of BuildKit's own format; --cache-to of a build here makes one that can be read",
  );
}

function registrySource(
  { ref }: CachePlace,
  { request, repository: open }: ImportOptions,
): CacheSource {
  if (!open) throw new Failure("unsupported", "this builder reaches no registry");
  const reference = parseReference(ref);
  const repository = open(ref, request.registries ?? {});
  const { signal } = request;
  return {
    manifest: async () => {
      const { bytes } = await repository.manifest(
        reference.digest ?? reference.tag ?? "latest",
        signal,
      );
      return bytes;
    },
    blob: async ({ digest, size }) => {
      const { stream } = await repository.blob(digest, { signal });
      return verified(stream(size), digest);
    },
  };
}

/** An OCI layout in a folder that the client sent ahead. */
function localSource({ ref: folder }: CachePlace): CacheSource {
  const path = (digest: Digest) => `blobs/sha256/${hexOf(digest)}`;
  const text = (name: string) => {
    using root = new Root(folder);
    const found = root.text(name, manifestBytesMax);
    if (found !== undefined) return Buffer.from(found);
    throw new Failure("not_found", `it has no ${name}`);
  };
  return {
    manifest: async () => {
      const [first] = parseIndex(text("index.json")).manifests;
      if (!first) throw new Failure("not_found", "its index is empty");
      return text(path(first.digest));
    },
    blob: async ({ digest }) => {
      using root = new Root(folder);
      const place = root.find(path(digest));
      if (place?.stat.type !== "file") throw new Failure("not_found", `it has no ${digest}`);
      return verified(Bun.file(`${folder}/${place.path}`).stream(), digest);
    },
  };
}

/** @throws Failure "corrupt" at the end, when the bytes were others */
async function* verified(
  bytes: AsyncIterable<Uint8Array>,
  digest: Digest,
): AsyncGenerator<Uint8Array, void> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const part of bytes) {
    hasher.update(part);
    yield part;
  }
  if (`sha256:${hasher.digest("hex")}` === digest) return;
  throw new Failure("corrupt", `a blob of the cache is not ${digest}`);
}

async function whole(bytes: AsyncIterable<Uint8Array>, bytesMax: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of bytes) {
    size += part.length;
    if (size > bytesMax) throw new Failure("exhausted", "its config is too large");
    parts.push(part);
  }
  return Buffer.concat(parts);
}
