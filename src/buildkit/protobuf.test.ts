import { expect, test } from "bun:test";
import { message } from "./protobuf.ts";

const all = message({
  name: [1, "text"],
  sizes: [2, "texts"],
  body: [3, "bytes"],
  parts: [4, "blobs"],
  isDone: [5, "flag"],
  count: [6, "whole"],
  labels: [7, "map"],
  data: [16, "blobMap"],
});

test("message() gives back what it was given", () => {
  const value = {
    name: "é",
    sizes: ["a", "", "b"],
    body: Buffer.from([0, 255]),
    parts: [Buffer.from("x"), Buffer.from("")],
    isDone: true,
    count: 2 ** 40 + 1,
    labels: new Map([["k", "v"]]),
    data: new Map([["k", Buffer.from("v")]]),
  };
  const back = all.decode(all.encode(value));
  expect({
    ...back,
    body: [...back.body],
    parts: back.parts.map(String),
    data: String(back.data.get("k")),
  }).toEqual({
    ...value,
    body: [0, 255],
    parts: ["x", ""],
    data: "v",
  } as never);
});

test("message() writes the bytes that the specification gives", () => {
  expect(Buffer.from(message({ a: [1, "whole"] }).encode({ a: 150 })).toString("hex")).toBe(
    "089601",
  );
  const text = message({ b: [2, "text"] }).encode({ b: "testing" });
  expect(Buffer.from(text).toString("hex")).toBe("120774657374696e67");
});

test("message() passes unknown fields over, and keeps negative numbers", () => {
  const other = message({ x: [9, "text"], count: [6, "whole"] });
  const back = all.decode(other.encode({ x: "?", count: -2 }));
  expect([back.count, back.name]).toEqual([-2, ""]);
});

test("message() keeps lists and maps of one message out of the next", () => {
  const labels = new Map([["k", "v"]]);
  all.decode(all.encode({ sizes: ["a"], parts: [Buffer.from("x")], labels }));
  const { sizes, parts, labels: none } = all.decode(new Uint8Array());
  expect([sizes.length, parts.length, none.size]).toEqual([0, 0, 0]);
});

test("message() reads numbers of every length", () => {
  const numbers = message({ wide: [1, "wide"] });
  for (let bits = 0n; bits < 63n; bits++) {
    for (const wide of [2n ** bits - 1n, 2n ** bits, -(2n ** bits)]) {
      expect(numbers.decode(numbers.encode({ wide })).wide).toBe(wide);
    }
  }
});

test("message() refuses what is cut short, and wire types of groups", () => {
  for (const hex of ["0a05", "08", "0b", "0aff"]) {
    expect(() => all.decode(Buffer.from(hex, "hex"))).toThrow(/Cannot read the message/);
  }
});
