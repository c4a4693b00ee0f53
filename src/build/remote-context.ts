/** Contexts that the engine fetches itself: `docker build https://…#ref:folder`, `remote=…`. */
import { createReadStream } from "node:fs";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { Failure } from "../base/mod.ts";
import { isTar } from "./archives.ts";
import { download, isUrl } from "./download.ts";
import { checkOut, resolveCommit } from "./git.ts";
import { isGit, parseGit } from "./git-address.ts";
import type { Intake } from "./intake.ts";
import { dockerfileBytesMax } from "./lines.ts";
import { downloadBounds, withGit } from "./remote.ts";
import { newId, type Tools } from "./tools.ts";
import type { BuildRequest, TakenContext } from "./types.ts";

/** What a fetched context brings. */
export interface RemoteContext extends TakenContext {
  /** The address was that of a Dockerfile: its text, in an empty context. */
  readonly dockerfile?: { readonly text: string };
  /** When the commit was made. */
  readonly commitSeconds?: number;
}

type Asked = Pick<BuildRequest, "buildArgs" | "secrets" | "agents" | "signal">;

/** True for what names a context elsewhere. */
export function isRemoteContext(address: string): boolean {
  return isUrl(address) || isGit(withProtocol(address));
}

/** `github.com/a/b` is a repository there, as Docker has it. */
function withProtocol(address: string): string {
  const [, path, rest = ""] = /^(github\.com\/[^#?]+)(.*)$/.exec(address) ?? [];
  if (path === undefined) return address;
  return `https://${path.replace(/\.git$/, "")}.git${rest}`;
}

/**
 * Fetches a repository, an archive or a lone Dockerfile.
 * @throws Failure "invalid" | "not_found" | "denied" | "unavailable" | "exhausted"
 */
export async function fetchContext(
  written: string,
  asked: Asked,
  { tools, intake }: { tools: Tools; intake: Intake },
): Promise<RemoteContext> {
  const address = withProtocol(written);
  if (!isRemoteContext(address)) {
    throw new Failure("invalid", `Cannot build from "${written.slice(0, 300)}": no such address`, {
      hint: "It is that of a git repository, an archive or a Dockerfile",
    });
  }
  const folder = `${tools.directory}/work/remote-${newId().slice(0, 16)}`;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const dispose = async () => await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  try {
    if (isGit(address)) {
      const { path, timeSeconds } = await cloneInto(folder, { address, asked, tools });
      return { path, commitSeconds: timeSeconds, [Symbol.asyncDispose]: dispose };
    }
    const { signal } = asked;
    const file = await download(address, { directory: folder, signal, ...downloadBounds });
    if (await isTar(dirname(file.path), basename(file.path))) {
      const taken = await intake.take(createReadStream(file.path), signal);
      await dispose();
      return taken;
    }
    const text = await readDockerfile(address, file.path);
    const path = `${folder}/context`;
    await mkdir(path);
    await writeFile(`${path}/Dockerfile`, text);
    return { path, dockerfile: { text }, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function cloneInto(
  folder: string,
  { address, asked, tools }: { address: string; asked: Asked; tools: Tools },
) {
  const parsed = parseGit(address);
  const build = {
    tools,
    request: asked as BuildRequest,
    signal: asked.signal,
    workFolder: async () => folder,
  };
  const keep = asked.buildArgs["BUILDKIT_CONTEXT_KEEP_GIT_DIR"] ?? "";
  const keepsGit = parsed.keepGitDir ?? ["1", "true"].includes(keep);
  return await withGit(parsed, build, async (git) => {
    const found = await checkOut(git, await resolveCommit(git), keepsGit);
    const isFolder = (await stat(found.path).catch(() => undefined))?.isDirectory();
    if (isFolder) return found;
    throw new Failure("not_found", `the repository has no folder "${parsed.folder}"`);
  });
}

async function readDockerfile(address: string, path: string): Promise<string> {
  if ((await stat(path)).size > dockerfileBytesMax) {
    throw new Failure("exhausted", `Cannot build from ${address}: it is no archive, and too large`);
  }
  return await readFile(path, "utf8");
}
