/** A client's context for one build: what it sent before is not sent again until a step needs it. */
import { wantedBy } from "../archive/mod.ts";
import type { Builder, BuildRequest, ContextFiles, SentAnswer, ToldFile } from "../build/mod.ts";
import { contextFiles } from "../build/mod.ts";
import { readFolder, Transfer, type Wish } from "./filesync.ts";
import { isFile, modeOf, type Stat, typeOf } from "./sent-stat.ts";
import type { Session } from "./session.ts";

/** Files that changed are read for their digests, unless they are so many that all had better be sent. */
const changedBytesMax = 4 << 20;
const changedFilesMax = 256;

interface Taking {
  readonly builder: Builder;
  readonly session: Session;
  readonly signal: AbortSignal;
  readonly cleanup: AsyncDisposableStack;
  /** All of it, at once. */
  readonly isWhole: boolean;
}

/** @throws Failure */
export async function takeFolder(
  wish: Wish,
  taking: Taking,
): Promise<Pick<BuildRequest, "contextPath" | "listed">> {
  const { builder, session, signal, cleanup, isWhole } = taking;
  using transfer = await Transfer.open(session, wish, signal);
  const { stats } = transfer;
  const take = async (tar: AsyncIterable<Uint8Array>) =>
    cleanup.use(await builder.takeContext(tar, signal)).path;
  const told = session.sharedKey === "" ? undefined : toldOf(stats);
  if (told === undefined) {
    const contextPath = await take(transfer.tar({}));
    await transfer.end();
    return { contextPath };
  }
  // With what is left out: builds of one folder at once, each with its own ignore rules, keep apart.
  const key = JSON.stringify([session.sharedKey, wish]);
  const digests = new Map<number, string>();
  const match: Match = (path) =>
    builder.matchSent({ key, told, digests, ...(path === undefined ? {} : { path }) }, signal);
  let answer: SentAnswer = isWhole ? { unknown: [] } : await match();
  if ("unknown" in answer && !isWhole && isFew(stats, answer.unknown)) {
    await transfer.hash(answer.unknown, digests);
    answer = await match();
  }
  if ("digest" in answer) {
    await transfer.end();
    const contextPath = await take(nothing());
    const listing = `${contextPath}/.lading-listing`;
    const paths = stats.map(({ path }) => path);
    const sizes = Float64Array.from(stats, ({ size }) => size);
    const { digest } = answer;
    const listed = listedFiles(wish, taking, { paths, sizes, digest, match, listing });
    return { contextPath, listed };
  }
  const contextPath = await take(transfer.tar({ digests }));
  await transfer.end();
  await match(); // for the next build
  return { contextPath };
}

type Match = (path?: string) => Promise<SentAnswer>;

interface Listed {
  /** Of all that is there: less than what the client told, which would stay for as long as the build. */
  readonly paths: readonly string[];
  readonly sizes: Float64Array;
  readonly digest: string;
  readonly match: Match;
  /** Where it goes when it is asked for. */
  readonly listing: string;
}

/** The context as one that was listed: files come by transfers of their own. */
function listedFiles(
  wish: Wish,
  { builder, session, signal, cleanup }: Taking,
  { paths: all, sizes, digest, match, listing }: Listed,
): ContextFiles {
  return contextFiles({
    digest,
    listing: async () => {
      await match(listing);
      return listing;
    },
    demand: (paths, receive) => {
      const isWanted = wantedBy(paths);
      const sizeBytes = all.reduce((sum, path, at) => sum + (isWanted(path) ? sizes[at]! : 0), 0);
      const body = readFolder(session, wish, { signal, isWanted });
      return receive({ body, sizeBytes, signal });
    },
    take: ({ body, sizeBytes }) => builder.takeContext(body, signal, sizeBytes),
    cleanup,
  });
}

async function* nothing(): AsyncGenerator<Uint8Array, void> {}

function isFew(stats: readonly Stat[], unknown: readonly number[]): boolean {
  const bytes = unknown.reduce((sum, index) => sum + stats[index]!.size, 0);
  const most = Math.min(changedFilesMax, stats.length / 2);
  return unknown.length <= most && bytes <= changedBytesMax;
}

/** Undefined for a folder with something that no listing tells. */
function toldOf(stats: readonly Stat[]): string | undefined {
  const folders = new Set([""]);
  const lines: string[] = [];
  for (const stat of stats) {
    const { path, linkName } = stat;
    const [type, mode] = [typeOf(stat), modeOf(stat)];
    if (!folders.has(path.slice(0, Math.max(0, path.lastIndexOf("/"))))) return undefined;
    let one: ToldFile;
    if (isFile(stat)) one = ["file", path, mode, stat.size, String(stat.modTime)];
    else if (type === "symlink") {
      one = ["link", path, Buffer.from(linkName).toString("latin1")];
    } else if (type === "fifo") one = ["fifo", path, mode];
    else if (type === "directory") {
      one = ["folder", path, mode];
      folders.add(path);
    } else return undefined;
    lines.push(JSON.stringify(one));
  }
  return lines.length === 0 ? undefined : lines.join("\n");
}
