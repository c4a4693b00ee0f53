/** What log servers understand: lines. */

/** As Docker: a longer line is sent in parts. */
export const lineBytesMax = 16 << 10;
const newline = 10;

export interface Part {
  readonly id: string;
  /** From 1. */
  readonly ordinal: number;
  readonly isLast: boolean;
}

export interface Line {
  readonly stream: 1 | 2;
  /** Nanoseconds since the epoch. */
  readonly timeNs: bigint;
  /** Without its newline. */
  readonly bytes: Uint8Array;
  /** Of a line that was too long. */
  readonly part?: Part;
}

/** A connection to a log server. */
export interface LogDriver {
  /** Resolves when the lines are out of our hands; rejects when the connection is of no use any more. */
  send(lines: readonly Line[]): Promise<void>;
  close(): void;
}

interface Rest {
  timeNs: bigint;
  bytes: Buffer;
  id?: string;
  ordinal: number;
}

/** Rests of lines as text, to be kept over the end of the daemon. */
export type SavedRests = readonly {
  readonly stream: 1 | 2;
  readonly timeNs: string;
  readonly bytes: string;
  readonly id?: string;
  readonly ordinal: number;
}[];

/** Cuts chunks into lines, each stream for itself. */
export class LineSplitter {
  readonly #rests = new Map<1 | 2, Rest>();

  constructor(saved: SavedRests = []) {
    for (const { stream, timeNs, bytes, id, ordinal } of saved) {
      const rest = { timeNs: BigInt(timeNs), bytes: Buffer.from(bytes, "base64"), ordinal };
      this.#rests.set(stream, id === undefined ? rest : { ...rest, id });
    }
  }

  /** The lines that end in this chunk. */
  push(stream: 1 | 2, timeNs: bigint, bytes: Uint8Array): Line[] {
    const lines: Line[] = [];
    let rest = this.#rests.get(stream) ?? { timeNs, bytes: Buffer.alloc(0), ordinal: 0 };
    for (let at = 0; at < bytes.length; ) {
      const room = lineBytesMax - rest.bytes.length;
      const found = bytes.indexOf(newline, at);
      const end = found < 0 ? bytes.length : found;
      const isEnded = found >= 0 && end - at <= room;
      const until = isEnded ? end : Math.min(end, at + room);
      const piece = bytes.subarray(at, until);
      rest.bytes =
        rest.bytes.length === 0 ? Buffer.from(piece) : Buffer.concat([rest.bytes, piece]);
      at = isEnded ? end + 1 : until;
      if (!isEnded && rest.bytes.length < lineBytesMax) break;
      lines.push(lineOf(stream, rest, isEnded));
      const begun = { timeNs, bytes: Buffer.alloc(0), ordinal: 0 };
      rest = isEnded || rest.id === undefined ? begun : { ...rest, bytes: begun.bytes };
    }
    if (rest.bytes.length > 0 || rest.id !== undefined) this.#rests.set(stream, rest);
    else this.#rests.delete(stream);
    return lines;
  }

  /** The end: what came without a newline is a line too. */
  flush(): Line[] {
    const lines = [...this.#rests].map(([stream, rest]) => lineOf(stream, rest, true));
    this.#rests.clear();
    return lines;
  }

  save(): SavedRests {
    return [...this.#rests].map(([stream, { timeNs, bytes, ...rest }]) => ({
      ...rest,
      stream,
      timeNs: String(timeNs),
      bytes: bytes.toString("base64"),
    }));
  }
}

/** The next line of a stream; notes in `rest` that it goes on when it was not ended. */
function lineOf(stream: 1 | 2, rest: Rest, isEnded: boolean): Line {
  const { timeNs, bytes } = rest;
  if (isEnded && rest.id === undefined) return { stream, timeNs, bytes };
  rest.id ??= crypto.randomUUID().replaceAll("-", "");
  rest.ordinal++;
  return { stream, timeNs, bytes, part: { id: rest.id, ordinal: rest.ordinal, isLast: isEnded } };
}
