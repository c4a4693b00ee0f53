import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { isTar, unpackInto } from "./archives.ts";
import { mustBeFolder, readWish, type Wish } from "./copy-wish.ts";
import type { Download } from "./download.ts";
import { fillStep } from "./fill-step.ts";
import type { Checkout } from "./git.ts";
import type { CopyInstruction } from "./instruction.ts";
import { findAnywhere, type LayerWork } from "./layer-step.ts";
import { type Owner, ownerIn } from "./owner.ts";
import { dirname } from "./paths.ts";
import { hasWildcard } from "./pattern.ts";
import { type Fetched, nameAt, type PlannedRemote, planRemote } from "./remote.ts";
import { Root } from "./rooted.ts";
import type { ScanRequest, ScanResult } from "./scan.ts";
import { scanSources } from "./scan-sources.ts";
import type { StepScope } from "./scope.ts";
import { nearest, WordFailure } from "./source.ts";
import { keyOf } from "./state.ts";
import { commitStep, openScratch } from "./tools.ts";
import type { Found } from "./tree.ts";

/** Plans a COPY or ADD: hashes what it copies, so that equal content is found in the cache. */
export async function copyStep(action: CopyInstruction, scope: StepScope): Promise<LayerWork> {
  const wish = readWish(action, scope);
  const { build, state } = scope;
  const { chown, chmod, parents, unpack } = wish;
  const about = [wish.isAdd, wish.target, chown, chmod, parents, unpack, wish.link];
  const tree = await build.places.tree(action.from, scope.stage);
  if (tree.kind === "folder") {
    const { root, ignore } = tree;
    return await planCopy(wish, { scope, about, root, ignore, owners: false });
  }
  const { layers, key: source } = tree;
  // The same words and the same stage: the same files, known without looking at them.
  const below = wish.link ? (await groundOf(wish, scope)).key : state.key;
  const alias = keyOf(below, "copy-from", source, wish.words, wish.exclude, about);
  const key = build.tools.cache.find(alias)?.sameAs;
  build.used.push(alias);
  if (key && scope.forced === undefined && (await findAnywhere(scope, key))) {
    const make = async () => (await planFrom(wish, { scope, about, layers })).make(scope.output);
    return { key, inputs: undefined, history: wish.history, make, isLinked: wish.link };
  }
  const planned = await planFrom(wish, { scope, about, layers });
  const { history: description } = wish;
  const createdMs = Date.now();
  build.tools.cache.put({
    key: alias,
    sameAs: planned.key,
    layer: undefined,
    description,
    createdMs,
  });
  return planned;
}

interface PlanAt {
  readonly scope: StepScope;
  readonly about: readonly unknown[];
  readonly root: string;
  readonly ignore: readonly string[];
  readonly owners: boolean;
}

/** From a stage or an image: its files are mounted for the scan, and again for the copy. */
async function planFrom(
  wish: Wish,
  at: { scope: StepScope; about: readonly unknown[]; layers: readonly Digest[] },
): Promise<LayerWork> {
  const { scope, about, layers } = at;
  const { tools } = scope.build;
  await using scratch = await openScratch(tools, layers);
  const given = { scope, about, ignore: [], owners: true };
  const { make: _, ...work } = await planCopy(wish, { ...given, root: scratch.root });
  const make: LayerWork["make"] = async (tell) => {
    await using again = await openScratch(tools, layers);
    return await (await planCopy(wish, { ...given, root: again.root })).make(tell);
  };
  return { ...work, make };
}

async function planCopy(wish: Wish, at: PlanAt): Promise<LayerWork> {
  const { scope } = at;
  const { state, build } = scope;
  const scan: ScanRequest = {
    root: at.root,
    words: wish.words,
    ignore: at.ignore,
    exclude: wish.exclude,
    parents: wish.parents,
    owners: at.owners,
    archives: wish.unpack.local,
  };
  const sources = await scanSources(scope, scan);
  const { scanned, request, open } = sources;
  const found = checkFound(wish, scanned, at);
  const remotes: PlannedRemote[] = [];
  for (const remote of wish.remotes) {
    remotes.push(await planRemote(remote, build, nameAt(wish.target)));
  }
  const ground = await groundOf(wish, scope);
  // What --exclude leaves out of the context is told by the scan.
  const fetched = remotes.map(({ key }) => [...key, ...(key[0] === "git" ? wish.exclude : [])]);
  const key = keyOf(ground.key, "copy", at.about, scanned.digest, wish.documents, fetched);
  const make: LayerWork["make"] = async () => {
    const filled = remotes.length === 0 && (await fillStep(wish, { scope, sources, ground }));
    if (filled) return filled;
    const all = await Promise.all(remotes.map(({ fetch }) => fetch()));
    const sent = await open();
    // What this step alone needs is moved and not copied.
    const bring = isEachOnce(found) && !wish.unpack.local && sent.take() ? sent.root : undefined;
    await using scratch = await openScratch(build.tools, ground.layers, { bring });
    const owner = ground.owner ?? ownerIn(scratch.root, wish.chown);
    const root = scratch.brought ?? bring ?? sent.root;
    const { archives, others } = await partArchives(root, found);
    const { files, packed, checkouts } = await partFetched(wish, all);
    const into = { targetRoot: scratch.root, target: wish.target, owner, chmod: wish.chmod };
    const copied = {
      ...into,
      found: others,
      documents: wish.documents,
      downloads: files,
      // The times of a checkout say nothing; those of a stage are part of what it made.
      time: at.owners ? undefined : state.timeMax,
      moves: scratch.brought !== undefined,
    };
    await build.tools.trees.run("copy", { ...request, root, ...copied }, build.signal);
    for (const checkout of checkouts) await copyCheckout(checkout, { scope, wish, into });
    for (const archive of [...archives.map(({ path }) => ({ root, path })), ...packed]) {
      await unpackInto({ ...archive, ...into, signal: build.signal });
    }
    return (await commitStep(build.tools, scratch, state)).diffId;
  };
  const { target, chown, chmod, documents } = wish;
  const content = { "": scanned.digest };
  const inputs = { target, chown, chmod, content, documents, fetched };
  return { key, inputs, history: wish.history, make, isLinked: wish.link };
}

/** True when no file is found twice: one that was moved is gone. */
function isEachOnce(found: readonly Found[]): boolean {
  const paths = new Set(found.map(({ path }) => path));
  const isBelowAnother = (path: string): boolean =>
    path !== "" && (paths.has(dirname(path)) || isBelowAnother(dirname(path)));
  return paths.size === found.length && !found.some(({ path }) => isBelowAnother(path));
}

/** What a copy stands on. With --link nothing but, for the names of --chown, who lives there. */
async function groundOf({ link, chown }: Wish, { state, build }: StepScope) {
  const { key, layers, timeMax } = state;
  if (!link) return { key, layers, owner: undefined };
  if (!/[^\d:]/.test(chown)) {
    return { key: keyOf("link", timeMax), layers: [], owner: undefined };
  }
  await using below = await openScratch(build.tools, layers);
  const owner = ownerIn(below.root, chown);
  return { key: keyOf("link", timeMax, owner), layers: [], owner };
}

interface Into {
  readonly targetRoot: string;
  readonly target: string;
  readonly owner: Owner | undefined;
  readonly chmod: string;
}

/** The content of a repository goes into the target, its files as old as the commit. */
async function copyCheckout(
  { path, timeSeconds }: Checkout,
  { scope, wish, into }: { scope: StepScope; wish: Wish; into: Into },
): Promise<void> {
  const { build, state } = scope;
  const filter = { ignore: [], exclude: wish.exclude, parents: false, owners: false };
  const scan = { ...filter, root: path, words: ["/"], archives: false };
  const { found } = await build.tools.trees.run("scan", scan, build.signal);
  if (!found[0]) {
    const text = "the repository has no such folder";
    throw new Failure("not_found", `Cannot add ${path.split("/tree/").at(-1)}: ${text}`);
  }
  const time = Math.min(timeSeconds, state.timeMax ?? timeSeconds);
  const target = into.target.endsWith("/") ? into.target : `${into.target}/`;
  const copied = { ...filter, ...into, target, root: path, time, documents: [], downloads: [] };
  await build.tools.trees.run("copy", { ...copied, found: found[0] }, build.signal);
}

/** Fetched files as they are, those to be unpacked, and repositories. */
async function partFetched({ unpack }: Wish, all: readonly Fetched[]) {
  const files: Download[] = [];
  const packed: { root: string; path: string }[] = [];
  const checkouts: Checkout[] = [];
  for (const one of all) {
    if (one.kind === "git") checkouts.push(one);
    else {
      const at = { root: posix.dirname(one.path), path: posix.basename(one.path) };
      if (unpack.remote && (await isTar(at.root, at.path))) packed.push(at);
      else files.push(one);
    }
  }
  return { files, packed, checkouts };
}

/** What ADD unpacks, and what it copies: a file that only looks packed is a file. */
async function partArchives(root: string, found: readonly Found[]) {
  const archives: Found[] = [];
  const others: Found[] = [];
  for (const one of found) {
    const unpacks = one.isArchive && (await isTar(root, one.path));
    (unpacks ? archives : others).push(one);
  }
  return { archives, others };
}

function checkFound(wish: Wish, scanned: ScanResult, { scope, root }: PlanAt) {
  const { keyword, words, target } = wish;
  for (const [index, list] of scanned.found.entries()) {
    const name = words[index]!;
    if (list === undefined) throw absent(keyword, name, { scope, root });
    if (list.length === 0) scope.warn(`${keyword}: no file matches ${name}`);
  }
  const found = scanned.found.flatMap((list) => list ?? []);
  const isWild = words.some(hasWildcard);
  if (isWild && found.length > 1 && !target.endsWith("/")) throw mustBeFolder(keyword);
  return found;
}

/** Says why a file is not there as well as can be told. */
function absent(
  keyword: string,
  name: string,
  { scope, root }: Pick<PlanAt, "scope" | "root">,
): Failure {
  const path = name.replace(/^\/+/, "");
  const text = `${keyword} failed: file not found in build context or excluded by .dockerignore: stat ${path}: file does not exist`;
  const { context } = scope.build;
  if (root === context.root && context.ignore.excludes(path)) {
    return new WordFailure("not_found", text, { word: name, hint: ".dockerignore leaves it out" });
  }
  const near = nearest(posix.basename(path), namesBeside(root, path));
  const hint = near && `Did you mean ${posix.join(posix.dirname(path), near)}?`;
  return new WordFailure("not_found", text, { word: name, ...(hint ? { hint } : {}) });
}

const namesMax = 1_000;

function namesBeside(root: string, path: string): string[] {
  try {
    using tree = new Root(root);
    return tree.names(posix.dirname(path)).slice(0, namesMax);
  } catch {
    return []; // a hint is not worth another error
  }
}
