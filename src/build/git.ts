/** Git repositories as sources of files: which commit an address means, and its files in a folder. */
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import { follow } from "./follow.ts";
import type { GitAddress } from "./git-address.ts";
import { type Git, gitFailure, gitText, movedTo, redacted, runGit } from "./git-run.ts";

/** A commit's files. */
export interface Checkout {
  /** The folder that holds them: the repository's, or the one that the address names. */
  readonly path: string;
  readonly commit: string;
  /** When the commit was made: the time of all its files. */
  readonly timeSeconds: number;
}

interface Reference {
  readonly commit: string;
  /** `refs/heads/main`; undefined: known by its commit alone. */
  readonly name: string | undefined;
}

const isWhole = (commit: string) => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(commit);
const entriesMax = 500_000;
const treeBytesMax = 8 * 2 ** 30;

/**
 * The commit that an address means. One that names its commit in full is not asked for: what it leads
 * to is checked when it is fetched.
 * @throws Failure "not_found" | "denied" | "unavailable" | "corrupt" — it is not the expected one
 */
export async function resolveCommit(git: Git): Promise<string> {
  const { checksum, ref } = git.address;
  if (isWhole(checksum)) return checksum;
  if (isWhole(ref) && ref.startsWith(checksum)) return ref;
  const known = await findReference(git);
  if (known) return checked(git, known.commit);
  // A short name of a commit: only a repository that has it can tell.
  await initialize(git, 40);
  await fetchAll(git);
  const found = await runGit(git, ["-C", "tree", "rev-parse", "--verify", `${checksum}^{commit}`]);
  const commit = new TextDecoder().decode(found.stdout).trim();
  if (checksum !== "" && found.exitCode === 0) return checked(git, commit);
  throw missing(git.address);
}

function checked({ address }: Git, commit: string): string {
  if (commit.startsWith(address.checksum)) return commit;
  const why = `expected checksum to match ${address.checksum}, got ${commit}`;
  throw new Failure("corrupt", `Cannot use ${redacted(address.remote)}: ${why}`, {
    hint: `"${address.ref}" is another commit than the checksum says`,
  });
}

function missing({ remote, ref }: GitAddress): Failure {
  const text = `repository ${redacted(remote)} does not contain ref ${ref || "HEAD"}`;
  return new Failure("not_found", text, {
    hint: "It is a branch, a tag, or a commit's whole name",
  });
}

/** Asks the remote. Tags go before branches, and an annotated tag stands for its commit. */
async function findReference(git: Git): Promise<Reference | undefined> {
  const { ref } = git.address;
  const wanted = ref === "" ? "HEAD" : ref;
  const listed = await askRemote(git, [wanted, `${wanted}^{}`]);
  const names = new Map(
    listed.split("\n").flatMap((line) => {
      const [commit = "", name = ""] = line.split("\t");
      return isWhole(commit) ? [[name, commit] as const] : [];
    }),
  );
  for (const name of [wanted, `refs/tags/${wanted}`, `refs/heads/${wanted}`, `refs/${wanted}`]) {
    const commit = names.get(`${name}^{}`) ?? names.get(name);
    if (commit) return { commit, name };
  }
  return undefined;
}

async function askRemote(git: Git, patterns: readonly string[]): Promise<string> {
  const args = (remote: string) => ["ls-remote", "--quiet", remote, ...patterns];
  const { exitCode, stdout, stderr } = await runGit(git, args(remoteOf(git)));
  if (exitCode === 0) return new TextDecoder().decode(stdout);
  if (!/returned error: 30[12378]|redirect/i.test(stderr)) throw gitFailure(git, stderr);
  await findRedirect(git);
  return await gitText(git, args(remoteOf(git)));
}

const remoteOf = (git: Git) => movedTo.get(git)?.remote ?? git.address.remote;
const redirectsMax = 5;

/** Follows redirects ourselves, so that none leads from the open to this host. */
async function findRedirect(git: Git): Promise<void> {
  const tail = "/info/refs?service=git-upload-pack";
  const first = new URL(git.address.remote.replace(/\/$/, "") + tail);
  const { response, place } = await follow(first, { signal: git.signal, redirectsMax });
  await response.body?.cancel();
  const { url } = place;
  if (!url.href.endsWith(tail)) {
    const why = "it redirects to something else than a repository";
    throw new Failure("unavailable", `Cannot fetch ${redacted(git.address.remote)}: ${why}`);
  }
  movedTo.set(git, { remote: url.href.slice(0, -tail.length), place });
}

async function initialize(git: Git, digits: number): Promise<void> {
  if (existsSync(`${git.folder}/tree/.git`)) return;
  const format = digits === 64 ? ["--object-format=sha256"] : [];
  await gitText(git, ["init", "--quiet", "--template=", ...format, "tree"]);
}

/** Everything, for servers that give no single commit. */
async function fetchAll(git: Git): Promise<void> {
  const all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
  await gitText(git, ["-C", "tree", "fetch", ...quiet, "--no-tags", remoteOf(git), ...all]);
}

const quiet = ["--quiet", "--no-recurse-submodules", "--no-write-fetch-head"] as const;

/**
 * Fetches a commit and puts its files into the folder.
 * @throws Failure "not_found" | "denied" | "unavailable" | "corrupt" | "exhausted"
 */
export async function checkOut(git: Git, commit: string, keep: boolean): Promise<Checkout> {
  const { address } = git;
  const reference = isWhole(address.ref) ? undefined : await findReference(git);
  if (reference && reference.commit !== commit) checked(git, reference.commit);
  await initialize(git, commit.length);
  await fetchCommit(git, { commit, name: reference?.name });
  await checkTree(git, commit);
  await gitText(git, ["-C", "tree", "checkout", "--quiet", "--force", "--detach", commit]);
  if (address.submodules && existsSync(`${git.folder}/tree/.gitmodules`)) await addModules(git);
  const shown = await gitText(git, ["-C", "tree", "show", "-s", "--format=%ct", commit]);
  const root = `${git.folder}/tree`;
  await (keep && address.folder === "" ? tidyGitFolder(git) : removeGitFolders(root));
  return {
    path: address.folder === "" ? root : `${root}/${address.folder}`,
    commit,
    timeSeconds: Number(shown.trim()),
  };
}

/** Cheapest first: the one commit by its ref, by its name, then the whole repository. */
async function fetchCommit(git: Git, { commit, name }: Reference): Promise<void> {
  const has = async () => {
    const args = ["-C", "tree", "cat-file", "-e", `${commit}^{commit}`];
    return (await runGit(git, args)).exitCode === 0;
  };
  if (await has()) return;
  for (const what of [...(name ? [name] : []), commit]) {
    const args = ["--depth=1", "--no-tags", remoteOf(git), what];
    await runGit(git, ["-C", "tree", "fetch", ...quiet, ...args]);
    if (await has()) return;
  }
  await fetchAll(git);
  if (!(await has())) throw missing(git.address);
}

/** A few kilobytes of objects can name a billion files: counted before they are written. */
async function checkTree(git: Git, commit: string): Promise<void> {
  const format = "--format=%(objectsize)";
  const sizes = await gitText(git, ["-C", "tree", "ls-tree", "-r", format, commit]);
  let [entries, bytes] = [0, 0];
  for (let at = 0; at < sizes.length; entries++) {
    const end = sizes.indexOf("\n", at);
    bytes += Number.parseInt(sizes.slice(at, end), 10) || 0;
    at = end + 1;
  }
  if (entries <= entriesMax && bytes <= treeBytesMax) return;
  const why = `${entries} files of ${bytes} bytes are too many`;
  throw new Failure("exhausted", `Cannot check out ${redacted(git.address.remote)}: ${why}`);
}

async function addModules(git: Git): Promise<void> {
  await gitText(git, ["-C", "tree", "config", "remote.origin.url", remoteOf(git)]);
  const update = ["-C", "tree", "submodule", "update", "--quiet", "--init", "--recursive"];
  const shallow = await runGit(git, [...update, "--depth=1"]);
  if (shallow.exitCode !== 0) await gitText(git, update);
}

/** What differs from one fetch to the next is no part of the files. */
async function tidyGitFolder(git: Git): Promise<void> {
  const folder = `${git.folder}/tree/.git`;
  await gitText(git, ["-C", "tree", "config", "remote.origin.url", redacted(git.address.remote)]);
  // Written anew, the index knows no times and inodes.
  await gitText(git, ["-C", "tree", "read-tree", "HEAD"]);
  for (const name of ["FETCH_HEAD", "ORIG_HEAD", "logs", "hooks", "description"]) {
    await rm(`${folder}/${name}`, { recursive: true, force: true });
  }
}

/** The repository's own, and the files by which submodules point to theirs. */
async function removeGitFolders(root: string): Promise<void> {
  await rm(`${root}/.git`, { recursive: true, force: true });
  const modules = `${root}/.gitmodules`;
  if (!existsSync(modules)) return;
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (entry.name === ".git" && entry.isFile()) await rm(`${entry.parentPath}/.git`);
  }
}
