import { Failure } from "../base/mod.ts";
import { adjectives, surnames } from "./words.ts";

const pattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const nameBytesMax = 255;

/** Checks a name a user chose and gives it without the slash that old clients put in front. */
export function parseName(text: string): string {
  const name = text.startsWith("/") ? text.slice(1) : text;
  if (pattern.test(name) && name.length <= nameBytesMax) return name;
  throw new Failure(
    "invalid",
    `Invalid container name (${text.slice(0, 300)}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    { hint: "A name has 2 to 255 characters" },
  );
}

/** Makes up an adjective_surname that is not taken; after some tries a digit helps. */
export function makeName(isTaken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const tail = attempt < 6 ? "" : String(Math.floor(Math.random() * 10 ** (attempt - 5)));
    const name = `${pick(adjectives)}_${pick(surnames)}${tail}`;
    if (!isTaken(name)) return name;
  }
}

/** 64 random hexadecimal digits; never all decimal in the short form, which would look like a number. */
export function makeId(): string {
  for (;;) {
    const id = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
    if (!/^\d+$/.test(id.slice(0, 12))) return id;
  }
}

function pick(words: readonly string[]): string {
  return words[Math.floor(Math.random() * words.length)]!;
}
