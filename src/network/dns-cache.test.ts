import { expect, test } from "bun:test";
import { AnswerCache, cacheKey, lifeOf } from "./dns-cache.ts";
import {
  encodeAnswer,
  encodeName,
  encodeQuery,
  encodeRefusal,
  readQuestion,
} from "./dns-message.ts";

const query = encodeQuery(1, "far.example", 1);
const answer = encodeAnswer(query, readQuestion(query)!, [Buffer.of(203, 0, 113, 9)]);

/** "There is none", with the SOA that says for how long. */
function absence(seconds: number): Buffer {
  const reply = encodeRefusal(query, 3);
  reply.writeUInt16BE(1, 8);
  const data = Buffer.concat([encodeName("a"), encodeName("b"), Buffer.alloc(20)]);
  data.writeUInt32BE(seconds, data.length - 4);
  const head = Buffer.alloc(11);
  head.writeUInt16BE(6, 1);
  head.writeUInt16BE(1, 3);
  head.writeUInt32BE(900, 5);
  head.writeUInt16BE(data.length, 9);
  return Buffer.concat([reply, head, data]);
}

test("get() gives an answer to another query's ID, with less time to live, until it is over", () => {
  let now = 1_000_000;
  const cache = new AnswerCache(() => now);
  cache.put("k", answer);
  now += 10_500;
  const later = cache.get("k", encodeQuery(77, "far.example", 1))!;
  expect(later.readUInt16BE(0)).toBe(77);
  expect(later.readUInt32BE(query.length + 6)).toBe(590);
  expect(later.subarray(-4)).toEqual(answer.subarray(-4));
  now += 300_000;
  expect(cache.get("k", query)).toBeUndefined();
});

test("put() keeps that there is none as long as the SOA says, and not without one", () => {
  expect(lifeOf(absence(30))?.ttlSeconds).toBe(30);
  expect(lifeOf(encodeRefusal(query, 3))).toBeUndefined();
  expect(lifeOf(encodeRefusal(query, 0))).toBeUndefined();
});

const truncated = Buffer.from(answer);
truncated[2]! |= 2;
test.each([
  ["a failure", encodeRefusal(query, 2)],
  ["a truncated answer", truncated],
  ["an answer cut off", answer.subarray(0, answer.length - 3)],
  ["a header alone", answer.subarray(0, 12)],
  ["nothing", Buffer.alloc(0)],
])("put() does not keep %s", (_name, reply) => {
  const cache = new AnswerCache();
  cache.put("k", reply);
  expect(cache.get("k", query)).toBeUndefined();
});

test("put() forgets the oldest of too many", () => {
  const cache = new AnswerCache();
  for (let at = 0; at < 2_001; at++) cache.put(`${at}`, answer);
  expect(cache.get("0", query)).toBeUndefined();
  expect(cache.get("2000", query)).toBeDefined();
});

test("cacheKey() is the same for the same question to the same servers, whatever its ID", () => {
  const other = encodeQuery(2, "far.example", 1);
  expect(cacheKey(["a"], query)).toBe(cacheKey(["a"], other));
  expect(cacheKey(["b"], query)).not.toBe(cacheKey(["a"], query));
  expect(cacheKey(["a"], encodeQuery(1, "far.example", 28))).not.toBe(cacheKey(["a"], query));
});
