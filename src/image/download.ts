import { type FileHandle, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { Failure, Gate, isFailure } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import { algorithmOf, type Descriptor, type Digest, DigestHasher, hexOf } from "../oci/mod.ts";
import { RegistryFailure, type Repository } from "../registry/mod.ts";
import { diskFailure } from "../sys/mod.ts";

/** Told how far a download is, in bytes of the whole. */
export type Told = (bytes: number) => void;

interface Flight {
  readonly done: Promise<void>;
  readonly told: Set<Told>;
  readonly abort: AbortController;
  waiters: number;
}

const pieceBytes = 256 << 10;
/** As Docker; each holds some megabytes in the HTTP client where the registry is faster than the disk. */
const downloadsAtOnceDefault = 3;
const triesMax = 5;
const partialMsMax = 7 * 24 * 3_600_000;

/**
 * Brings blobs from registries into the content store. What arrives is written to `partial/<hex>` and
 * stays there when the connection, the client or the daemon goes: the next try begins where it broke.
 * A blob that several want at once is fetched once.
 */
export class Downloads {
  readonly #directory: string;
  readonly #content: ContentStore;
  readonly #gate = new Gate(downloadsAtOnceDefault);
  readonly #flights = new Map<Digest, Flight>();

  private constructor(directory: string, content: ContentStore) {
    this.#directory = directory;
    this.#content = content;
  }

  /** `directory` must be on the content store's file system; it is made when absent. */
  static async open(directory: string, content: ContentStore): Promise<Downloads> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const beforeMs = Date.now() - partialMsMax;
    for (const name of await readdir(directory)) {
      const path = `${directory}/${name}`;
      if ((await stat(path)).mtimeMs < beforeMs) await rm(path, { recursive: true, force: true });
    }
    return new Downloads(directory, content);
  }

  /** Sets how many blobs arrive at a time. */
  limit(atOnce: number): void {
    this.#gate.resize(atOnce);
  }

  /**
   * Success means that the blob is in the content store, verified.
   * @throws Failure "corrupt" — the registry sent something else; "denied" | "not_found" | "unavailable"
   */
  async fetch(
    descriptor: Descriptor,
    { repository, told, signal }: { repository: Repository; told: Told; signal: AbortSignal },
  ): Promise<void> {
    const { digest } = descriptor;
    if ((await this.#content.size(digest)) !== undefined) return;
    const running = this.#flights.get(digest);
    if (!running) return await this.#wait(this.#start(descriptor, repository), told, signal);
    try {
      await this.#wait(running, told, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      // It was another's, with other rights or from elsewhere.
      await this.fetch(descriptor, { repository, told, signal });
    }
  }

  #start(descriptor: Descriptor, repository: Repository): Flight {
    const { digest } = descriptor;
    const told = new Set<Told>();
    const abort = new AbortController();
    const tell = (bytes: number) => {
      for (const each of told) each(bytes);
    };
    const work = { repository, tell, signal: abort.signal };
    const done = this.#gate
      .run(() => this.#download(descriptor, work))
      .finally(() => this.#flights.delete(digest));
    done.catch(() => {}); // its waiters see the error; all of them may be gone
    const flight = { done, told, abort, waiters: 0 };
    this.#flights.set(digest, flight);
    return flight;
  }

  async #wait(flight: Flight, told: Told, signal: AbortSignal): Promise<void> {
    flight.waiters++;
    flight.told.add(told);
    let give = () => {};
    const gone = new Promise<never>((_, reject) => {
      give = () => reject(new Failure("unavailable", "Cannot finish the pull: it was given up"));
    });
    if (signal.aborted) give();
    else signal.addEventListener("abort", give, { once: true });
    try {
      await Promise.race([flight.done, gone]);
    } finally {
      signal.removeEventListener("abort", give);
      flight.told.delete(told);
      if (--flight.waiters === 0) flight.abort.abort();
    }
  }

  async #download(descriptor: Descriptor, work: Work): Promise<void> {
    const path = `${this.#directory}/${hexOf(descriptor.digest)}`;
    try {
      await fetchFile(path, descriptor, work);
      await this.#content.adopt(path, {
        expected: descriptor.digest,
        trusted: true,
        sync: "later", // the registry has it still
      });
    } catch (error) {
      if (isFailure(error, "corrupt") || isFailure(error, "exhausted")) {
        await rm(path, { force: true });
      }
      throw diskFailure(error, "download", descriptor.digest);
    }
  }
}

interface Work {
  readonly repository: Repository;
  readonly tell: Told;
  readonly signal: AbortSignal;
}

/** Fetches until the file is whole; each try that brings something earns new ones. */
async function fetchFile(path: string, descriptor: Descriptor, work: Work): Promise<void> {
  let wasResumed = false;
  for (let failed = 0, before = -1; ; ) {
    const file = await open(path, "a+", 0o600);
    let partial: Partial;
    try {
      partial = await Partial.of(file, descriptor);
      wasResumed ||= partial.sizeBytes > 0;
      if (partial.sizeBytes < descriptor.size) await fetchRest(partial, descriptor, work);
    } catch (error) {
      const sizeBytes = (await file.stat()).size;
      failed = sizeBytes > before ? 1 : failed + 1;
      before = sizeBytes;
      const isWrong = isFailure(error, "exhausted");
      if ((isWrong || failed > 1) && work.repository.distrust(descriptor.digest)) {
        if (isWrong) await file.truncate(0);
        continue;
      }
      if (work.signal.aborted || !isBroken(error) || failed >= triesMax) throw error;
      await Bun.sleep(200 * failed);
      continue;
    } finally {
      await file.close();
    }
    if (partial.digest() === descriptor.digest) return;
    await rm(path, { force: true });
    // A part from before a crash of the host may have holes: once more from the start.
    const isOver = !wasResumed && !work.repository.distrust(descriptor.digest);
    if (isOver) throw damaged(descriptor.digest, work.repository);
    wasResumed = false;
    before = -1;
  }
}

/** A connection that broke; what the registry itself refuses was tried again already. */
function isBroken(error: unknown): boolean {
  if (error instanceof RegistryFailure) return false;
  return isFailure(error, "unavailable") || isFailure(error, "timeout");
}

async function fetchRest(
  partial: Partial,
  { digest, size }: Descriptor,
  work: Work,
): Promise<void> {
  const { repository, signal, tell } = work;
  const { offset, stream } = await repository.blob(digest, { from: partial.sizeBytes, signal });
  if (offset !== partial.sizeBytes) await partial.restart();
  try {
    for await (const chunk of stream(size - offset)) {
      await partial.push(chunk);
      tell(partial.sizeBytes);
    }
  } finally {
    await partial.flush(); // what came counts, also when the rest did not
  }
  if (partial.sizeBytes === size) return;
  const why = `the connection ended after ${partial.sizeBytes} of ${size} bytes`;
  throw new Failure("unavailable", `Cannot download ${digest} from ${repository.domain}: ${why}`);
}

function damaged(digest: Digest, { domain, path }: Repository): Failure {
  return new Failure(
    "corrupt",
    `filesystem layer verification failed for digest ${digest}: ${domain}/${path} sent other bytes`,
  );
}

/** A file that grows, with the hash of what is in it. Writes go on while the next piece is gathered. */
class Partial {
  readonly #file: FileHandle;
  #hasher: DigestHasher;
  /** One is filled while the other is written. */
  #piece = Buffer.allocUnsafe(pieceBytes);
  #other = Buffer.allocUnsafe(pieceBytes);
  #used = 0;
  #writing: Promise<unknown> = Promise.resolve();
  sizeBytes = 0;

  private constructor(file: FileHandle, digest: Digest) {
    this.#file = file;
    this.#hasher = new DigestHasher(algorithmOf(digest));
  }

  static async of(file: FileHandle, { size, digest }: Descriptor): Promise<Partial> {
    const partial = new Partial(file, digest);
    if ((await file.stat()).size > size) await file.truncate(0);
    const piece = Buffer.allocUnsafe(pieceBytes);
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, pieceBytes, partial.sizeBytes);
      if (bytesRead === 0) return partial;
      partial.#hasher.update(piece.subarray(0, bytesRead));
      partial.sizeBytes += bytesRead;
    }
  }

  async push(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const take = Math.min(chunk.length - at, pieceBytes - this.#used);
      this.#piece.set(chunk.subarray(at, at + take), this.#used);
      at += take;
      this.#used += take;
      if (this.#used === pieceBytes) await this.flush(false);
    }
    this.sizeBytes += chunk.length;
  }

  /** Gives what is gathered to the file; with `wait`, until it is there. */
  async flush(wait = true): Promise<void> {
    await this.#writing;
    if (this.#used > 0) {
      const full = this.#piece.subarray(0, this.#used);
      this.#hasher.update(full);
      this.#writing = writeAll(this.#file, full);
      this.#writing.catch(() => {}); // seen by the next await of it
      [this.#piece, this.#other] = [this.#other, this.#piece];
      this.#used = 0;
    }
    if (wait) await this.#writing;
  }

  /** The registry begins at the start again. */
  async restart(): Promise<void> {
    await this.#file.truncate(0);
    this.#hasher = new DigestHasher(this.#hasher.algorithm);
    this.sizeBytes = 0;
  }

  digest(): Digest {
    return this.#hasher.digest();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    // The file is open for appending.
    at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
  }
}
