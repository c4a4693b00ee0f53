import { assert } from "../base/mod.ts";
import type { TarBounds, TarHeader } from "./header.ts";
import { type TarEvent, TarParser } from "./parse.ts";

/** An entry while it is read: its body must be consumed before the next entry is asked for. */
export interface TarEntry {
  readonly header: TarHeader;
  /** The content, holes as zeros; empty for all but files. What is not read is skipped. */
  readonly body: AsyncIterable<Uint8Array>;
}

const zeros = new Uint8Array(64 << 10);

/**
 * The entries of a plain tar, in its order. The pieces of a body are views of the source's chunks:
 * a source that reuses its buffer ends their life when it is asked for the next chunk.
 * @throws Failure "corrupt" (malformed or cut short) | "invalid" | "unsupported" | "exhausted"
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  bounds: TarBounds = {},
): AsyncGenerator<TarEntry, void> {
  const events = new Events(source, bounds);
  try {
    for (;;) {
      const event = events.take() ?? (await events.wait());
      if (!event) return;
      if (event.kind === "entry")
        yield { header: event.header, body: bodyOf(events, event.header) };
    }
  } finally {
    await events.close();
  }
}

async function* bodyOf(
  events: Events,
  { sizeBytes }: TarHeader,
  entry = events.entry,
): AsyncGenerator<Uint8Array, void> {
  let at = 0;
  for (;;) {
    assert(events.entry === entry, "a body is read before the next entry is asked for");
    const event = events.take() ?? (await events.wait());
    if (event?.kind !== "data") break;
    yield* hole(event.offset - at);
    yield event.bytes;
    at = event.offset + event.bytes.length;
  }
  yield* hole(sizeBytes - at);
}

function* hole(sizeBytes: number): Generator<Uint8Array, void> {
  for (let left = sizeBytes; left > 0; left -= zeros.length) {
    yield left < zeros.length ? zeros.subarray(0, left) : zeros;
  }
}

/** The parser's events, one at a time: `take` without waiting, `wait` when that gave nothing. */
class Events {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #parser: TarParser;
  #ready: Iterator<TarEvent, void> | undefined;
  /** Counts the entries, so that a body knows when its time is over. */
  entry = 0;

  constructor(source: AsyncIterable<Uint8Array>, bounds: TarBounds) {
    this.#source = source[Symbol.asyncIterator]();
    this.#parser = new TarParser(bounds);
  }

  take(): TarEvent | undefined {
    const next = this.#ready?.next();
    if (next && !next.done) {
      if (next.value.kind === "entry") this.entry++;
      return next.value;
    }
    this.#ready = undefined;
    return undefined;
  }

  /** The next event once its bytes are here; undefined at the archive's end, the source drained. */
  async wait(): Promise<TarEvent | undefined> {
    for (;;) {
      const chunk = await this.#source.next();
      if (chunk.done) {
        this.#parser.finish();
        return undefined;
      }
      if (this.#parser.isFinished) continue;
      this.#ready = this.#parser.push(chunk.value);
      const event = this.take();
      if (event) return event;
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}
