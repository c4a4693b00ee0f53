import { Failure, isFailure } from "../base/mod.ts";
import { type Challenge, parseChallenge } from "./client-challenge.ts";
import { RegistryFailure } from "./client-failure.ts";
import { type Answer, type Body, refused, send } from "./client-fetch.ts";
import { type Endpoint, endpointsOf, type RegistrySettings } from "./client-host.ts";
import { retrying } from "./client-retry.ts";
import { basicHeader, type Credentials, fetchToken, type Token } from "./client-token.ts";
import { paths } from "./protocol.ts";

/** A request to a registry; how it is reached and what it wants shown is the session's to know. */
export interface Request {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** A path, or a whole address that the registry gave. */
  readonly target: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: () => Body;
  /** What a token must allow: `repository:library/busybox:pull`. */
  readonly scopes: readonly string[];
  readonly signal: AbortSignal;
  /** How often it is tried; 1 for what cannot be repeated. */
  readonly triesMax?: number;
}

type Asked = Pick<Request, "scopes" | "signal">;

interface Reached {
  readonly endpoint: Endpoint;
  readonly challenge: Challenge;
  readonly foundMs: number;
}

const reachedMsMax = 10 * 60_000;
const tokensMax = 200;
const probeMs = 5_000;
const mirrorIdleMs = 20_000;

/** One registry as one user sees it: where it is, what it wants shown, and the tokens that we hold. */
export class Session {
  readonly domain: string;
  readonly #settings: RegistrySettings;
  readonly #credentials: Credentials;
  /** There is somebody else to ask: neither waited for nor asked twice. */
  readonly #isMirror: boolean;
  readonly #tokens = new Map<string, Token>();
  readonly #fetching = new Map<string, Promise<Token>>();
  #reached: Reached | undefined;
  #reaching: Promise<Reached> | undefined;

  constructor(
    domain: string,
    settings: RegistrySettings,
    credentials: Credentials,
    isMirror = false,
  ) {
    this.domain = domain;
    this.#isMirror = isMirror;
    this.#settings = settings;
    this.#credentials = credentials;
  }

  /** The answer, whatever its status but 401 for which there is a way in. @throws Failure */
  async send(request: Request): Promise<Answer> {
    const { signal } = request;
    const triesMax = this.#isMirror ? 1 : request.triesMax;
    const attempt = () => this.#try(request);
    return await retrying(attempt, { signal, ...(triesMax ? { triesMax } : {}) });
  }

  /** Where the registry is. */
  async origin(signal: AbortSignal): Promise<string> {
    return (await this.#reach(signal)).endpoint.origin;
  }

  /**
   * Shows the credentials: to the registry itself, or to its token server.
   * @throws Failure "denied" — they are wrong
   */
  async login(signal: AbortSignal): Promise<{ identityToken: string }> {
    const reached = await this.#reach(signal);
    const { challenge, endpoint } = reached;
    if (challenge.kind === "bearer") {
      const token = await this.#fetchToken({ scopes: [], signal }, reached, true);
      return { identityToken: token.refreshToken ?? "" };
    }
    const answer = await send({
      method: "GET",
      url: new URL(paths.base, endpoint.origin),
      headers: basicHeader(this.#credentials),
      tls: endpoint.tls,
      signal,
    });
    if (answer.status !== 200)
      throw await refused(answer, `login attempt to ${answer.url.href} failed`);
    await answer.discard();
    return { identityToken: "" };
  }

  async #try(request: Request): Promise<Answer> {
    const reached = await this.#admitted(request);
    const answer = await this.#sendOnce(request, reached).catch((error) => {
      this.#forget(reached); // it may have got, or lost, its TLS
      throw error;
    });
    if (answer.status !== 401) return answer;
    const challenge = parseChallenge(answer.headers.get("www-authenticate"));
    if (!challenge || this.#isElsewhere(request, reached)) return answer;
    const isSame = JSON.stringify(challenge) === JSON.stringify(reached.challenge);
    if (isSame && challenge.kind !== "bearer") return answer;
    await answer.discard();
    // The token ran out, or this place wants something else than the root.
    this.#tokens.delete(keyOf(request.scopes));
    const again = { ...reached, challenge };
    this.#reached = again;
    return await this.#sendOnce(request, again);
  }

  /**
   * The way to the registry, with the token for `request` in hand. A token server that was named
   * minutes ago may be gone: then the registry is asked once more what it wants to be shown.
   */
  async #admitted(request: Request): Promise<Reached> {
    const known = this.#reached;
    const reached = await this.#reach(request.signal);
    if (this.#isElsewhere(request, reached)) return reached;
    try {
      await this.#authorization(request, reached);
      return reached;
    } catch (error) {
      if (request.signal.aborted || reached !== known || isFailure(error, "denied")) throw error;
      this.#forget(reached);
      return await this.#reach(request.signal);
    }
  }

  async #sendOnce(request: Request, reached: Reached): Promise<Answer> {
    const { endpoint } = reached;
    const url = new URL(request.target, endpoint.origin);
    const isOurs = url.origin === endpoint.origin;
    const authorization = isOurs ? await this.#authorization(request, reached) : {};
    return await send({
      method: request.method,
      url,
      headers: { ...request.headers, ...authorization },
      tls: isOurs ? endpoint.tls : {},
      signal: request.signal,
      ...(this.#isMirror ? { idleMs: mirrorIdleMs } : {}),
      ...(request.body ? { body: request.body } : {}),
    });
  }

  #isElsewhere({ target }: Request, { endpoint }: Reached): boolean {
    return new URL(target, endpoint.origin).origin !== endpoint.origin;
  }

  async #authorization(request: Asked, reached: Reached): Promise<Record<string, string>> {
    const { kind } = reached.challenge;
    if (kind === "none") return {};
    if (kind === "basic") return basicHeader(this.#credentials);
    const { token } = await this.#token(request, reached);
    return { Authorization: `Bearer ${token}` };
  }

  async #token(request: Asked, reached: Reached): Promise<Token> {
    const key = keyOf(request.scopes);
    const known = this.#tokens.get(key);
    if (known && known.endsMs > Date.now()) return known;
    const running = this.#fetching.get(key);
    if (running) return await running;
    const fetching = this.#fetchToken(request, reached).finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, fetching);
    const token = await fetching;
    if (this.#tokens.size >= tokensMax) this.#tokens.clear();
    this.#tokens.set(key, token);
    return token;
  }

  async #fetchToken(
    { scopes, signal }: Asked,
    { challenge, endpoint }: Reached,
    offline = false,
  ): Promise<Token> {
    if (challenge.kind !== "bearer") throw new Failure("internal", "There is no token server");
    return await fetchToken({
      ...challenge,
      scopes,
      credentials: this.#credentials,
      registry: new URL(endpoint.origin),
      tls: endpoint.tls,
      signal,
      offline,
    });
  }

  /** The next request looks for the way anew. */
  #forget(reached: Reached): void {
    if (this.#reached === reached) this.#reached = undefined;
  }

  async #reach(signal: AbortSignal): Promise<Reached> {
    const known = this.#reached;
    if (known && Date.now() - known.foundMs < reachedMsMax) return known;
    this.#reaching ??= this.#findWay(signal).finally(() => {
      this.#reaching = undefined;
    });
    this.#reached = await this.#reaching;
    return this.#reached;
  }

  /** Tries the ways to the registry in their order; the first one that answers counts. */
  async #findWay(signal: AbortSignal): Promise<Reached> {
    const endpoints = endpointsOf(this.domain, this.#settings);
    let why: Failure | undefined;
    for (const endpoint of endpoints) {
      const url = new URL(paths.base, endpoint.origin);
      const isLast = endpoint === endpoints.at(-1);
      // A server without TLS may leave our greeting unanswered: there is another way to it.
      const isOnly = isLast && !this.#isMirror;
      const idle = isOnly ? {} : { idleMs: probeMs };
      const ping = () => send({ method: "GET", url, tls: endpoint.tls, signal, ...idle });
      try {
        const answer = await retrying(ping, { signal, ...(isOnly ? {} : { triesMax: 1 }) });
        return { endpoint, challenge: await challengeOf(answer), foundMs: Date.now() };
      } catch (error) {
        // Who shows a wrong certificate is not asked again without one.
        if (signal.aborted || isFailure(error, "denied")) throw error;
        // To a request without TLS, a server with it has no more to say than 400.
        const isAnswer = error instanceof RegistryFailure && error.status === 400;
        if (isAnswer && why)
          throw new Failure("denied", why.message, { hint: why.hint ?? "", cause: why });
        why = error as Failure;
      }
    }
    throw why;
  }
}

async function challengeOf(answer: Answer): Promise<Challenge> {
  const { status, headers, url } = answer;
  if (status === 401) {
    const challenge = parseChallenge(headers.get("www-authenticate"));
    await answer.discard();
    if (challenge) return challenge;
    throw new Failure(
      "unsupported",
      `Cannot log in to ${url.host}: it offers neither Basic nor Bearer`,
    );
  }
  // Some registries show their root to nobody and everything else to everybody.
  if (status === 200 || status === 403) {
    await answer.discard();
    return { kind: "none" };
  }
  throw await refused(answer, `Get "${url.href}"`);
}

function keyOf(scopes: readonly string[]): string {
  return [...scopes].sort().join(" ");
}
