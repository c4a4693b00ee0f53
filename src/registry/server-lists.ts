import { type Digest, mediaTypes } from "../oci/mod.ts";
import { headers, parseWireDigest, paths, wireLimits } from "./protocol.ts";
import { Refusal, refusing } from "./refusal.ts";
import { json, nextLink } from "./server-answer.ts";
import { digestCodes } from "./server-blobs.ts";
import type { Call } from "./server-call.ts";
import type { ManifestRow } from "./store-manifests.ts";
import type { RegistryStore } from "./store-open.ts";

/** Tags are short: one answer may hold many. Without `n` most clients expect all. */
const tagsMax = 10_000;

/** GET of `/v2/<name>/tags/list`. */
export function listTags(store: RegistryStore, name: string, { query }: Call): Response {
  const repository = store.names.need(name);
  const count = countIn(query, tagsMax);
  const last = query.get("last") ?? "";
  const found = store.names.tags(repository, last.slice(0, 256), count + 1);
  const tags = found.slice(0, count);
  return json({ name, tags }, more(paths.tags(name), found, count));
}

/** GET of `/v2/_catalog`: what the asker may pull. */
export function listRepositories(store: RegistryStore, { query, who }: Call): Response {
  const count = countIn(query, wireLimits.pageEntriesMax);
  let last = (query.get("last") ?? "").slice(0, 256);
  const found: string[] = [];
  // Bounded by the number of repositories; each round is one short query.
  while (found.length <= count) {
    const names = store.names.list(last, wireLimits.pageEntriesMax);
    found.push(...names.filter((name) => who.may(name, "pull")));
    if (names.length < wireLimits.pageEntriesMax) break;
    last = names.at(-1)!;
  }
  return json({ repositories: found.slice(0, count) }, more(paths.catalog, found, count));
}

/** GET of `/v2/<name>/referrers/<digest>`: an index, empty when there are none. */
export async function listReferrers(
  store: RegistryStore,
  { name, digest: text }: { name: string; digest: string },
  { query }: Call,
): Promise<Response> {
  const subject = await refusing(digestCodes, () => parseWireDigest(text));
  const artifactType = query.get("artifactType");
  const count = countIn(query, wireLimits.pageEntriesMax);
  const last = query.get("last") ?? "";
  const repository = store.names.find(name);
  const page = { artifactType, last: last.slice(0, 256), countMax: count + 1 };
  const rows = repository === undefined ? [] : store.manifests.referrers(repository, subject, page);
  const shown = rows.slice(0, count);
  const body = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: shown.map(descriptorOf),
  };
  const path = paths.referrers(name, subject);
  const filter: Record<string, string> = artifactType === null ? {} : { artifactType };
  return json(body, {
    "Content-Type": mediaTypes.ociIndex,
    ...(artifactType === null ? {} : { [headers.filtersApplied]: "artifactType" }),
    ...(rows.length > count && count > 0
      ? nextLink(path, { ...filter, n: String(count), last: shown.at(-1)!.digest as Digest })
      : {}),
  });
}

function descriptorOf(row: ManifestRow) {
  return {
    mediaType: row.mediaType,
    digest: row.digest,
    size: row.sizeBytes,
    ...(row.artifactType === null ? {} : { artifactType: row.artifactType }),
    ...(row.annotations === null ? {} : { annotations: JSON.parse(row.annotations) as object }),
  };
}

function more(path: string, found: readonly string[], count: number): Record<string, string> {
  if (found.length <= count || count === 0) return {};
  return nextLink(path, { n: String(count), last: found[count - 1]! });
}

function countIn(query: URLSearchParams, countMax: number): number {
  const text = query.get("n");
  if (text === null) return countMax;
  if (!/^\d{1,9}$/.test(text)) {
    throw new Refusal("PAGINATION_NUMBER_INVALID", `Cannot list "${text.slice(0, 20)}" entries`, {
      detail: { n: text.slice(0, 20) },
    });
  }
  return Math.min(Number(text), countMax);
}
