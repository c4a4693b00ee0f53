import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { Inflater } from "./inflate.ts";

const isHere = Inflater.open() !== undefined;

function inflate(packed: Uint8Array, pieceBytes: number): { plain: Buffer; isWhole: boolean } {
  const inflater = Inflater.open()!;
  const plain: Buffer[] = [];
  for (let at = 0; at < packed.length; at += pieceBytes) {
    for (const part of inflater.push(packed.subarray(at, at + pieceBytes)))
      plain.push(Buffer.from(part));
  }
  return { plain: Buffer.concat(plain), isWhole: inflater.isWhole };
}

describe.skipIf(!isHere)("Inflater", () => {
  const long = Buffer.from(Array.from({ length: 300_000 }, (_, at) => `line ${at * 7}\n`).join(""));
  const members = [
    Bun.gzipSync(long.subarray(0, 1 << 20), { level: 2, library: "libdeflate" }),
    gzipSync(""),
    gzipSync(long.subarray(1 << 20), { level: 1 }),
  ];
  const packed = Buffer.concat(members);

  for (const pieceBytes of [1, 2, 7, 1_000, 65_537, packed.length]) {
    test(`gives what members hold that come in pieces of ${pieceBytes}`, () => {
      const some = pieceBytes < 10 ? gzipSync("hello") : packed;
      const twice = Buffer.concat([some, some]);
      const want = pieceBytes < 10 ? Buffer.from("hellohello") : Buffer.concat([long, long]);
      const { plain, isWhole } = inflate(twice, pieceBytes);
      expect(plain.equals(want)).toBe(true);
      expect(isWhole).toBe(true);
    });
  }

  test("ignores what follows the last member and is none", () => {
    const padded = Buffer.concat([gzipSync("hello"), Buffer.alloc(1000)]);
    expect(inflate(padded, 10)).toEqual({ plain: Buffer.from("hello"), isWhole: true });
  });

  test("knows a stream that was cut short, at every length", () => {
    const whole = gzipSync("hello, hello, hello");
    for (let length = 1; length < whole.length; length++) {
      expect(inflate(whole.subarray(0, length), 4).isWhole).toBe(false);
    }
  });

  test("refuses damaged bytes wherever they are, or gives what they are", () => {
    const whole = gzipSync(long.subarray(0, 5_000));
    let refused = 0;
    for (let at = 10; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 0x55;
      try {
        expect(inflate(damaged, 999).isWhole).toBe(false);
      } catch (error) {
        expect(error).toMatchObject({ code: "corrupt" });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });
});
