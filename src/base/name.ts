/**
 * File names are bytes to the kernel and text to us. A byte that is not part of valid UTF-8 becomes the
 * lone surrogate U+DC80…U+DCFF that stands for it, and becomes itself again on the way out, so that
 * every name survives. JSON and terminals show such a character as a replacement.
 */

/** The text of a file name. */
export function decodeName(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = buffer.toString("utf8");
  return text.includes("\ufffd") ? decodeSlowly(buffer) : text;
}

/** The bytes of a file name; the inverse of `decodeName`. */
export function encodeName(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text, "utf8");
  const parts: Buffer[] = [];
  for (const part of text.split(/([\udc80-\udcff])/)) {
    const isEscape = part.length === 1 && !part.isWellFormed();
    parts.push(isEscape ? Buffer.from([part.charCodeAt(0) & 0xff]) : Buffer.from(part, "utf8"));
  }
  return Buffer.concat(parts);
}

function decodeSlowly(bytes: Buffer): string {
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at);
    text +=
      length === 0
        ? String.fromCharCode(0xdc00 | bytes[at]!)
        : bytes.toString("utf8", at, at + length);
    at += length || 1;
  }
  return text;
}

/** Bytes of the valid UTF-8 sequence at `at`, or 0. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || at + length > bytes.length) return 0;
  const sequence = bytes.subarray(at, at + length);
  return Buffer.from(sequence.toString("utf8"), "utf8").equals(sequence) ? length : 0;
}
