import { dlopen, ptr, FFIType as T } from "bun:ffi";
import { Failure } from "../base/mod.ts";

/**
 * gzip by ISA-L, https://github.com/intel/isa-l: three times as fast as zlib, in the caller's thread, into
 * one buffer. Its ABI (version 2) is `struct inflate_state` of igzip_lib.h.
 */
const libraryPath = "libisal.so.2";
const symbolTypes = {
  isal_inflate_init: { args: [T.ptr], returns: T.void },
  isal_inflate_reset: { args: [T.ptr], returns: T.void },
  isal_inflate: { args: [T.ptr], returns: T.i32 },
} as const;
const stateBytes = 128 << 10; // it has 87,368 in 2.30
const at = {
  nextOut: 0,
  availOut: 8,
  nextIn: 16,
  readIn: 24,
  availIn: 32,
  readInLength: 36,
  blockState: 21_160,
  crcFlag: 21_172,
} as const;
const withGzipHeader = 1;
const finished = 5;
const endOfInput = 1;
/** What the library may have taken of the bytes after a member's end. */
const headBytes = 8;
const outBytes = 512 << 10;

type Library = ReturnType<typeof dlopen<typeof symbolTypes>>["symbols"];
let library: Library | undefined | "absent";

function findLibrary(): Library | undefined {
  try {
    if (process.arch === "x64") library ??= dlopen(libraryPath, symbolTypes).symbols;
    else library = "absent"; // the layout above was looked at there alone
  } catch {
    library = "absent";
  }
  return library === "absent" ? undefined : library;
}

/** The plain bytes of a gzip stream whose pieces come one after another. */
export class Inflater {
  readonly #library: Library;
  readonly #state = new Uint8Array(stateBytes);
  readonly #view = new DataView(this.#state.buffer);
  readonly #out = new Uint8Array(outBytes);
  #in = new Uint8Array(headBytes);
  #heldBytes = 0;
  /** "between": a member has ended, and nothing or another one follows; what is no member is ignored. */
  #phase: "inside" | "between" | "over" = "inside";

  private constructor(library: Library) {
    this.#library = library;
    library.isal_inflate_init(this.#state);
    this.#view.setUint32(at.crcFlag, withGzipHeader, true);
  }

  /** Undefined where the library is not installed. */
  static open(): Inflater | undefined {
    const found = findLibrary();
    return found && new Inflater(found);
  }

  /** True when what came ends with a whole member. */
  get isWhole(): boolean {
    return this.#phase !== "inside";
  }

  /** What a piece gives: views of one buffer, each gone when the next is asked for. @throws "corrupt" */
  *push(piece: Uint8Array): Generator<Uint8Array, void> {
    let [start, end] = this.#keep(piece);
    while (this.#phase !== "over") {
      if (this.#phase === "between") {
        if (end - start < 2) break;
        const isMember = this.#in[start] === 0x1f && this.#in[start + 1] === 0x8b;
        this.#phase = isMember ? "inside" : "over";
        if (!isMember) return;
      }
      const gave = this.#inflate(start, end);
      start = gave.start;
      if (gave.sizeBytes > 0) yield this.#out.subarray(0, gave.sizeBytes);
      if (this.#phase === "inside" && start === end && gave.sizeBytes < outBytes) return;
    }
    this.#in.copyWithin(headBytes, start, end);
    this.#heldBytes = end - start;
  }

  /** Puts the piece behind what was held back, in memory that stays where it is. */
  #keep(piece: Uint8Array): [start: number, end: number] {
    const start = headBytes;
    const end = start + this.#heldBytes + piece.length;
    if (end > this.#in.length) {
      const larger = new Uint8Array(end + headBytes);
      larger.set(this.#in.subarray(0, start + this.#heldBytes));
      this.#in = larger;
    }
    this.#in.set(piece, start + this.#heldBytes);
    this.#heldBytes = 0;
    return [start, end];
  }

  #inflate(start: number, end: number): { start: number; sizeBytes: number } {
    const view = this.#view;
    view.setBigUint64(at.nextOut, BigInt(ptr(this.#out)), true);
    view.setUint32(at.availOut, outBytes, true);
    view.setBigUint64(at.nextIn, BigInt(ptr(this.#in) + start), true);
    view.setUint32(at.availIn, end - start, true);
    const result = this.#library.isal_inflate(this.#state);
    if (result < 0 || result > endOfInput) {
      const why = `the gzip stream is damaged (${result})`;
      throw new Failure("corrupt", `Cannot decompress: ${why}`);
    }
    const sizeBytes = outBytes - view.getUint32(at.availOut, true);
    let next = end - view.getUint32(at.availIn, true);
    if (view.getUint32(at.blockState, true) === finished) {
      next = this.#giveBack(next);
      this.#library.isal_inflate_reset(this.#state);
      view.setUint32(at.crcFlag, withGzipHeader, true);
      this.#phase = "between";
    }
    return { start: next, sizeBytes };
  }

  /** Whole bytes that the library took but did not need belong to the next member. */
  #giveBack(next: number): number {
    const bits = this.#view.getInt32(at.readInLength, true);
    let rest = this.#view.getBigUint64(at.readIn, true) >> BigInt(bits % 8);
    const count = bits >> 3;
    for (let index = 0; index < count; index++, rest >>= 8n) {
      this.#in[next - count + index] = Number(rest & 0xffn);
    }
    return next - count;
  }
}
