import { describe, expect, test } from "bun:test";
import { BodyDecoder, type Framing, framingOf, headEnd, parseHead } from "./http1.ts";

const bytesOf = (text: string) => Buffer.from(text, "latin1");

test("headEnd() finds the empty line, with and without carriage returns, from anywhere before it", () => {
  const cases: [text: string, end: number][] = [
    ["GET / HTTP/1.1\r\n\r\n", 18],
    ["GET / HTTP/1.1\n\nrest", 16],
    ["GET / HTTP/1.1\r\nA: b\r\n\r\nrest", 24],
    ["GET / HTTP/1.1\r\n\r", -1],
    ["GET / HTTP/1.1\r\n", -1],
    ["", -1],
  ];
  for (const [text, end] of cases) {
    expect(headEnd(bytesOf(text))).toBe(end);
    if (end > 0) expect(headEnd(bytesOf(text), end - 4)).toBe(end);
  }
});

test("parseHead() reads words and headers", () => {
  const head = parseHead(bytesOf("POST /a?b=c HTTP/1.1\r\nHost: d\r\nX-A: 1\r\nx-a:  2 \r\n\r\n"));
  expect(head.start).toEqual(["POST", "/a?b=c", "HTTP/1.1"]);
  expect([...head.headers]).toEqual([
    ["host", "d"],
    ["x-a", "1, 2"],
  ]);
});

test("parseHead() refuses what requests are smuggled with", () => {
  const bad = [
    "GET\r\n\r\n",
    "GET / HTTP/1.1\r\nA : b\r\n\r\n",
    "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
    "GET / HTTP/1.1\r\n: b\r\n\r\n",
    "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    `GET / HTTP/1.1\r\n${"A: b\r\n".repeat(300)}\r\n`,
  ];
  for (const text of bad) expect(() => parseHead(bytesOf(text))).toThrow("Cannot read");
});

test("framingOf() knows one end of a body, or refuses", () => {
  const of = (headers: Record<string, string>) =>
    framingOf(new Map(Object.entries(headers)), "close");
  expect(of({})).toBe("close");
  expect(of({ "content-length": "12" })).toEqual({ length: 12 });
  expect(of({ "transfer-encoding": "chunked" })).toBe("chunked");
  for (const headers of [
    { "content-length": "1x" },
    { "content-length": "+1" },
    { "content-length": "9".repeat(20) },
    { "transfer-encoding": "gzip, chunked" },
    { "transfer-encoding": "chunked", "content-length": "3" },
  ]) {
    expect(() => of(headers)).toThrow("Cannot read");
  }
});

/** Feeds the text in pieces of `size`; gives the data, whether it is whole, and what was left. */
function decode(framing: Framing, text: string, size: number) {
  const decoder = new BodyDecoder(framing);
  const bytes = bytesOf(text);
  let data = "";
  let at = 0;
  while (at < bytes.length && !decoder.done) {
    const piece = bytes.subarray(at, at + size);
    at += decoder.feed(piece, (each) => {
      data += Buffer.from(each).toString("latin1");
    });
  }
  return { data, done: decoder.done, rest: text.slice(at) };
}

describe("BodyDecoder", () => {
  const chunked = "5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nNEXT";
  for (const size of [1, 2, 3, 7, 1000]) {
    test(`takes chunks off in pieces of ${size}`, () => {
      expect(decode("chunked", chunked, size)).toEqual({
        data: "hello0123456789",
        done: true,
        rest: "NEXT",
      });
    });
    test(`counts a length in pieces of ${size}`, () => {
      expect(decode({ length: 5 }, "helloNEXT", size)).toEqual({
        data: "hello",
        done: true,
        rest: "NEXT",
      });
    });
  }

  test("reads to the end of the connection", () => {
    expect(decode("close", "all of it", 4)).toEqual({ data: "all of it", done: false, rest: "" });
  });

  test("refuses malformed chunks", () => {
    const bad = [
      "x\r\n",
      "-1\r\n",
      "fffffffffffffff\r\n",
      "5\r\nhelloX\r\n",
      `${"0".repeat(5000)}\r\n`,
      `0\r\n${"A: b\r\n".repeat(5000)}`,
    ];
    for (const text of bad) expect(() => decode("chunked", text, 1000)).toThrow("Cannot read");
  });
});
