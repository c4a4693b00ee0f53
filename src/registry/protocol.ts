import { type Code, Failure } from "../base/mod.ts";
import { type Digest, isDigest } from "../oci/mod.ts";

/**
 * What both ends of the wire agree on: paths, headers, error codes, names.
 * Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
 */

/** https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes, and Docker's additions. */
export const errorStatuses = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  // Docker's registry sends these as well.
  TAG_INVALID: 400,
  RANGE_INVALID: 416,
  PAGINATION_NUMBER_INVALID: 400,
  UNAVAILABLE: 503,
  UNKNOWN: 500,
} as const;
export type ErrorCode = keyof typeof errorStatuses;

/** One entry of the body `{"errors":[…]}`. */
export interface WireError {
  readonly code: ErrorCode | (string & {});
  readonly message?: string;
  readonly detail?: unknown;
}

const failureCodes: Record<string, Code> = {
  BLOB_UNKNOWN: "not_found",
  BLOB_UPLOAD_UNKNOWN: "not_found",
  MANIFEST_UNKNOWN: "not_found",
  NAME_UNKNOWN: "not_found",
  UNAUTHORIZED: "denied",
  DENIED: "denied",
  UNSUPPORTED: "unsupported",
  TOOMANYREQUESTS: "unavailable",
  UNAVAILABLE: "unavailable",
  UNKNOWN: "unavailable",
};

/** What a registry's error code means to the caller; an unknown code goes by the HTTP status. */
export function failureCodeOf(code: string, status: number): Code {
  const known = Object.hasOwn(failureCodes, code) ? failureCodes[code] : undefined;
  if (known) return known;
  if (status === 404) return "not_found";
  if (status === 401 || status === 403) return "denied";
  if (status === 408) return "timeout";
  return status >= 500 || status === 429 ? "unavailable" : "invalid";
}

/** Header names, in the spelling that is sent. */
export const headers = {
  contentDigest: "Docker-Content-Digest",
  apiVersion: "Docker-Distribution-Api-Version",
  uploadId: "Docker-Upload-UUID",
  chunkMinLength: "OCI-Chunk-Min-Length",
  subject: "OCI-Subject",
  filtersApplied: "OCI-Filters-Applied",
  tag: "OCI-Tag",
} as const;

/** The value of `Docker-Distribution-Api-Version`. */
export const apiVersion = "registry/2.0";

/** The paths of the protocol, below the registry's address. Names and tags need no escape. */
export const paths = {
  base: "/v2/",
  catalog: "/v2/_catalog",
  blob: (name: string, digest: string) => `/v2/${name}/blobs/${digest}`,
  uploads: (name: string) => `/v2/${name}/blobs/uploads/`,
  upload: (name: string, id: string) => `/v2/${name}/blobs/uploads/${id}`,
  manifest: (name: string, reference: string) => `/v2/${name}/manifests/${reference}`,
  tags: (name: string) => `/v2/${name}/tags/list`,
  referrers: (name: string, digest: string) => `/v2/${name}/referrers/${digest}`,
} as const;

/** Bounds of what a client may name; those on bytes are the store's and the server's. */
export const wireLimits = {
  nameCharactersMax: 255,
  tagCharactersMax: 128,
  /** Entries in one answer of a list. */
  pageEntriesMax: 1000,
  uriCharactersMax: 8192,
} as const;

const namePart = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const nameShape = new RegExp(`^${namePart}(?:/${namePart})*$`);
const tagShape = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** True for a repository's name without its host: `library/busybox`. */
export function isRepositoryName(text: string): boolean {
  return text.length <= wireLimits.nameCharactersMax && nameShape.test(text);
}

export function isTag(text: string): boolean {
  return text.length <= wireLimits.tagCharactersMax && tagShape.test(text);
}

/** A tag or a digest, as the last part of a manifest's path. */
export type ManifestReference = { readonly tag: string } | { readonly digest: Digest };

/** @throws Failure "invalid" — neither a tag nor a digest */
export function parseManifestReference(text: string): ManifestReference {
  if (text.includes(":")) return { digest: parseWireDigest(text) };
  if (isTag(text)) return { tag: text };
  throw new Failure("invalid", `Cannot use "${text.slice(0, 140)}": neither a tag nor a digest`);
}

/** @throws Failure "invalid" — not a digest that is known here */
export function parseWireDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new Failure("invalid", `Cannot use "${text.slice(0, 140)}": no sha256 or sha512 digest`);
}

/** `Content-Range: 0-99` of a chunk, as this protocol writes it (no unit, no total). */
export function parseChunkRange(text: string): { first: number; last: number } | undefined {
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d{1,15}|\*))?$/.exec(text);
  if (!match) return undefined;
  const [first, last] = [Number(match[1]), Number(match[2])];
  return last >= first ? { first, last } : undefined;
}

/** `Range: 0-99` of an upload that holds `sizeBytes`; an empty one says `0-0`, as Docker's does. */
export function formatUploadRange(sizeBytes: number): string {
  return `0-${Math.max(0, sizeBytes - 1)}`;
}
