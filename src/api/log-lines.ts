/** The output of `GET /containers/{id}/logs`: frames, and a time before each line where asked for. */
import type { Output } from "./exchange.ts";
import { frameHeader, frameHeaderBytes } from "./frames.ts";

interface Chunk {
  readonly stream: 1 | 2;
  readonly timeNs: bigint;
  readonly bytes: Uint8Array;
}

const newline = 10;

/** RFC 3339 with nine digits of a second, as Docker prints them. */
export function timestampOf(timeNs: bigint): string {
  const seconds = timeNs / 1_000_000_000n;
  const fraction = String(timeNs % 1_000_000_000n).padStart(9, "0");
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

/** Writes chunks to `output` one after another. */
export function logWriter(
  output: Output,
  {
    isTty,
    timestamps,
    details = "",
  }: {
    isTty: boolean;
    timestamps: boolean /** Before each line, after its time. */;
    details?: string;
  },
): (chunk: Chunk) => Promise<void> {
  // A line may come in several chunks, and each stream has lines of its own.
  const isAtStart = { 1: true, 2: true };
  const stamped = ({ stream, timeNs, bytes }: Chunk): Uint8Array => {
    const stamp = Buffer.from(`${timestamps ? `${timestampOf(timeNs)} ` : ""}${details}`);
    const parts: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const end = bytes.indexOf(newline, at);
      const next = end === -1 ? bytes.length : end + 1;
      if (isAtStart[stream]) parts.push(stamp);
      parts.push(bytes.subarray(at, next));
      isAtStart[stream] = end !== -1;
      at = next;
    }
    return Buffer.concat(parts);
  };
  return (chunk) => {
    const bytes = timestamps || details !== "" ? stamped(chunk) : chunk.bytes;
    if (isTty) return output.write(bytes);
    const framed = Buffer.allocUnsafe(frameHeaderBytes + bytes.length);
    framed.set(frameHeader(chunk.stream, bytes.length));
    framed.set(bytes, frameHeaderBytes);
    return output.write(framed);
  };
}
