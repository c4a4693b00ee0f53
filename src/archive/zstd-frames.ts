/**
 * Follows the frames of a zstd stream as its bytes pass by, to tell whether it ended where one ends: the
 * decoder takes a stream that was cut short for a whole one.
 * Spec: https://www.rfc-editor.org/rfc/rfc8878#section-3.1
 */
export class ZstdFrames {
  readonly #held: number[] = [];
  #wanted = 4;
  #skipBytes = 0;
  #next: (bytes: number[]) => void = (bytes) => this.#magic(bytes);
  #hasChecksum = false;
  #isBetween = true;

  /** True at the very start, and after each whole frame. */
  get isWhole(): boolean {
    return this.#isBetween && this.#skipBytes === 0 && this.#held.length === 0;
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#skipBytes > 0) {
        const take = Math.min(this.#skipBytes, chunk.length - at);
        this.#skipBytes -= take;
        at += take;
        continue;
      }
      this.#held.push(chunk[at++]!);
      if (this.#held.length === this.#wanted) this.#next(this.#held.splice(0));
    }
  }

  #expect(bytes: number, next: (bytes: number[]) => void): void {
    this.#wanted = bytes;
    this.#next = next;
  }

  #magic(bytes: number[]): void {
    this.#isBetween = false;
    if (bytes[3] === 0x18 && (bytes[0]! & 0xf0) === 0x50) {
      this.#expect(4, ([a, b, c, d]) => this.#end(a! + b! * 2 ** 8 + c! * 2 ** 16 + d! * 2 ** 24));
    } else this.#expect(1, ([descriptor]) => this.#header(descriptor!));
  }

  #header(descriptor: number): void {
    const isSingle = (descriptor & 0x20) !== 0;
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
    this.#hasChecksum = (descriptor & 4) !== 0;
    this.#skipBytes = sizeBytes + dictionaryBytes + (isSingle ? 0 : 1);
    this.#expect(3, (bytes) => this.#block(bytes));
  }

  #block([low, middle, high]: number[]): void {
    const header = low! | (middle! << 8) | (high! << 16);
    const isRepeat = ((header >> 1) & 3) === 1;
    const blockBytes = isRepeat ? 1 : header >> 3;
    if (header & 1) this.#end(blockBytes + (this.#hasChecksum ? 4 : 0));
    else this.#skipBytes = blockBytes;
  }

  #end(skipBytes: number): void {
    this.#skipBytes = skipBytes;
    this.#isBetween = true;
    this.#expect(4, (bytes) => this.#magic(bytes));
  }
}
