import { Failure } from "../base/mod.ts";
import {
  type Descriptor,
  isAttestation,
  isImageConfigType,
  type Platform,
  parseImageConfig,
  parseManifestOrIndex,
  parseReference,
  withDefaultTag,
} from "../oci/mod.ts";
import type { Credentials, RegistryClient } from "../registry/mod.ts";
import { fetchRoot, smallBlob } from "./pull-manifest.ts";

/** What a registry has under a name, without pulling it. */
export interface Remote {
  readonly descriptor: Descriptor;
  readonly platforms: readonly Platform[];
}

interface How {
  readonly credentials: Credentials;
  readonly signal: AbortSignal;
}

/** Asks a registry what a name stands for. @throws as a pull */
export async function describeRemote(
  client: RegistryClient,
  text: string,
  { credentials, signal }: How,
): Promise<Remote> {
  const reference = withDefaultTag(parseReference(text));
  const repository = client.repository(reference, { credentials });
  const { descriptor, bytes } = await fetchRoot(repository, {
    reference,
    platform: undefined,
    signal,
  });
  const parsed = parseManifestOrIndex(bytes);
  if ("index" in parsed) {
    const images = parsed.index.manifests.filter((each) => !isAttestation(each));
    return { descriptor, platforms: images.flatMap(({ platform }) => platform ?? []) };
  }
  const { config } = parsed.manifest;
  if (!isImageConfigType(config.mediaType)) return { descriptor, platforms: [] };
  const found = parseImageConfig(await smallBlob(repository, config, signal));
  const { architecture, os, variant } = found;
  const osVersion = found["os.version"];
  const platform = {
    architecture,
    os,
    ...(variant ? { variant } : {}),
    ...(osVersion ? { "os.version": osVersion } : {}),
  };
  return { descriptor, platforms: [platform] };
}

/** One result of a search, as Docker's clients know it. */
export interface Found {
  readonly name: string;
  readonly description: string;
  readonly is_official: boolean;
  readonly is_automated: boolean;
  readonly star_count: number;
}

const resultsMax = 100;

/**
 * Searches Docker Hub; or, for `HOST/WORDS`, the names of the repositories of that registry, as far as
 * it lists them. @throws Failure "invalid" | "unavailable" | "denied"
 */
export async function searchRemote(
  client: RegistryClient,
  term: string,
  { limit, credentials, signal }: How & { readonly limit: number },
): Promise<Found[]> {
  if (limit < 0 || limit > resultsMax) {
    throw new Failure("invalid", `Limit ${limit} is outside the range of [1, ${resultsMax}]`);
  }
  const count = limit || 25;
  const [, host, words = ""] = /^([^/]*[.:][^/]*|localhost)\/(.*)$/.exec(term) ?? [];
  if (!host || host === "docker.io" || host === "index.docker.io") {
    return await searchHub(client, host ? words : term, { count, signal });
  }
  const names = await client.catalog(host, credentials, signal);
  const found = names.filter((name) => name.includes(words)).slice(0, count);
  const unknown = { description: "", is_official: false, is_automated: false, star_count: 0 };
  return found.map((name) => ({ name: `${host}/${name}`, ...unknown }));
}

async function searchHub(
  client: RegistryClient,
  words: string,
  { count, signal }: { count: number; signal: AbortSignal },
): Promise<Found[]> {
  const url = new URL("https://index.docker.io/v1/search");
  url.searchParams.set("q", words.replace(/^library\//, ""));
  url.searchParams.set("n", String(count));
  const answer = (await client.json(url, signal)) as { results?: unknown } | null;
  const results = Array.isArray(answer?.results) ? answer.results : [];
  return results.slice(0, count).map((each: Record<string, unknown> | null) => ({
    name: String(each?.["name"] ?? ""),
    description: String(each?.["description"] ?? ""),
    is_official: each?.["is_official"] === true,
    is_automated: each?.["is_automated"] === true,
    star_count: Number(each?.["star_count"] ?? 0) || 0,
  }));
}
