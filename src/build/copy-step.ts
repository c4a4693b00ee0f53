import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { resolveUser } from "../runtime/mod.ts";
import { isTar, unpackInto } from "./archives.ts";
import type { StepScope } from "./build.ts";
import { parseChmod } from "./chmod.ts";
import { word } from "./configure.ts";
import type { CopyRequest } from "./copy.ts";
import { download, isGit, isUrl, nameOf, readChecksum } from "./download.ts";
import { expand } from "./expand.ts";
import type { CopyInstruction } from "./instruction.ts";
import { findStep, type LayerWork } from "./layer-step.ts";
import { chomped } from "./lines.ts";
import { hasWildcard } from "./pattern.ts";
import type { ScanRequest, ScanResult } from "./scan.ts";
import { keyOf, lookupIn, workdirOf } from "./state.ts";
import { commitStep, openScratch } from "./tools.ts";
import type { Found } from "./tree.ts";

/** The instruction with its variables expanded. */
interface Wish {
  readonly keyword: "COPY" | "ADD";
  readonly isAdd: boolean;
  readonly words: readonly string[];
  readonly urls: readonly string[];
  readonly documents: readonly { readonly name: string; readonly content: string }[];
  readonly target: string;
  readonly chown: string;
  readonly chmod: string;
  readonly checksum: string;
  readonly parents: boolean;
  readonly exclude: readonly string[];
  readonly unpack: boolean;
  readonly history: string;
}

const downloadBytesMax = 8 * 2 ** 30;
const downloadTimeoutMs = 30 * 60_000;

/** Plans a COPY or ADD: hashes what it copies, so that equal content is found in the cache. */
export async function copyStep(action: CopyInstruction, scope: StepScope): Promise<LayerWork> {
  const wish = readWish(action, scope);
  const { build, state } = scope;
  const about = [wish.isAdd, wish.target, wish.chown, wish.chmod, wish.parents, wish.unpack];
  if (action.from === "") {
    const { root, ignore } = build.context;
    return await planCopy(wish, { scope, about, root, ignore: ignore.rules, owners: false });
  }
  const { layers, key: source } = await build.source(action.from, scope.stage);
  // The same words and the same stage: the same files, known without looking at them.
  const alias = keyOf(state.key, "copy-from", source, wish.words, wish.exclude, about);
  const key = build.tools.cache.find(alias)?.sameAs;
  if (key && !build.request.noCache && findStep(scope, key)) {
    const make = async () => (await planFrom(wish, { scope, about, layers })).make(scope.output);
    return { key, history: wish.history, make };
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
  const { key, history } = await planCopy(wish, { ...given, root: scratch.root });
  const make: LayerWork["make"] = async (tell) => {
    await using again = await openScratch(tools, layers);
    return await (await planCopy(wish, { ...given, root: again.root })).make(tell);
  };
  return { key, history, make };
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
    archives: wish.isAdd && wish.unpack,
  };
  const { scanned, request } = await scanSources(scope, scan);
  const found = checkFound(wish, scanned, scope);
  const downloads = await planDownloads(wish, scope);
  const key = keyOf(state.key, "copy", at.about, scanned.digest, wish.documents, downloads.key);
  const make: LayerWork["make"] = async () => {
    await using scratch = await openScratch(build.tools, state.layers);
    const { documents, target, chmod } = wish;
    const owner = wish.chown === "" ? undefined : findOwner(scratch.root, wish.chown);
    const { archives, others } = await partArchives(at.root, found);
    const copied = {
      found: others,
      documents,
      downloads: await downloads.files(),
      targetRoot: scratch.root,
      target,
      owner,
      chmod,
      // The times of a checkout say nothing; those of a stage are part of what it made.
      time: at.owners ? undefined : state.timeMax,
    };
    await build.tools.trees.run("copy", { ...request, ...copied }, build.signal);
    for (const { path } of archives) {
      const into = { targetRoot: scratch.root, target, owner, signal: build.signal };
      await unpackInto({ root: at.root, path, ...into });
    }
    return (await commitStep(build.tools, scratch, state)).diffId;
  };
  return { key, history: wish.history, make };
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

/** Walks and hashes in a worker. */
export async function scanSources(
  { build }: StepScope,
  scan: ScanRequest,
): Promise<{ scanned: ScanResult; request: ScanRequest }> {
  const { tools, context, signal } = build;
  const remembers = build.request.contextStays && scan.root === context.root;
  const request: ScanRequest =
    remembers && tools.databasePath !== ""
      ? { ...scan, memo: { database: tools.databasePath, context: context.root } }
      : scan;
  return { scanned: await tools.trees.run("scan", request, signal), request: scan };
}

function readWish(action: CopyInstruction, scope: StepScope): Wish {
  const { state, options } = scope;
  const expanded = (text: string) => word(state, text, options);
  const keyword = action.isAdd ? "ADD" : "COPY";
  const all = action.sources.map(expanded);
  const git = all.find(isGit);
  if (git !== undefined && action.isAdd) {
    throw new Failure("unsupported", `Cannot add "${git}": git repositories are not supported`, {
      hint: "Clone it in a RUN, or into the context",
    });
  }
  const url = all.find(isUrl);
  if (url !== undefined && !action.isAdd) {
    throw new Failure("invalid", "source can't be a URL for COPY", { hint: "Use ADD" });
  }
  const [chown, chmod] = [expanded(action.chown), expanded(action.chmod)];
  if (chmod !== "") parseChmod(chmod);
  const lookup = lookupIn(state);
  const documents = action.documents.map((document) => {
    const plain = chomped(document);
    const content = document.expand
      ? expand(plain, { escape: options.escape, lookup, keepQuotes: true }).text
      : plain;
    return { name: document.name, content };
  });
  const written = expanded(action.target);
  const target = targetOf(workdirOf(state), written);
  const sources = [...all, ...documents.map(({ name }) => `<<${name}`)];
  const flags = [
    ...(action.parents ? ["--parents "] : []),
    ...(chown === "" ? [] : [`--chown=${chown} `]),
    ...(chmod === "" ? [] : [`--chmod=${chmod} `]),
  ];
  if (sources.length > 1 && !isFolderPath(written)) throw mustBeFolder(keyword);
  return {
    keyword,
    isAdd: action.isAdd,
    words: all.filter((source) => !action.isAdd || !isUrl(source)),
    urls: action.isAdd ? all.filter(isUrl) : [],
    documents,
    target,
    chown,
    chmod,
    checksum: expanded(action.checksum),
    parents: action.parents,
    exclude: action.excludes.map(expanded),
    unpack: action.unpack ?? action.isAdd,
    history: `${keyword} ${flags.join("")}${[...sources, written].join(" ")} # buildkit`,
  };
}

function isFolderPath(path: string): boolean {
  return /(?:^|\/)\.{0,2}$/.test(path);
}

function mustBeFolder(keyword: string): Failure {
  const text = `When using ${keyword} with more than one source file, the destination must be a directory and end with a /`;
  return new Failure("invalid", text);
}

/** Absolute, with a "/" at the end when what was written asks for a folder. */
function targetOf(workdir: string, written: string): string {
  const target = posix.resolve(workdir, written);
  return isFolderPath(written) && target !== "/" ? `${target}/` : target;
}

function checkFound({ keyword, words, target }: Wish, scanned: ScanResult, scope: StepScope) {
  for (const [index, list] of scanned.found.entries()) {
    const name = words[index]!;
    if (list === undefined) {
      const path = name.replace(/^\/+/, "");
      const text = `${keyword} failed: file not found in build context or excluded by .dockerignore: stat ${path}: file does not exist`;
      throw new Failure("not_found", text);
    }
    if (list.length === 0) scope.warn(`${keyword}: no file matches ${name}`);
  }
  const found = scanned.found.flatMap((list) => list ?? []);
  const isWild = words.some(hasWildcard);
  if (isWild && found.length > 1 && !target.endsWith("/")) throw mustBeFolder(keyword);
  return found;
}

/** Owner for `--chown=user[:group]`: a number without a group is both, as in Docker. */
function findOwner(root: string, text: string): { uid: number; gid: number } {
  const { uid, gid } = resolveUser(root, text);
  return /^\d+$/.test(text) ? { uid, gid: uid } : { uid, gid };
}

interface Fetched {
  readonly key: readonly unknown[];
  readonly files: () => Promise<CopyRequest["downloads"]>;
}

/** The addresses of an ADD. With a checksum nothing is fetched before the cache was asked. */
async function planDownloads(wish: Wish, scope: StepScope): Promise<Fetched> {
  const { urls, checksum, words } = wish;
  if (checksum !== "") {
    if (urls.length !== 1 || words.length > 0) {
      throw new Failure("invalid", "checksum can't be specified for this source", {
        hint: "--checksum goes with exactly one address",
      });
    }
    const sha256 = readChecksum(checksum);
    const files = async () => {
      const file = await fetchOne(urls[0]!, { wish, scope });
      if (file.sha256 === sha256) return [file];
      const why = `digest mismatch sha256:${file.sha256}: sha256:${sha256}`;
      throw new Failure("corrupt", `Cannot add ${urls[0]}: ${why}`);
    };
    return { key: [urls[0], sha256], files };
  }
  const all: Awaited<ReturnType<typeof fetchOne>>[] = [];
  for (const url of urls) all.push(await fetchOne(url, { wish, scope }));
  return {
    key: all.map(({ name, sha256, mtimeMs }) => [name, sha256, mtimeMs]),
    files: async () => all,
  };
}

async function fetchOne(url: string, { wish, scope }: { wish: Wish; scope: StepScope }) {
  const { build } = scope;
  const name = wish.target.endsWith("/") ? nameOf(url) : posix.basename(wish.target);
  const directory = await build.workFolder();
  const bounds = { sizeBytesMax: downloadBytesMax, timeoutMs: downloadTimeoutMs };
  return { name, ...(await download(url, { directory, signal: build.signal, ...bounds })) };
}
