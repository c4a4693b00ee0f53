import { Failure } from "../base/mod.ts";

declare const brand: unique symbol;
/** `sha256:` and 64 lower-case hex digits. */
export type Digest = `sha256:${string}` & { readonly [brand]: true };

/** Parses `sha256:<64 hex>`. The only way a string becomes a Digest. @throws Failure "invalid" */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new Failure("invalid", `Cannot parse digest "${text.slice(0, 100)}"`, {
    hint: "A digest is sha256: and 64 hexadecimal digits",
  });
}

/** True for a well-formed digest. */
export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** The hex part. */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}

/** The digest of bytes already in memory. For streams, hash while copying. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}` as Digest;
}
