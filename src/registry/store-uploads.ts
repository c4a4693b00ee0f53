import type { Database } from "bun:sqlite";
import { randomUUID } from "node:crypto";
import { type FileHandle, open, readdir, rm, stat } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import { algorithmOf, type Digest, type DigestAlgorithm, DigestHasher } from "../oci/mod.ts";
import { diskFailure, errnoOf } from "../sys/mod.ts";
import { Refusal } from "./refusal.ts";
import type { RepositoryId } from "./store-names.ts";
import { hashWhole, PieceWriter, type Progress } from "./store-pieces.ts";

/** An upload that somebody has begun. */
export interface Upload {
  readonly id: string;
  readonly repository: RepositoryId;
  readonly touchedMs: number;
}

type Parts = {
  readonly database: Database;
  /** Where half blobs are: one file an upload, named by its id. */
  readonly directory: string;
  readonly uploadsMax: number;
  readonly uploadsPerClientMax: number;
};

const progressMax = 2_000;
/** How long a request waits for another one to the same upload to end. */
const turnMsMax = 3_000;
const turnStepMs = 20;
const wholePrefix = "whole-";

/**
 * Uploads in pieces. A file's length is how far an upload is, so that they survive `kill -9`; only one
 * request at a time writes to one.
 */
export class Uploads {
  readonly #parts: Parts;
  readonly #busy = new Set<string>();
  /** Lost with the process, made anew from the file. */
  readonly #progress = new Map<string, Progress>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * With `isWhole`, one request brings all: after a crash nobody could go on, and nothing is kept.
   * By another algorithm than it ends with, the file is read once more at the end.
   * @throws Refusal TOOMANYREQUESTS — too many begun, by this client or by all
   */
  async start(
    repository: RepositoryId,
    who: string,
    {
      isWhole = false,
      algorithm = "sha256",
    }: { isWhole?: boolean; algorithm?: DigestAlgorithm } = {},
  ): Promise<Upload> {
    const row = this.#parts.database
      .query<{ all: number; mine: number }, [string]>(
        `SELECT (SELECT count(*) FROM registry_upload) AS "all",
                (SELECT count(*) FROM registry_upload WHERE who = ?) AS mine`,
      )
      .get(who) ?? { all: 0, mine: 0 };
    if (row.all >= this.#parts.uploadsMax || row.mine >= this.#parts.uploadsPerClientMax) {
      throw new Refusal("TOOMANYREQUESTS", "Cannot begin an upload: too many are open", {
        headers: { "Retry-After": "30" },
        hint: "Finish or cancel others; forgotten ones expire",
      });
    }
    const id = `${isWhole ? wholePrefix : ""}${randomUUID()}`;
    const touchedMs = Date.now();
    this.#parts.database
      .query("INSERT INTO registry_upload (id, repository, who, touched_ms) VALUES (?, ?, ?, ?)")
      .run(id, repository, who, touchedMs);
    try {
      await (await open(this.path(id), "wx", 0o600)).close();
    } catch (error) {
      this.#forget(id);
      throw diskFailure(error, "begin upload", id);
    }
    this.#remember(id, { hasher: new DigestHasher(algorithm), sizeBytes: 0 });
    return { id, repository, touchedMs };
  }

  /** @throws Refusal BLOB_UPLOAD_UNKNOWN */
  need(repository: RepositoryId | undefined, id: string): Upload {
    const row = this.#parts.database
      .query<Upload, [string]>(
        "SELECT id, repository, touched_ms AS touchedMs FROM registry_upload WHERE id = ?",
      )
      .get(id);
    if (row && row.repository === repository) return row;
    throw unknownUpload(id);
  }

  /** Bytes that are safe in the file. @throws Refusal BLOB_UPLOAD_UNKNOWN */
  async sizeOf(id: string): Promise<number> {
    const live = this.#progress.get(id);
    if (live) return live.sizeBytes;
    try {
      return (await stat(this.path(id))).size;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") throw unknownUpload(id);
      throw diskFailure(error, "look at upload", id);
    }
  }

  /**
   * Adds bytes at the end and returns the new length. When the stream breaks, what came is kept.
   * @throws Refusal SIZE_INVALID — more than `sizeBytesMax` in all; the upload is as before
   */
  async append(
    id: string,
    bytes: AsyncIterable<Uint8Array>,
    { sizeBytesMax }: { sizeBytesMax: number },
  ): Promise<number> {
    return await this.#exclusive(id, async (file, progress) => {
      const before = progress.sizeBytes;
      const writer = new PieceWriter(file, progress);
      try {
        for await (const chunk of bytes) {
          if (writer.sizeBytes + chunk.length > sizeBytesMax) {
            await file.truncate(before);
            this.#progress.delete(id);
            throw new Refusal(
              "SIZE_INVALID",
              `Cannot take the upload: over ${sizeBytesMax} bytes`,
              {
                status: 413,
              },
            );
          }
          await writer.write(chunk);
        }
      } catch (error) {
        if (error instanceof Failure) throw error;
        await writer.end(); // the client went away: it may resume
        throw error;
      }
      await writer.end();
      return progress.sizeBytes;
    });
  }

  /**
   * Ends an upload: hands its file to `take`, which must move it away, when its bytes are what they
   * should be; else the upload is forgotten.
   * @throws Refusal DIGEST_INVALID
   */
  async finish(
    id: string,
    expected: Digest,
    take: (file: { path: string; sizeBytes: number }) => Promise<void>,
  ): Promise<void> {
    await this.#exclusive(id, async (file, progress) => {
      const algorithm = algorithmOf(expected);
      const isOther = progress.hasher.algorithm !== algorithm;
      const { hasher, sizeBytes } = isOther ? await hashWhole(file, algorithm) : progress;
      const found = hasher.digest();
      if (found !== expected) {
        await this.cancel(id);
        throw new Refusal("DIGEST_INVALID", `Cannot take the blob: its bytes hash to ${found}`, {
          detail: { digest: expected },
        });
      }
      await file.truncate(sizeBytes); // a failed write may have left bytes that nobody counted
      await take({ path: this.path(id), sizeBytes });
      this.#forget(id);
    });
  }

  /** Forgets an upload and its bytes. Absent is fine; one that is written to ends at its next piece. */
  async cancel(id: string): Promise<void> {
    await rm(this.path(id), { force: true }); // first: on a full disk the row cannot go before it
    this.#forget(id);
  }

  /** Ids of uploads that nobody has written to since `beforeMs`. */
  expired(beforeMs: number): { id: string; name: string }[] {
    return this.#parts.database
      .query<{ id: string; name: string }, [number]>(
        `SELECT u.id, r.name FROM registry_upload u JOIN registry_repository r ON r.id = u.repository
         WHERE u.touched_ms < ? LIMIT 10000`,
      )
      .all(beforeMs)
      .filter(({ id }) => !this.#busy.has(id));
  }

  /** Removes files without a row and rows without a file: what a crash may leave. */
  async reconcile(): Promise<void> {
    const rows = this.#parts.database.query<{ id: string }, []>("SELECT id FROM registry_upload");
    const ids = rows.all().map(({ id }) => id);
    for (const id of ids) if (id.startsWith(wholePrefix)) this.#forget(id);
    const known = new Set(ids.filter((id) => !id.startsWith(wholePrefix)));
    const files = new Set(await readdir(this.#parts.directory));
    for (const name of files) {
      if (!known.has(name)) await rm(`${this.#parts.directory}/${name}`, { force: true });
    }
    for (const id of known) if (!files.has(id)) this.#forget(id);
  }

  path(id: string): string {
    return `${this.#parts.directory}/${id}`;
  }

  async #exclusive<T>(
    id: string,
    task: (file: FileHandle, progress: Progress) => Promise<T>,
  ): Promise<T> {
    // A client whose connection broke comes back before the end of its last request was seen here.
    for (let waitedMs = 0; this.#busy.has(id) && waitedMs < turnMsMax; waitedMs += turnStepMs) {
      await Bun.sleep(turnStepMs);
    }
    if (this.#busy.has(id)) {
      throw new Refusal("BLOB_UPLOAD_INVALID", `Cannot use upload ${id}: it is written to`, {
        status: 409,
        hint: "Wait for the other request to end",
      });
    }
    this.#busy.add(id);
    try {
      const file = await open(this.path(id), "r+").catch((error) => {
        throw errnoOf(error) === "ENOENT" ? unknownUpload(id) : diskFailure(error, "open", id);
      });
      try {
        const progress = this.#progress.get(id) ?? (await hashWhole(file, "sha256"));
        this.#remember(id, progress);
        return await task(file, progress);
      } catch (error) {
        throw errnoOf(error) === undefined ? error : diskFailure(error, "write upload", id);
      } finally {
        await file.close();
        this.#touch(id);
      }
    } finally {
      this.#busy.delete(id);
    }
  }

  #touch(id: string): void {
    this.#parts.database
      .query("UPDATE registry_upload SET touched_ms = ? WHERE id = ?")
      .run(Date.now(), id);
  }

  #remember(id: string, progress: Progress): void {
    this.#progress.delete(id);
    this.#progress.set(id, progress);
    const oldest = this.#progress.keys().next().value;
    if (this.#progress.size > progressMax && oldest !== undefined && !this.#busy.has(oldest)) {
      this.#progress.delete(oldest);
    }
  }

  #forget(id: string): void {
    this.#progress.delete(id);
    this.#parts.database.query("DELETE FROM registry_upload WHERE id = ?").run(id);
  }
}

function unknownUpload(id: string): Refusal {
  return new Refusal("BLOB_UPLOAD_UNKNOWN", `Cannot find upload ${id.slice(0, 64)}`);
}
