import { open } from "node:fs/promises";
import { type Digest, parseDigest } from "../oci/mod.ts";
import { gzipWide } from "./gzip-pool.ts";

/** Writes the gzip of a layer's tar to a new file; the same tar gives the same bytes. */
export async function compressLayer(
  tar: AsyncIterable<Uint8Array>,
  path: string,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const file = await open(path, "w", 0o600);
  const hasher = new Bun.CryptoHasher("sha256");
  let sizeBytes = 0;
  try {
    for await (const chunk of gzipWide(tar)) {
      hasher.update(chunk);
      sizeBytes += chunk.length;
      await file.writeFile(chunk);
    }
  } finally {
    await file.close();
  }
  return { digest: parseDigest(`sha256:${hasher.digest("hex")}`), sizeBytes };
}
