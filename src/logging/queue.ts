/** A queue that never lets its source wait: what has no room in it is dropped. */
export class Queue<T extends { readonly sizeBytes: number }> {
  readonly #bytesMax: number;
  readonly #items: T[] = [];
  #sizeBytes = 0;
  dropped = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** What the source gives, as far as it had room when it came. */
  async *fill(source: AsyncIterable<T>): AsyncGenerator<T> {
    let wake = () => {};
    let failure: unknown;
    let isOver = false;
    const filling = (async () => {
      for await (const item of source) {
        if (isOver) return;
        this.#add(item);
        wake();
      }
    })()
      .catch((error: unknown) => {
        failure = error;
      })
      .finally(() => {
        isOver = true;
        wake();
      });
    try {
      for (;;) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        for (let item = this.#take(); item; item = this.#take()) yield item;
        if (isOver) break;
        await woken;
      }
      if (failure) throw failure;
    } finally {
      isOver = true;
      void filling;
    }
  }

  #add(item: T): void {
    if (this.#sizeBytes + item.sizeBytes > this.#bytesMax) {
      this.dropped++;
      return;
    }
    this.#sizeBytes += item.sizeBytes;
    this.#items.push(item);
  }

  #take(): T | undefined {
    const item = this.#items.shift();
    this.#sizeBytes -= item?.sizeBytes ?? 0;
    return item;
  }
}
