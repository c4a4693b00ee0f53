/** What the daemon's thread and the pump's thread tell each other, over a pair of sockets. */

/** A pipe whose bytes go to a log. */
export interface LogSource {
  readonly token: number;
  readonly file: number;
  readonly stream: 1 | 2;
}

export type PumpCommand =
  /** Moves what comes to a log, from now on. The pump owns the descriptors. */
  | {
      readonly do: "log";
      readonly id: number;
      readonly directory: string;
      readonly bytesMax: number;
      readonly isNewRun: boolean;
      readonly sources: readonly LogSource[];
      /** The outer side of a terminal: what it says goes into `into`, which is the first source. */
      readonly terminal?: { readonly token: number; readonly file: number; readonly into: number };
    }
  /** Asks to be told when the log is longer than `position`. */
  | { readonly do: "watch"; readonly id: number; readonly position: number }
  /** The oldest segment may go. */
  | { readonly do: "drop"; readonly id: number }
  /** The process has ended: takes the rest, closes, and says "finished". */
  | { readonly do: "finish"; readonly id: number }
  /** Stops here without taking the rest: another daemon will. */
  | { readonly do: "leave"; readonly id: number }
  /** Throws away what comes out of a pipe or a terminal, until "keep". */
  | { readonly do: "discard"; readonly token: number; readonly file: number }
  | { readonly do: "keep"; readonly token: number; readonly file: number }
  /** Closes what is thrown away. */
  | { readonly do: "closeDiscarded"; readonly token: number; readonly file: number }
  /** Compiles a system call filter from file to file; "ready" with 1 says that it is there. */
  | { readonly do: "compile"; readonly token: number; readonly from: string; readonly to: string }
  | { readonly do: "close" };

/** What a notice is about: `id` is a process's number, or the token of a descriptor. */
export const notice = {
  /** A descriptor is ready; the value holds the epoll events. */
  ready: 1,
  /** There is more in the log. */
  progress: 2,
  /** The log is full; the value is the number of the segment that would have to go. */
  full: 3,
  /** All of the output is in the log, and the descriptors are closed. */
  finished: 4,
  /** Output could not be written, and is lost. The value is an errno or 0. */
  lost: 5,
  kept: 6,
  closed: 7,
} as const;

export const noticeBytes = 16;

export interface Notice {
  readonly kind: number;
  readonly id: number;
  readonly value: number;
}

export function encodeNotice({ kind, id, value }: Notice): Uint8Array {
  const bytes = Buffer.alloc(noticeBytes);
  bytes.writeDoubleLE(id, 0);
  bytes.writeUInt32LE(kind, 8);
  bytes.writeUInt32LE(value >>> 0, 12);
  return bytes;
}

/** The notices in `bytes`, which hold whole ones. */
export function decodeNotices(bytes: Buffer): Notice[] {
  const count = Math.floor(bytes.length / noticeBytes);
  return Array.from({ length: count }, (_, index) => {
    const at = index * noticeBytes;
    return {
      id: bytes.readDoubleLE(at),
      kind: bytes.readUInt32LE(at + 8),
      value: bytes.readUInt32LE(at + 12),
    };
  });
}
