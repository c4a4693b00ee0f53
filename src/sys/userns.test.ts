import { expect, test } from "bun:test";
import { attributeInside, attributeOutside, nobody, ownerInside, ownerOutside } from "./userns.ts";

const map = {
  uids: [
    { inside: 0, outside: 100_000, count: 10 },
    { inside: 10, outside: 500, count: 1 },
  ],
  gids: [{ inside: 0, outside: 200_000, count: 1_000 }],
};

test("ownerOutside() and ownerInside() are each other's reverse", () => {
  for (const owner of [
    { uid: 0, gid: 0 },
    { uid: 9, gid: 999 },
    { uid: 10, gid: 5 },
  ]) {
    expect(ownerInside(map, ownerOutside(map, owner)!)).toEqual(owner);
  }
  expect(ownerOutside(map, { uid: 10, gid: 1 })).toEqual({ uid: 500, gid: 200_001 });
});

test("who has no place in a map is nobody inside, and none outside", () => {
  expect(ownerInside(map, { uid: 0, gid: 200_000 })).toEqual({ uid: nobody, gid: 0 });
  expect(ownerOutside(map, { uid: 11, gid: 0 })).toBeUndefined();
  expect(ownerOutside(map, { uid: 0, gid: 1_000 })).toBeUndefined();
});

test("attributeInside() makes a namespace's capabilities a file's own, and leaves others", () => {
  const outside = Buffer.from("0100000300200000000000000000000000000000a0860100", "hex");
  const inside = Buffer.from("0100000200200000000000000000000000000000", "hex");
  expect(attributeInside(map, "security.capability", outside)).toEqual(inside);
  expect(attributeInside(map, "security.capability", inside)).toEqual(inside);
  expect(attributeInside(undefined, "security.capability", outside)).toEqual(outside);
  expect(attributeInside(map, "user.x", outside)).toEqual(outside);
  expect(attributeOutside(map, "security.capability", inside)).toEqual(outside);
  expect(attributeOutside(map, "security.capability", outside)).toEqual(outside);
  expect(attributeOutside(undefined, "security.capability", inside)).toEqual(inside);
});
