/** A COPY or ADD with its variables expanded: what it wishes for. */
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { parseChmod } from "./chmod.ts";
import { word } from "./configure.ts";
import { isUrl } from "./download.ts";
import { expand } from "./expand.ts";
import { isGit, isPlainGit } from "./git-address.ts";
import { redacted } from "./git-run.ts";
import type { CopyInstruction } from "./instruction.ts";
import { chomped } from "./lines.ts";
import { type Remote, readRemote } from "./remote.ts";
import type { StepScope } from "./scope.ts";
import { lookupIn, workdirOf } from "./state.ts";

/** The instruction with its variables expanded. */
export interface Wish {
  readonly keyword: "COPY" | "ADD";
  readonly isAdd: boolean;
  readonly words: readonly string[];
  /** Addresses of ADD: files and repositories. */
  readonly remotes: readonly Remote[];
  readonly documents: readonly { readonly name: string; readonly content: string }[];
  readonly target: string;
  readonly chown: string;
  readonly chmod: string;
  readonly parents: boolean;
  readonly exclude: readonly string[];
  /** Archives of the context, and those that are fetched. */
  readonly unpack: { readonly local: boolean; readonly remote: boolean };
  /** The layer does not depend on what is below it. */
  readonly link: boolean;
  readonly history: string;
}

/** Expands an instruction. @throws Failure "invalid" */
export function readWish(action: CopyInstruction, scope: StepScope): Wish {
  const { state, options } = scope;
  const expanded = (text: string) => word(state, text, options);
  const keyword = action.isAdd ? "ADD" : "COPY";
  const all = action.sources.map(expanded);
  const isRemote = (source: string) => isUrl(source) || isGit(source);
  if (!action.isAdd && all.some((source) => isUrl(source) || isPlainGit(source))) {
    throw new Failure("invalid", "source can't be a URL for COPY", { hint: "Use ADD" });
  }
  const [words, urls] = action.isAdd
    ? [all.filter((source) => !isRemote(source)), all.filter(isRemote)]
    : [all, []];
  const checksum = expanded(action.checksum);
  if (checksum !== "" && (urls.length !== 1 || all.length > 1)) {
    throw new Failure("invalid", "checksum can't be specified for this source", {
      hint: "--checksum goes with exactly one address",
    });
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
    ...(action.link ? ["--link "] : []),
    ...(action.parents ? ["--parents "] : []),
    ...(chown === "" ? [] : [`--chown=${chown} `]),
    ...(chmod === "" ? [] : [`--chmod=${chmod} `]),
  ];
  if (sources.length > 1 && !isFolderPath(written)) throw mustBeFolder(keyword);
  return {
    keyword,
    isAdd: action.isAdd,
    words,
    remotes: urls.map((url) => readRemote(url, { checksum, keepGitDir: action.keepGitDir })),
    documents,
    target,
    chown,
    chmod,
    parents: action.parents,
    exclude: action.excludes.map(expanded),
    unpack: { local: action.unpack ?? action.isAdd, remote: action.unpack ?? false },
    link: action.link,
    history: `${keyword} ${flags.join("")}${[...sources.map(redacted), written].join(" ")} # buildkit`,
  };
}

/** True for what asks for a folder: it ends with a slash or a dot. */
export function isFolderPath(path: string): boolean {
  return /(?:^|\/)\.{0,2}$/.test(path);
}

export function mustBeFolder(keyword: string): Failure {
  const text = `When using ${keyword} with more than one source file, the destination must be a directory and end with a /`;
  return new Failure("invalid", text);
}

/** Absolute, with a "/" at the end when what was written asks for a folder. */
function targetOf(workdir: string, written: string): string {
  const target = posix.resolve(workdir, written);
  return isFolderPath(written) && target !== "/" ? `${target}/` : target;
}
