/**
 * The content store: bytes by digest, on disk under `content/`. It knows no image and no tag.
 * A blob is visible once it is whole and verified, never before; a crash leaves only `ingest/*`.
 * Spec: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
 */
export { openS3Store, parseStorage, type Storage } from "./s3.ts";
export { openContentStore } from "./store.ts";
export type { BlobStore, ContentStore } from "./types.ts";
