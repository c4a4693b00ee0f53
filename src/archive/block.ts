import { decodeName, Failure } from "../base/mod.ts";

/** Everything in a tar is in blocks of this many bytes. */
export const blockBytes = 512;

/** Bytes of zero that follow `sizeBytes` of data up to the next block. */
export function paddingOf(sizeBytes: number): number {
  return (blockBytes - (sizeBytes % blockBytes)) % blockBytes;
}

/** True for a block of zeros, which ends an archive. */
export function isZero(block: Buffer): boolean {
  for (let at = 0; at < blockBytes; at++) if (block[at] !== 0) return false;
  return true;
}

/** The sum of a header's bytes with spaces in place of the checksum; signed, as some old tars did. */
export function checksums(block: Buffer): { unsigned: number; signed: number } {
  let unsigned = 8 * 0x20;
  let high = 0;
  for (let at = 0; at < blockBytes; at++) {
    if (at === 148) at = 156;
    const byte = block[at]!;
    unsigned += byte;
    high += byte >> 7;
  }
  return { unsigned, signed: unsigned - 256 * high };
}

/** A NUL-terminated name in a field of fixed length. */
export function readName(block: Buffer, at: number, length: number): string {
  if (block[at] === 0) return "";
  const end = block.indexOf(0, at);
  return decodeName(block.subarray(at, end < 0 || end > at + length ? at + length : end));
}

/**
 * A number field: octal digits, or base-256 when the first bit is set (GNU; two's complement).
 * @throws Failure "corrupt"
 */
export function readNumber(block: Buffer, at: number, length: number): number {
  const first = block[at]!;
  if (first & 0x80) return readBase256(block, at, length);
  let value = 0;
  let end = at + length;
  let start = at;
  while (start < end && (block[start] === 0x20 || block[start] === 0)) start++;
  while (end > start && (block[end - 1] === 0x20 || block[end - 1] === 0)) end--;
  for (let index = start; index < end; index++) {
    const digit = block[index]! - 0x30;
    if (digit >= 0 && digit <= 7) value = value * 8 + digit;
    else if (block[index] === 0)
      break; // what follows a NUL is left over from an older header
    else throw new Failure("corrupt", "Cannot read the archive: a header's number is not octal");
  }
  return value;
}

function readBase256(block: Buffer, at: number, length: number): number {
  const isNegative = (block[at]! & 0x40) !== 0;
  let value = isNegative ? (block[at]! & 0x7f) - 0x80 : block[at]! & 0x3f;
  for (let index = at + 1; index < at + length; index++) value = value * 256 + block[index]!;
  if (Number.isSafeInteger(value)) return value;
  throw new Failure("corrupt", "Cannot read the archive: a header's number is out of range");
}
