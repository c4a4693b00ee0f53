import { Failure } from "../base/mod.ts";

/** What the hashing thread is given: everything is shared. */
export interface HashRing {
  /** [filled]: slots that were filled; [emptied]: that were hashed; then the bytes in each slot. */
  readonly control: Int32Array;
  readonly bytes: SharedArrayBuffer;
  /** The digest, before the last slot counts as emptied. */
  readonly digest: SharedArrayBuffer;
}

export const ringWords = { filled: 0, emptied: 1, sizes: 2 } as const;
export const slotBytes = 1 << 20;
export const slotCount = 4;
/** In place of a slot's size: the stream has ended. */
export const endMark = -1;
/** A shorter stream is hashed faster than a thread starts. */
export const shortBytesMax = 4 << 20;
const stuckMs = 120_000;

/**
 * On a thread of its own, which costs 15 MB and is worth it for a large stream alone; or on that of who
 * writes the files, where other streams keep the processors busy.
 */
export type HashPlace = "beside" | "here";

/**
 * SHA-256 of a stream, on a thread of its own as soon as the stream is long: who reads and writes files
 * meanwhile then waits for none of it. It blocks while that thread is behind: for workers.
 */
export class StreamHash implements Disposable {
  #short = Buffer.alloc(0);
  #used = 0;
  #beside: HashThread | undefined;
  readonly #here: Bun.CryptoHasher | undefined;

  /** With `isBeside` false it hashes on the caller's thread: for who has another thread's work to wait for. */
  constructor({ isBeside = true }: { isBeside?: boolean } = {}) {
    this.#here = isBeside ? undefined : new Bun.CryptoHasher("sha256");
  }

  update(bytes: Uint8Array): void {
    if (this.#here) {
      this.#here.update(bytes);
      return;
    }
    if (!this.#beside && this.#used + bytes.length <= shortBytesMax) {
      this.#keep(bytes);
      return;
    }
    if (!this.#beside) {
      this.#beside = new HashThread();
      this.#beside.put(this.#short.subarray(0, this.#used));
      this.#short = Buffer.alloc(0);
    }
    this.#beside.put(bytes);
  }

  /** `sha256:<hex>` of all that came. Call it once. @throws Failure "internal" — the thread is stuck */
  digest(): string {
    const digest =
      this.#here?.digest() ??
      this.#beside?.finish() ??
      new Bun.CryptoHasher("sha256").update(this.#short.subarray(0, this.#used)).digest();
    return `sha256:${Buffer.from(digest).toString("hex")}`;
  }

  [Symbol.dispose](): void {
    this.#beside?.[Symbol.dispose]();
  }

  #keep(bytes: Uint8Array): void {
    const needed = this.#used + bytes.length;
    if (needed > this.#short.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#short.length));
      larger.set(this.#short.subarray(0, this.#used));
      this.#short = larger;
    }
    this.#short.set(bytes, this.#used);
    this.#used = needed;
  }
}

/** The end of the ring that fills it. */
class HashThread implements Disposable {
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * (ringWords.sizes + slotCount)));
  readonly #shared = new SharedArrayBuffer(slotBytes * slotCount);
  readonly #bytes = new Uint8Array(this.#shared);
  readonly #digest = new SharedArrayBuffer(32);
  readonly #thread: Worker;
  #filled = 0;
  #used = 0;
  #isOver = false;

  constructor() {
    this.#thread = new Worker(new URL("./hash-worker.ts", import.meta.url), { smol: true });
    const ring = { control: this.#control, bytes: this.#shared, digest: this.#digest };
    this.#thread.postMessage(ring satisfies HashRing);
  }

  put(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#used === 0) this.#waitUntilLeft(slotCount - 1);
      const part = bytes.subarray(at, at + slotBytes - this.#used);
      this.#bytes.set(part, (this.#filled % slotCount) * slotBytes + this.#used);
      this.#used += part.length;
      at += part.length;
      if (this.#used === slotBytes) this.#pass(slotBytes);
    }
  }

  finish(): Uint8Array {
    if (this.#used > 0) this.#pass(this.#used);
    this.#end();
    this.#waitUntilLeft(0);
    return new Uint8Array(this.#digest);
  }

  [Symbol.dispose](): void {
    if (!this.#isOver) this.#end();
    this.#thread.terminate();
  }

  #end(): void {
    this.#isOver = true;
    this.#waitUntilLeft(slotCount - 1);
    this.#pass(endMark);
  }

  #pass(size: number): void {
    this.#control[ringWords.sizes + (this.#filled % slotCount)] = size;
    this.#filled++;
    this.#used = 0;
    Atomics.store(this.#control, ringWords.filled, this.#filled);
    Atomics.notify(this.#control, ringWords.filled);
  }

  /** Waits until at most `count` slots are full. */
  #waitUntilLeft(count: number): void {
    for (;;) {
      const emptied = Atomics.load(this.#control, ringWords.emptied);
      if (this.#filled - emptied <= count) return;
      if (Atomics.wait(this.#control, ringWords.emptied, emptied, stuckMs) !== "timed-out")
        continue;
      throw new Failure("internal", "Cannot hash: the thread that does it stands still");
    }
  }
}
