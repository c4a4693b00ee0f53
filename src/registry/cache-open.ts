import { mkdir, rm } from "node:fs/promises";
import { log } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { BlobFetches, unavailable } from "./cache-blobs.ts";
import { openRegistryClient } from "./client-open.ts";
import { isUnknown, type Repository } from "./client-repository.ts";
import type { UpstreamRule } from "./config.ts";
import { headers, parseManifestReference, parseWireDigest } from "./protocol.ts";
import { Refusal, refusing } from "./refusal.ts";
import { withVersion } from "./server-answer.ts";
import { digestCodes } from "./server-blobs.ts";
import { readManifest } from "./store-manifest-facts.ts";
import type { RegistryStore } from "./store-open.ts";

const manifestTimeoutMs = 30_000;
/** Where there is something to fall back on. */
const shortTimeoutMs = 5_000;
const freshMs = 60_000;
const freshMax = 10_000;
const who = "cache";

/** Repositories that are copies of others elsewhere, by the start of their names. */
export interface Cache {
  owns(name: string): boolean;
  /** Settles when the store has what can be had. @throws Refusal MANIFEST_UNKNOWN, UNAVAILABLE */
  bringManifest(name: string, reference: string): Promise<void>;
  /** The blob while it comes in; undefined when the store has it, and on HEAD then. */
  bringBlob(
    blob: { readonly name: string; readonly digest: string },
    method: string,
  ): Promise<Response | undefined>;
  close(): void;
}

type Source = (name: string, isImpatient?: boolean) => Repository | undefined;

/**
 * Opens the cache of the `rules`' registries. A tag is looked up there at most once a minute; when the
 * registry there is down or has had enough of us, what is here is served.
 */
export async function openCache(
  store: RegistryStore,
  { rules, directory }: { rules: readonly UpstreamRule[]; directory: string },
): Promise<Cache> {
  const folder = `${directory}/cache`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const ending = new AbortController();
  const source = sourceOf(rules);
  const fetches = new BlobFetches(store, folder, ending.signal);
  const flights = new Map<string, Promise<void>>();
  const fresh = new Map<string, number>();
  return {
    owns: (name) => source(name) !== undefined,
    async bringManifest(name, reference) {
      const key = `${name}:${reference}`;
      if ((fresh.get(key) ?? 0) > Date.now()) return;
      const flight =
        flights.get(key) ??
        bring(store, source(name, true)!, { name, reference, signal: ending.signal });
      flights.set(key, flight);
      await flight.finally(() => flights.delete(key));
      fresh.delete(key);
      fresh.set(key, Date.now() + freshMs);
      if (fresh.size > freshMax) fresh.delete(fresh.keys().next().value!);
    },
    async bringBlob({ name, digest: text }, method) {
      const digest = await refusing(digestCodes, () => parseWireDigest(text));
      if (await isHere(store, name, digest)) return undefined;
      const fetch = await fetches.start(source(name)!, { name, digest });
      if (method === "HEAD") {
        await fetch.whole;
        return undefined;
      }
      return new Response(fetch.stream(), {
        headers: withVersion({
          "Content-Type": "application/octet-stream",
          "Content-Disposition": "attachment",
          [headers.contentDigest]: digest,
        }),
      });
    },
    close: () => ending.abort(),
  };
}

function sourceOf(rules: readonly UpstreamRule[]): Source {
  const plain = rules
    .filter(({ url }) => url.startsWith("http:"))
    .map(({ url }) => new URL(url).host);
  const client = openRegistryClient({ insecure: plain });
  // The longest prefix wins.
  const sorted = rules.toSorted((a, b) => b.prefix.length - a.prefix.length);
  return (name, isImpatient = false) => {
    const rule = sorted.find(
      ({ prefix }) => name.startsWith(prefix) && name.length > prefix.length,
    );
    if (!rule) return undefined;
    const { host } = new URL(rule.url);
    const isHub = host === "docker.io" || host === "registry-1.docker.io";
    const rest = name.slice(rule.prefix.length);
    const path = isHub && !rest.includes("/") ? `library/${rest}` : rest;
    const { username, password } = rule;
    return client.repository(
      { domain: isHub ? "docker.io" : host, path },
      { credentials: username && password ? { username, password } : {}, isImpatient },
    );
  };
}

type Wanted = { readonly name: string; readonly reference: string; readonly signal: AbortSignal };

async function bring(store: RegistryStore, from: Repository, wanted: Wanted): Promise<void> {
  const { name, reference } = wanted;
  const at = await refusing({ invalid: "MANIFEST_UNKNOWN", unsupported: "DIGEST_INVALID" }, () =>
    parseManifestReference(reference),
  );
  const repository = store.names.find(name);
  const has = (digest: Digest | undefined) =>
    digest !== undefined && store.manifests.find(repository, digest) !== undefined;
  if ("digest" in at && has(at.digest)) return;
  const known =
    "tag" in at && repository !== undefined ? store.names.tagged(repository, at.tag) : undefined;
  const timeoutMs = known ? shortTimeoutMs : manifestTimeoutMs;
  const signal = AbortSignal.any([wanted.signal, AbortSignal.timeout(timeoutMs)]);
  try {
    // To ask costs nothing of the limits that registries set on pulls.
    if (known && has(known.digest) && (await from.head(reference, signal)) === known.digest) return;
    const { bytes, descriptor } = await from.manifest(reference, signal);
    const facts = readManifest(bytes, descriptor.mediaType);
    const tags = "tag" in at ? [at.tag] : [];
    await store.manifests.put(
      store.names.ensure(name),
      { bytes, digest: descriptor.digest },
      {
        facts,
        tags,
        who,
        isCached: true,
      },
    );
  } catch (error) {
    if (isUnknown(error)) {
      throw new Refusal(
        "MANIFEST_UNKNOWN",
        `Cannot find ${reference} at ${from.domain}/${from.path}`,
      );
    }
    if (known && has(known.digest)) {
      log("warn", "Serving what is here: the registry it comes from fails", {
        name,
        reference,
        error,
      });
      return;
    }
    throw unavailable(error, `${from.domain}/${from.path}`);
  }
}

async function isHere(store: RegistryStore, name: string, digest: Digest): Promise<boolean> {
  const row = store.blobs.find(store.names.find(name), digest);
  return row !== undefined && (await store.content.size(digest)) === row.sizeBytes;
}
