import { type FileHandle, open, rm } from "node:fs/promises";
import { Failure, Gate } from "../base/mod.ts";
import { algorithmOf, type Digest, DigestHasher } from "../oci/mod.ts";
import { isUnknown, type Repository } from "./client-repository.ts";
import { Refusal } from "./refusal.ts";
import { unknownBlob } from "./store-blobs.ts";
import type { RegistryStore } from "./store-open.ts";
import { PieceWriter, type Progress } from "./store-pieces.ts";

const fetchesAtOnce = 8;
const attemptsMax = 4;
const blobBytesMax = 64 * 2 ** 30;
/** The end of a blob is given only when all of it is verified: nobody takes a wrong one for whole. */
const heldBackBytes = 64 << 10;
const readBytes = 256 << 10;

/** A blob that comes in, once, for however many want it. */
export interface BlobFetch {
  /** Settles when the blob is in the store. */
  readonly whole: Promise<void>;
  /** Its bytes as they come, from the first one on. Breaks off when they turn out wrong. */
  stream(): ReadableStream<Uint8Array>;
}

/** Fetches blobs from other registries: each once, however many clients wait for it. */
export class BlobFetches {
  readonly #store: RegistryStore;
  readonly #folder: string;
  readonly #signal: AbortSignal;
  readonly #gate = new Gate(fetchesAtOnce, 1_000);
  readonly #running = new Map<string, Fetching>();

  constructor(store: RegistryStore, folder: string, signal: AbortSignal) {
    this.#store = store;
    this.#folder = folder;
    this.#signal = signal;
  }

  /** @throws Refusal BLOB_UNKNOWN, UNAVAILABLE — when it is known before the first byte */
  async start(from: Repository, blob: { name: string; digest: Digest }): Promise<BlobFetch> {
    const key = `${blob.name}@${blob.digest}`;
    let fetching = this.#running.get(key);
    if (!fetching) {
      fetching = new Fetching(`${this.#folder}/${crypto.randomUUID()}`, blob.digest);
      this.#running.set(key, fetching);
      const mine = fetching;
      const run = this.#gate.run(() => this.#fetch(from, blob, mine));
      mine.settle(run.finally(() => this.#running.delete(key)));
    }
    await fetching.begun;
    return fetching;
  }

  async #fetch(
    from: Repository,
    { name, digest }: { name: string; digest: Digest },
    fetching: Fetching,
  ): Promise<void> {
    const file = await open(fetching.path, "wx+", 0o600);
    fetching.file = file;
    try {
      await this.#download(from, { digest, file, fetching });
      const found = fetching.progress.hasher.digest();
      if (found !== digest) {
        throw new Failure("corrupt", `its bytes hash to ${found} instead of ${digest}`);
      }
      const { sizeBytes } = fetching.progress;
      const repository = this.#store.names.ensure(name);
      await this.#store.blobs.adopt(repository, digest, { path: fetching.path, sizeBytes });
    } catch (error) {
      if (isUnknown(error)) throw unknownBlob(digest);
      throw unavailable(error, `${from.domain}/${from.path}`);
    } finally {
      await rm(fetching.path, { force: true });
    }
  }

  /** Goes on where the connection broke. */
  async #download(
    from: Repository,
    { digest, file, fetching }: { digest: Digest; file: FileHandle; fetching: Fetching },
  ): Promise<void> {
    const { progress } = fetching;
    for (let attempt = 1; ; attempt++) {
      try {
        const at = progress.sizeBytes;
        const { offset, stream } = await from.blob(digest, { from: at, signal: this.#signal });
        const writer = new PieceWriter(file, progress);
        let skip = at - offset; // without ranges it comes from the start again
        for await (const chunk of stream(blobBytesMax)) {
          const part = skip >= chunk.length ? undefined : chunk.subarray(skip);
          skip = Math.max(0, skip - chunk.length);
          if (part) await writer.write(part);
          fetching.tell();
        }
        await writer.end();
        fetching.tell();
        return;
      } catch (error) {
        const isLasting = isUnknown(error) || this.#signal.aborted;
        if (isLasting || attempt >= attemptsMax || progress.sizeBytes === 0) throw error;
        await Bun.sleep(200 * attempt);
      }
    }
  }
}

/** One fetch under way: a file that grows, and those who read it. */
class Fetching implements BlobFetch {
  readonly path: string;
  readonly progress: Progress;
  file: FileHandle | undefined;
  whole: Promise<void> = Promise.resolve();
  /** Settles with the first bytes, or with the end. */
  readonly begun: Promise<void>;
  readonly #begin = Promise.withResolvers<void>();
  #next = Promise.withResolvers<void>();
  #state: "running" | "whole" | { readonly error: unknown } = "running";
  #readers = 0;

  constructor(path: string, digest: Digest) {
    this.path = path;
    this.progress = { hasher: new DigestHasher(algorithmOf(digest)), sizeBytes: 0 };
    this.begun = this.#begin.promise;
    this.begun.catch(() => {}); // those who wait for it see it
  }

  settle(run: Promise<void>): void {
    this.whole = run.then(
      () => this.#end("whole"),
      (error) => {
        this.#end({ error });
        throw error;
      },
    );
    this.whole.catch(() => {}); // readers see it
  }

  tell(): void {
    if (this.progress.sizeBytes > 0) this.#begin.resolve();
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  stream(): ReadableStream<Uint8Array> {
    this.#readers++;
    let isReading = true;
    const release = async () => {
      if (isReading) this.#readers--;
      isReading = false;
      await this.#closeWhenUnused();
    };
    const pieces = this.#pieces();
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
      try {
        const { value, done } = await pieces.next();
        if (!done) return controller.enqueue(value);
        controller.close();
      } catch (error) {
        controller.error(error);
      }
      await release();
    };
    return new ReadableStream({ pull, cancel: release }, { highWaterMark: 0 });
  }

  async *#pieces(): AsyncGenerator<Uint8Array, void> {
    for (let at = 0; ; ) {
      const next = this.#next.promise;
      if (typeof this.#state === "object") throw this.#state.error;
      const isWhole = this.#state === "whole";
      const end = isWhole ? this.progress.sizeBytes : this.progress.sizeBytes - heldBackBytes;
      if (at < end) {
        const piece = Buffer.allocUnsafe(Math.min(readBytes, end - at));
        const { bytesRead } = await this.file!.read(piece, 0, piece.length, at);
        at += bytesRead;
        yield piece.subarray(0, bytesRead);
      } else if (isWhole) return;
      else await next;
    }
  }

  #end(state: "whole" | { readonly error: unknown }): void {
    this.#state = state;
    if (typeof state === "object") this.#begin.reject(state.error);
    this.#begin.resolve();
    this.#next.resolve();
    void this.#closeWhenUnused();
  }

  async #closeWhenUnused(): Promise<void> {
    if (this.#state === "running" || this.#readers > 0) return;
    const { file } = this;
    this.file = undefined;
    await file?.close();
  }
}

/** What went wrong there, without what it says of our credentials. */
export function unavailable(error: unknown, where: string): Refusal {
  if (error instanceof Refusal) return error;
  const why = error instanceof Failure ? error.message : "it cannot be reached";
  return new Refusal("UNAVAILABLE", `Cannot get it from ${where}: ${why}`, {
    headers: { "Retry-After": "10" },
  });
}
