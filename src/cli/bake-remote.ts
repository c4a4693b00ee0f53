/** Bake files elsewhere: a file by its address, or those of a git repository, whose folders are the contexts. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { posix } from "node:path";
import { defaultFiles, type SourceFile, type Target } from "../bake/mod.ts";
import { Failure } from "../base/mod.ts";

const fileBytesMax = 4 << 20;
const fetchTimeoutMs = 60_000;
const gitTimeoutMs = 300_000;

/** True for what names bake files elsewhere, and no target. */
export function isElsewhere(word: string | undefined): boolean {
  return word !== undefined && /^(https?|git|ssh):\/\/|^git@|^github\.com\//.test(word);
}

export interface Elsewhere {
  readonly files: readonly SourceFile[];
  /** Where a target's places are. */
  rebase(target: Target): Target;
}

/** `names`: files of the repository; those that begin with `cwd://` are here. @throws Failure */
export async function readElsewhere(address: string, names: readonly string[]): Promise<Elsewhere> {
  const isGit = !/^https?:/.test(address) || /\.git([#?]|$)/.test(address) || /#/.test(address);
  if (!isGit) return { files: [await fetchFile(address)], rebase: (target) => target };
  const [, remote = "", ref = "", folder = ""] = /^([^#]+)#?([^:]*):?(.*)$/.exec(address) ?? [];
  const inside = names.filter((name) => !name.startsWith("cwd://"));
  const files = await cloneFiles({ remote: withProtocol(remote), ref, folder }, inside);
  const place = (path: string) => {
    const inside = posix.join(folder, path).replace(/^\.?\/?$/, "");
    return `${remote}${ref || inside ? `#${ref}` : ""}${inside ? `:${inside}` : ""}`;
  };
  return { files, rebase: (target) => rebased(target, place) };
}

const withProtocol = (remote: string) =>
  remote.startsWith("github.com/") ? `https://${remote}` : remote;

async function fetchFile(address: string): Promise<SourceFile> {
  const refuse = (why: string) => new Failure("unavailable", `Cannot fetch ${address}: ${why}`);
  const signal = AbortSignal.timeout(fetchTimeoutMs);
  const answer = await fetch(address, { signal }).catch((cause) => {
    throw refuse((cause as Error).message);
  });
  if (!answer.ok) throw refuse(`status ${answer.status}`);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of answer.body ?? []) {
    size += part.length;
    if (size > fileBytesMax) throw refuse("it is too large for a bake file");
    parts.push(part);
  }
  const name = posix.basename(new URL(address).pathname) || "docker-bake.hcl";
  return { name, text: Buffer.concat(parts).toString() };
}

/** The user's own git, with the user's keys; nothing of the repository is run. */
async function cloneFiles(
  { remote, ref, folder }: { remote: string; ref: string; folder: string },
  names: readonly string[],
): Promise<SourceFile[]> {
  const directory = mkdtempSync(`${tmpdir()}/lading-bake-git-`);
  const git = (...args: string[]) => runGit(directory, args);
  try {
    await git("init", "-q");
    const wanted = ["--", remote, ref || "HEAD"];
    // Servers of plain files give nothing but the whole.
    await git("fetch", "-q", "--depth=1", ...wanted).catch(() => git("fetch", "-q", ...wanted));
    const listed = (await git("ls-tree", "-r", "--name-only", "FETCH_HEAD")).split("\n");
    const found =
      names.length > 0 ? names : defaultFiles.filter((name) => listed.includes(at(name)));
    if (found.length === 0) {
      throw new Failure("not_found", `couldn't find a bake definition in ${remote}`, {
        hint: `Files are ${defaultFiles.join(", ")}; -f names another`,
      });
    }
    return await Promise.all(
      found.map(async (name) => ({ name, text: await git("show", `FETCH_HEAD:${at(name)}`) })),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  function at(name: string): string {
    return posix.join(folder, name);
  }
}

/** What git printed. @throws Failure "unavailable" with what it said */
async function runGit(directory: string, args: readonly string[]): Promise<string> {
  const own = ["-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never"];
  if (!Bun.which("git")) throw new Failure("unavailable", "Cannot run git: it is not installed");
  const child = Bun.spawn(["git", ...own, "-C", directory, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: gitTimeoutMs,
    maxBuffer: fileBytesMax,
    env: { ...process.env, GIT_TERMINAL_PROMPT: "0" },
  });
  const [out, said] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) === 0) return out;
  const why = said.trim().split("\n").at(-1) ?? "";
  throw new Failure("unavailable", `Cannot fetch the bake files: ${why.slice(0, 500)}`);
}

/** What is a path in the files is one of the repository; `cwd://` is here. */
function rebased(target: Target, place: (path: string) => string): Target {
  const moved = (path: string): string => {
    if (path.startsWith("cwd://")) return path.slice("cwd://".length) || ".";
    return isLocal(path) ? place(path) : path;
  };
  const contexts = Object.entries(target.contexts ?? {}).map(([name, path]) => [name, moved(path)]);
  return {
    ...target,
    context: moved(target.context ?? "."),
    ...(target.contexts ? { contexts: Object.fromEntries(contexts) } : {}),
  };
}

const isLocal = (path: string) => !/^[\w-]+:\/\/|^(target:|git@|\/)/.test(path);

/** Files that are here, beside those of the repository. */
export function readLocal(name: string): SourceFile {
  const path = name.replace(/^cwd:\/\//, "");
  if (existsSync(path)) return { name: path, text: readFileSync(path, "utf8") };
  throw new Failure("not_found", `Cannot read "${path}"`);
}
