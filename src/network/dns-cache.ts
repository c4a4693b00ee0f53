/** Answers of other name servers, kept for as long as they say that they hold: RFC 1035, 7.4; RFC 2308. */
import { responseCode } from "./dns-message.ts";

/** Of what is kept; the oldest go first. */
const answersMax = 2_000;
const answerBytesMax = 4_096;
/** Whatever an answer says: a server that was mended shall be seen soon. */
const ttlSecondsMax = 300;
const optionRecord = 41;
const startOfAuthority = 6;

interface Kept {
  readonly reply: Buffer;
  /** Where the records' times to live stand in it. */
  readonly places: readonly number[];
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** By question and by who was asked; the same for all containers of an engine. */
export class AnswerCache {
  readonly #kept = new Map<string, Kept>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** An answer as if it had just come, to a query with this ID; its times to live have gone down. */
  get(key: string, query: Uint8Array): Buffer | undefined {
    const kept = this.#kept.get(key);
    const now = this.#now();
    if (!kept) return undefined;
    if (now >= kept.untilMs) {
      this.#kept.delete(key);
      return undefined;
    }
    const reply = Buffer.from(kept.reply);
    reply[0] = query[0]!;
    reply[1] = query[1]!;
    const aged = Math.floor((now - kept.sinceMs) / 1_000);
    for (const at of kept.places) {
      reply.writeUInt32BE(Math.max(0, reply.readUInt32BE(at) - aged), at);
    }
    return reply;
  }

  put(key: string, answer: Uint8Array): void {
    if (answer.length > answerBytesMax) return;
    const reply = Buffer.from(answer);
    const life = lifeOf(reply);
    if (!life || life.ttlSeconds === 0) return;
    const sinceMs = this.#now();
    const untilMs = sinceMs + Math.min(life.ttlSeconds, ttlSecondsMax) * 1_000;
    this.#kept.delete(key);
    this.#kept.set(key, { reply, places: life.places, sinceMs, untilMs });
    if (this.#kept.size <= answersMax) return;
    const oldest = this.#kept.keys().next().value;
    if (oldest !== undefined) this.#kept.delete(oldest);
  }
}

/** What tells questions apart: who is asked, and all of the message but its ID. */
export function cacheKey(servers: readonly string[], query: Uint8Array): string {
  return `${servers.join()} ${Buffer.from(query.subarray(2)).toString("latin1")}`;
}

/** How long an answer holds, and where that is written; undefined for what is not to be kept. */
export function lifeOf(reply: Buffer): { ttlSeconds: number; places: number[] } | undefined {
  try {
    return readLife(reply);
  } catch {
    return undefined; // It ends before it should: whoever asked will see it as it came.
  }
}

function readLife(reply: Buffer) {
  const code = reply[3]! & 15;
  const isTruncated = (reply[2]! & 0x02) !== 0;
  const isAbsence = code === responseCode.name || reply.readUInt16BE(6) === 0;
  if (isTruncated || (code !== responseCode.none && code !== responseCode.name)) return undefined;
  let at = 12;
  for (let left = reply.readUInt16BE(4); left > 0; left--) at = skipName(reply, at) + 4;
  const total = reply.readUInt16BE(6) + reply.readUInt16BE(8) + reply.readUInt16BE(10);
  const places: number[] = [];
  let least = Number.POSITIVE_INFINITY;
  let absence: number | undefined;
  for (let left = total; left > 0; left--) {
    at = skipName(reply, at);
    const type = reply.readUInt16BE(at);
    const end = at + 10 + reply.readUInt16BE(at + 8);
    if (end > reply.length) return undefined;
    if (type !== optionRecord) {
      places.push(at + 4);
      least = Math.min(least, reply.readUInt32BE(at + 4));
      // The last number of an SOA is how long "there is none" holds.
      if (type === startOfAuthority) absence = reply.readUInt32BE(end - 4);
    }
    at = end;
  }
  // Without an SOA nobody said how long it holds that there is nothing.
  if (isAbsence && absence === undefined) return undefined;
  return { ttlSeconds: Math.min(least, absence ?? least), places };
}

function skipName(bytes: Buffer, start: number): number {
  let at = start;
  for (;;) {
    const size = bytes.readUInt8(at);
    if (size === 0) return at + 1;
    if (size >= 0xc0) return at + 2;
    at += 1 + size;
  }
}
