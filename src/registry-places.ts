/** Where `lading registry copy` copies from and to: registries, layouts, archives, the engine's store. */
import { createWriteStream } from "node:fs";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { connect } from "./api/client.ts";
import { Failure, fileFailure } from "./base/mod.ts";
import { registryAuth } from "./cli/credentials.ts";
import { showProgress } from "./cli/progress.ts";
import { LayoutFolder, openArchiveSource, packLayout } from "./image/mod.ts";
import {
  type Digest,
  familiarName,
  fullReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "./oci/mod.ts";
import {
  type Copied,
  type CopySource,
  type CopyTarget,
  copyManifest,
  type RegistryClient,
} from "./registry/mod.ts";
import { nameIn, openRepository } from "./registry-open.ts";
import { errnoOf } from "./sys/mod.ts";

/** A source or target of a copy; a name within it may be empty. */
export type Place =
  | { readonly kind: "registry"; readonly reference: Reference }
  | { readonly kind: "layout" | "archive"; readonly path: string; readonly name: string }
  | { readonly kind: "store"; readonly name: string };

const kinds = {
  "oci:": "layout",
  "oci-archive:": "archive",
  "docker-archive:": "archive",
  "store:": "store",
  "docker-daemon:": "store",
} as const;

/** `HOST/a/app:1`, `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, `docker-archive:…`, `store:NAME`. */
export function parsePlace(text: string): Place {
  const found = Object.entries(kinds).find(([start]) => text.startsWith(start));
  if (!found) return { kind: "registry", reference: withDefaultTag(parseReference(text)) };
  const [start, kind] = found;
  const rest = text.slice(start.length);
  if (kind === "store") {
    return { kind, name: /^[0-9a-f]{64}$/.test(rest) ? rest : fullName(rest) };
  }
  const [, path = "", digest, name = ""] =
    /^([^:@]*)(?:@(sha256:[0-9a-f]{64})|:(.*))?$/s.exec(rest) ?? [];
  if (path !== "") return { kind, path: resolve(path), name: digest ?? name };
  throw new Failure(
    "invalid",
    `Cannot copy "${text.slice(0, 300)}": it is not ${start}PATH[:NAME]`,
  );
}

function fullName(text: string): string {
  return fullReference(withDefaultTag(parseReference(text)));
}

export interface CopyOptions {
  readonly client: RegistryClient;
  /** The engine whose store is meant. */
  readonly engine: string;
  readonly withReferrers: boolean;
  readonly told: (step: Copied) => void;
  readonly signal: AbortSignal;
}

/** Copies by digest; gives it, but where an engine does the work. */
export async function copyBetween(
  [from, to]: readonly [Place, Place],
  options: CopyOptions,
): Promise<Digest | undefined> {
  const isEngines = (place: Place) => place.kind === "store" || place.kind === "registry";
  if ((from.kind === "store" || to.kind === "store") && isEngines(from) && isEngines(to)) {
    return await copyByEngine(from, to, options);
  }
  // Beside the target, which may be large; a name that no reader takes for his.
  const beside = to.kind === "archive" ? dirname(to.path) : (process.env["TMPDIR"] ?? "/tmp");
  const scratch = await mkdtemp(`${beside}/.lading-copy-`).catch((cause: Error) => {
    throw fileFailure(`make a folder in "${beside}" to copy with`, cause);
  });
  try {
    await using source = await openSource(from, scratch, options);
    return await copyInto(to, source, scratch, options);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

interface Source extends AsyncDisposable {
  readonly source: CopySource;
  readonly name: string;
}

async function openSource(place: Place, scratch: string, options: CopyOptions): Promise<Source> {
  const nothingToClose = { [Symbol.asyncDispose]: async () => {} };
  if (place.kind === "registry") {
    const source = await openRepository(options.client, place.reference);
    return { source, name: nameIn(place.reference), ...nothingToClose };
  }
  if (place.kind === "layout") {
    return { source: await LayoutFolder.open(place.path), name: place.name, ...nothingToClose };
  }
  if (place.kind === "archive") {
    const opened = await openArchiveSource(place.path, scratch).catch((cause: unknown) => {
      if (!errnoOf(cause)?.startsWith("E")) throw cause;
      throw fileFailure(`read the archive "${place.path}"`, cause);
    });
    return { ...opened, name: place.name };
  }
  const saved = `${scratch}/saved`;
  const bytes = await connect({ host: options.engine }).images.save([place.name]);
  await pipeline(Readable.from(bytes), createWriteStream(saved, { mode: 0o600 }));
  return { ...(await openArchiveSource(saved, scratch)), name: "" };
}

async function copyInto(
  to: Place,
  { source, name }: Source,
  scratch: string,
  options: CopyOptions,
): Promise<Digest> {
  const copy = (target: CopyTarget, reference: string) =>
    copyManifest({ source, target }, [name, reference], options);
  if (to.kind === "registry") {
    return await copy(
      await openRepository(options.client, to.reference, true),
      nameIn(to.reference),
    );
  }
  if (to.kind === "layout") return await copy(await LayoutFolder.make(to.path), to.name);
  const directory = `${scratch}/layout`;
  const layout = await LayoutFolder.make(directory);
  const root = await copy(layout, "");
  const tar = packLayout(layout, { directory, root, name: to.name });
  if (to.kind === "store") {
    await showProgress(await connect({ host: options.engine }).images.load(tar), { stream: 2 });
    return root;
  }
  await pipeline(tar, createWriteStream(`${scratch}/archive`, { flush: true }));
  await rename(`${scratch}/archive`, to.path);
  return root;
}

/** Between its store and a registry the engine pulls and pushes: it has the layers and compresses them. */
async function copyByEngine(from: Place, to: Place, { engine }: CopyOptions): Promise<undefined> {
  const { images } = connect({ host: engine });
  const [source, target] = [nameOf(from), nameOf(to)];
  const query = ({ tag, digest, ...name }: Reference) => ({
    repo: `${name.domain}/${name.path}`,
    tag: digest ?? tag ?? "latest",
  });
  if (from.kind === "store") {
    const wasThere = await idOf(images, target);
    const reference = parseReference(target);
    const id = await idOf(images, source);
    if (!id) throw new Failure("not_found", `No such image: ${source}`);
    if (wasThere !== id) await images.tag(source, query(reference));
    if (to.kind === "store") return undefined;
    try {
      const auth = (await registryAuth(target)) ?? {};
      const { repo, tag } = query(reference);
      await showProgress(await images.push(repo, { tag }, { auth }), { stream: 2 });
    } finally {
      if (wasThere === undefined) await images.remove(target, { noprune: true });
      else if (wasThere !== id) await images.tag(wasThere, query(reference));
    }
    return undefined;
  }
  const wasThere = await idOf(images, source);
  const { repo, tag } = query(parseReference(source));
  const auth = (await registryAuth(source)) ?? {};
  await showProgress(await images.pull({ fromImage: repo, tag }, { auth }), { stream: 2 });
  await images.tag(source, query(parseReference(target)));
  if (wasThere === undefined && source !== target) await images.remove(source, { noprune: true });
  return undefined;
}

async function idOf(
  images: ReturnType<typeof connect>["images"],
  name: string,
): Promise<string | undefined> {
  return await images.inspect(name).then(
    ({ Id }) => Id,
    (error: unknown) => {
      if (error instanceof Failure && error.code === "not_found") return undefined;
      throw error;
    },
  );
}

function nameOf(place: Place): string {
  if (place.kind === "store") return place.name;
  return place.kind === "registry" ? fullReference(place.reference) : "";
}

/** How a target is called when the copy is done. */
export function shownPlace(place: Place, digest: Digest | undefined): string {
  const at = digest ? `@${digest}` : "";
  if (place.kind === "registry") return `${familiarName(place.reference)}${at}`;
  return place.kind === "store" ? place.name : `${place.path}${at}`;
}
