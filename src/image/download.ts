import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { type Code, Failure, Gate, isFailure, log, release } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import { type Descriptor, type Digest, hexOf } from "../oci/mod.ts";
import { patienceMs, pause, RegistryFailure, type Repository } from "../registry/mod.ts";
import { type GrowingFile, Growth } from "../snapshot/mod.ts";
import { diskFailure, errnoOf } from "../sys/mod.ts";
import { Partial } from "./partial.ts";

/** Told how a download goes. */
export interface Listener {
  /** So many bytes of the whole are here. */
  came(bytes: number): void;
  /** All are here and verified. */
  arrived?(): void;
}

/** A layer that is unpacked while its blob comes. */
export interface Arriving {
  readonly diffId: Digest;
  unpack(file: GrowingFile, signal: AbortSignal): Promise<void>;
}

export interface FetchOptions {
  readonly repository: Repository;
  readonly listener: Listener;
  readonly signal: AbortSignal;
  readonly layer?: Arriving;
}

interface Flight {
  /** True when `layer` was unpacked too. */
  readonly done: Promise<boolean>;
  readonly layer: Arriving | undefined;
  readonly listeners: Set<Listener>;
  readonly abort: AbortController;
  hasArrived: boolean;
  waiters: number;
}

/** As Docker; each holds some megabytes in the HTTP client where the registry is faster than the disk. */
const downloadsAtOnceDefault = 3;
const triesMax = 5;
const liesAs: ReadonlySet<Code> = new Set(["corrupt", "invalid", "exhausted", "unsupported"]);
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
   * Success means that the blob is in the content store, verified; true, that the layer which was asked for
   * is unpacked too. Otherwise the file is still to be unpacked: it was here, or it came too slowly.
   * @throws Failure "corrupt" — the registry sent something else; "denied" | "not_found" | "unavailable"
   */
  async fetch(descriptor: Descriptor, options: FetchOptions): Promise<boolean> {
    const { digest } = descriptor;
    const isHere = !this.#flights.has(digest) && (await this.#content.size(digest)) !== undefined;
    if (isHere) {
      options.listener.arrived?.();
      return false;
    }
    const running = this.#flights.get(digest);
    if (!running) return await this.#wait(this.#start(descriptor, options), options);
    try {
      const isUnpacked = await this.#wait(running, options);
      return isUnpacked && running.layer?.diffId === options.layer?.diffId;
    } catch (error) {
      if (options.signal.aborted) throw error;
      // It was another's, with other rights or from elsewhere.
      return await this.fetch(descriptor, options);
    }
  }

  #start(descriptor: Descriptor, { repository, layer }: FetchOptions): Flight {
    const { digest } = descriptor;
    const listeners = new Set<Listener>();
    const abort = new AbortController();
    const tell = (bytes: number) => {
      for (const each of listeners) each.came(bytes);
    };
    const work = { repository, tell, signal: abort.signal, growth: new Growth(), layer };
    const flight: Flight = {
      done: this.#fly(descriptor, work, () => {
        flight.hasArrived = true;
        for (const each of listeners) each.arrived?.();
      }),
      ...{ layer, listeners, abort, hasArrived: false, waiters: 0 },
    };
    flight.done.catch(() => {}); // its waiters see the error; all of them may be gone
    this.#flights.set(digest, flight);
    return flight;
  }

  async #fly(descriptor: Descriptor, work: Work, arrived: () => void): Promise<boolean> {
    const { digest } = descriptor;
    try {
      const unpacking = await this.#gate.run(() => this.#download(descriptor, work));
      arrived();
      return await unpacking.outcome;
    } catch (error) {
      // It is what the registry says it is, and no layer: it would only lie here.
      if (error instanceof Failure && liesAs.has(error.code) && !errnoOf(error)) {
        await this.#content.remove(digest);
      }
      throw error;
    } finally {
      this.#flights.delete(digest);
    }
  }

  async #wait(flight: Flight, { listener, signal }: FetchOptions): Promise<boolean> {
    flight.waiters++;
    flight.listeners.add(listener);
    if (flight.hasArrived) listener.arrived?.();
    let give = () => {};
    const gone = new Promise<never>((_, reject) => {
      give = () => reject(new Failure("unavailable", "Cannot finish the pull: it was given up"));
    });
    if (signal.aborted) give();
    else signal.addEventListener("abort", give, { once: true });
    try {
      return await Promise.race([flight.done, gone]);
    } finally {
      signal.removeEventListener("abort", give);
      flight.listeners.delete(listener);
      if (--flight.waiters === 0) flight.abort.abort();
    }
  }

  /** Ends when the blob is here; its unpacking may go on. */
  async #download(
    descriptor: Descriptor,
    work: Work,
  ): Promise<{ readonly outcome: Promise<boolean> }> {
    const { digest } = descriptor;
    const path = `${this.#directory}/${hexOf(digest)}`;
    const whole = Promise.withResolvers<void>();
    whole.promise.catch(() => {}); // nobody may be unpacking
    try {
      const unpacking = work.layer
        ? await unpackArriving(path, work.layer, { ...work, whole: whole.promise })
        : { outcome: Promise.resolve(false) };
      await fetchFile(path, descriptor, work);
      await this.#content.adopt(path, {
        expected: digest,
        trusted: true,
        sync: "later", // the registry has it still
      });
      whole.resolve();
      return unpacking;
    } catch (error) {
      work.growth.tell(0, "broken");
      whole.reject(error);
      if (isFailure(error, "corrupt") || isFailure(error, "exhausted")) {
        await rm(path, { force: true });
      }
      throw diskFailure(error, "download", digest);
    }
  }
}

/**
 * Begins to unpack the file at `path`, which is made when absent. The outcome is false where that has to be
 * done again from the whole file, and an error where it would be the same again.
 */
async function unpackArriving(
  path: string,
  layer: Arriving,
  { growth, whole, signal }: Work & { readonly whole: Promise<void> },
): Promise<{ readonly outcome: Promise<boolean> }> {
  // By descriptor, for the name is another once the file is whole.
  const file = await open(path, "a+", 0o600);
  const unpack = async () => {
    try {
      await layer.unpack({ path: `/proc/self/fd/${file.fd}`, growth, whole }, signal);
      return true;
    } catch (error) {
      await whole; // what is wrong with the blob itself outweighs
      if (!isFailure(error, "timeout") && !isFailure(error, "unavailable")) throw error;
      log("debug", "A layer is unpacked once more", { diffId: layer.diffId, why: error });
      return false;
    } finally {
      await file.close();
    }
  };
  const outcome = unpack();
  outcome.catch(() => {}); // seen when the blob is here
  return { outcome };
}

interface Work {
  readonly repository: Repository;
  readonly tell: (bytes: number) => void;
  readonly signal: AbortSignal;
  readonly growth: Growth;
  readonly layer: Arriving | undefined;
}

/** Fetches until the file is whole; each try that brings something earns new ones. */
async function fetchFile(path: string, descriptor: Descriptor, work: Work): Promise<void> {
  let wasResumed = false;
  for (let failed = 0, before = -1; ; ) {
    const file = await open(path, "a+", 0o600);
    let partial: Partial;
    try {
      partial = await Partial.of(file, descriptor, work.growth);
      wasResumed ||= partial.sizeBytes > 0;
      if (partial.sizeBytes < descriptor.size) await fetchRest(partial, descriptor, work);
    } catch (error) {
      const sizeBytes = (await file.stat()).size;
      failed = sizeBytes > before ? 1 : failed + 1;
      before = sizeBytes;
      const isWrong = isFailure(error, "exhausted");
      if ((isWrong || failed > 1) && work.repository.distrust(descriptor.digest)) {
        if (isWrong) {
          work.growth.tell(0, "broken");
          await file.truncate(0);
        }
        continue;
      }
      if (work.signal.aborted || !isBroken(error) || failed >= triesMax) throw error;
      await pause(patienceMs(failed), work.signal);
      continue;
    } finally {
      await file.close();
    }
    if (partial.digest() === descriptor.digest) {
      work.growth.tell(partial.sizeBytes, "whole");
      return;
    }
    work.growth.tell(0, "broken");
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
      release(chunk);
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
