/**
 * The thread that walks, hashes and copies trees for `tree-pool.ts`, so that the daemon's own thread
 * never waits for a disk. One request at a time.
 */
import { readFileSync, rmSync } from "node:fs";
import { toFailure } from "../base/mod.ts";
import { type CopyRequest, copy } from "./copy.ts";
import { compareListings, keepListing, knownScan, rememberScan } from "./listing.ts";
import { contextChanged, scanListing } from "./listing-tree.ts";
import { makeWay, type WayRequest } from "./make-way.ts";
import { measure } from "./measure.ts";
import { listPackages } from "./packages.ts";
import { type ScanRequest, scan } from "./scan.ts";
import { matchSent, type SentRequest } from "./sent-files.ts";

declare const self: Worker;

/** What is asked of a context that was listed; `digest` is that of the listing. */
interface ListedRequest extends ScanRequest {
  readonly digest: string;
}

/** The same in every build. */
function questionOf({ listings: _, ...asked }: ListedRequest): string {
  return JSON.stringify({ ...asked, root: "" });
}

/** What each kind of request takes and gives. */
const work = {
  scan: (request: ScanRequest) => scan(request),
  knownListing: (request: ListedRequest) =>
    request.listings ? knownScan(request.listings, questionOf(request)) : undefined,
  scanListing: ({ path, ...request }: ListedRequest & { readonly path: string }) => {
    const bytes = readFileSync(path);
    const digest = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
    if (digest !== request.digest) throw contextChanged();
    const { lines, ...result } = scanListing(request, bytes.toString());
    if (request.listings) {
      keepListing(request.listings, result.digest, lines);
      rememberScan(request.listings, questionOf(request), result);
    }
    return result;
  },
  matchSent: ({ database, ...request }: SentRequest & { readonly database: string }) =>
    matchSent(database, request),
  compare: (request: Parameters<typeof compareListings>[0]) => compareListings(request),
  copy: (request: CopyRequest) => copy(request),
  makeWay: (request: WayRequest) => makeWay(request),
  measure: ({ path }: { path: string }) => measure(path),
  packages: (request: { path: string }) => listPackages(request),
  remove: ({ path }: { path: string }) => rmSync(path, { recursive: true, force: true }),
};

export type Work = typeof work;
export type Reply =
  | { readonly value: unknown }
  | { readonly failure: { code: string; message: string; hint: string | undefined } };

self.onmessage = ({ data }: MessageEvent<{ kind: keyof Work; request: never }>) => {
  let reply: Reply;
  try {
    reply = { value: work[data.kind](data.request) };
  } catch (error) {
    const { code, message, hint } = toFailure(error);
    reply = { failure: { code, message, hint } };
  }
  self.postMessage(reply);
};
