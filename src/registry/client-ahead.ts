/** Two ends of one queue wait for each other: a promise that is made anew each time. */
class Bell {
  #ring = () => {};

  ring(): void {
    this.#ring();
  }

  async heard(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#ring = resolve;
    });
  }
}

/**
 * The pieces of a source, asked for before they are wanted, up to `bytesMax` that wait and the piece that
 * passes it. A connection that breaks drops what nobody has taken off it: here it is given, and then the error.
 * `asks` is told whether the source is being waited for.
 */
export async function* readAhead(
  source: AsyncIterator<Uint8Array>,
  bytesMax: number,
  asks: (is: boolean) => void,
): AsyncGenerator<Uint8Array, void> {
  const queue: Uint8Array[] = [];
  let queuedBytes = 0;
  let end: { readonly error?: unknown } | undefined;
  let isLeft = false;
  const [came, left] = [new Bell(), new Bell()];
  const fill = async () => {
    try {
      for (let next = await source.next(); !next.done; next = await source.next()) {
        queue.push(next.value);
        queuedBytes += next.value.length;
        asks(false);
        came.ring();
        while (queuedBytes > bytesMax && !isLeft) await left.heard();
        if (isLeft) break;
        asks(true);
      }
      asks(false);
      end = {};
      if (isLeft) await source.return?.();
    } catch (error) {
      end = { error };
    }
    came.ring();
  };
  void fill();
  try {
    for (;;) {
      const piece = queue.shift();
      if (piece) {
        queuedBytes -= piece.length;
        left.ring();
        yield piece;
      } else if (!end) await came.heard();
      else if ("error" in end) throw end.error;
      else return;
    }
  } finally {
    isLeft = true;
    left.ring();
  }
}
