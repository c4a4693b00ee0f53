/**
 * Addresses of git repositories as Dockerfiles and build contexts write them:
 * `https://host/repo.git#ref:folder`, `git@host:repo.git`, `…repo.git?ref=v1&subdir=x&checksum=…`.
 * Reference: https://docs.docker.com/reference/dockerfile/#add---git-repositories
 */
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { nearest } from "./source.ts";

/** Which commit of which repository, and what of it. */
export interface GitAddress {
  /** What git is given: without fragment and query. */
  readonly remote: string;
  readonly protocol: "https" | "http" | "git" | "ssh" | "file";
  /** A branch, tag, full ref or commit; "" is the repository's HEAD. */
  readonly ref: string;
  /** Of the tree; "" is all of it. Clean, relative, without "..". */
  readonly folder: string;
  /** The commit that `ref` must be, or the beginning of its name; "" when none was named. */
  readonly checksum: string;
  readonly keepGitDir: boolean | undefined;
  readonly submodules: boolean;
}

const scpShape = /^[\w.-]+@[\w.-]+:[^\s]/;
const urlShape = /^(https?|git|ssh|file):\/\//i;

/**
 * True for a word that names a git repository. An http address does when its path ends with `.git`;
 * `github.com/…` without a protocol does for contexts alone.
 */
export function isGit(word: string): boolean {
  const protocol = urlShape.exec(word)?.[1]?.toLowerCase();
  if (protocol === undefined) return scpShape.test(word);
  if (protocol === "git" || protocol === "ssh") return true;
  return /^[^#?]*\.git(?:[#?]|$)/.test(word) || (protocol === "file" && /[#?]/.test(word));
}

/** The forms that no file's name is likely to have: COPY tells that it takes none. */
export function isPlainGit(word: string): boolean {
  return word.startsWith("git@") || /^(git|ssh):\/\//i.test(word);
}

/** @throws Failure "invalid" — a part contradicts another, or leads out of the repository */
export function parseGit(text: string): GitAddress {
  const bad = (why: string, hint?: string) =>
    new Failure("invalid", `invalid git address "${text.slice(0, 300)}": ${why}`, {
      ...(hint === undefined ? {} : { hint }),
    });
  const [beforeFragment = "", fragment = ""] = splitAt(text, "#");
  const [remote = "", query = ""] = splitAt(beforeFragment, "?");
  const protocol = urlShape.exec(remote)?.[1]?.toLowerCase() ?? "ssh";
  // What begins with "-" would be an option of git's or ssh's.
  if (/^[^@/]*@-|^\w+:\/\/([^/@]*@)?-|[\0-\x1f\x7f]/.test(remote)) throw bad("forbidden character");
  const [writtenRef = "", writtenFolder = ""] = splitAt(fragment, ":");
  const asked = readQuery(query, bad);
  const ref = one("ref", [writtenRef, ...asked.refs], bad);
  const folder = one("subdir", [writtenFolder, asked.folder], bad);
  const cleanFolder = posix.normalize(`/${folder}`).slice(1).replace(/\/$/, "");
  if (/(^|\/)\.\.(\/|$)/.test(folder)) throw bad("the folder leads out of the repository");
  if (/(^|\/)\.git(\/|$)/i.test(folder)) throw bad("the folder is git's own");
  if (ref.startsWith("-") || /[\s\0-\x1f\x7f~^:?*[\\]|\.\./.test(ref)) {
    throw bad(`"${ref}" is no name of a commit`);
  }
  if (asked.checksum !== "") checkCommit(asked.checksum);
  return {
    remote: remote.replace(/^(https?|git|ssh|file):/i, (all) => all.toLowerCase()),
    protocol: protocol as GitAddress["protocol"],
    ref: ref === "" ? asked.checksum : ref,
    folder: cleanFolder,
    checksum: asked.checksum,
    keepGitDir: asked.keepGitDir,
    submodules: asked.submodules ?? true,
  };
}

/** @throws Failure "invalid" — `--checksum` of a repository is a commit */
export function checkCommit(checksum: string): void {
  if (/^[0-9a-f]{7,64}$/.test(checksum)) return;
  throw new Failure("invalid", `invalid checksum "${checksum.slice(0, 100)}"`, {
    hint: "expected hex commit hash: that of a repository is a commit",
  });
}

type Bad = (why: string, hint?: string) => Failure;

const queryKeys = [
  "ref",
  "tag",
  "branch",
  "subdir",
  "checksum",
  "commit",
  "keep-git-dir",
  "submodules",
];

function readQuery(query: string, bad: Bad) {
  const values = new Map<string, string>();
  for (const [key, value] of new URLSearchParams(query)) {
    if (!queryKeys.includes(key)) {
      const near = nearest(key, queryKeys);
      throw bad(
        `unexpected query "${key}"`,
        near ? `Did you mean ${near}?` : `Known are ${queryKeys.join(", ")}`,
      );
    }
    if (values.has(key)) throw bad(`query "${key}" has multiple values`);
    const isSwitch = key === "keep-git-dir" || key === "submodules";
    if (value === "" && !isSwitch) throw bad(`query "${key}" has no value`);
    values.set(key, value);
  }
  const get = (key: string) => values.get(key) ?? "";
  const [tag, branch] = [get("tag"), get("branch")];
  if (tag !== "" && branch !== "") throw bad("branch conflicts with tag");
  return {
    refs: [get("ref"), full(tag, "refs/tags/"), full(branch, "refs/heads/")],
    folder: get("subdir"),
    checksum: one("checksum", [get("checksum"), get("commit")], bad),
    keepGitDir: readSwitch(values.get("keep-git-dir"), "keep-git-dir", bad),
    submodules: readSwitch(values.get("submodules"), "submodules", bad),
  };
}

function full(name: string, prefix: string): string {
  return name === "" || name.startsWith(prefix) ? name : `${prefix}${name}`;
}

/** The one value that was given. */
function one(what: string, values: readonly string[], bad: Bad): string {
  const given = [...new Set(values.filter((value) => value !== ""))];
  if (given.length > 1) throw bad(`${what} conflicts: "${given[0]}" vs "${given[1]}"`);
  return given[0] ?? "";
}

function readSwitch(value: string | undefined, key: string, bad: Bad): boolean | undefined {
  if (value === undefined) return undefined;
  if (["", "1", "true"].includes(value)) return true;
  if (["0", "false"].includes(value)) return false;
  throw bad(`invalid ${key} value: "${value}"`);
}

function splitAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
