import { createHmac, timingSafeEqual } from "node:crypto";

/** What a token says: who, what for, until when. `kind` keeps one sort from passing as another. */
export interface Claims {
  readonly kind: "access" | "refresh";
  readonly sub: string;
  /** Seconds since 1970. */
  readonly exp: number;
  readonly iat: number;
  /** Of a refresh token: stands for the password it was got with. */
  readonly proof?: string;
  readonly access?: readonly Grant[];
}

/** https://distribution.github.io/distribution/spec/auth/scope/ */
export interface Grant {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

const tokenCharactersMax = 16_384;
const head = encode({ alg: "HS256", typ: "JWT" });

/** A JSON Web Token of our own, signed with a key that only this registry has (RFC 7515, HS256). */
export function signToken(claims: Claims, key: Uint8Array): string {
  const body = `${head}.${encode(claims)}`;
  return `${body}.${signature(body, key)}`;
}

/** The claims of a token that we have signed and that is not over; else undefined. */
export function openToken(token: string, key: Uint8Array): Claims | undefined {
  if (token.length > tokenCharactersMax) return undefined;
  const [first, second, third] = token.split(".");
  // Our own header and no other: the algorithm is not the sender's to choose.
  if (first !== head || second === undefined || third === undefined) return undefined;
  const expected = Buffer.from(signature(`${first}.${second}`, key));
  const found = Buffer.from(third);
  if (expected.length !== found.length || !timingSafeEqual(expected, found)) return undefined;
  const claims = JSON.parse(Buffer.from(second, "base64url").toString()) as Claims;
  return claims.exp * 1000 > Date.now() ? claims : undefined;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function signature(body: string, key: Uint8Array): string {
  return createHmac("sha256", key).update(body).digest("base64url");
}
