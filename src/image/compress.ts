import { open } from "node:fs/promises";
import { release } from "../base/mod.ts";
import { type Digest, parseDigest } from "../oci/mod.ts";
import { compressWide, type Pressing } from "./gzip-pool.ts";

/** Writes a layer's tar, compressed or not, to a new file; the same tar gives the same bytes. */
export async function compressLayer(
  tar: AsyncIterable<Uint8Array>,
  path: string,
  { how, level }: { how: Pressing["how"] | "uncompressed"; level?: number | undefined } = {
    how: "gzip",
  },
): Promise<{ digest: Digest; sizeBytes: number }> {
  const file = await open(path, "w", 0o600);
  const hasher = new Bun.CryptoHasher("sha256");
  let sizeBytes = 0;
  try {
    for await (const chunk of how === "uncompressed" ? tar : compressWide(tar, { how, level })) {
      hasher.update(chunk);
      sizeBytes += chunk.length;
      await file.writeFile(chunk);
      release(chunk);
    }
  } finally {
    await file.close();
  }
  return { digest: parseDigest(`sha256:${hasher.digest("hex")}`), sizeBytes };
}
