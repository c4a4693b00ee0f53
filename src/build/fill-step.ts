/**
 * A COPY of one folder or file of a listed context to where nothing is yet: what the client sends is
 * written where it stays, and hashed while it comes. Everything else takes the way of `copy-step.ts`.
 */
import type { Digest } from "../oci/mod.ts";
import type { Wish } from "./copy-wish.ts";
import { piecesOf } from "./intake.ts";
import { contextChanged } from "./listing-tree.ts";
import { type Owner, ownerIn, rootOwner } from "./owner.ts";
import { basename } from "./paths.ts";
import type { Scanned } from "./scan-sources.ts";
import type { StepScope } from "./scope.ts";
import { openScratch, type Tools } from "./tools.ts";
import type { Found } from "./tree.ts";

interface FillAt {
  readonly scope: StepScope;
  readonly sources: Scanned;
  /** What the copy stands on. */
  readonly ground: { readonly layers: readonly Digest[]; readonly owner: Owner | undefined };
}

/** Gives the layer, or undefined when the files are to be copied. @throws Failure as a copy */
export async function fillStep(
  wish: Wish,
  { scope, sources, ground }: FillAt,
): Promise<Digest | undefined> {
  const { tools, signal } = scope.build;
  const found = soleSource(wish, sources);
  const { timeMax } = scope.state;
  const { receive, scanned } = sources;
  // A time to come is not that of a folder that is changed now.
  if (!found || !receive || timeMax === undefined || timeMax >= Date.now() / 1000) return undefined;
  await using scratch = await openScratch(tools, ground.layers);
  const owner = ground.owner ?? ownerIn(scratch.root, wish.chown) ?? rootOwner;
  const { root: targetRoot } = scratch;
  const wanted = { targetRoot, target: wish.target, found, owner };
  const way = await tools.trees.run("makeWay", wanted, signal);
  if (way === undefined) return undefined;
  const rules = {
    from: found.path,
    isFolder: found.isFolder,
    exclude: scanned.skipped ?? [],
    to: way.replace(/^\/+/, ""),
    owner,
    time: timeMax,
    head: headOf(found),
  };
  const filled = await receive(({ body, signal }) =>
    tools.snapshots.fill(scratch.key, piecesOf(body), {
      rules,
      timeMax,
      signal,
    }),
  );
  if (!filled) return undefined;
  const isKnown = filled.listing === scanned.digest;
  if (!isKnown) await checkPlaced(tools, scratch.key, { found, scanned, to: rules.to, signal });
  const how = { how: "move", timeMax, filled: isKnown ? filled : undefined } as const;
  return (await tools.snapshots.commit(scratch.key, how)).diffId;
}

function soleSource(wish: Wish, { scanned }: Scanned): Found | undefined {
  const [found, ...others] = scanned.found.flatMap((list) => list ?? []);
  const isOne = wish.words.length === 1 && others.length === 0 && wish.documents.length === 0;
  if (!found || !isOne || wish.chmod !== "" || !scanned.skipped) return undefined;
  const isPlain = found.path === found.asked && found.keep === undefined && !found.isArchive;
  // Nothing is changed by an empty folder.
  return isPlain && (!found.isFolder || scanned.files > 1) ? found : undefined;
}

/** What `scan` hashes before the first entry below. */
function headOf({ isFolder, asked }: Found): string {
  const source = JSON.stringify(["source", 0, isFolder ? "" : basename(asked), "", false]);
  return isFolder ? source + JSON.stringify(["folder", "", 0]) : source;
}

interface Placed {
  readonly found: Found;
  readonly scanned: Scanned["scanned"];
  readonly to: string;
  readonly signal: AbortSignal;
}

/** Before the cache hears of them: what came must be what was listed, also where its order tells nothing. */
async function checkPlaced(
  { snapshots, trees }: Tools,
  key: string,
  { found, scanned, to, signal }: Placed,
): Promise<void> {
  if (!found.isFolder) throw contextChanged();
  const plain = { ignore: [], exclude: [], parents: false, owners: false, archives: false };
  const root = `${await snapshots.mount(key)}/${to}`;
  const real = await trees.run("scan", { ...plain, root, words: ["."] }, signal);
  if (real.digest !== scanned.digest) throw contextChanged();
}
