import { createReadStream } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { Failure, KeyedLock } from "../base/mod.ts";
import {
  algorithmOf,
  blobPath,
  type Descriptor,
  type Digest,
  DigestHasher,
  digestAlgorithms,
  digestBy,
  digestOf,
  isDigest,
  parseManifestOrIndex,
} from "../oci/mod.ts";
import type { CopyTarget } from "../registry/mod.ts";
import { diskFailure } from "../sys/mod.ts";
import { indexBytes, type LayoutFiles, LayoutSource, nameKey } from "./layout-source.ts";

const pieceBytes = 256 << 10;
const layoutText = '{"imageLayoutVersion":"1.0.0"}';

/**
 * An OCI layout in a folder, which can be written as well. Bytes that come in are verified, and visible
 * when they are whole; a name is there when all that it stands for is.
 */
export class LayoutFolder extends LayoutSource implements CopyTarget {
  readonly #directory: string;
  readonly #lock = new KeyedLock();

  private constructor(directory: string) {
    super(filesIn(directory));
    this.#directory = directory;
  }

  /** @throws Failure "not_found" — no layout is there */
  static async open(directory: string): Promise<LayoutFolder> {
    const layout = new LayoutFolder(directory);
    await layout.index();
    return layout;
  }

  /** Opens the layout, which is made when absent. */
  static async make(directory: string): Promise<LayoutFolder> {
    const layout = new LayoutFolder(directory);
    try {
      for (const algorithm of digestAlgorithms) {
        await mkdir(`${directory}/blobs/${algorithm}`, { recursive: true });
      }
      if ((await sizeOf(`${directory}/index.json`)) === undefined) {
        await layout.#replace("oci-layout", Buffer.from(layoutText));
        await layout.#replace("index.json", indexBytes([]));
      }
    } catch (error) {
      throw diskFailure(error, "make a layout in", directory);
    }
    return layout;
  }

  async head(reference: string): Promise<Digest | undefined> {
    if (isDigest(reference)) return (await this.hasBlob(reference)) ? reference : undefined;
    return (await this.index()).find((each) => each.annotations?.[nameKey] === reference)?.digest;
  }

  async upload({
    digest,
    sizeBytes,
    read,
    signal,
  }: Parameters<CopyTarget["upload"]>[0]): Promise<{ mountedFrom: undefined }> {
    async function* checked() {
      const hasher = new DigestHasher(algorithmOf(digest));
      let count = 0;
      for await (const chunk of read(0)) {
        signal.throwIfAborted();
        count += chunk.length;
        hasher.update(chunk);
        if (count > sizeBytes) break;
        yield chunk;
      }
      if (count === sizeBytes && hasher.digest() === digest) return;
      throw new Failure("corrupt", `Cannot trust blob ${digest}: other bytes came`);
    }
    await this.#replace(blobPath(digest), checked());
    return { mountedFrom: undefined };
  }

  /** Stores the bytes; what has a name, or refers to another manifest, gets into the index as well. */
  async putManifest(
    reference: string,
    { mediaType, bytes, digest: known }: Parameters<CopyTarget["putManifest"]>[1],
  ): Promise<Digest> {
    const named = isDigest(reference) ? reference : known;
    const digest = named ? digestBy(algorithmOf(named), bytes) : digestOf(bytes);
    await this.#replace(blobPath(digest), bytes);
    const parsed = parseManifestOrIndex(bytes);
    const { artifactType, subject } = "index" in parsed ? parsed.index : parsed.manifest;
    const name = isDigest(reference) ? undefined : reference;
    if (name === undefined && !subject) return digest;
    const descriptor: Descriptor = {
      mediaType,
      digest,
      size: bytes.length,
      ...(artifactType ? { artifactType } : {}),
      ...(name ? { annotations: { [nameKey]: name } } : {}),
    };
    await this.#lock.run("index", async () => {
      const others = (await this.index()).filter((each) => {
        const its = each.annotations?.[nameKey];
        return name ? its !== name : its !== undefined || each.digest !== digest;
      });
      await this.#replace("index.json", indexBytes([...others, descriptor]));
    });
    return digest;
  }

  async #replace(name: string, bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
    const temporary = `${this.#directory}/blobs/.${crypto.randomUUID()}`;
    try {
      const file = await open(temporary, "wx");
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, `${this.#directory}/${name}`);
    } catch (error) {
      await rm(temporary, { force: true });
      throw diskFailure(error, "write", name);
    }
  }
}

function filesIn(directory: string): LayoutFiles {
  const at = (name: string) => `${directory}/${name}`;
  return {
    where: `oci:${directory}`,
    size: (name) => sizeOf(at(name)),
    read: (name) => readFile(at(name)),
    stream: (name, start) => createReadStream(at(name), { start, highWaterMark: pieceBytes }),
  };
}

async function sizeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined); // absent, or not to be seen
  return found?.isFile() ? found.size : undefined;
}
