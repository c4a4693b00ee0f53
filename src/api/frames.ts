/**
 * Docker's stream framing: 8 bytes (stream, three zeros, big-endian length) before each piece of
 * output, so that stdout and stderr share one connection.
 * Spec: https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Container/operation/ContainerAttach
 */
import { Failure } from "../base/mod.ts";

/** A piece of output: 1 is stdout, 2 stderr, 3 an error of the engine. */
export interface Frame {
  readonly stream: 1 | 2 | 3;
  readonly bytes: Uint8Array;
}

export const frameHeaderBytes = 8;

/** The header that goes before `sizeBytes` bytes of output. */
export function frameHeader(stream: 1 | 2 | 3, sizeBytes: number): Buffer {
  const header = Buffer.alloc(frameHeaderBytes);
  header[0] = stream;
  header.writeUInt32BE(sizeBytes, 4);
  return header;
}

/** Takes the framing off; a frame larger than what arrived comes in several pieces, never buffered. */
export class FrameDecoder {
  readonly #header = new Uint8Array(frameHeaderBytes);
  #headerBytes = 0;
  #left = 0;

  /** Frames (views, not copies) in `bytes`. @throws Failure "corrupt" */
  feed(bytes: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (this.#left > 0) {
        const size = Math.min(this.#left, bytes.length - at);
        frames.push({ stream: this.#stream(), bytes: bytes.subarray(at, at + size) });
        this.#left -= size;
        at += size;
        continue;
      }
      const size = Math.min(frameHeaderBytes - this.#headerBytes, bytes.length - at);
      this.#header.set(bytes.subarray(at, at + size), this.#headerBytes);
      this.#headerBytes += size;
      at += size;
      if (this.#headerBytes === frameHeaderBytes) {
        this.#headerBytes = 0;
        this.#left = new DataView(this.#header.buffer).getUint32(4);
        this.#stream();
      }
    }
    return frames;
  }

  #stream(): 1 | 2 | 3 {
    const stream = this.#header[0]!;
    // Stream 0 is stdin echoed as stdout, as old engines had it.
    if (stream === 0) return 1;
    if (stream === 1 || stream === 2 || stream === 3) return stream;
    throw new Failure("corrupt", `Cannot read the stream: no such stream number ${stream}`);
  }
}
