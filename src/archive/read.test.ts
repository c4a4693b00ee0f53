import { describe, expect, test } from "bun:test";
import { Failure } from "../base/mod.ts";
import type { TarBounds, TarFields, TarHeader } from "./header.ts";
import { paxRecord } from "./pax.ts";
import { readTar } from "./read.ts";
import { type TarInput, tarEnd, tarHeader, tarPadding, writeTar } from "./write.ts";

async function* chunks(bytes: Uint8Array, sizeBytes: number) {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

async function readAll(bytes: Uint8Array, { sizeBytes = 1 << 20, ...bounds }: Options = {}) {
  const found: { header: TarHeader; body: string }[] = [];
  for await (const { header, body } of readTar(chunks(bytes, sizeBytes), bounds)) {
    found.push({ header, body: (await collect(body)).toString("latin1") });
  }
  return found;
}
type Options = TarBounds & { sizeBytes?: number };

const written = (entries: TarInput[]) => collect(writeTar(entries));
const fields: TarFields[] = [
  { path: "plain", sizeBytes: 5, mode: 0o4755, uid: 1000, gid: 7, mtimeSeconds: 1_700_000_000 },
  { path: "folder", type: "directory", mode: 0o1777 },
  { path: `${"deep/".repeat(25)}name`, mtimeNanoseconds: 123_456_789 },
  { path: `${"p".repeat(90)}/${"n".repeat(90)}` },
  { path: "n".repeat(300) },
  { path: "grüße/☃", userName: "jürgen", groupName: "users" },
  { path: "raw\udcff", type: "symlink", linkPath: "to\udcfe" },
  { path: "hard", type: "link", linkPath: "plain" },
  { path: "soft", type: "symlink", linkPath: `../${"long/".repeat(40)}` },
  { path: "null", type: "char", deviceMajor: 1, deviceMinor: 3 },
  { path: "disk", type: "block", deviceMajor: 259, deviceMinor: 1_048_575 },
  { path: "pipe", type: "fifo" },
  { path: "old", mtimeSeconds: -2, mtimeNanoseconds: 500_000_000 },
  { path: "owner", uid: 4_000_000_000, gid: 2_097_152 },
  {
    path: "xattr",
    xattrs: new Map([
      ["user.b", Buffer.from([0, 10, 61])],
      ["security.capability", Buffer.alloc(20, 1)],
    ]),
  },
];

describe("readTar()", () => {
  for (const given of fields) {
    test(`reads what writeTar() wrote: ${given.path.slice(0, 20)}`, async () => {
      const body = Buffer.from("hello").subarray(0, given.sizeBytes ?? 0);
      const [found] = await readAll(await written([{ header: given, body }]));
      const { xattrs, ...plain } = given;
      expect(found!.header).toMatchObject(plain);
      expect([...found!.header.xattrs].length).toBe(xattrs?.size ?? 0);
      for (const [name, value] of xattrs ?? []) {
        expect(Buffer.from(found!.header.xattrs.get(name)!)).toEqual(Buffer.from(value));
      }
      expect(found!.body).toBe(body.toString());
    });
  }

  for (const sizeBytes of [1, 7, 511, 512, 513, 4096]) {
    test(`reads the same from chunks of ${sizeBytes} bytes`, async () => {
      const entries = fields.map((header) => ({
        header: { ...header, sizeBytes: header.type ? 0 : 1500 },
        body: Buffer.alloc(header.type ? 0 : 1500, "x"),
      }));
      const tar = await written(entries);
      expect(await readAll(tar, { sizeBytes })).toEqual(await readAll(tar));
      expect((await readAll(tar)).length).toBe(fields.length);
    });
  }

  test("skips bodies that nobody reads, whole or in part", async () => {
    const tar = await written(
      ["a", "b", "c"].map((path) => ({ header: { path }, body: Buffer.alloc(3000, path) })),
    );
    const seen: string[] = [];
    for await (const { header, body } of readTar(chunks(tar, 700))) {
      seen.push(header.path);
      if (header.path === "b") for await (const part of body) if (part.length > 0) break;
    }
    expect(seen).toEqual(["a", "b", "c"]);
  });

  test("refuses every truncation with a Failure and never hangs", async () => {
    const tar = await written(
      fields.slice(0, 8).map((header) => ({ header, body: Buffer.alloc(header.sizeBytes ?? 0) })),
    );
    const whole = tar.length - tarEnd.length;
    let refused = 0;
    for (let length = 0; length < whole + 512; length += length % 512 < 480 ? 97 : 1) {
      const failure = await readAll(tar.subarray(0, length)).then(
        () => undefined,
        (error) => error,
      );
      expect(failure).toBeInstanceOf(Failure);
      expect(failure.code).toBe("corrupt");
      refused++;
    }
    expect(refused).toBeGreaterThan(50);
    expect((await readAll(tar.subarray(0, whole), { end: "optional" })).length).toBe(8);
    const [cut, unpadded] = [tar.subarray(0, 512 + 4), tar.subarray(0, 512 + 5)];
    expect(readAll(cut, { end: "optional" })).rejects.toThrow("ends too soon");
    expect((await readAll(unpadded, { end: "optional" })).length).toBe(1);
    expect((await readAll(tar.subarray(0, whole + 512))).length).toBe(8);
  });

  test("readTar() says of a text that it is not a tar", async () => {
    const text = Buffer.from("# Lading\n".repeat(300));
    await expect(readAll(text)).rejects.toThrow("Cannot read the archive: it is not a tar");
  });

  const size = (sizeBytes: number) => Buffer.concat([tarHeader({ path: "f", sizeBytes }), tarEnd]);
  const pax = (...records: Buffer[]) => extension("x", Buffer.concat(records));
  const sparse = (map: string, realSize: number, data = 4) =>
    Buffer.concat([
      pax(paxRecord("GNU.sparse.map", map), paxRecord("GNU.sparse.size", String(realSize))),
      tarHeader({ path: "s", sizeBytes: data }),
      Buffer.alloc(512),
      tarEnd,
    ]);
  const hostile: [why: string, bytes: Uint8Array, bounds: TarBounds, code: string][] = [
    ["random bytes", Buffer.alloc(2048, "random"), {}, "corrupt"],
    ["nothing at all", Buffer.alloc(0), {}, "corrupt"],
    [
      "a wrong checksum",
      Buffer.concat([tarHeader({ path: "f" }), tarEnd]).fill("0", 148, 154),
      {},
      "corrupt",
    ],
    [
      "too many entries",
      Buffer.concat([tarHeader({ path: "a" }), tarHeader({ path: "b" }), tarEnd]),
      { entriesMax: 1 },
      "exhausted",
    ],
    ["too many bytes", size(2000), { sizeBytesMax: 1999 }, "exhausted"],
    ["a file of exabytes", size(Number.MAX_SAFE_INTEGER), {}, "exhausted"],
    [
      "a path beyond its bound",
      Buffer.concat([tarHeader({ path: "x".repeat(5000) }), tarEnd]),
      {},
      "invalid",
    ],
    [
      "a path with a NUL",
      Buffer.concat([pax(paxRecord("path", "a\0b")), tarHeader({ path: "f" }), tarEnd]),
      {},
      "corrupt",
    ],
    [
      "a huge extended header",
      Buffer.concat([
        tarHeader({ path: "f", xattrs: new Map([["user.x", Buffer.alloc(2 << 20)]]) }),
        tarEnd,
      ]),
      {},
      "exhausted",
    ],
    ["a PAX record with a wrong length", extension("x", Buffer.from("99 path=a\n")), {}, "corrupt"],
    [
      "a PAX record with a negative length",
      extension("x", Buffer.from("-5 path=a\n")),
      {},
      "corrupt",
    ],
    ["a PAX record without an equals sign", extension("x", Buffer.from("7 path\n")), {}, "corrupt"],
    [
      "an extended header before the end",
      Buffer.concat([pax(paxRecord("path", "a")), tarEnd]),
      {},
      "corrupt",
    ],
    [
      "a negative owner",
      Buffer.concat([pax(paxRecord("uid", "-1")), tarHeader({ path: "f" }), tarEnd]),
      {},
      "corrupt",
    ],
    ["a sparse map that overlaps", sparse("0,2,1,2", 10), {}, "corrupt"],
    ["a sparse map past the end", sparse("8,4", 10), {}, "corrupt"],
    ["a sparse map that is not the data's", sparse("0,3", 10), {}, "corrupt"],
    ["a sparse bomb", sparse("0,4", 10 ** 14), {}, "exhausted"],
    ["an unknown type", withFlag("Z"), {}, "unsupported"],
    ["a link to nothing", withFlag("1"), {}, "corrupt"],
  ];
  for (const [why, bytes, bounds, code] of hostile) {
    test(`refuses ${why}`, async () => {
      await expect(readAll(bytes, bounds)).rejects.toMatchObject({ name: "Failure", code });
    });
  }

  test("fills the holes of a sparse file with zeros", async () => {
    const [found] = await readAll(sparse("2,1,6,3", 12));
    expect(found!.header.segments).toEqual([
      { offset: 2, length: 1 },
      { offset: 6, length: 3 },
    ]);
    expect(found!.body).toBe("\0".repeat(12));
  });

  test("reads a global header without effect", async () => {
    const global = extension(
      "g",
      Buffer.concat([paxRecord("comment", "c"), paxRecord("path", "evil")]),
    );
    const found = await readAll(Buffer.concat([global, tarHeader({ path: "f" }), tarEnd]));
    expect(found.map(({ header }) => header.path)).toEqual(["f"]);
  });
});

/** An extension header of the given type before its body. */
function extension(flag: string, body: Buffer): Buffer {
  const block = Buffer.from(tarHeader({ path: "x", sizeBytes: body.length }));
  return Buffer.concat([reflag(block, flag), body, tarPadding(body.length)]);
}
const withFlag = (flag: string) =>
  Buffer.concat([reflag(Buffer.from(tarHeader({ path: "x" })), flag), tarEnd]);

function reflag(block: Buffer, flag: string): Buffer {
  block.write(flag, 156, "latin1");
  block.fill(" ", 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
