/**
 * The OCI and Docker specifications as types and parsers, without I/O: digest, reference, descriptor,
 * manifest, index, image config, platform.
 * Spec: https://github.com/opencontainers/image-spec/tree/v1.1.1
 */
export { formatImageConfig, parseImageConfig } from "./config.ts";
export {
  algorithmOf,
  blobPath,
  type Digest,
  type DigestAlgorithm,
  DigestHasher,
  digestAlgorithms,
  digestBy,
  digestOf,
  hexOf,
  isDigest,
  isDigestOf,
  parseDigest,
} from "./digest.ts";
export { JsonReader, readFields } from "./json.ts";
export {
  formatManifest,
  isAttestation,
  parseIndex,
  parseManifest,
  parseManifestOrIndex,
  readDescriptor,
} from "./manifest.ts";
export {
  isForeignLayer,
  isImageConfigType,
  isIndexType,
  isManifestType,
  mediaTypes,
} from "./media-types.ts";
export {
  formatPlatform,
  hostPlatform,
  matchesPlatform,
  normalizePlatform,
  parsePlatform,
  rankPlatform,
} from "./platform.ts";
export {
  familiarName,
  familiarReference,
  fullReference,
  idPrefixOf,
  parseReference,
  type Reference,
  withDefaultTag,
} from "./reference.ts";
export { mergeEnv, mergeRunConfig } from "./run-config.ts";
export type {
  Descriptor,
  Healthcheck,
  HistoryEntry,
  ImageConfig,
  Index,
  Manifest,
  Platform,
  RunConfig,
} from "./types.ts";
