import { expect, test } from "bun:test";
import { createChild, createDummy, createVlan } from "./netlink-child.ts";
import { decodeAttributes, readText } from "./netlink-message.ts";

/** The kind of a link that is made, and what is said of it. */
function readLink(body: Uint8Array) {
  const link = decodeAttributes(body, 16);
  const info = decodeAttributes(link.get(18)!);
  const data = decodeAttributes(info.get(2) ?? Buffer.alloc(0));
  const number = (value: Buffer) => value.readUIntLE(0, value.length);
  return {
    name: readText(link.get(3)),
    parent: link.get(5)?.readUInt32LE(0),
    kind: readText(info.get(1)),
    data: Object.fromEntries(
      [...data].map(([type, value]) => [type, [value.length, number(value)]]),
    ),
  };
}

// Sizes and numbers as in linux/if_link.h: a macvlan's mode has 32 bits, an ipvlan's and a tag 16.
const cases = [
  [
    createChild({ kind: "macvlan", mode: "vepa" }, { name: "a", parent: 7, namespaceFd: 3 }),
    { name: "a", parent: 7, kind: "macvlan", data: { 1: [4, 2] } },
  ],
  [
    createChild({ kind: "macvlan", mode: "passthru" }, { name: "a", parent: 7, namespaceFd: 3 }),
    { name: "a", parent: 7, kind: "macvlan", data: { 1: [4, 8] } },
  ],
  [
    createChild(
      { kind: "ipvlan", mode: "l3s", flag: "vepa" },
      { name: "b", parent: 7, namespaceFd: 3 },
    ),
    { name: "b", parent: 7, kind: "ipvlan", data: { 1: [2, 2], 2: [2, 2] } },
  ],
  [
    createVlan("eth0.10", 2, 10),
    { name: "eth0.10", parent: 2, kind: "vlan", data: { 1: [2, 10] } },
  ],
  [createDummy("dm-1"), { name: "dm-1", parent: undefined, kind: "dummy", data: {} }],
] as const;
test.each(cases)("links that hang on others are what ip-link(8) makes: %#", ({ body }, link) => {
  expect(readLink(body) as unknown).toEqual(link);
});
