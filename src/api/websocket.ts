/**
 * Just enough of WebSocket for `GET /containers/{id}/attach/ws`: bytes one way, bytes the other.
 * Spec: https://www.rfc-editor.org/rfc/rfc6455
 */
import { Failure } from "../base/mod.ts";

const keySalt = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const controlBytesMax = 125;

/** The value of `Sec-WebSocket-Accept` for a client's key. */
export function acceptKey(key: string): string {
  return new Bun.CryptoHasher("sha1").update(key + keySalt).digest("base64");
}

/** The header of a whole frame of binary data, or of another kind. */
export function frameHead(sizeBytes: number, opcode = 2): Buffer {
  const first = 0x80 | opcode;
  if (sizeBytes < 126) return Buffer.from([first, sizeBytes]);
  if (sizeBytes < 65_536) return Buffer.from([first, 126, sizeBytes >> 8, sizeBytes & 0xff]);
  const head = Buffer.alloc(10);
  head[0] = first;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(sizeBytes), 2);
  return head;
}

type Handlers = {
  readonly data: (bytes: Buffer) => void;
  readonly ping: (bytes: Buffer) => void;
  readonly close: () => void;
};

/** Reads a client's frames; the payload of large ones comes in pieces, never collected. */
export class WebSocketDecoder {
  readonly #on: Handlers;
  #head: Buffer = Buffer.alloc(0);
  #left = 0;
  #opcode = 0;
  #mask: Buffer = Buffer.alloc(4);
  #maskAt = 0;
  #control: Buffer[] = [];
  #isInside = false;

  constructor(on: Handlers) {
    this.#on = on;
  }

  /** @throws Failure "invalid" — what arrived are no frames of a client */
  feed(bytes: Uint8Array): void {
    let rest: Buffer = Buffer.from(bytes);
    while (rest.length > 0 || (this.#isInside && this.#left === 0)) {
      if (!this.#isInside) {
        const used = this.#takeHead(rest);
        rest = rest.subarray(used);
        if (!this.#isInside) return;
        continue;
      }
      const piece = rest.subarray(0, this.#left);
      rest = rest.subarray(piece.length);
      this.#left -= piece.length;
      this.#takePayload(piece);
    }
  }

  /** Returns how many bytes of `bytes` it used; all of them when the head is not whole. */
  #takeHead(bytes: Buffer): number {
    const before = this.#head.length;
    const head = Buffer.concat([this.#head, bytes.subarray(0, 14)]);
    const size = headSize(head);
    if (size === undefined || head.length < size) {
      this.#head = head;
      return bytes.length;
    }
    const short = head[1]! & 0x7f;
    if ((head[1]! & 0x80) === 0 || (head[0]! & 0x70) !== 0) {
      throw new Failure("invalid", "Cannot read the WebSocket: a frame is not a client's");
    }
    const long = short === 127 ? head.readBigUInt64BE(2) : 0n;
    this.#left = short === 127 ? Number(long) : short === 126 ? head.readUInt16BE(2) : short;
    this.#opcode = head[0]! & 0x0f;
    this.#mask = Buffer.from(head.subarray(size - 4, size));
    this.#maskAt = 0;
    this.#head = Buffer.alloc(0);
    this.#isInside = true;
    if (this.#opcode >= 8 && this.#left > controlBytesMax) {
      throw new Failure("invalid", "Cannot read the WebSocket: a control frame is too long");
    }
    return size - before;
  }

  #takePayload(piece: Buffer): void {
    for (let at = 0; at < piece.length; at++) {
      piece[at]! ^= this.#mask[(this.#maskAt + at) & 3]!;
    }
    this.#maskAt = (this.#maskAt + piece.length) & 3;
    const isWhole = this.#left === 0;
    if (isWhole) this.#isInside = false;
    if (this.#opcode < 8) {
      if (piece.length > 0) this.#on.data(piece);
      return;
    }
    this.#control.push(piece);
    if (!isWhole) return;
    const payload = Buffer.concat(this.#control.splice(0));
    if (this.#opcode === 8) this.#on.close();
    if (this.#opcode === 9) this.#on.ping(payload);
  }
}

function headSize(head: Buffer): number | undefined {
  if (head.length < 2) return undefined;
  const short = head[1]! & 0x7f;
  return 2 + (short === 127 ? 8 : short === 126 ? 2 : 0) + 4;
}
