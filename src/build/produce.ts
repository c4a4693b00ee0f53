/** From a request to results: builds each platform, verifies, and hands the images to their outputs. */
import { mkdir, rm } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import type { Image, MadeImage } from "../image/mod.ts";
import {
  type Digest,
  familiarName,
  formatImageConfig,
  fullReference,
  hostPlatform,
  parsePlatform,
  parseReference,
  rankPlatform,
  withDefaultTag,
} from "../oci/mod.ts";
import type { Repository } from "../registry/mod.ts";
import { packTar, unpackTar } from "../snapshot/mod.ts";
import { provenance, softwareList } from "./attest.ts";
import { Build } from "./build.ts";
import { makeCacheTree, withInlineCache } from "./cache-export.ts";
import { ImportedCache } from "./cache-import.ts";
import { type Context, readContext } from "./context.ts";
import { filesTar } from "./files-tar.ts";
import { type Attestation, type ImageTree, makeTree } from "./image-tree.ts";
import { pushTree, writeLayout } from "./layout.ts";
import type { Outbox } from "./outbox.ts";
import { isTrue, type Output, type Packing } from "./output.ts";
import type { Built } from "./result.ts";
import { squash } from "./squash.ts";
import { newId, openScratch, type Tools, throwIfAborted } from "./tools.ts";
import type { BuildEvent, BuildRequest, Produced } from "./types.ts";
import { requireSame } from "./verify.ts";

const platformsMax = 32;

/** What producing needs beyond a build. */
export interface ProduceTools extends Tools {
  readonly outbox: Outbox;
  /** Sends an image that the store has under this name. */
  readonly push: PushImage | undefined;
  readonly repository: OpenRepository | undefined;
  readonly keep: KeepImage | undefined;
  readonly forgetIndex: ((id: Digest) => void) | undefined;
}

type Registries = NonNullable<BuildRequest["registries"]>;

export type PushImage = (
  name: string,
  options: {
    readonly registries: Registries;
    readonly report: (progress: Extract<BuildEvent, { kind: "pull" }>["progress"]) => void;
    readonly signal: AbortSignal;
  },
) => Promise<void>;

/** Stores an image with manifests of its own. */
export type KeepImage = (made: MadeImage) => Promise<Image>;

/** A repository to push to. */
export type OpenRepository = (name: string, registries: Registries) => Repository;

type Report = (event: BuildEvent) => void;

/** Builds, and brings the results where the request says. */
export async function produce(
  tools: ProduceTools,
  request: BuildRequest,
  report: Report,
): Promise<Produced> {
  const context = await readContext(request);
  const stack = new AsyncDisposableStack();
  const maker = new Producer(tools, request, { context, report, stack });
  try {
    const outcome = await maker.run();
    if (outcome.exports.length + outcome.caches.length === 0) await stack.disposeAsync();
    return outcome;
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

class Producer {
  readonly #tools: ProduceTools;
  readonly #request: BuildRequest;
  readonly #context: Context;
  readonly #report: Report;
  readonly #stack: AsyncDisposableStack;
  readonly #trees = new Map<string, Promise<ImageTree>>();
  #built: Built[] = [];
  #attestations: Promise<readonly (readonly Attestation[])[]> | undefined;
  #folder: string | undefined;

  constructor(
    tools: ProduceTools,
    request: BuildRequest,
    given: { context: Context; report: Report; stack: AsyncDisposableStack },
  ) {
    this.#tools = tools;
    this.#request = request;
    this.#context = given.context;
    this.#report = given.report;
    this.#stack = given.stack;
  }

  async run(): Promise<Produced> {
    const { outputs = [], verify } = this.#request;
    const startedMs = Date.now();
    this.#built = await this.#build(await this.#withCaches(), this.#context);
    if (verify) await this.#verify();
    if (this.#request.squash) await this.#squash();
    const isInline = this.#request.cacheTo?.some(({ type }) => type === "inline");
    if (isInline || this.#asks("BUILDKIT_INLINE_CACHE")) {
      this.#built = this.#built.map((built) => withInlineCache(this.#tools, built));
    }
    let image: Image | undefined;
    let tree: ImageTree | undefined;
    const files: { readonly output: number; readonly open: () => AsyncIterable<Uint8Array> }[] = [];
    for (const [at, output] of outputs.entries()) {
      throwIfAborted(this.#request.signal);
      if (output.kind === "image") {
        const made = await this.#image(output);
        image ??= made.image;
        tree ??= made.tree;
      } else if (output.kind === "archive") {
        const { names, form } = output;
        const made = await this.#tree(output, form === "oci" ? "gzip" : "uncompressed");
        tree ??= made;
        files.push({
          output: at,
          open: () => writeLayout(made, { names, docker: form === "docker" }),
        });
      } else if (output.kind === "files") {
        files.push({ output: at, open: () => filesTar(this.#tools, this.#built, output.split) });
      }
    }
    const id = tree && this.#built.length > 1 ? tree.root.digest : this.#built[0]!.id;
    this.#report({ kind: "image", id });
    const caches = await this.#cacheFiles(startedMs);
    const offered = this.#offer([...files, ...caches.map(({ open }) => ({ output: -1, open }))]);
    return {
      ...{ id, image, exports: offered.slice(0, files.length) },
      configs: this.#built.map(({ config }) => config),
      caches: caches.map(({ cache }, at) => {
        return { cache, handle: offered[files.length + at]!.handle };
      }),
      metadata: this.#metadata(tree, image),
    };
  }

  /** The request with the caches of other builds opened. */
  async #withCaches(): Promise<BuildRequest> {
    const { cacheFrom = [] } = this.#request;
    if (cacheFrom.length === 0) return this.#request;
    const { repository } = this.#tools;
    const warn = (text: string) => this.#report({ kind: "warning", text });
    const options = { request: this.#request, repository, warn };
    const imported = await ImportedCache.open(this.#tools, cacheFrom, options);
    return { ...this.#request, imported };
  }

  /** Brings the cache where it is to go; gives those that the client is to fetch. */
  async #cacheFiles(startedMs: number) {
    const files: { readonly cache: number; readonly open: () => AsyncIterable<Uint8Array> }[] = [];
    const keys = this.#built.flatMap((built) => built.keys);
    const layers = new Set(this.#built.flatMap(({ config }) => config.rootfs.diff_ids));
    for (const [cache, place] of (this.#request.cacheTo ?? []).entries()) {
      if (place.type === "inline") continue; // it is in the image
      try {
        const folder = `${await this.#work()}/cache-${cache}`;
        await mkdir(folder);
        const tree = await makeCacheTree(this.#tools, place, { keys, layers, folder, startedMs });
        if (place.type === "registry") await this.#send(tree, place.ref, false);
        else files.push({ cache, open: () => writeLayout(tree, { names: [], docker: false }) });
      } catch (error) {
        if (!place.ignoreError) throw error;
        const text = `Cannot write the cache: ${(error as Error).message}`;
        this.#report({ kind: "warning", text });
      }
    }
    return files;
  }

  /** One platform after the other: what they share is in the cache then. */
  async #build(request: BuildRequest, context: Context): Promise<Built[]> {
    const platforms = [...new Set(request.platform.split(",").map((each) => each.trim()))];
    if (platforms.length > platformsMax) {
      throw new Failure("exhausted", `Cannot build for more than ${platformsMax} platforms`);
    }
    for (const platform of platforms) parsePlatform(platform); // all, before the first is built
    const built: Built[] = [];
    for (const platform of platforms) {
      const given = { context, report: this.#report };
      const asked = { ...request, platform };
      const build = this.#stack.use(await Build.open(this.#tools, asked, given));
      built.push(await build.run());
    }
    return built;
  }

  async #verify(): Promise<void> {
    const started = Date.now();
    const contextPath = `${await this.#work()}/again`;
    await mkdir(contextPath, { mode: 0o755 });
    await unpackTar(packTar(this.#request.contextPath), contextPath, {
      signal: this.#request.signal,
    });
    // Another second of the clock, at least.
    await Bun.sleep(Math.max(0, 1_100 - (Date.now() - started)));
    this.#report({ kind: "note", text: "Verifying: everything is built again" });
    const { contextStays: _, ...request } = this.#request;
    const again = { ...request, contextPath };
    const others = await this.#build(again, await readContext(again));
    for (const [at, one] of this.#built.entries()) {
      await requireSame(this.#tools.snapshots, one, others[at]!);
      this.#report({ kind: "note", text: `Verified: both builds made ${one.id}` });
    }
  }

  async #squash(): Promise<void> {
    const built: Built[] = [];
    for (const one of this.#built) {
      const whole = await squash(this.#tools, one, this.#request.signal);
      if (whole !== one) {
        const added = whole.config.rootfs.diff_ids.slice(-1);
        this.#stack.defer(() => this.#tools.pins.release(added));
      }
      built.push(whole);
    }
    this.#built = built;
  }

  async #work(): Promise<string> {
    if (this.#folder) return this.#folder;
    const folder = `${this.#tools.directory}/work/${newId()}`;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    this.#stack.defer(async () => await rm(folder, { recursive: true, force: true }));
    this.#folder = folder;
    return folder;
  }

  async #image(
    output: Extract<Output, { kind: "image" }>,
  ): Promise<{ image: Image | undefined; tree: ImageTree | undefined }> {
    const { packing, annotations, ociTypes, push, store, names, byDigest } = output;
    const isPlain =
      this.#built.length === 1 && !packing && annotations.length === 0 && ociTypes && !byDigest;
    if (isPlain && !this.#isAttested && !this.#isIndex && store) {
      const image = await this.#store(this.#built[0]!, names);
      if (push) for (const name of names) await this.#push(name);
      return { image, tree: undefined };
    }
    // What has manifests of its own stays as it will be pushed.
    const tree = await this.#tree(output, "gzip");
    const image = store && !byDigest ? await this.#keep(tree, names) : undefined;
    if (push) for (const name of names) await this.#send(tree, name, byDigest);
    return { image, tree };
  }

  /** Gives what was built its names; nothing new is stored for an image that is there. */
  async #store({ same, config }: Built, tags: readonly string[]): Promise<Image> {
    const { images } = this.#tools;
    if (!same) {
      const image = await images.add(config, { tags });
      this.#tools.forgetIndex?.(image.id);
      return image;
    }
    for (const tag of tags) images.tag(same, tag);
    return images.resolve(same);
  }

  /** The image of this machine's platform, else the first, with all that the tree has beside it. */
  async #keep(tree: ImageTree, names: readonly string[]): Promise<Image> {
    const { keep } = this.#tools;
    if (!keep) throw new Failure("unsupported", "This builder stores only plain images");
    const host = hostPlatform();
    const ranks = tree.images.map(({ platform }) => rankPlatform(host, platform));
    const at = ranks.indexOf(Math.max(...ranks));
    const { config } = this.#built[at]!;
    const { id, manifest } = tree.images[at]!;
    const { root, manifests, blobs } = tree;
    const read = (digest: Digest) => blobs.get(digest)!.read();
    const configBytes = formatImageConfig(config);
    const whole = names.map(wholeName);
    return await keep({ id, config, configBytes, names: whole, manifest, root, manifests, read });
  }

  async #push(name: string): Promise<void> {
    const { push } = this.#tools;
    if (!push) throw noRegistry(name);
    const { registries = {}, signal } = this.#request;
    const report = this.#reportProgress;
    await push(name, { registries, report, signal });
  }

  async #send(tree: ImageTree, name: string, byDigest: boolean): Promise<void> {
    const { repository: open } = this.#tools;
    if (!open) throw noRegistry(name);
    const { registries = {}, signal } = this.#request;
    const reference = parseReference(name);
    const repository = open(name, registries);
    const told = (status: string, id: string) => this.#reportProgress({ status, id });
    this.#reportProgress({
      status: `The push refers to repository [${reference.domain}/${reference.path}]`,
    });
    const tag = byDigest ? undefined : (reference.tag ?? "latest");
    await pushTree(tree, { repository, tag, told, signal });
    const { digest, size } = tree.root;
    this.#reportProgress({ status: `${tag ?? "untagged"}: digest: ${digest} size: ${size}` });
  }

  readonly #reportProgress = (progress: Extract<BuildEvent, { kind: "pull" }>["progress"]) => {
    this.#report({ kind: "pull", progress });
  };

  /** The tree of an output; outputs that want the same share it. */
  async #tree(
    { packing, annotations, ociTypes, names }: Exclude<Output, { kind: "files" | "nothing" }>,
    how: Packing["how"],
  ): Promise<ImageTree> {
    const packed = packing ?? { how, level: undefined, force: false };
    const key = JSON.stringify([packed, annotations, ociTypes]);
    const known = this.#trees.get(key);
    if (known) return await known;
    const folder = `${await this.#work()}/tree-${this.#trees.size}`;
    await mkdir(folder);
    const { images } = this.#tools;
    const isIndex = this.#isIndex;
    const options = { images, folder, packing: packed, annotations, ociTypes, isIndex };
    const attestations = await this.#attest();
    const tree = makeTree(this.#built, { ...options, attestations, name: familiar(names[0]) });
    this.#trees.set(key, tree);
    return await tree;
  }

  /** A build argument that is the builder's own, as BuildKit has it. */
  #asks(name: string): boolean {
    return isTrue(this.#request.buildArgs[name]);
  }

  get #isIndex(): boolean {
    return this.#asks("BUILDKIT_MULTI_PLATFORM");
  }

  get #isAttested(): boolean {
    const { provenance: how, sbom } = this.#request.attest ?? {};
    return how !== undefined || sbom === true;
  }

  /** The statements about each image, made once. */
  async #attest(): Promise<readonly (readonly Attestation[])[]> {
    const { attest = {} } = this.#request;
    const given = { request: this.#request, context: this.#context };
    this.#attestations ??= Promise.all(
      this.#built.map(async (built) => {
        const list: Attestation[] = [];
        if (attest.sbom) list.push(...(await this.#software(built)));
        if (attest.provenance) list.push(provenance(built, attest.provenance, given));
        return list;
      }),
    );
    return await this.#attestations;
  }

  /** What software is in the image, and in the stages and the context that its builder wants to know of. */
  async #software(built: Built): Promise<Attestation[]> {
    const { signal, contextPath } = this.#request;
    const scan = (path: string) => this.#tools.trees.run("packages", { path }, signal);
    const scanLayers = async (layers: readonly Digest[]) => {
      await using scratch = await openScratch(this.#tools, layers);
      return await scan(scratch.root);
    };
    const list = [softwareList(built, await scanLayers(built.config.rootfs.diff_ids))];
    for (const { scannedAs, layers } of built.stages) {
      if (scannedAs === undefined) continue;
      list.push(softwareList(built, await scanLayers(layers), scannedAs));
    }
    if (built.scansContext) list.push(softwareList(built, await scan(contextPath), "context"));
    return list;
  }

  #offer(files: readonly { output: number; open: () => AsyncIterable<Uint8Array> }[]) {
    let left = files.length;
    const closed = () => {
      if (--left === 0) void this.#stack.disposeAsync();
    };
    return files.map(({ output, open }) => ({
      output,
      handle: this.#tools.outbox.put(open, closed),
    }));
  }

  #metadata(tree: ImageTree | undefined, image: Image | undefined): Record<string, unknown> {
    const names = (this.#request.outputs ?? []).flatMap((output) =>
      "names" in output ? output.names : [],
    );
    const [first, ...others] = this.#built;
    // Of several platforms, the image that is run here.
    const id = image?.id ?? (others.length === 0 ? first!.id : undefined);
    return {
      ...(id ? { "containerimage.config.digest": id } : {}),
      ...(tree ? { "containerimage.descriptor": tree.root } : {}),
      "containerimage.digest": tree?.root.digest ?? first!.id,
      ...(names.length > 0 ? { "image.name": [...new Set(names.map(wholeName))].join(",") } : {}),
    };
  }
}

const wholeName = (name: string) => fullReference(withDefaultTag(parseReference(name)));

/** `busybox@1` for `docker.io/library/busybox:1`: as package URLs have it. */
function familiar(name: string | undefined): string {
  if (name === undefined) return "";
  const reference = parseReference(name);
  return `${familiarName(reference)}@${reference.tag ?? "latest"}`;
}

function noRegistry(name: string): Failure {
  return new Failure("unsupported", `Cannot push "${name}": this builder reaches no registry`);
}

/** What a build that says nothing else makes: an image in the store. */
export function defaultOutputs(tags: readonly string[]): readonly Output[] {
  const form = { packing: undefined, annotations: [], ociTypes: true, names: tags };
  return [{ kind: "image", push: false, byDigest: false, store: true, ...form }];
}
