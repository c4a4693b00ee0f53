/** A client's context for one build: what it sent before is not sent again until a step needs it. */
import { wantedBy } from "../archive/mod.ts";
import type { Builder, BuildRequest } from "../build/mod.ts";
import { contextFiles, type ToldFile } from "../build/mod.ts";
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
  { builder, session, signal, cleanup, isWhole }: Taking,
): Promise<Pick<BuildRequest, "contextPath" | "listed">> {
  using transfer = await Transfer.open(session, wish, signal);
  const take = async (tar: AsyncIterable<Uint8Array>, sizeBytes?: number) =>
    cleanup.use(await builder.takeContext(tar, signal, sizeBytes));
  const told = session.sharedKey === "" ? undefined : toldOf(transfer.stats);
  const digests = new Map<number, string>();
  const match = (path?: string) => {
    const key = JSON.stringify([session.sharedKey, wish.folder]);
    const asked = { key, told: told!, digests, ...(path === undefined ? {} : { path }) };
    return builder.matchSent(asked, signal);
  };
  if (told !== undefined && !isWhole) {
    let answer = await match();
    if ("unknown" in answer && isFew(transfer.stats, answer.unknown)) {
      await transfer.hash(answer.unknown, digests);
      answer = await match();
    }
    if ("digest" in answer) {
      await transfer.end();
      const { path: contextPath } = await take(nothing());
      const listing = async () => {
        const path = `${contextPath}/.lading-listing`;
        await match(path);
        return path;
      };
      const listed = contextFiles({
        digest: answer.digest,
        listing,
        demand: (paths, receive) => {
          const isWanted = wantedBy(paths);
          const sizeBytes = transfer.stats.reduce(
            (sum, { path, size }) => sum + (isWanted(path) ? size : 0),
            0,
          );
          return receive({
            body: readFolder(session, wish, { signal, isWanted }),
            sizeBytes,
            signal,
          });
        },
        take: ({ body, sizeBytes }) => builder.takeContext(body, signal, sizeBytes),
        cleanup,
      });
      return { contextPath, listed };
    }
  }
  const { path: contextPath } = await take(transfer.tar(told === undefined ? {} : { digests }));
  await transfer.end();
  if (told !== undefined) await match(); // for the next build
  return { contextPath };
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
