/** The addresses of an ADD: what a step's key depends on, and how to fetch it. */
import { mkdir } from "node:fs/promises";
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import type { Build } from "./build.ts";
import { type Download, download, nameOf, readChecksum } from "./download.ts";
import { type Checkout, checkOut, resolveCommit } from "./git.ts";
import { checkCommit, type GitAddress, isGit, parseGit } from "./git-address.ts";
import { type Git, redacted } from "./git-run.ts";
import { fetchedMaterial } from "./result.ts";
import { applyPolicy } from "./source-policy.ts";
import { serveAgent } from "./ssh-agent.ts";
import { newId } from "./tools.ts";
import { type BuildRequest, entitlements } from "./types.ts";

/** One address of an ADD. */
export type Remote =
  | { readonly kind: "file"; readonly url: string; readonly sha256: string | undefined }
  | { readonly kind: "git"; readonly address: GitAddress; readonly keepGitDir: boolean };

/** A fetched file, its name in the image decided; or a repository's files. */
export type Fetched =
  | ({ readonly kind: "file" } & Download)
  | ({ readonly kind: "git" } & Checkout);

/** Something to fetch, when the cache does not have what comes of it. */
export interface PlannedRemote {
  readonly key: readonly unknown[];
  readonly fetch: () => Promise<Fetched>;
}

/** Of one download. */
export const downloadBounds = { sizeBytesMax: 8 * 2 ** 30, timeoutMs: 30 * 60_000 } as const;

/** @throws Failure "invalid" */
export function readRemote(
  text: string,
  how: { readonly checksum: string; readonly keepGitDir: boolean | undefined },
): Remote {
  const { checksum } = how;
  if (!isGit(text)) {
    return {
      kind: "file",
      url: text,
      sha256: checksum === "" ? undefined : readChecksum(checksum),
    };
  }
  const address = parseGit(text);
  const keepGitDir = how.keepGitDir ?? address.keepGitDir ?? false;
  if (checksum === "") return { kind: "git", address, keepGitDir };
  checkCommit(checksum);
  if (address.checksum !== "" && address.checksum !== checksum) {
    const text = `checksum conflicts: "${checksum}" vs "${address.checksum}"`;
    throw new Failure("invalid", text);
  }
  const ref = address.ref === "" ? checksum : address.ref;
  return { kind: "git", address: { ...address, checksum, ref }, keepGitDir };
}

/** What an address means now. With a whole checksum nothing is asked before the cache was. */
export async function planRemote(
  written: Remote,
  build: Build,
  targetName: string | undefined,
): Promise<PlannedRemote> {
  const remote = byPolicy(written, build.request.sourcePolicy);
  if (remote.kind === "file") return await planFile(remote, build, targetName);
  const { address, keepGitDir } = remote;
  requireReadable(build, address);
  const commit = await withGit(address, build, async (git) => await resolveCommit(git));
  build.materials.push(
    fetchedMaterial(address.remote, { [commit.length === 40 ? "sha1" : "sha256"]: commit }),
  );
  const key = ["git", commit, address.folder, keepGitDir, address.submodules];
  const fetch = async (): Promise<Fetched> => {
    const checkout = await withGit(
      address,
      build,
      async (git) => await checkOut(git, commit, keepGitDir),
    );
    return { kind: "git", ...checkout };
  };
  return { key, fetch };
}

/** What the client's policy makes of an address. @throws Failure "denied" | "invalid" */
function byPolicy(remote: Remote, rules: BuildRequest["sourcePolicy"]): Remote {
  if (!rules || rules.length === 0) return remote;
  if (remote.kind === "file") {
    const { url, sha256 } = remote;
    const attributes: Record<string, string> =
      sha256 === undefined ? {} : { "http.checksum": `sha256:${sha256}` };
    const found = applyPolicy(rules, { identifier: url, attributes });
    const checksum = found.attributes["http.checksum"] ?? "";
    return readRemote(found.identifier, { checksum, keepGitDir: undefined });
  }
  const { address, keepGitDir } = remote;
  const place = address.remote.replace(/^\w+:\/\//, "");
  const identifier = `git://${place}${address.ref === "" ? "" : `#${address.ref}`}`;
  const found = applyPolicy(rules, { identifier, attributes: {} });
  if (found.identifier === identifier) return remote;
  const moved = parseGit(found.identifier.replace(/^git:/, `${address.protocol}:`));
  return { kind: "git", address: { ...address, remote: moved.remote, ref: moved.ref }, keepGitDir };
}

/** Repositories of the daemon's host are for those whom the client lets read it. */
function requireReadable({ request }: Build, { protocol, remote }: GitAddress): void {
  if (protocol !== "file" || request.allow?.includes("fs.read")) return;
  throw new Failure(
    "denied",
    `Cannot add ${remote}: reading files of the engine's host is not allowed`,
    {
      hint: `Allow it with --allow ${entitlements.find((each) => each === "fs.read")}`,
    },
  );
}

/** Runs git in a folder of the build, with the client's secrets and default agent. */
export async function withGit<T>(
  address: GitAddress,
  build: Pick<Build, "tools" | "request" | "signal" | "workFolder">,
  work: (git: Git) => Promise<T>,
): Promise<T> {
  const folder = `${await build.workFolder()}/git-${newId().slice(0, 16)}`;
  await mkdir(folder, { mode: 0o700 });
  await using cleanup = new AsyncDisposableStack();
  const agent = address.protocol === "ssh" ? build.request.agents?.get("default") : undefined;
  const place = { folder, mode: 0o600, uid: 0, gid: 0 };
  const served = agent && cleanup.use(await serveAgent(agent, place));
  return await work({
    folder,
    address,
    secrets: build.request.secrets,
    agentPath: served?.path,
    knownHostsPath: `${build.tools.directory}/known_hosts`,
    signal: build.signal,
  });
}

async function planFile(
  { url, sha256 }: Remote & { kind: "file" },
  build: Build,
  targetName: string | undefined,
): Promise<PlannedRemote> {
  const name = targetName ?? nameOf(url);
  const get = async () => {
    const directory = await build.workFolder();
    const how = { directory, signal: build.signal, ...downloadBounds };
    return { name, ...(await download(url, how)) };
  };
  if (sha256 === undefined) {
    const file = await get();
    build.materials.push(fetchedMaterial(url, { sha256: file.sha256 }));
    const key = [name, file.sha256, file.mtimeMs];
    return { key, fetch: async () => ({ kind: "file", ...file }) };
  }
  build.materials.push(fetchedMaterial(url, { sha256 }));
  const fetch = async (): Promise<Fetched> => {
    const file = await get();
    if (file.sha256 === sha256) return { kind: "file", ...file };
    const why = `digest mismatch sha256:${file.sha256}: sha256:${sha256}`;
    throw new Failure("corrupt", `Cannot add ${redacted(url)}: ${why}`);
  };
  return { key: [url, sha256], fetch };
}

/** The name of a file at a target that is no folder. */
export function nameAt(target: string): string | undefined {
  return target.endsWith("/") ? undefined : posix.basename(target);
}
