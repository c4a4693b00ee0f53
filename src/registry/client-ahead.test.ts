import { expect, test } from "bun:test";
import { readAhead } from "./client-ahead.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("readAhead() asks for no more while enough waits, and gives all that came before the error", async () => {
  let asked = 0;
  let isAsking = true;
  async function* source(): AsyncGenerator<Uint8Array> {
    for (; asked < 8; asked++) yield new Uint8Array(10).fill(asked);
    throw new Error("broken");
  }
  const asks = (is: boolean) => {
    isAsking = is;
  };
  const pieces = readAhead(source(), 35, asks);
  const got: number[] = [];
  let why = "";
  try {
    for await (const piece of pieces) {
      got.push(piece[0]!);
      for (let count = 0; count < 10; count++) await turn();
      // One is with us; 35 bytes are passed by the fourth that waits.
      if (got.length === 1) expect([asked, isAsking]).toEqual([4, false]);
    }
  } catch (error) {
    why = (error as Error).message;
  }
  expect(why).toBe("broken");
  expect(got).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test("readAhead() ends its source when nobody wants more", async () => {
  let isEnded = false;
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield new Uint8Array(10);
    } finally {
      isEnded = true;
    }
  }
  for await (const _ of readAhead(source(), 15, () => {})) break;
  for (let count = 0; count < 100 && !isEnded; count++) await turn();
  expect(isEnded).toBe(true);
});
