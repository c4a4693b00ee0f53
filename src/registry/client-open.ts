import { Failure } from "../base/mod.ts";
import { type Answer, refused, send } from "./client-fetch.ts";
import type { RegistrySettings } from "./client-host.ts";
import { listCatalog } from "./client-lists.ts";
import { RemoteRepository, type Repository } from "./client-repository.ts";
import { retrying } from "./client-retry.ts";
import { Health, RoutedRepository } from "./client-routed.ts";
import { mirrorsOf, noRoutes, type Place, placeOf } from "./client-routes.ts";
import { Session } from "./client-session.ts";
import type { Credentials } from "./client-token.ts";

/** The way to all registries; one for a process. */
export interface RegistryClient {
  /**
   * A repository of a registry, or where the table of routes leads instead. The credentials are for the
   * registry that was named, and shown to no other. With "push", tokens are asked for both. One that is
   * impatient neither waits nor asks twice: whoever asks has something else, or asks again.
   */
  repository(
    name: { readonly domain: string; readonly path: string },
    options: { credentials: Credentials; push?: boolean; isImpatient?: boolean },
  ): Repository;
  /** The names of the repositories that a registry lists for us. @throws Failure "denied" | … */
  catalog(domain: string, credentials: Credentials, signal: AbortSignal): Promise<string[]>;
  /** The JSON that a registry answers to what the distribution protocol has no word for. */
  ask(domain: string, question: Question): Promise<unknown>;
  /** An answer of JSON from an address that is no registry. @throws Failure "invalid" | "unavailable" */
  json(url: URL, signal: AbortSignal): Promise<unknown>;
  /** Shows credentials to a registry. @throws Failure "denied" — they are wrong */
  login(
    domain: string,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<{ identityToken: string }>;
  /** From now on these hold; what goes on already is not touched. */
  reload(settings: RegistrySettings): void;
}

/** One request beside the protocol; `scopes` is what a token for it must allow. */
export interface Question {
  readonly method: "GET" | "POST";
  readonly target: string;
  readonly scopes: readonly string[];
  readonly credentials: Credentials;
  readonly signal: AbortSignal;
}

const sessionsMax = 64;

/** Opens the client. What it learns of registries, and tokens, are kept in memory alone. */
export function openRegistryClient(settings: RegistrySettings = {}): RegistryClient {
  let sessions = new Sessions(settings);
  return {
    repository: (name, { credentials, push, isImpatient = false }) => {
      const { routes = noRoutes } = sessions.settings;
      const own = placeOf(name, routes);
      const at = ({ domain, path }: Place, isMirror: boolean) => {
        const known = routes.credentials.get(domain) ?? {};
        const shown = domain === name.domain && hasSecret(credentials) ? credentials : known;
        const actions = push && !isMirror ? ["pull", "push"] : ["pull"];
        return new RemoteRepository(
          sessions.of(domain, shown, isMirror || isImpatient),
          path,
          actions,
        );
      };
      const mirrors = mirrorsOf(own, routes).map((place) => at(place, true));
      const repository = at(own, false);
      return mirrors.length === 0
        ? repository
        : new RoutedRepository(repository, mirrors, sessions.health);
    },
    catalog: (domain, credentials, signal) => listCatalog(sessions.of(domain, credentials), signal),
    async ask(domain, { method, target, scopes, credentials, signal }) {
      const request = { method, target, scopes, signal };
      const answer = await sessions.of(domain, credentials).send(request);
      if (answer.status !== 200) throw await refused(answer, `Cannot ask ${domain}`);
      return await parseAnswer(answer);
    },
    json: fetchJson,
    login: (domain, credentials, signal) =>
      new Session(domain, sessions.settings, credentials).login(signal),
    reload(next) {
      sessions = new Sessions(next);
    },
  };
}

function hasSecret({ username, identityToken }: Credentials): boolean {
  return Boolean(username || identityToken);
}

/** What was learned under the same settings. */
class Sessions {
  readonly settings: RegistrySettings;
  readonly health = new Health();
  readonly #known = new Map<string, Session>();

  constructor(settings: RegistrySettings) {
    this.settings = settings;
  }

  of(domain: string, credentials: Credentials, isMirror = false): Session {
    const { username, password, identityToken } = credentials;
    const secret = JSON.stringify([username, password, identityToken, isMirror]);
    const key = `${domain} ${new Bun.CryptoHasher("sha256").update(secret).digest("hex")}`;
    const known = this.#known.get(key);
    if (known) return known;
    if (this.#known.size >= sessionsMax) this.#known.delete(this.#known.keys().next().value!);
    const made = new Session(domain, this.settings, credentials, isMirror);
    this.#known.set(key, made);
    return made;
  }
}

const answerBytesMax = 4 << 20;

async function fetchJson(url: URL, signal: AbortSignal): Promise<unknown> {
  const call = () => send({ method: "GET", url, tls: {}, signal });
  const answer = await retrying(call, { signal, triesMax: 3 });
  if (answer.status !== 200) throw await refused(answer, `Get "${url.origin}${url.pathname}"`);
  return await parseAnswer(answer);
}

async function parseAnswer(answer: Answer): Promise<unknown> {
  const text = Buffer.from(await answer.bytes(answerBytesMax)).toString();
  try {
    return JSON.parse(text);
  } catch (cause) {
    const { host } = answer.url;
    throw new Failure("invalid", `Cannot read the answer of ${host}: not JSON`, { cause });
  }
}
