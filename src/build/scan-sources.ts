import type { Receive, SentFiles } from "./context-files.ts";
import { contextChanged } from "./listing-tree.ts";
import type { ScanRequest, ScanResult } from "./scan.ts";
import type { StepScope } from "./scope.ts";

/** What stands in a tree at some source words, and how to get at the files. */
export interface Scanned {
  readonly scanned: ScanResult;
  readonly request: ScanRequest;
  /** The folder that the files are in; they may have to come first. */
  readonly open: () => Promise<SentFiles>;
  /** Instead: the files of a listed context as they come, unchecked; see `ContextFiles`. */
  readonly receive?: <Result>(receive: Receive<Result>) => Promise<Result> | undefined;
}

/** Walks and hashes in a worker; a context that was only listed is not asked for. @throws Failure */
export async function scanSources({ build }: StepScope, scan: ScanRequest): Promise<Scanned> {
  const { tools, context, signal, request: asked } = build;
  const { databasePath: database } = tools;
  const stays = (root: string) => async () => ({ root, take: () => false });
  const isOwn = scan.root === context.root;
  const remembers = asked.contextStays && isOwn;
  const request: ScanRequest = {
    ...scan,
    ...(remembers && database !== "" ? { memo: { database, context: context.root } } : {}),
    ...(database !== "" ? { listings: database } : {}),
  };
  const { listed: files } = asked;
  if (!files || !isOwn) {
    const scanned = await tools.trees.run("scan", request, signal);
    return { scanned, request: scan, open: stays(scan.root) };
  }
  const byListing = { ...request, digest: files.digest };
  const scanned =
    (await tools.trees.run("knownListing", byListing, signal)) ??
    (await tools.trees.run("scanListing", { ...byListing, path: await files.listing() }, signal));
  const open = async () => {
    const sent = await files.open(pathsOf(scanned));
    const { root } = sent;
    // Before the cache hears of them: what came must be what was listed.
    const real = await tools.trees.run("scan", { ...scan, root, archives: false }, signal);
    if (real.digest === scanned.digest) return sent;
    throw contextChanged();
  };
  const receive: Scanned["receive"] = (each) => files.receive(pathsOf(scanned), each);
  if (!scan.archives) return { scanned, request: scan, open, receive };
  // What is an archive tells its content alone.
  const { root } = await open();
  const sent = await tools.trees.run("scan", { ...request, root }, signal);
  return { scanned: sent, request: { ...scan, root }, open: stays(root) };
}

const pathsMax = 1_000;

/** What must be there to find the same again: what was asked for, and what that led to. */
function pathsOf({ found }: ScanResult): string[] {
  const paths = found.flatMap((list) => list ?? []).flatMap(({ asked, path }) => [asked, path]);
  const all = [...new Set(paths)];
  return all.length > pathsMax ? [""] : all;
}
