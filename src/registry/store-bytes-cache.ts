/** Small byte strings by name, the least used forgotten first; at most `sizeBytesMax` in all. */
export class BytesCache {
  readonly #sizeBytesMax: number;
  readonly #entries = new Map<string, Uint8Array>();
  #sizeBytes = 0;

  constructor(sizeBytesMax: number) {
    this.#sizeBytesMax = sizeBytesMax;
  }

  get(name: string): Uint8Array | undefined {
    const bytes = this.#entries.get(name);
    if (bytes) {
      this.#entries.delete(name); // to the young end
      this.#entries.set(name, bytes);
    }
    return bytes;
  }

  put(name: string, bytes: Uint8Array): void {
    if (bytes.length > this.#sizeBytesMax / 8) return;
    this.remove(name);
    this.#entries.set(name, bytes);
    this.#sizeBytes += bytes.length;
    for (const [oldest] of this.#entries) {
      if (this.#sizeBytes <= this.#sizeBytesMax) return;
      this.remove(oldest);
    }
  }

  remove(name: string): void {
    const bytes = this.#entries.get(name);
    if (!bytes) return;
    this.#entries.delete(name);
    this.#sizeBytes -= bytes.length;
  }
}
