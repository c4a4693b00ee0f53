import { Failure, limits } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  digestOf,
  familiarReference,
  formatPlatform,
  hostPlatform,
  type ImageConfig,
  type Index,
  isAttestation,
  isDigestOf,
  isImageConfigType,
  type Manifest,
  matchesPlatform,
  type Platform,
  parseImageConfig,
  parseManifestOrIndex,
  type Reference,
  rankPlatform,
} from "../oci/mod.ts";
import {
  type FetchedManifest,
  isUnknown,
  RegistryFailure,
  type Repository,
} from "../registry/mod.ts";
import type { KeptIndex } from "./origins.ts";
import { pairLayers } from "./planned.ts";

/** What a pull has settled before it fetches a layer. */
export interface PullPlan {
  /** What the tag or digest stands for in the registry: of the index, if there is one. */
  readonly root: Digest;
  readonly index: KeptIndex | undefined;
  readonly manifest: { readonly descriptor: Descriptor; readonly bytes: Uint8Array };
  readonly id: Digest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  readonly layers: readonly { readonly diffId: Digest; readonly descriptor: Descriptor }[];
}

interface Wanted {
  readonly reference: Reference;
  readonly platform: Platform | undefined;
  readonly signal: AbortSignal;
}

const depthMax = 3;

/** Fetches the manifest that a reference names, in Docker's words when there is none. */
export async function fetchRoot(
  repository: Repository,
  { reference, signal }: Wanted,
): Promise<FetchedManifest> {
  try {
    return await repository.manifest(reference.digest ?? reference.tag ?? "latest", signal);
  } catch (error) {
    throw inDockersWords(error, reference);
  }
}

function parseFetched({ bytes, descriptor }: FetchedManifest, { domain, path }: Repository) {
  try {
    return parseManifestOrIndex(bytes);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const text = `${error.message} (manifest ${descriptor.digest} of ${domain}/${path})`;
    throw new Failure(error.code, text, error.hint === undefined ? {} : { hint: error.hint });
  }
}

/** Goes from the root through indexes to the manifest for the platform, and reads its config. */
export async function planPull(
  repository: Repository,
  root: FetchedManifest,
  wanted: Wanted,
): Promise<PullPlan> {
  let at = root;
  let index: KeptIndex | undefined;
  for (let depth = 0; ; depth++) {
    const parsed = parseFetched(at, repository);
    if ("manifest" in parsed)
      return await planManifest(repository, parsed.manifest, { root, at, index, wanted });
    if (depth >= depthMax)
      throw new Failure("corrupt", "Cannot pull: its indexes are nested too deep");
    const { mediaType, digest } = at.descriptor;
    index ??= { digest, mediaType, bytes: at.bytes };
    const chosen = choosePlatform(parsed.index, wanted.platform);
    at = await repository.manifest(chosen.digest, wanted.signal);
    if (at.bytes.length !== chosen.size) throw wrongSize(chosen, at.bytes.length);
  }
}

/** The best for the platform. @throws Failure "not_found" in Docker's words */
export function choosePlatform({ manifests }: Index, platform: Platform | undefined): Descriptor {
  const wanted = platform ?? hostPlatform();
  const images = manifests.filter((each) => !isAttestation(each) && !each.artifactType);
  const ranked = images.map((descriptor) => {
    // One image without a platform: its config says which it is.
    const has = descriptor.platform;
    const rank = has ? rankPlatform(wanted, has) : images.length === 1 ? 1 : 0;
    return { descriptor, rank };
  });
  const best = ranked.reduce<{ descriptor?: Descriptor; rank: number }>(
    (a, b) => (b.rank > a.rank ? b : a),
    { rank: 0 },
  );
  if (best.descriptor) return best.descriptor;
  const text = `no matching manifest for ${formatPlatform(wanted)} in the manifest list entries`;
  const has = images.flatMap((each) => (each.platform ? [formatPlatform(each.platform)] : []));
  const hint = has.length > 0 ? { hint: `There are ${[...new Set(has)].join(", ")}` } : {};
  throw new Failure("not_found", text, hint);
}

async function planManifest(
  repository: Repository,
  manifest: Manifest,
  from: {
    root: FetchedManifest;
    at: FetchedManifest;
    index: KeptIndex | undefined;
    wanted: Wanted;
  },
): Promise<PullPlan> {
  const { at, index, root, wanted } = from;
  if (!isImageConfigType(manifest.config.mediaType)) {
    const type = (manifest.artifactType ?? manifest.config.mediaType).slice(0, 200);
    throw new Failure(
      "unsupported",
      `Cannot pull ${familiarReference(wanted.reference)}: it is an artifact of type ${type}, not an image`,
    );
  }
  const configBytes = await smallBlob(repository, manifest.config, wanted.signal);
  const config = parseImageConfig(configBytes);
  if (!index && wanted.platform && !matchesPlatform(wanted.platform, config)) {
    const text = "was found but does not match the specified platform";
    const [asked, has] = [formatPlatform(wanted.platform), formatPlatform(config)];
    throw new Failure(
      "not_found",
      `image with reference ${familiarReference(wanted.reference)} ${text}: wanted ${asked}, actual: ${has}`,
    );
  }
  return {
    root: root.descriptor.digest,
    index,
    manifest: at,
    id: digestOf(configBytes), // an ID is by sha256, whatever the manifest says of its config
    configBytes,
    config,
    layers: pairLayers(config, manifest.layers).map(([diffId, descriptor]) => ({
      diffId,
      descriptor,
    })),
  };
}

/** A config, whole and verified. */
export async function smallBlob(
  repository: Repository,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (descriptor.size > limits.configBytesMax) {
    throw new Failure("exhausted", `Cannot pull: the config has ${descriptor.size} bytes`);
  }
  for (;;) {
    try {
      return await readSmall(repository, descriptor, signal);
    } catch (error) {
      if (signal.aborted || !repository.distrust(descriptor.digest)) throw error;
    }
  }
}

async function readSmall(
  repository: Repository,
  { digest, size }: Descriptor,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { stream } = await repository.blob(digest, { signal });
  const bytes = Buffer.concat(await Array.fromAsync(stream(size)));
  if (isDigestOf(digest, bytes)) return bytes;
  const { domain, path } = repository;
  throw new Failure("corrupt", `Cannot trust config ${digest}: ${domain}/${path} sent other bytes`);
}

function wrongSize({ digest, size }: Descriptor, has: number): Failure {
  return new Failure(
    "corrupt",
    `Cannot trust manifest ${digest}: it has ${has} bytes, its index says ${size}`,
  );
}

/** What the registry refused as Docker's clients know it. */
export function inDockersWords(error: unknown, reference: Reference): unknown {
  if (!(error instanceof RegistryFailure)) return error;
  const name = familiarReference({ domain: reference.domain, path: reference.path });
  if (["UNAUTHORIZED", "DENIED"].includes(error.wire)) {
    const text = `pull access denied for ${name}, repository does not exist or may require 'docker login'`;
    return new Failure("not_found", `${text}: ${error.message}`, { cause: error });
  }
  if (error.wire === "NAME_UNKNOWN") {
    return new Failure("not_found", `repository ${name} not found: ${error.message}`, {
      cause: error,
    });
  }
  if (isUnknown(error)) {
    return new Failure(
      "not_found",
      `manifest for ${familiarReference(reference)} not found: ${error.message}`,
      { cause: error },
    );
  }
  return error;
}
