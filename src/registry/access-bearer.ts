import { createHash } from "node:crypto";
import { type Access, type Asking, anonymousName, type Identity, type Need } from "./access.ts";
import { denied, mayAll, readUser } from "./access-basic.ts";
import type { Passwords } from "./access-passwords.ts";
import { type Claims, type Grant, openToken, signToken } from "./access-signature.ts";
import { isRepositoryName } from "./protocol.ts";
import { Refusal } from "./refusal.ts";
import { json, readBody } from "./server-answer.ts";

/** Where tokens are given; its address is the `realm` of challenges. */
export const tokenPath = "/lading/token";

export interface BearerParts {
  readonly passwords: Passwords;
  readonly identify: (name: string) => Identity;
  readonly key: Uint8Array;
  /** What clients reach the registry by, when the request's Host does not say it: `https://…`. */
  readonly publicUrl?: string;
  readonly lifetimeSeconds: number;
  readonly refreshSeconds: number;
}

const service = "lading";
const scopesMax = 50;
const bodyBytesMax = 16_384;

/**
 * Tokens that this registry gives itself; names and passwords are taken with each request as well.
 * https://distribution.github.io/distribution/spec/auth/token/
 */
export function bearerAccess(parts: BearerParts): Access {
  return {
    admit: async (asking, needs) => {
      const token = /^bearer (\S+)$/i.exec(asking.request.headers.get("Authorization") ?? "")?.[1];
      if (token !== undefined) return admitToken(parts, { asking, needs, token });
      const name = await readUser(parts.passwords, asking);
      const who = name === undefined ? undefined : parts.identify(name);
      if (!who) throw challenge(parts, { asking, needs }); // public ones too: tokens cost no password
      if (!mayAll(who, needs)) throw denied(who, needs);
      return who;
    },
    identify: async (asking) =>
      parts.identify((await readUser(parts.passwords, asking)) ?? anonymousName),
    giveToken: (asking) => giveToken(parts, asking),
  };
}

type Asked = { readonly asking: Asking; readonly needs: readonly Need[] };

function admitToken(parts: BearerParts, asked: Asked & { token: string }): Identity {
  const claims = openToken(asked.token, parts.key);
  if (claims?.kind !== "access") throw challenge(parts, asked, "invalid_token");
  const who = parts.identify(claims.sub);
  const grants = claims.access ?? [];
  const isGranted = (type: string, name: string, action: string) =>
    grants.some((grant) => {
      return grant.type === type && grant.name === name && grant.actions.includes(action);
    });
  const seesCatalog = isGranted("registry", "catalog", "*");
  const isMet = asked.needs.every(({ repository, action }) =>
    repository === ""
      ? seesCatalog && action === "pull"
      : isGranted("repository", repository, action),
  );
  if (!isMet) throw challenge(parts, asked, "insufficient_scope");
  // A token opens what it names; the rules as they are now still have to agree.
  const may: Identity["may"] = (repository, action) =>
    (seesCatalog || isGranted("repository", repository, action)) && who.may(repository, action);
  const isAllowed = asked.needs.every(
    (need) => need.repository === "" || may(need.repository, need.action),
  );
  if (!isAllowed) throw denied(who, asked.needs);
  return { name: who.name, may };
}

function challenge(parts: BearerParts, { asking, needs }: Asked, error?: string): Refusal {
  const url = asking.request.url;
  const host = asking.request.headers.get("Host") ?? "";
  const isPlain = /^[A-Za-z0-9.:[\]_-]{1,255}$/.test(host);
  const base =
    parts.publicUrl ?? `${url.slice(0, url.indexOf("//"))}//${isPlain ? host : "localhost"}`;
  const scope = scopeOf(needs);
  const fields = [
    `realm="${base}${tokenPath}"`,
    `service="${service}"`,
    ...(scope ? [`scope="${scope}"`] : []),
    ...(error ? [`error="${error}"`] : []),
  ];
  const message = error
    ? "requested access to the resource is denied"
    : "Authentication is required";
  return new Refusal("UNAUTHORIZED", message, {
    headers: { "WWW-Authenticate": `Bearer ${fields.join(",")}` },
  });
}

function scopeOf(needs: readonly Need[]): string {
  const names = [...new Set(needs.map(({ repository }) => repository))];
  const scopes = names.map((name) => {
    const wanted = needs
      .filter(({ repository }) => repository === name)
      .map(({ action }) => action);
    return name === "" ? "registry:catalog:*" : `repository:${name}:${wanted.toSorted().join(",")}`;
  });
  return scopes.join(" ");
}

/** GET as in Docker's first specification, POST as in the one after OAuth 2. */
async function giveToken(parts: BearerParts, asking: Asking): Promise<Response> {
  const { request } = asking;
  if (request.method !== "GET" && request.method !== "POST") {
    throw new Refusal("UNSUPPORTED", `Cannot ${request.method} a token`, {
      headers: { Allow: "GET, POST" },
    });
  }
  const form = request.method === "POST" ? await readForm(request) : queryOf(request);
  const name = await nameIn(parts, asking, form);
  const who = parts.identify(name);
  const scopes = form.getAll("scope").flatMap((text) => text.split(" "));
  const access = scopes.slice(0, scopesMax).flatMap((text) => grantFor(who, text) ?? []);
  const now = Math.floor(Date.now() / 1000);
  const claims = { kind: "access", sub: name, iat: now, access } as const;
  const token = signToken({ ...claims, exp: now + parts.lifetimeSeconds }, parts.key);
  const wantsRefresh =
    form.get("offline_token") === "true" || form.get("access_type") === "offline";
  const refresh = wantsRefresh && name !== anonymousName ? refreshFor(parts, name, now) : undefined;
  const fields = {
    token,
    access_token: token,
    expires_in: parts.lifetimeSeconds,
    issued_at: new Date(now * 1000).toISOString(),
    ...(refresh === undefined ? {} : { refresh_token: refresh }),
  };
  return json(fields, { "Cache-Control": "no-store" });
}

async function nameIn(parts: BearerParts, asking: Asking, form: URLSearchParams): Promise<string> {
  const wrong = () => new Refusal("UNAUTHORIZED", "Cannot give a token: wrong credentials");
  if (form.get("grant_type") === "refresh_token") {
    const claims = openToken(form.get("refresh_token") ?? "", parts.key);
    if (claims?.kind !== "refresh" || claims.proof !== proofOf(parts, claims.sub)) throw wrong();
    return claims.sub;
  }
  if (form.get("grant_type") === "password") {
    const credentials = { name: form.get("username") ?? "", password: form.get("password") ?? "" };
    if (await parts.passwords.verify(credentials, asking)) return credentials.name;
    throw wrong();
  }
  return (await readUser(parts.passwords, asking)) ?? anonymousName;
}

function refreshFor(parts: BearerParts, name: string, now: number): string {
  const proof = proofOf(parts, name);
  const claims: Claims = { kind: "refresh", sub: name, iat: now, exp: now + parts.refreshSeconds };
  return signToken({ ...claims, ...(proof === undefined ? {} : { proof }) }, parts.key);
}

/** Stands for a user's password: a new password ends the tokens of the old one. */
function proofOf({ passwords }: BearerParts, name: string): string | undefined {
  const hash = passwords.hashOf(name);
  return hash && createHash("sha256").update(hash).digest("base64url");
}

/** What of a scope `repository:team/app:pull,push` this user gets. */
function grantFor(who: Identity, scope: string): Grant | undefined {
  const [type, name = "", wanted = "", ...rest] = scope.split(":");
  if (rest.length > 0) return undefined;
  if (type === "registry" && name === "catalog") return { type, name, actions: ["*"] };
  if (type !== "repository" || !isRepositoryName(name)) return undefined;
  const asked = wanted.split(",");
  const allowed = (["pull", "push", "delete"] as const).filter(
    (action) => (asked.includes(action) || asked.includes("*")) && who.may(name, action),
  );
  return allowed.length === 0 ? undefined : { type, name, actions: allowed };
}

function queryOf(request: Request): URLSearchParams {
  return new URL(request.url).searchParams;
}

async function readForm(request: Request): Promise<URLSearchParams> {
  const bytes = await readBody(request, bodyBytesMax, () => {
    return new Refusal("SIZE_INVALID", `Cannot take a form over ${bodyBytesMax} bytes`, {
      status: 413,
    });
  });
  return new URLSearchParams(Buffer.from(bytes).toString());
}
