/**
 * Requests that follow redirects, but never from the open to what this host or its network alone can
 * reach. A name is looked up once, and what was looked at is what is connected to: a server of names that
 * answers otherwise the second time leads nowhere.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { Failure } from "../base/mod.ts";
import { isLocalAddress } from "./local-address.ts";

/** Every address of a host; none when nobody knows it. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** Where a request goes. */
export interface Place {
  readonly url: URL;
  /** What to connect to; undefined where a proxy does it, and looks names up itself. */
  readonly addresses: readonly string[] | undefined;
}

export interface FollowOptions {
  readonly signal: AbortSignal;
  readonly redirectsMax: number;
  readonly lookup?: Lookup;
  readonly isLocal?: (address: string) => boolean;
}

const triesMax = 4;

const system: Lookup = async (host) =>
  (await lookup(host, { all: true }).catch(() => [])).map(({ address }) => address);

/**
 * Asks, and asks again where the answer leads; gives the last answer and who gave it.
 * @throws Failure "denied" — it leads from the open to a local address; "unsupported" — out of HTTP;
 * "unavailable" — too many redirects, or no such host; what `fetch` throws
 */
export async function follow(
  first: URL,
  { signal, redirectsMax, lookup = system, isLocal = isLocalAddress }: FollowOptions,
): Promise<{ response: Response; place: Place }> {
  const locate = (url: URL) => locateBy(url, lookup, isLocal);
  let here = await locate(first);
  let isOpen = !here.isLocal;
  for (let count = 0; count <= redirectsMax; count++) {
    const response = await ask(here, signal);
    const location = response.headers.get("location");
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) {
      return { response, place: here };
    }
    await response.body?.cancel();
    const next = new URL(location, here.url);
    if (next.protocol !== "http:" && next.protocol !== "https:") {
      const why = `it redirects to ${next.protocol}`;
      throw new Failure("unsupported", `Cannot fetch ${first.href}: ${why}`);
    }
    here = await locate(next);
    if (isOpen && here.mayBeLocal) {
      const why = `it redirects to the local address ${next.host}`;
      throw new Failure("denied", `Cannot fetch ${first.href}: ${why}`, {
        hint: `Name ${next.href} itself, if that is what you want`,
      });
    }
    isOpen ||= !here.isLocal;
  }
  throw new Failure("unavailable", `Cannot fetch ${first.href}: over ${redirectsMax} redirects`);
}

interface Located extends Place {
  /** All that the host's name leads to is local. */
  readonly isLocal: boolean;
  /** Some of it is. */
  readonly mayBeLocal: boolean;
}

async function locateBy(
  url: URL,
  lookup: Lookup,
  isLocal: (address: string) => boolean,
): Promise<Located> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const isOwn = host === "localhost" || host.endsWith(".localhost");
  const addresses = isIP(host) !== 0 ? [host] : await lookup(host);
  const flags = {
    isLocal: isOwn || (addresses.length > 0 && addresses.every(isLocal)),
    mayBeLocal: isOwn || addresses.some(isLocal),
  };
  if (isProxied(url)) return { url, addresses: undefined, ...flags };
  if (addresses.length > 0) return { url, addresses, ...flags };
  throw new Failure("unavailable", `Cannot fetch ${url.href}: there is no host ${host}`);
}

/** Whether a proxy is set for a request; it may be left out for some hosts, which are not told here. */
function isProxied({ protocol }: URL): boolean {
  const name = protocol === "https:" ? "https_proxy" : "http_proxy";
  return Boolean(process.env[name] || process.env[name.toUpperCase()]);
}

async function ask({ url, addresses }: Place, signal: AbortSignal): Promise<Response> {
  if (!addresses) return await fetch(url, { signal, redirect: "manual" });
  let failure: unknown;
  for (const address of addresses.slice(0, triesMax)) {
    const pinned = new URL(url);
    pinned.hostname = isIP(address) === 6 ? `[${address}]` : address;
    try {
      return await fetch(pinned, {
        signal,
        redirect: "manual",
        headers: { host: url.host },
        keepalive: false, // a connection that another name's certificate was checked for is not ours
        ...(isIP(url.hostname) === 0 ? { tls: { serverName: url.hostname } } : {}),
      } as RequestInit);
    } catch (error) {
      if (signal.aborted) throw error;
      failure = error;
    }
  }
  throw failure;
}
