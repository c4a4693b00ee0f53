import { randomUUID } from "node:crypto";
import type { Stats } from "node:fs";
import {
  link,
  mkdir,
  mkdtemp,
  open,
  opendir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
} from "node:fs/promises";
import { dirname } from "node:path";
import { Failure, log } from "../base/mod.ts";
import {
  algorithmOf,
  blobPath,
  type Digest,
  DigestHasher,
  digestAlgorithms,
  isDigest,
  isDigestOf,
} from "../oci/mod.ts";
import { diskFailure, errnoOf } from "../sys/mod.ts";
import { expect, hashFile, turn, writeHashed } from "./ingest.ts";
import type { ContentStore, Listed, Part } from "./types.ts";

const readBytes = 512 << 10;

/**
 * Opens the store in `directory`, which is made when absent: blobs are `blobs/sha256/<hex>`, what is
 * not whole yet is below `ingest`. What an earlier process left there is removed. `beside` is the
 * directory of another store on the same file system: a blob that both have is one file with two names,
 * and each removes only its own.
 */
export async function openContentStore({
  directory,
  beside,
}: {
  directory: string;
  beside?: string;
}): Promise<ContentStore> {
  const ingest = `${directory}/ingest`;
  await rm(ingest, { recursive: true, force: true });
  for (const algorithm of digestAlgorithms) {
    await mkdir(`${directory}/blobs/${algorithm}`, { recursive: true });
  }
  await mkdir(ingest, { recursive: true });
  return new DiskStore(directory, beside);
}

class DiskStore implements ContentStore {
  readonly #directory: string;
  readonly #beside: string | undefined;
  readonly #ingest: string;
  readonly #unsynced = new Set<string>();
  #nextSync: Promise<void> | undefined;
  #syncing: Promise<void> = Promise.resolve();
  #settled: Promise<void> = Promise.resolve();

  constructor(directory: string, beside: string | undefined) {
    this.#directory = directory;
    this.#beside = beside;
    this.#ingest = `${directory}/ingest`;
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
        const algorithm = options.expected && algorithmOf(options.expected);
        found = await writeHashed(bytes, file, { ...options, algorithm });
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
        digest ??= await hashFile(file, options.expected && algorithmOf(options.expected));
        expect(options.expected, digest);
        if (!options.sync) await file.sync();
      } finally {
        await file.close();
      }
      if (!options.sync) await this.#publish(path, digest);
      else {
        await this.#takeFromBeside(path, digest);
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
        await this.#syncNames(digest);
      } catch (error) {
        if (errnoOf(error) !== "ENOENT")
          log("warn", "A blob was not synced", { digest, why: error });
      }
    });
  }

  async size(digest: Digest): Promise<number | undefined> {
    return (await statOf(this.path(digest)))?.size;
  }

  path(digest: Digest): string {
    return `${this.#directory}/${blobPath(digest)}`;
  }

  body(digest: Digest, part?: Part): Blob {
    const file = Bun.file(this.path(digest), { type: "application/octet-stream" });
    return part ? file.slice(part.first, part.last + 1) : file;
  }

  async *read(digest: Digest): AsyncGenerator<Uint8Array, void> {
    const file = await open(this.path(digest), "r").catch((error) => {
      throw absent(error, digest);
    });
    const hasher = new DigestHasher(algorithmOf(digest));
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
    if (hasher.digest() !== digest) throw damaged(digest);
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
    if (!isDigestOf(digest, bytes)) throw damaged(digest);
    return bytes;
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.path(digest), { force: true }).catch((error) => {
      throw diskFailure(error, "remove blob", digest);
    });
  }

  async *list(): AsyncGenerator<Listed, void> {
    for (const algorithm of digestAlgorithms) {
      for await (const { name } of await opendir(`${this.#directory}/blobs/${algorithm}`)) {
        const digest = `${algorithm}:${name}`;
        if (!isDigest(digest)) continue;
        const found = await statOf(this.path(digest)); // undefined: removed meanwhile
        if (!found) continue;
        const { size: sizeBytes, mtimeMs: modifiedMs, nlink } = found;
        yield { digest, sizeBytes, modifiedMs, isShared: nlink > 1 };
      }
    }
  }

  async scratch(): Promise<string> {
    return await mkdtemp(`${this.#ingest}/scratch-`).catch((error) => {
      throw diskFailure(error, "create a folder in", this.#ingest);
    });
  }

  /** Makes a whole, synced file visible, for good. */
  async #publish(path: string, digest: Digest): Promise<void> {
    await this.#giveToBeside(path, digest);
    await rename(path, this.path(digest));
    await this.#syncNames(digest);
  }

  /** Where the store beside has the blob, its file becomes this one, which was verified just now. */
  async #giveToBeside(path: string, digest: Digest): Promise<void> {
    if (!this.#beside) return;
    const theirs = `${this.#beside}/${blobPath(digest)}`;
    const found = await statOf(theirs);
    if (!found || found.ino === (await stat(path)).ino) return;
    const name = await this.#linkTo(path);
    if (name) await rename(name, theirs); // removed there meanwhile: it is collected as nobody's
  }

  /** The file of the store beside in place of this one, which is not synced yet. */
  async #takeFromBeside(path: string, digest: Digest): Promise<void> {
    if (!this.#beside) return;
    const name = await this.#linkTo(`${this.#beside}/${blobPath(digest)}`);
    if (!name) return;
    const [mine, other] = await Promise.all([stat(path), stat(name)]);
    if (other.size !== mine.size) return await rm(name);
    await utimes(name, mine.atime, mine.mtime); // it is as young as what it stands for
    await rename(name, path);
  }

  /** Another name for a file; undefined when it is absent, or can have none: each keeps its own then. */
  async #linkTo(path: string): Promise<string | undefined> {
    const name = `${this.#ingest}/${randomUUID()}`;
    try {
      await link(path, name);
      return name;
    } catch (error) {
      if (["ENOENT", "EXDEV", "EMLINK", "EPERM"].includes(errnoOf(error) ?? "")) return undefined;
      throw error;
    }
  }

  /** Syncs the blobs' directories; callers that come while one sync runs share the next. */
  #syncNames(digest: Digest): Promise<void> {
    this.#unsynced.add(dirname(this.path(digest)));
    if (this.#nextSync) return this.#nextSync;
    const mine = this.#syncing.then(() => {
      this.#nextSync = undefined;
      const folders = [...this.#unsynced];
      this.#unsynced.clear();
      return Promise.all(folders.map(syncDirectory)).then(() => {});
    });
    this.#nextSync = mine;
    this.#syncing = mine.catch(() => {}); // its callers see the error; the next sync is a new try
    return mine;
  }
}

async function statOf(path: string): Promise<Stats | undefined> {
  return await stat(path).catch((error) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw diskFailure(error, "look at blob", path);
  });
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
