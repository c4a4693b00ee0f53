import { describe, expect, test } from "bun:test";
import { gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import { Failure } from "../base/mod.ts";
import { decompress, gzip, sniffCompression } from "./compression.ts";

function* cut(bytes: Uint8Array, sizeBytes: number) {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}
async function* chunks(bytes: Uint8Array, sizeBytes = 1000) {
  yield* cut(bytes, sizeBytes);
}
async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(source));
}
const text = Buffer.from("lading ".repeat(20_000));
const skippable = Buffer.concat([Buffer.from("502a4d1804000000", "hex"), Buffer.from("note")]);

describe("decompress()", () => {
  const packed: [name: string, bytes: Buffer][] = [
    ["plain", text],
    ["gzip", gzipSync(text)],
    [
      "gzip of several members",
      Buffer.concat([gzipSync(text.subarray(0, 500)), gzipSync(text.subarray(500))]),
    ],
    ["zstd", zstdCompressSync(text)],
    [
      "zstd of several frames",
      Buffer.concat([
        zstdCompressSync(text.subarray(0, 500)),
        zstdCompressSync(text.subarray(500)),
      ]),
    ],
    ["zstd after a skippable frame", Buffer.concat([skippable, zstdCompressSync(text)])],
  ];
  for (const [name, bytes] of packed) {
    test(`gives the plain bytes of ${name}`, async () => {
      for (const sizeBytes of [1, 1000, 1 << 20]) {
        expect((await collect(decompress(chunks(bytes, sizeBytes)))).equals(text)).toBe(true);
      }
    });
  }

  for (const [name, bytes] of packed) {
    test(`takes ${name} from a source that uses its buffer again`, async () => {
      async function* again() {
        const buffer = new Uint8Array(500);
        for (const part of [bytes.subarray(0, 3), ...cut(bytes.subarray(3), buffer.length)]) {
          buffer.set(part);
          yield buffer.subarray(0, part.length);
          buffer.fill(255);
        }
      }
      const parts: Uint8Array[] = [];
      for await (const part of decompress(again())) parts.push(new Uint8Array(part));
      expect(Buffer.concat(parts).equals(text)).toBe(true);
    });
  }

  for (const [name, bytes] of packed.filter(([name]) => ["gzip", "zstd"].includes(name))) {
    test(`refuses every truncation of ${name}`, async () => {
      let refused = 0;
      for (let length = 8; length < bytes.length; length += 23) {
        const failure = await collect(decompress(chunks(bytes.subarray(0, length)))).catch(
          (e) => e,
        );
        expect(failure).toBeInstanceOf(Failure);
        expect(failure.code).toBe("corrupt");
        refused++;
      }
      expect(refused).toBeGreaterThan(0);
    });

    test(`refuses ${name} with a flipped byte`, async () => {
      const damaged = Buffer.from(bytes);
      damaged[bytes.length - 6]! ^= 0xff;
      await expect(collect(decompress(chunks(damaged)))).rejects.toMatchObject({ code: "corrupt" });
    });
  }

  test("stops a bomb at its bound", async () => {
    const bomb = gzipSync(Buffer.alloc(10 << 20));
    const bounded = decompress(chunks(bomb), { sizeBytesMax: 1 << 20 });
    await expect(collect(bounded)).rejects.toMatchObject({ code: "exhausted" });
  });

  test("passes on what the source throws", async () => {
    async function* broken() {
      yield gzipSync(text).subarray(0, 50);
      throw new Failure("timeout", "the peer went away");
    }
    await expect(collect(decompress(broken()))).rejects.toMatchObject({ code: "timeout" });
  });

  test("sends bzip2 and xz through a program, and says so where it has none", async () => {
    const packed = Buffer.from("BZh91AY");
    const seen: string[][] = [];
    const through = (argv: readonly string[], source: AsyncIterable<Uint8Array>) => {
      seen.push([...argv]);
      return source;
    };
    expect(await collect(decompress(chunks(packed, 2), { through }))).toEqual(packed);
    expect(seen).toEqual([["bzip2", "-dc"]]);
    await expect(collect(decompress(chunks(packed)))).rejects.toMatchObject({
      code: "unsupported",
    });
  });

  test("gives nothing for nothing", async () => {
    expect((await collect(decompress(chunks(Buffer.alloc(0))))).length).toBe(0);
  });
});

test("sniffCompression() knows the magic numbers", () => {
  const found = ["1f8b08", "28b52ffd", "502a4d18", "425a68", "fd377a585a00", "7573746172", ""];
  expect(found.map((hex) => sniffCompression(Buffer.from(hex, "hex")))).toEqual([
    "gzip",
    "zstd",
    "zstd",
    "bzip2",
    "xz",
    "plain",
    "plain",
  ]);
});

describe("gzip()", () => {
  test("gives what gunzip reads, and the same bytes whatever the chunks", async () => {
    const one = await collect(gzip(chunks(text, 17)));
    const other = await collect(gzip(chunks(text, 1 << 20)));
    expect(one.equals(other)).toBe(true);
    expect(gunzipSync(one).equals(text)).toBe(true);
    expect(one.subarray(0, 10).toString("hex")).toBe("1f8b08000000000000ff");
  });

  test("makes an empty member of nothing", async () => {
    expect(gunzipSync(await collect(gzip(chunks(Buffer.alloc(0))))).length).toBe(0);
  });
});
