import type { RegistrySettings } from "./client-host.ts";
import { RemoteRepository, type Repository } from "./client-repository.ts";
import { Session } from "./client-session.ts";
import type { Credentials } from "./client-token.ts";

/** The way to all registries; one for a process. */
export interface RegistryClient {
  /** A repository of a registry. With "push", tokens are asked for both. */
  repository(
    name: { readonly domain: string; readonly path: string },
    options: { credentials: Credentials; push?: boolean },
  ): Repository;
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
    login: (domain, credentials, signal) =>
      new Session(domain, settings, credentials).login(signal),
  };
}
