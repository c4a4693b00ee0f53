import type { Credentials } from "./client-token.ts";

/** Where a name's bytes are asked for: a registry, and the repository in it. */
export interface Place {
  readonly domain: string;
  readonly path: string;
}

/** A registry, or a folder of one, in another's place. */
export interface Mirror {
  readonly domain: string;
  /** In front of the repository's path: `hub/`; may be empty. */
  readonly prefix: string;
}

/** The table that says where names lead. Names themselves never change: only who is asked. */
export interface Routes {
  /** Where names without a registry lead. */
  readonly defaultTo?: Mirror;
  /** Starts of whole names, with what stands in their place; longest first. */
  readonly rewrites: readonly { readonly from: string; readonly to: Mirror }[];
  /** Who is asked before a registry itself, in this order; for reading alone. */
  readonly mirrors: ReadonlyMap<string, readonly Mirror[]>;
  /** Of hosts that the table sends us to, since clients do not know of them. */
  readonly credentials: ReadonlyMap<string, Credentials>;
}

export const noRoutes: Routes = { rewrites: [], mirrors: new Map(), credentials: new Map() };

const hubDomain = "docker.io";
const officialPath = "library/";

/** The place that a name leads to: rewritten once, by the longest start that fits. */
export function placeOf({ domain, path }: Place, { defaultTo, rewrites }: Routes): Place {
  const whole = `${domain}/${path}`;
  const rule = rewrites.find(({ from }) => whole === from || whole.startsWith(`${from}/`));
  if (rule) return within(rule.to, whole.slice(rule.from.length + 1));
  if (!defaultTo || domain !== hubDomain) return { domain, path };
  return within(defaultTo, path.startsWith(officialPath) ? path.slice(officialPath.length) : path);
}

/** The mirrors to be asked before the place itself. */
export function mirrorsOf({ domain, path }: Place, { mirrors }: Routes): Place[] {
  return (mirrors.get(domain) ?? []).map((mirror) => within(mirror, path));
}

function within({ domain, prefix }: Mirror, path: string): Place {
  return { domain, path: path === "" ? prefix.slice(0, -1) : `${prefix}${path}` };
}
