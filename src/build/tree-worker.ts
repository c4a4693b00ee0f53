/**
 * The thread that walks, hashes and copies trees for `tree-pool.ts`, so that the daemon's own thread
 * never waits for a disk. One request at a time.
 */
import { readFileSync, rmSync } from "node:fs";
import { toFailure } from "../base/mod.ts";
import { type CopyRequest, copy } from "./copy.ts";
import { compareListings, keepListing, rememberedScan } from "./listing.ts";
import { scanListing } from "./listing-tree.ts";
import { makeWay, type WayRequest } from "./make-way.ts";
import { measure } from "./measure.ts";
import { listPackages } from "./packages.ts";
import { type ScanRequest, scan } from "./scan.ts";

declare const self: Worker;

/** What each kind of request takes and gives. */
const work = {
  scan: (request: ScanRequest) => scan(request),
  scanListing: (request: ScanRequest & { readonly listing: string }) => {
    const { listing, listings, ...given } = request;
    const asked = { ...given, root: "" }; // the same in every build
    const text = readFileSync(listing, "utf8");
    if (!listings) return scanListing(asked, text);
    return rememberedScan(listings, JSON.stringify(asked) + text, () => {
      const { lines, ...result } = scanListing(asked, text);
      keepListing(listings, result.digest, lines);
      return result;
    });
  },
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
