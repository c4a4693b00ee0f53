import { createHmac, randomBytes } from "node:crypto";
import { Failure, Gate } from "../base/mod.ts";
import type { Asking } from "./access.ts";
import { Refusal } from "./refusal.ts";

export interface Credentials {
  readonly name: string;
  readonly password: string;
}

/** Hashes of passwords by user. */
export type PasswordHashes = ReadonlyMap<string, string>;

const rememberMs = 300_000;
const rememberedMax = 1_000;
const passwordBytesMax = 1_024;
const guessWindowMs = 60_000;
const guessesMax = 30;
const peersMax = 10_000;

/**
 * Reads `Authorization: Basic`; undefined when there is none.
 * @throws Refusal UNAUTHORIZED — it cannot be read
 */
export function readBasic(request: Request): Credentials | undefined {
  const text = request.headers.get("Authorization");
  if (text === null || !/^basic /i.test(text)) return undefined;
  const pair = Buffer.from(text.slice("basic ".length).trim(), "base64").toString("utf8");
  const colon = pair.indexOf(":");
  if (colon <= 0) throw new Refusal("UNAUTHORIZED", "Cannot read the credentials");
  return { name: pair.slice(0, colon), password: pair.slice(colon + 1) };
}

/**
 * Parses Apache's password file, of which only bcrypt is taken.
 * @throws Failure "invalid" — another kind of hash, which a thief would break
 */
export function parseHtpasswd(text: string, path: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [index, line] of text.split("\n").entries()) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const colon = trimmed.indexOf(":");
    const [name, hash] = [trimmed.slice(0, colon), trimmed.slice(colon + 1)];
    if (colon <= 0 || !isPasswordHash(hash)) {
      const where = `"${path}" line ${index + 1}`;
      throw new Failure("invalid", `Cannot use ${where}: not a name and a bcrypt hash`, {
        hint: "Write it with: htpasswd -B FILE NAME",
      });
    }
    found.set(name, hash);
  }
  return found;
}

/** True for hashes that this registry checks: bcrypt and Argon2. */
export function isPasswordHash(text: string): boolean {
  return /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(text) || /^\$argon2(id|i|d)\$/.test(text);
}

/** Checks passwords off the event loop, few at once; what was right is remembered for a while. */
export class Passwords {
  readonly #hashes: () => PasswordHashes;
  readonly #gate = new Gate(2, 200);
  readonly #key = randomBytes(32);
  readonly #remembered = new Map<string, { proof: string; hash: string; untilMs: number }>();
  readonly #guesses = new Map<string, { count: number; untilMs: number }>();
  #decoy: Promise<string> | undefined;

  /** `hashes` is asked anew each time: a user who is taken out is out at once. */
  constructor(hashes: () => PasswordHashes) {
    this.#hashes = hashes;
  }

  /** The hash that stands for a user now: it changes with the password. */
  hashOf(name: string): string | undefined {
    return this.#hashes().get(name);
  }

  /** @throws Refusal TOOMANYREQUESTS — `peer` has guessed too often, or too many are checked */
  async verify({ name, password }: Credentials, { peer }: Pick<Asking, "peer">): Promise<boolean> {
    if (name.length > 255 || Buffer.byteLength(password) > passwordBytesMax) return false;
    const hash = this.#hashes().get(name);
    const proof = createHmac("sha256", this.#key).update(password).digest("hex");
    const known = this.#remembered.get(name);
    const now = Date.now();
    if (known && known.hash === hash && known.proof === proof && known.untilMs > now) return true;
    this.#checkGuesses(peer, now);
    // An unknown user takes as long as a known one: times tell nothing.
    this.#decoy ??= Bun.password.hash("decoy", { algorithm: "bcrypt", cost: 10 });
    const against = hash ?? (await this.#decoy);
    const isRight = await this.#gate
      .run(() => Bun.password.verify(password, against))
      .catch((error) => {
        if (error instanceof Failure) throw tooMany();
        return false; // a hash that cannot be read lets nobody in
      });
    if (!isRight || hash === undefined) {
      this.#countGuess(peer, now);
      return false;
    }
    this.#remembered.delete(name);
    this.#remembered.set(name, { proof, hash, untilMs: now + rememberMs });
    dropOldest(this.#remembered, rememberedMax);
    return true;
  }

  #checkGuesses(peer: string, now: number): void {
    const found = this.#guesses.get(peer);
    if (found && found.untilMs > now && found.count >= guessesMax) throw tooMany();
  }

  #countGuess(peer: string, now: number): void {
    const found = this.#guesses.get(peer);
    const isNew = !found || found.untilMs <= now;
    const next = isNew ? { count: 1, untilMs: now + guessWindowMs } : found;
    if (!isNew) next.count++;
    this.#guesses.delete(peer);
    this.#guesses.set(peer, next);
    dropOldest(this.#guesses, peersMax);
  }
}

function tooMany(): Refusal {
  return new Refusal("TOOMANYREQUESTS", "Cannot check another password now: too many were wrong", {
    headers: { "Retry-After": "60" },
  });
}

function dropOldest(map: Map<string, unknown>, countMax: number): void {
  const oldest = map.keys().next().value;
  if (map.size > countMax && oldest !== undefined) map.delete(oldest);
}
