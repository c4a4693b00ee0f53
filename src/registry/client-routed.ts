import { Failure, log } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { isPassing } from "./client-failure.ts";
import { cancelled } from "./client-fetch.ts";
import type { FetchedManifest, Repository } from "./client-repository.ts";
import type { Upload } from "./client-upload.ts";

const downMs = 30_000;

/** Mirrors that gave no answer are left alone for a while, by their host. */
export class Health {
  readonly #downUntilMs = new Map<string, number>();

  isUp(domain: string): boolean {
    return (this.#downUntilMs.get(domain) ?? 0) < performance.now();
  }

  isDown(domain: string): void {
    this.#downUntilMs.set(domain, performance.now() + downMs);
  }
}

/** A repository with mirrors: they are asked first, in their order, and whatever they lack comes from it. */
export class RoutedRepository implements Repository {
  readonly domain: string;
  readonly path: string;
  readonly #own: Repository;
  readonly #mirrors: readonly Repository[];
  readonly #health: Health;
  /** Who gave a blob last, and who gave a wrong one. */
  readonly #givers = new Map<Digest, Repository>();
  readonly #liars = new Map<Digest, Set<Repository>>();

  constructor(own: Repository, mirrors: readonly Repository[], health: Health) {
    this.#own = own;
    this.#mirrors = mirrors;
    this.#health = health;
    this.domain = own.domain;
    this.path = own.path;
  }

  manifest(reference: string, signal: AbortSignal): Promise<FetchedManifest> {
    return this.#read((one) => one.manifest(reference, signal), signal);
  }

  head(reference: string, signal: AbortSignal): Promise<Digest | undefined> {
    return this.#read((one) => one.head(reference, signal), signal);
  }

  async blob(
    digest: Digest,
    options: { from?: number; signal: AbortSignal },
  ): ReturnType<Repository["blob"]> {
    const isLiar = (one: Repository) => this.#liars.get(digest)?.has(one) === true;
    const read = async (one: Repository) => {
      const given = await one.blob(digest, options);
      this.#givers.set(digest, one);
      return given;
    };
    return await this.#read(read, options.signal, isLiar);
  }

  distrust(digest: Digest): boolean {
    const giver = this.#givers.get(digest);
    if (!giver || giver === this.#own) return false;
    log("warn", "A mirror's blob is of no use", { mirror: giver.domain, digest });
    const liars = this.#liars.get(digest) ?? new Set();
    this.#liars.set(digest, liars.add(giver));
    return true;
  }

  tags(signal: AbortSignal): Promise<string[]> {
    return this.#read((one) => one.tags(signal), signal);
  }

  referrers(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#read((one) => one.referrers(digest, signal), signal);
  }

  // What is written goes to the registry itself, and so does the question before it.

  hasBlob(digest: Digest, signal: AbortSignal): Promise<boolean> {
    return this.#own.hasBlob(digest, signal);
  }

  upload(upload: Upload): Promise<{ mountedFrom: string | undefined }> {
    return this.#own.upload(upload);
  }

  mount(blob: Pick<Upload, "digest" | "sources" | "signal">): Promise<string | undefined> {
    return this.#own.mount(blob);
  }

  putManifest(...all: Parameters<Repository["putManifest"]>): Promise<Digest> {
    return this.#own.putManifest(...all);
  }

  remove(reference: string, signal: AbortSignal): Promise<void> {
    return this.#own.remove(reference, signal);
  }

  async #read<Value>(
    read: (one: Repository) => Promise<Value>,
    signal: AbortSignal,
    isLeftOut: (one: Repository) => boolean = () => false,
  ): Promise<Value> {
    for (const mirror of this.#mirrors) {
      if (!this.#health.isUp(mirror.domain) || isLeftOut(mirror)) continue;
      try {
        const value = await read(mirror);
        if (value !== undefined) return value;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (signal.aborted) throw cancelled();
        if (isPassing(error)) this.#health.isDown(mirror.domain);
        const why = error.message;
        log("info", "A mirror did not help", { mirror: mirror.domain, path: mirror.path, why });
      }
    }
    return await read(this.#own);
  }
}
