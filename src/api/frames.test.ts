import { expect, test } from "bun:test";
import { FrameDecoder, frameHeader } from "./frames.ts";

const frames = Buffer.concat([
  frameHeader(1, 5),
  Buffer.from("hello"),
  frameHeader(2, 0),
  frameHeader(2, 3),
  Buffer.from("err"),
  frameHeader(1, 70_000),
  Buffer.alloc(70_000, "x"),
]);

test("frameHeader() has the stream first and a big-endian length last", () => {
  expect([...frameHeader(2, 0x01020304)]).toEqual([2, 0, 0, 0, 1, 2, 3, 4]);
});

for (const size of [1, 7, 8, 9, 4096, 1 << 20]) {
  test(`FrameDecoder gives the same text however it arrives, in pieces of ${size}`, () => {
    const decoder = new FrameDecoder();
    const text: Record<number, string> = { 1: "", 2: "" };
    for (let at = 0; at < frames.length; at += size) {
      for (const { stream, bytes } of decoder.feed(frames.subarray(at, at + size))) {
        text[stream] += Buffer.from(bytes).toString();
      }
    }
    expect(text[1]).toBe(`hello${"x".repeat(70_000)}`);
    expect(text[2]).toBe("err");
  });
}

test("FrameDecoder refuses a stream that does not exist", () => {
  expect(() => new FrameDecoder().feed(Buffer.from([9, 0, 0, 0, 0, 0, 0, 1, 65]))).toThrow(
    "no such stream",
  );
});
