import { expect, test } from "bun:test";
import { orderByNeed } from "./start-order.ts";

test("orderByNeed() puts first who is needed, and ends where two need each other", () => {
  const needs: Record<string, string[]> = { a: ["c"], b: ["a", "gone"], c: [], d: ["e"], e: ["d"] };
  const all = Object.keys(needs).map((id) => ({ id }));
  const order = orderByNeed(all, ({ id }) => needs[id]!).map(({ id }) => id);
  expect(order).toEqual(["c", "a", "b", "e", "d"]);
});
