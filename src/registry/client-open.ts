import { Failure } from "../base/mod.ts";
import { refused, send } from "./client-fetch.ts";
import type { RegistrySettings } from "./client-host.ts";
import { listCatalog } from "./client-lists.ts";
import { RemoteRepository, type Repository } from "./client-repository.ts";
import { retrying } from "./client-retry.ts";
import { Session } from "./client-session.ts";
import type { Credentials } from "./client-token.ts";

/** The way to all registries; one for a process. */
export interface RegistryClient {
  /** A repository of a registry. With "push", tokens are asked for both. */
  repository(
    name: { readonly domain: string; readonly path: string },
    options: { credentials: Credentials; push?: boolean },
  ): Repository;
  /** The names of the repositories that a registry lists for us. @throws Failure "denied" | … */
  catalog(domain: string, credentials: Credentials, signal: AbortSignal): Promise<string[]>;
  /** An answer of JSON from an address that is no registry. @throws Failure "invalid" | "unavailable" */
  json(url: URL, signal: AbortSignal): Promise<unknown>;
  /** Shows credentials to a registry. @throws Failure "denied" — they are wrong */
  login(
    domain: string,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<{ identityToken: string }>;
}

const sessionsMax = 64;

/** Opens the client. What it learns of registries, and tokens, are kept in memory alone. */
export function openRegistryClient(settings: RegistrySettings = {}): RegistryClient {
  const sessions = new Map<string, Session>();
  const session = (domain: string, credentials: Credentials) => {
    const secret = JSON.stringify([
      credentials.username,
      credentials.password,
      credentials.identityToken,
    ]);
    const key = `${domain} ${new Bun.CryptoHasher("sha256").update(secret).digest("hex")}`;
    const known = sessions.get(key);
    if (known) return known;
    if (sessions.size >= sessionsMax) sessions.delete(sessions.keys().next().value!);
    const made = new Session(domain, settings, credentials);
    sessions.set(key, made);
    return made;
  };
  return {
    repository: ({ domain, path }, { credentials, push }) =>
      new RemoteRepository(session(domain, credentials), path, push ? ["pull", "push"] : ["pull"]),
    catalog: (domain, credentials, signal) => listCatalog(session(domain, credentials), signal),
    json: fetchJson,
    login: (domain, credentials, signal) =>
      new Session(domain, settings, credentials).login(signal),
  };
}

const answerBytesMax = 4 << 20;

async function fetchJson(url: URL, signal: AbortSignal): Promise<unknown> {
  const call = () => send({ method: "GET", url, tls: {}, signal });
  const answer = await retrying(call, { signal, triesMax: 3 });
  if (answer.status !== 200) throw await refused(answer, `Get "${url.origin}${url.pathname}"`);
  const text = Buffer.from(await answer.bytes(answerBytesMax)).toString();
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Failure("invalid", `Cannot read the answer of ${url.host}: not JSON`, { cause });
  }
}
