/** Where `--from`, FROM and mounts get their files from: the context, stages, images, named contexts. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import type { Image } from "../image/mod.ts";
import {
  type Digest,
  digestOf,
  formatImageConfig,
  formatPlatform,
  hostPlatform,
  type ImageConfig,
  parsePlatform,
  rankPlatform,
} from "../oci/mod.ts";
import { packTar, unpackTar } from "../snapshot/mod.ts";
import { isTar } from "./archives.ts";
import type { Build } from "./build.ts";
import { download, nameOf } from "./download.ts";
import { checkOut, resolveCommit } from "./git.ts";
import { isGit, parseGit } from "./git-address.ts";
import { contextFinder, type NamedContext } from "./named-context.ts";
import { downloadBounds, withGit } from "./remote.ts";
import { nearest, WordFailure } from "./source.ts";
import type { Stage } from "./stages.ts";
import { findSource } from "./stages.ts";
import { keyOf } from "./state.ts";
import { newId } from "./tools.ts";

/** Files to copy from or to mount: layers of a stage or an image, or a folder. */
export type Tree =
  | { readonly kind: "layers"; readonly layers: readonly Digest[]; readonly key: Digest }
  | { readonly kind: "folder"; readonly root: string; readonly ignore: readonly string[] };

const namesMax = 1_000;

/** Finds trees for one build; what a name stands for is fetched once. */
export class Places {
  readonly find: (reference: string) => NamedContext | undefined;
  readonly #build: Build;
  readonly #folders = new Map<NamedContext, Promise<string>>();
  readonly #images = new Map<NamedContext, Promise<Image>>();

  constructor(build: Build) {
    this.#build = build;
    this.find = contextFinder(build.request.contexts);
  }

  /** What `--from=…` names in a stage; "" is the build's own context. */
  async tree(from: string, stage: Stage): Promise<Tree> {
    const build = this.#build;
    if (from === "") {
      return { kind: "folder", root: build.context.root, ignore: build.context.ignore.rules };
    }
    const context = this.find(from);
    if (context?.kind === "folder" || context?.kind === "address") {
      return { kind: "folder", root: await this.folder(context), ignore: [] };
    }
    if (!context || context.kind === "stage") {
      const index = findSource(build.plan.stages, context?.name ?? from, stage.index);
      if (index !== undefined) return { kind: "layers", ...(await build.stage(index)) };
      if (context) throw noStage(context.name);
    }
    const image = context ? await this.image(context, "") : await this.named(from, "");
    const { diff_ids: layers } = image.config.rootfs;
    build.pin(layers);
    return { kind: "layers", layers, key: keyOf("layers", layers) };
  }

  /** An image by its name; one that is absent may have been meant as a stage. */
  async named(name: string, platform: string): Promise<Image> {
    try {
      return await this.#build.image(name, platform);
    } catch (error) {
      if (!(error instanceof Failure) || error instanceof WordFailure) throw error;
      const names = this.#build.plan.stages.flatMap((stage) => stage.name || []);
      const near = /[/:@]/.test(name) ? undefined : nearest(name, names.slice(0, namesMax));
      if (!near) throw error;
      const hint = `Did you mean the stage ${near}?`;
      throw new WordFailure(error.code, error.message, { word: name, hint });
    }
  }

  /** The image behind a name. @throws Failure "invalid" — it is no image */
  image(context: NamedContext, platform: string): Promise<Image> {
    if (context.kind === "image") return this.#build.image(context.reference, platform);
    if (context.kind === "result") return Promise.resolve(this.#result(context.images, platform));
    if (context.kind !== "layout") {
      throw new Failure("invalid", "the context is no image");
    }
    const known = this.#images.get(context);
    if (known) return known;
    const loaded = this.#load(context, platform);
    this.#images.set(context, loaded);
    return loaded;
  }

  #result(images: readonly ImageConfig[], platform: string): Image {
    const { request } = this.#build;
    const wanted = parsePlatform(platform || request.platform || formatPlatform(hostPlatform()));
    const ranked = images.map((config) => ({ config, rank: rankPlatform(wanted, config) }));
    const [best] = ranked.sort((a, b) => b.rank - a.rank);
    if (!best) throw new Failure("not_found", "the other build made no image");
    this.#build.pin(best.config.rootfs.diff_ids);
    const id = digestOf(formatImageConfig(best.config));
    const names = { tags: [], repoDigests: [] };
    return { id, config: best.config, ...names, sizeBytes: 0, lastTaggedMs: 0 };
  }

  /** The files behind a name in a folder. */
  folder(context: NamedContext & { kind: "folder" | "address" }): Promise<string> {
    const known = this.#folders.get(context);
    if (known) return known;
    const folder =
      context.kind === "folder" ? Promise.resolve(context.path) : this.#fetch(context.address);
    this.#folders.set(context, folder);
    return folder;
  }

  async #fetch(address: string): Promise<string> {
    const build = this.#build;
    if (isGit(address)) {
      const parsed = parseGit(address);
      return await withGit(parsed, build, async (git) => {
        const { path } = await checkOut(git, await resolveCommit(git), parsed.keepGitDir ?? false);
        return path;
      });
    }
    const directory = await build.workFolder();
    const file = await download(address, { directory, signal: build.signal, ...downloadBounds });
    const folder = `${directory}/fetched-${newId().slice(0, 16)}`;
    await mkdir(folder);
    const name = file.path.slice(file.path.lastIndexOf("/") + 1);
    if (await isTar(file.path.slice(0, -name.length), name)) {
      await unpackTar(file.path, folder, { signal: build.signal });
    } else await writeFile(`${folder}/${nameOf(address)}`, await readFile(file.path));
    return folder;
  }

  /** Loads one image of a layout: the one that is asked for alone stands in its index then. */
  async #load({ path, version }: NamedContext & { kind: "layout" }, platform: string) {
    const { tools, request, signal } = this.#build;
    await chooseManifest(path, version);
    const archive = `${await this.#build.workFolder()}/layout-${newId().slice(0, 16)}.tar`;
    const writer = Bun.file(archive).writer();
    for await (const chunk of packTar(path, { signal })) await writer.write(chunk);
    await writer.end();
    const asked = platform || request.platform;
    const loaded = await tools.images.load(archive, {
      ...(asked === "" ? {} : { platform: parsePlatform(asked) }),
      report: () => undefined,
      signal,
      isSpent: true,
    });
    const image = loaded[0]?.image;
    if (image) return image;
    throw new Failure("not_found", "the OCI layout has no image for this platform");
  }
}

function noStage(name: string): Failure {
  return new Failure("not_found", `there is no earlier stage "${name}"`);
}

const indexBytesMax = 4 << 20;
const nameKey = "org.opencontainers.image.ref.name";

interface Entry {
  readonly digest?: unknown;
  readonly annotations?: Readonly<Record<string, string>>;
}

async function chooseManifest(path: string, version: string): Promise<void> {
  const place = `${path}/index.json`;
  const refuse = (why: string) => new Failure("invalid", `Cannot read the OCI layout: ${why}`);
  const text = await Bun.file(place)
    .slice(0, indexBytesMax)
    .text()
    .catch((cause) => {
      throw new Failure("invalid", "Cannot read the OCI layout: it has no index.json", { cause });
    });
  let index: { manifests?: readonly Entry[] };
  try {
    index = JSON.parse(text);
  } catch {
    throw refuse("its index.json is no JSON");
  }
  const all = Array.isArray(index?.manifests) ? index.manifests : [];
  const tagOf = ({ annotations }: Entry) => annotations?.[nameKey] ?? "";
  const wanted = version === "" ? "latest" : version;
  const found =
    all.find((entry) => entry.digest === version || tagOf(entry) === wanted) ??
    (version === "" && all.length === 1 ? all[0] : undefined);
  if (!found) {
    const tags = all.map(tagOf).filter((tag) => tag !== "");
    throw refuse(`it has no ${wanted}${tags.length > 0 ? `, but ${tags.join(", ")}` : ""}`);
  }
  const { annotations: _, ...plain } = found;
  await writeFile(place, JSON.stringify({ ...index, manifests: [plain] }));
}
