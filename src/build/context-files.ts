import { randomBytes } from "node:crypto";
import { open as openFile } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import type { TakenContext } from "./types.ts";

/** Files that a client sends. */
export interface Arrival {
  /** A tar, compressed or not. */
  readonly body: AsyncIterable<Uint8Array>;
  /** About how much it unpacks to; 0: nobody knows. */
  readonly sizeBytes: number;
  /** Aborted when the client or the build is gone. */
  readonly signal: AbortSignal;
}

/** Does with files what is to be done while they come. */
export type Receive<Result> = (arrival: Arrival) => Promise<Result>;

/** The files of a context that was only listed: a client sends those that a step needs. */
export interface ContextFiles {
  /** SHA-256 of the listing, hexadecimal, as the client says. */
  readonly digest: string;
  /** Path of the listing, which the client is asked for once; nobody looked what is in it. */
  listing(): Promise<string>;
  /** A folder with what is at these paths; it stays until the build has ended, or somebody takes it. */
  open(paths: readonly string[]): Promise<SentFiles>;
  /** What is at these paths for the caller alone, as it comes; undefined when somebody opened it already. */
  receive<Result>(paths: readonly string[], receive: Receive<Result>): Promise<Result> | undefined;
}

/** What a client sent. */
export interface SentFiles {
  readonly root: string;
  /**
   * Makes the folder the caller's, to move away or change: whoever opens these paths later gets them
   * sent anew. False when another step has it as well, or it is in memory.
   */
  take(): boolean;
}

const answerTimeoutMs = 10 * 60_000;
const listingBytesMax = 256 << 20;

/** Questions to clients that are waited for: each is answered by files, once. */
export class Demands {
  readonly #open = new Map<string, Receive<void>>();

  /** Gives what `receive` made of the files. @throws Failure "timeout" — nothing came; what `receive` throws */
  async ask<Result>(
    tell: (id: string) => void,
    { receive, signal }: { receive: Receive<Result>; signal: AbortSignal },
  ): Promise<Result> {
    const id = randomBytes(16).toString("hex");
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const late = setTimeout(() => {
      reject(new Failure("timeout", "The client did not send the files of the context in time"));
    }, answerTimeoutMs);
    const stop = () => reject(new Failure("unavailable", "Build cancelled"));
    const end = () => {
      this.#open.delete(id);
      clearTimeout(late);
      signal.removeEventListener("abort", stop);
    };
    signal.addEventListener("abort", stop, { once: true });
    this.#open.set(id, async (arrival) => {
      end(); // from here on it is over when `receive` is
      try {
        const both = AbortSignal.any([arrival.signal, signal]);
        resolve(await receive({ ...arrival, signal: both }));
      } catch (error) {
        reject(error);
        throw error;
      }
    });
    try {
      signal.throwIfAborted();
      tell(id);
      return await promise;
    } finally {
      end();
    }
  }

  /** @throws Failure "not_found" — nobody waits for that; what the one who waits throws of it */
  async answer(id: string, arrival: Arrival): Promise<void> {
    const receive = this.#open.get(id);
    if (receive) return await receive(arrival);
    throw new Failure("not_found", `No build waits for the files "${id.slice(0, 64)}"`);
  }
}

interface Sources {
  /** SHA-256 of the listing, hexadecimal. */
  readonly digest: string;
  /** Gets the listing, and gives its path. */
  readonly listing: () => Promise<string>;
  /** Asks the client for files. */
  readonly demand: <Result>(paths: readonly string[], receive: Receive<Result>) => Promise<Result>;
  /** Puts them into a folder. */
  readonly take: Receive<TakenContext>;
  /** Ends what clients have sent. */
  readonly cleanup: AsyncDisposableStack;
}

/** A context by its listing. */
export function contextFiles(sources: Sources): ContextFiles {
  const { digest, demand, take: takeFiles, cleanup } = sources;
  let asked: Promise<string> | undefined;
  const listing = () => {
    asked ??= sources.listing();
    return asked;
  };
  const opened = new Map<string, { readonly files: Promise<SentFiles>; users: number }>();
  const open = (paths: readonly string[]) => {
    const key = JSON.stringify(paths);
    const known = opened.get(key);
    if (known) {
      known.users++;
      return known.files;
    }
    const files = demand(paths, takeFiles).then((taken) => {
      const { path: root, isOnDisk = false } = cleanup.use(taken);
      return { root, take: () => isOnDisk && one.users === 1 && opened.delete(key) };
    });
    const one = { files, users: 1 };
    files.catch(() => {}); // who asked hears of it
    opened.set(key, one);
    return files;
  };
  const receive: ContextFiles["receive"] = (paths, each) =>
    opened.has(JSON.stringify(paths)) ? undefined : demand(paths, each);
  return { digest, listing, open, receive };
}

/** Writes a listing as it comes to a new file, and gives its path. @throws Failure "exhausted" */
export async function keepListing({ body }: Arrival, path: string): Promise<string> {
  await using file = await openFile(path, "wx", 0o600);
  let length = 0;
  for await (const piece of body) {
    length += piece.length;
    if (length > listingBytesMax) {
      throw new Failure(
        "exhausted",
        `The context's listing is larger than ${listingBytesMax} bytes`,
      );
    }
    await file.writeFile(piece);
  }
  return path;
}
