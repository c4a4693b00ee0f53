/**
 * The OCI and Docker specifications as types and parsers, without I/O: digest, reference, descriptor,
 * manifest, index, image config, platform.
 * Spec: https://github.com/opencontainers/image-spec/tree/v1.1.1
 */
export { type Digest, digestOf, hexOf, isDigest, parseDigest } from "./digest.ts";
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
