import { Failure } from "../base/mod.ts";

declare const brand: unique symbol;

/** What Lading stores by; everything of its own making is sha256. */
export const digestAlgorithms = ["sha256", "sha512"] as const;
export type DigestAlgorithm = (typeof digestAlgorithms)[number];

/** `sha256:` and 64 lower-case hex digits, or `sha512:` and 128. */
export type Digest = `${DigestAlgorithm}:${string}` & { readonly [brand]: true };

/**
 * Parses `sha256:<64 hex>` or `sha512:<128 hex>`. The only way a string becomes a Digest.
 * @throws Failure "invalid"
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new Failure("invalid", `Cannot parse digest "${text.slice(0, 140)}"`, {
    hint: "A digest is sha256: and 64 hexadecimal digits, or sha512: and 128",
  });
}

/** True for a well-formed digest. */
export function isDigest(text: string): text is Digest {
  return /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(text);
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith("sha256:") ? "sha256" : "sha512";
}

/** The hex part. */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length); // as long as "sha512:"
}

/** Where an image layout, and a content store, keep the bytes of a digest. */
export function blobPath(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`;
}

/** The sha256 digest of bytes already in memory. For streams, hash while copying. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return digestBy("sha256", bytes);
}

/** True when the bytes are those that the digest stands for. */
export function isDigestOf(digest: Digest, bytes: Uint8Array | string): boolean {
  return digestBy(algorithmOf(digest), bytes) === digest;
}

/** As `digestOf`, by another algorithm. */
export function digestBy(algorithm: DigestAlgorithm, bytes: Uint8Array | string): Digest {
  return `${algorithm}:${new Bun.CryptoHasher(algorithm).update(bytes).digest("hex")}` as Digest;
}

/** A hash that goes along with a stream; `digest` may be asked at any length, and goes on. */
export class DigestHasher {
  readonly algorithm: DigestAlgorithm;
  readonly #hasher: Bun.CryptoHasher;

  constructor(algorithm: DigestAlgorithm = "sha256") {
    this.algorithm = algorithm;
    this.#hasher = new Bun.CryptoHasher(algorithm);
  }

  update(bytes: Uint8Array): void {
    this.#hasher.update(bytes);
  }

  digest(): Digest {
    return `${this.algorithm}:${this.#hasher.copy().digest("hex")}` as Digest;
  }
}
