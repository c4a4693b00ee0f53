import { expect, test } from "bun:test";
import {
  encodeAnswer,
  encodeName,
  encodeQuery,
  encodeRefusal,
  extendedSize,
  readQuestion,
  recordType,
  reverseAddress,
} from "./dns-message.ts";
import { addressesOf, type Directory, nameOf } from "./names.ts";
import type { Endpoint } from "./types.ts";

const query = encodeQuery(7, "Web.Back", recordType.a);

test("readQuestion() reads a name in lower case, its type and where it ends", () => {
  expect(readQuestion(query)).toEqual({ name: "web.back", type: 1, end: query.length });
});

const broken: [string, (bytes: Buffer) => Buffer][] = [
  ["a header alone", (bytes) => bytes.subarray(0, 12)],
  ["a name cut off", (bytes) => bytes.subarray(0, 15)],
  ["a type cut off", (bytes) => bytes.subarray(0, bytes.length - 1)],
  ["a response", (bytes) => bytes.fill(0x80, 2, 3)],
  ["two questions", (bytes) => bytes.fill(2, 5, 6)],
  [
    "a pointer to itself",
    (bytes) => Buffer.concat([bytes.subarray(0, 12), Buffer.of(0xc0, 12, 0, 1, 0, 1)]),
  ],
  ["a label of 64", (bytes) => bytes.fill(64, 12, 13)],
  ["another class", (bytes) => bytes.fill(3, bytes.length - 1)],
  ["nothing", () => Buffer.alloc(0)],
];
test.each(broken)("readQuestion() refuses %s", (_name, damage) => {
  expect(readQuestion(damage(Buffer.from(query)))).toBeUndefined();
});

test("readQuestion() refuses a name over 254 bytes", () => {
  const name = new Array(5).fill("a".repeat(62)).join(".");
  expect(readQuestion(encodeQuery(1, name, 1))).toBeUndefined();
});

test("encodeAnswer() answers with the question, the records and a recursive server's flags", () => {
  const question = readQuestion(query)!;
  const answer = encodeAnswer(query, question, [Buffer.of(10, 0, 0, 1), Buffer.of(10, 0, 0, 2)]);
  expect(answer.subarray(0, 12).toString("hex")).toBe("000781800001000200000000");
  expect([...answer.subarray(-4)]).toEqual([10, 0, 0, 2]);
  expect(answer.length).toBe(query.length + 2 * 16);
});

test("encodeAnswer() keeps to the size, with as many records as it says", () => {
  const records = new Array(200).fill(Buffer.of(10, 0, 0, 1));
  const answer = encodeAnswer(query, readQuestion(query)!, records);
  expect(answer.length).toBeLessThanOrEqual(512);
  expect(answer.readUInt16BE(6)).toBe((answer.length - query.length) / 16);
  expect(answer[2]! & 2).toBe(2);
  const whole = encodeAnswer(query, readQuestion(query)!, records, "tcp");
  expect([whole.readUInt16BE(6), whole[2]! & 2]).toEqual([200, 0]);
});

/** The query with an option record that takes datagrams of this size. */
function extended(size: number): Buffer {
  const bytes = Buffer.concat([query, Buffer.from("0000291000000000000000", "hex")]);
  bytes.writeUInt16BE(1, 10);
  bytes.writeUInt16BE(size, query.length + 3);
  return bytes;
}

test.each([
  [100, 512],
  [1232, 1232],
  [65_535, 4096],
])("extendedSize() of a client that takes %d bytes is %d", (size, expected) => {
  const asked = extended(size);
  const question = readQuestion(asked)!;
  expect(extendedSize(asked, question)).toBe(expected);
  const records = new Array(500).fill(Buffer.of(10, 0, 0, 1));
  const answer = encodeAnswer(asked, question, records);
  expect(answer.length).toBeLessThanOrEqual(expected);
  expect(answer.length).toBeGreaterThan(expected - 16);
  expect(answer.subarray(-11).toString("hex")).toBe("00002904d0000000000000");
});

test.each([
  0, 5, 10,
])("extendedSize() does not read past an option record cut off after %d bytes", (length) => {
  const asked = extended(1232).subarray(0, query.length + length);
  expect(extendedSize(asked, readQuestion(asked)!)).toBeUndefined();
});

test("encodeRefusal() answers also what has no question that can be read", () => {
  const cut = query.subarray(0, 14);
  expect(encodeRefusal(cut, 1).toString("hex")).toBe("000781810000000000000000");
});

test("encodeName() writes labels with their lengths", () => {
  expect(encodeName("a.bc.").toString("hex")).toBe("01610262" + "6300");
});

test.each([
  ["2.0.17.172.in-addr.arpa", "172.17.0.2"],
  [
    `${"1.0.0.0.".repeat(7)}d.f.0.0.ip6.arpa`.replace("1.0.0.0.1", "2.0.0.0.1"),
    "00fd:0001:0001:0001:0001:0001:0001:0002",
  ],
  ["17.172.in-addr.arpa", undefined],
  ["web", undefined],
])("reverseAddress() of %s is %s", (name, expected) => {
  expect(reverseAddress(name)).toBe(expected);
});

const endpoint = (
  networkName: string,
  dnsNames: string[],
  address: string,
): { endpoint: Endpoint } => ({
  endpoint: {
    network: networkName,
    networkName,
    networkId: networkName,
    endpointId: "",
    interfaceName: "eth0",
    address,
    prefix: 16,
    gateway: "",
    address6: "",
    prefix6: 0,
    gateway6: "",
    mac: "",
    dnsNames,
  },
});
const directory: Directory = new Map([
  ["one", { attachments: [endpoint("back", ["one", "db"], "10.0.0.1")] }],
  [
    "two",
    {
      attachments: [
        endpoint("back", ["two", "db"], "10.0.0.2"),
        endpoint("front", ["two"], "10.1.0.2"),
      ],
    },
  ],
  ["three", { attachments: [endpoint("front", ["three"], "10.1.0.3")] }],
  ["plain", { attachments: [endpoint("bridge", [], "172.17.0.2")] }],
]);
const find = (asker: string, name: string) =>
  addressesOf(directory, asker, { name, type: 1 })
    ?.map((bytes) => [...bytes].join("."))
    .sort();

test("addressesOf() finds names on the asker's networks only", () => {
  expect(find("one", "db")).toEqual(["10.0.0.1", "10.0.0.2"]);
  expect(find("one", "two")).toEqual(["10.0.0.2"]);
  expect(find("one", "two.front")).toBeUndefined();
  expect(find("two", "two.front")).toEqual(["10.1.0.2"]);
  expect(find("one", "three")).toBeUndefined();
  expect(find("plain", "one")).toBeUndefined();
  expect(find("gone", "one")).toBeUndefined();
});

test("nameOf() gives a neighbour's name with the network", () => {
  expect(nameOf(directory, "one", "10.0.0.2")).toBe("two.back");
  expect(nameOf(directory, "one", "10.1.0.3")).toBeUndefined();
  expect(nameOf(directory, "one", "999.0.0.1")).toBeUndefined();
});
