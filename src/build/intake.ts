import { mkdir, rm } from "node:fs/promises";
import { isFailure, limits } from "../base/mod.ts";
import { unpackTar } from "../snapshot/mod.ts";
import { unmountNow } from "../sys/mod.ts";
import { mountTmpfs } from "./memory-folder.ts";
import { newId } from "./tools.ts";
import type { TakenContext } from "./types.ts";

/** An upload of at most this size is unpacked in memory: small files cost a disk much, memory little. */
const uploadBytesMax = 8 << 20;
/** What such a context may take unpacked; one that grows beyond goes to the disk. */
const tmpfsOptions = "size=64m,nr_inodes=32768,mode=755";
/** Contexts in memory at a time. */
const inMemoryMax = 2;

/** Unpacks uploaded build contexts under `work/`; in memory when they are small. */
export class Intake {
  readonly #directory: string;
  #inMemory = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Unpacks a tar, compressed or not. No bytes at all are an empty context.
   * @throws Failure "invalid" (a hostile entry) | "corrupt" | "exhausted"
   */
  async take(body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<TakenContext> {
    const path = `${this.#directory}/work/context-${newId()}`;
    await mkdir(path, { recursive: true, mode: 0o755 });
    let isMounted = false;
    const close = async () => {
      if (isMounted) {
        isMounted = false;
        this.#inMemory--;
        unmountNow(path, { detach: true });
      }
    };
    const dispose = async () => {
      await close();
      await rm(path, { recursive: true, force: true, maxRetries: 3 });
    };
    try {
      const { head, rest } = await readHead(body);
      const options = { signal, sizeBytesMax: limits.layerBytesMax };
      if (head.length > 0 && !rest && this.#inMemory < inMemoryMax) {
        this.#inMemory++;
        isMounted = true;
        mountTmpfs(path, tmpfsOptions);
        try {
          await unpackTar(chained(head, rest), path, options);
          return { path, [Symbol.asyncDispose]: dispose };
        } catch (error) {
          if (!isFailure(error, "exhausted")) throw error;
          await close(); // it is small only while it is packed
        }
      }
      if (head.length > 0) await unpackTar(chained(head, rest), path, options);
      return { path, [Symbol.asyncDispose]: dispose };
    } catch (error) {
      await dispose();
      throw error;
    }
  }
}

/** The first bytes in one piece, and the reader of the rest if there are more. */
async function readHead(body: AsyncIterable<Uint8Array>) {
  const reader = body[Symbol.asyncIterator]();
  // Clients send a context in thousands of small chunks: together they are one message to the worker.
  let head = Buffer.allocUnsafeSlow(1 << 20);
  let size = 0;
  while (size <= uploadBytesMax) {
    const next = await reader.next();
    if (next.done) return { head: head.subarray(0, size), rest: undefined };
    const needed = size + next.value.length;
    if (needed > head.length) {
      head = Buffer.concat([head.subarray(0, size)], Math.max(needed, head.length * 2));
    }
    head.set(next.value, size);
    size = needed;
  }
  return { head: head.subarray(0, size), rest: reader };
}

async function* chained(
  head: Uint8Array,
  rest: AsyncIterator<Uint8Array> | undefined,
): AsyncGenerator<Uint8Array, void> {
  yield head;
  if (rest) yield* { [Symbol.asyncIterator]: () => rest };
}
