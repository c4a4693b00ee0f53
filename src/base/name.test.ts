import { expect, test } from "bun:test";
import { decodeName, encodeName } from "./name.ts";

const names = [
  Buffer.from("plain"),
  Buffer.from("grüße ☃ 🚀"),
  Buffer.from("\ufffd is a character too"),
  Buffer.from([0xff, 0x61, 0xc3, 0x28, 0xf0, 0x9f, 0x9a]),
  Buffer.from([0xed, 0xb2, 0x80]), // an encoded surrogate is not valid UTF-8
  Buffer.from([0xc0, 0xaf]), // an overlong slash
  Buffer.from(Array.from({ length: 256 }, (_, at) => at)),
];
for (const name of names) {
  test(`decodeName() and encodeName() keep ${name.toString("hex").slice(0, 20)}`, () => {
    expect(encodeName(decodeName(name))).toEqual(name);
  });
}
test("decodeName() does not make a slash of an overlong one", () => {
  expect(decodeName(Buffer.from([0xc0, 0xaf]))).toBe("\udcc0\udcaf");
});
