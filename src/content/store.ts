import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, open, opendir, readFile, rename, rm, stat } from "node:fs/promises";
import { Failure, log } from "../base/mod.ts";
import { type Digest, digestOf, hexOf, isDigest } from "../oci/mod.ts";
import { diskFailure, errnoOf } from "../sys/mod.ts";
import { expect, hashFile, turn, writeHashed } from "./ingest.ts";
import type { ContentStore } from "./types.ts";

const readBytes = 512 << 10;

/**
 * Opens the store in `directory`, which is made when absent: blobs are `blobs/sha256/<hex>`, what is
 * not whole yet is below `ingest`. What an earlier process left there is removed.
 */
export async function openContentStore({
  directory,
}: {
  directory: string;
}): Promise<ContentStore> {
  const blobs = `${directory}/blobs/sha256`;
  const ingest = `${directory}/ingest`;
  await rm(ingest, { recursive: true, force: true });
  await mkdir(blobs, { recursive: true });
  await mkdir(ingest, { recursive: true });
  return new DiskStore(blobs, ingest);
}

class DiskStore implements ContentStore {
  readonly #blobs: string;
  readonly #ingest: string;
  #nextSync: Promise<void> | undefined;
  #syncing: Promise<void> = Promise.resolve();
  #settled: Promise<void> = Promise.resolve();

  constructor(blobs: string, ingest: string) {
    this.#blobs = blobs;
    this.#ingest = ingest;
  }

  async put(
    bytes: AsyncIterable<Uint8Array>,
    options: { expected?: Digest; sizeBytesMax: number },
  ): Promise<{ digest: Digest; sizeBytes: number }> {
    const path = `${this.#ingest}/${randomUUID()}`;
    try {
      const file = await open(path, "wx", 0o600);
      let found: { digest: Digest; sizeBytes: number };
      try {
        found = await writeHashed(bytes, file, options.sizeBytesMax);
        expect(options.expected, found.digest);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#publish(path, found.digest);
      return found;
    } catch (error) {
      await rm(path, { force: true });
      throw diskFailure(error, "store", options.expected ?? "blob");
    }
  }

  async adopt(
    path: string,
    options: { expected?: Digest; trusted?: true; sync?: "later" },
  ): Promise<Digest> {
    try {
      const file = await open(path, "r");
      let digest = options.trusted ? options.expected : undefined;
      try {
        digest ??= await hashFile(file);
        expect(options.expected, digest);
        if (!options.sync) await file.sync();
      } finally {
        await file.close();
      }
      if (!options.sync) await this.#publish(path, digest);
      else {
        await rename(path, this.path(digest));
        this.#syncLater(digest);
      }
      return digest;
    } catch (error) {
      throw diskFailure(error, "store", path);
    }
  }

  /** Syncs a visible file in the background, one at a time; one that is gone by then needs it no more. */
  #syncLater(digest: Digest): void {
    this.#settled = this.#settled.then(async () => {
      try {
        const file = await open(this.path(digest), "r");
        await file.sync().finally(() => file.close());
        await this.#syncNames();
      } catch (error) {
        if (errnoOf(error) !== "ENOENT")
          log("warn", "A blob was not synced", { digest, why: error });
      }
    });
  }

  async size(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(this.path(digest))).size;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw diskFailure(error, "stat blob", digest);
    }
  }

  path(digest: Digest): string {
    return `${this.#blobs}/${hexOf(digest)}`;
  }

  async *read(digest: Digest): AsyncGenerator<Uint8Array, void> {
    const file = await open(this.path(digest), "r").catch((error) => {
      throw absent(error, digest);
    });
    const hasher = new Bun.CryptoHasher("sha256");
    try {
      for (let at = 0; ; ) {
        const piece = Buffer.allocUnsafe(readBytes);
        const { bytesRead } = await file.read(piece, 0, readBytes, at);
        if (bytesRead === 0) break;
        const part = piece.subarray(0, bytesRead);
        hasher.update(part);
        yield part;
        at += bytesRead;
        await turn();
      }
    } finally {
      await file.close();
    }
    if (hasher.digest("hex") !== hexOf(digest)) throw damaged(digest);
  }

  async bytes(digest: Digest, sizeBytesMax: number): Promise<Uint8Array> {
    const size = await this.size(digest);
    if (size !== undefined && size > sizeBytesMax) {
      const why = `it has ${size} bytes, the bound is ${sizeBytesMax}`;
      throw new Failure("exhausted", `Cannot read blob ${digest}: ${why}`);
    }
    const bytes = await readFile(this.path(digest)).catch((error) => {
      throw absent(error, digest);
    });
    if (digestOf(bytes) !== digest) throw damaged(digest);
    return bytes;
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.path(digest), { force: true }).catch((error) => {
      throw diskFailure(error, "remove blob", digest);
    });
  }

  async *list(): AsyncGenerator<{ digest: Digest; sizeBytes: number; modifiedMs: number }, void> {
    for await (const { name } of await opendir(this.#blobs)) {
      const digest = `sha256:${name}`;
      if (!isDigest(digest)) continue;
      const found = await stat(this.path(digest)).catch((error) => {
        if (errnoOf(error) === "ENOENT") return undefined; // removed meanwhile
        throw diskFailure(error, "stat blob", digest);
      });
      if (found) yield { digest, sizeBytes: found.size, modifiedMs: found.mtimeMs };
    }
  }

  async scratch(): Promise<string> {
    return await mkdtemp(`${this.#ingest}/scratch-`).catch((error) => {
      throw diskFailure(error, "create a folder in", this.#ingest);
    });
  }

  /** Makes a whole, synced file visible, for good. */
  async #publish(path: string, digest: Digest): Promise<void> {
    await rename(path, this.path(digest));
    await this.#syncNames();
  }

  /** Syncs the blobs' directory; callers that come while one sync runs share the next. */
  #syncNames(): Promise<void> {
    if (this.#nextSync) return this.#nextSync;
    const mine = this.#syncing.then(() => {
      this.#nextSync = undefined;
      return syncDirectory(this.#blobs);
    });
    this.#nextSync = mine;
    this.#syncing = mine.catch(() => {}); // its callers see the error; the next sync is a new try
    return mine;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function absent(error: unknown, digest: Digest): Failure {
  if (errnoOf(error) !== "ENOENT") return diskFailure(error, "read blob", digest);
  return new Failure("not_found", `Cannot read blob ${digest}: it is not in the store`);
}

function damaged(digest: Digest): Failure {
  return new Failure("corrupt", `Cannot trust blob ${digest}: its bytes have changed on disk`, {
    hint: "Remove the image and load or pull it again; check the disk",
  });
}
