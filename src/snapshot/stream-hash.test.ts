import { expect, test } from "bun:test";
import { Failure } from "../base/mod.ts";
import { digestOf } from "../oci/mod.ts";
import { StreamHash, shortBytesMax, slotBytes, slotCount } from "./stream-hash.ts";

const ringBytes = slotBytes * slotCount + shortBytesMax;
const bytes = new Uint8Array(3 * ringBytes + 12_345);
for (let at = 0; at < bytes.length; at += 65_536) {
  crypto.getRandomValues(bytes.subarray(at, at + 65_536));
}

const lengths = [0, 1, slotBytes, shortBytesMax, shortBytesMax + 1, ringBytes, bytes.length];
const pieces = [70_001, slotBytes, 5 * slotBytes + 1];
for (const length of lengths) {
  test(`StreamHash gives the digest of ${length} bytes, whatever their pieces`, () => {
    const wanted = digestOf(bytes.subarray(0, length));
    for (const [piece, isBeside] of pieces.flatMap((each) => [
      [each, true] as const,
      [each, false] as const,
    ])) {
      using hash = new StreamHash({ isBeside });
      for (let at = 0; at < length; at += piece) {
        hash.update(bytes.subarray(at, Math.min(at + piece, length)));
      }
      expect(hash.digest()).toBe(wanted);
    }
  });
}

test("StreamHash can be left in the middle of a long stream", () => {
  const leave = () => {
    using hash = new StreamHash();
    hash.update(bytes);
    throw new Failure("unavailable", "left");
  };
  expect(leave).toThrow("left");
});
