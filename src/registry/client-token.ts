import { Failure } from "../base/mod.ts";
import type { TlsOptions } from "./client-certificates.ts";
import { parseUrl, refused, send } from "./client-fetch.ts";
import { hostOf } from "./client-host.ts";
import { retrying } from "./client-retry.ts";

/** Who we are towards a registry; empty is anonymous. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  /** A refresh token in the password's place. */
  readonly identityToken?: string;
}

export interface Token {
  readonly token: string;
  readonly endsMs: number;
  /** What a login with `offline` gives. */
  readonly refreshToken: string | undefined;
}

export interface TokenRequest {
  readonly realm: string;
  readonly service: string;
  readonly scopes: readonly string[];
  readonly credentials: Credentials;
  /** Where the challenge came from: credentials go there, and nowhere far from it. */
  readonly registry: URL;
  readonly tls: TlsOptions;
  readonly signal: AbortSignal;
  /** Asks for a token that outlives this one. */
  readonly offline?: boolean;
}

const tokenBytesMax = 1 << 20;
/** What a token lasts when the server does not say (the specification). */
const lifeSecondsDefault = 60;
const lifeSecondsMax = 3600;
const clientId = "lading";

/**
 * Gets a token from the server that a challenge named.
 * Spec: https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/
 * @throws Failure "denied" — the credentials are wrong, or are not for that host; "invalid" | "unavailable"
 */
export async function fetchToken(request: TokenRequest): Promise<Token> {
  const realm = realmOf(request);
  const { credentials } = request;
  const hasSecret = Boolean(credentials.identityToken || credentials.username);
  if (hasSecret && !isRelated(realm, request.registry)) {
    throw new Failure(
      "denied",
      `Cannot log in to ${request.registry.host}: it sends logins to ${realm.host}, which is of another domain`,
      { hint: "Credentials go only to the registry's own host and to hosts beside or below it" },
    );
  }
  const tls = realm.origin === request.registry.origin ? request.tls : {};
  const { signal } = request;
  const call = credentials.identityToken ? refreshCall(request, realm) : basicCall(request, realm);
  const answer = await retrying(() => send({ ...call, tls, signal }), { signal, triesMax: 3 });
  if (answer.status !== 200) throw await refused(answer, `Cannot get a token from ${realm.host}`);
  return parseToken(await answer.bytes(tokenBytesMax), realm);
}

function realmOf({ realm, registry }: TokenRequest): URL {
  const url = parseUrl(realm);
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  if (!url || !isHttp || (registry.protocol === "https:" && url.protocol !== "https:")) {
    const why = `its realm is "${realm.slice(0, 200)}"`;
    throw new Failure("invalid", `Cannot log in to ${registry.host}: ${why}`);
  }
  url.username = "";
  url.password = "";
  return url;
}

/** True for the same host, for one below it, and for one below the domain that the registry stands in. */
export function isRelated(realm: URL, registry: URL): boolean {
  const [to, from] = [hostOf(realm.host), hostOf(registry.host)];
  if (to === from) return true;
  if (/^[\d.]+$|:/.test(to) || /^[\d.]+$|:/.test(from)) return false; // addresses have no domain
  const parent = from.split(".").slice(1).join(".");
  if (to.endsWith(`.${from}`)) return true;
  return parent.includes(".") && (to === parent || to.endsWith(`.${parent}`));
}

type Part = Pick<Parameters<typeof send>[0], "method" | "url" | "headers" | "body">;

function basicCall({ service, scopes, credentials, offline }: TokenRequest, realm: URL): Part {
  const url = new URL(realm);
  if (service) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  if (offline) {
    url.searchParams.set("offline_token", "true");
    url.searchParams.set("client_id", clientId);
  }
  if (credentials.username) url.searchParams.set("account", credentials.username);
  return { method: "GET", url, headers: basicHeader(credentials) };
}

function refreshCall({ service, scopes, credentials }: TokenRequest, realm: URL): Part {
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: credentials.identityToken ?? "",
    service,
    scope: scopes.join(" "),
    client_id: clientId,
  });
  const content = Buffer.from(form.toString());
  return {
    method: "POST",
    url: realm,
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
    body: () => ({ content, sizeBytes: content.length }),
  };
}

/** The header for Basic; none without a name. */
export function basicHeader({ username, password }: Credentials): Record<string, string> {
  if (!username) return {};
  const pair = Buffer.from(`${username}:${password ?? ""}`).toString("base64");
  return { Authorization: `Basic ${pair}` };
}

function parseToken(bytes: Uint8Array, realm: URL): Token {
  const bad = (why: string) =>
    new Failure("invalid", `Cannot use the answer of the token server ${realm.host}: ${why}`);
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
  } catch (cause) {
    throw new Failure("invalid", bad("it is not JSON").message, { cause });
  }
  if (typeof value !== "object" || value === null) throw bad("it is not an object");
  const token = value["token"] || value["access_token"];
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) throw bad("it has no token");
  const said = Number(value["expires_in"] ?? lifeSecondsDefault);
  const seconds = said > 0 ? Math.min(said, lifeSecondsMax) : lifeSecondsDefault;
  const refresh = value["refresh_token"];
  return {
    token,
    // By our own clock, and a tenth early: the two need not agree.
    endsMs: Date.now() + seconds * 900,
    refreshToken: typeof refresh === "string" && refresh !== "" ? refresh : undefined,
  };
}
