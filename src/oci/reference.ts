import { Failure } from "../base/mod.ts";
import { type Digest, isDigest } from "./digest.ts";

/** A name of an image, whole: `busybox` is `{ domain: "docker.io", path: "library/busybox" }`. */
export interface Reference {
  readonly domain: string;
  readonly path: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const defaultDomain = "docker.io";
const officialPath = "library/";
const nameCharactersMax = 255;
const textCharactersMax = 1024; // name, tag and digest; what is longer is not worth a regular expression

const domainPart = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const domain = `(?:${domainPart}(?:\\.${domainPart})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const pathPart = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const shape = new RegExp(
  `^(${domain})/(${pathPart}(?:/${pathPart})*)` +
    "(?::([\\w][\\w.-]{0,127}))?(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$",
);

const invalid = (why: string, hint?: string) =>
  new Failure("invalid", `invalid reference format${why}`, hint ? { hint } : {});

/**
 * Parses a name as people write it, `busybox`, `host:5000/team/app:v1@sha256:…`, and fills in Docker's
 * defaults for the domain; not for the tag: see `withDefaultTag`.
 * Spec: https://github.com/distribution/reference (the grammar), Docker's familiar names.
 * @throws Failure "invalid" in Docker's words
 */
export function parseReference(text: string): Reference {
  if (/^[0-9a-f]{64}$/.test(text)) {
    throw new Failure(
      "invalid",
      `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
    );
  }
  if (text === "" || text.length > textCharactersMax) throw invalid("");
  const { domain, rest } = splitDomain(text);
  const colon = rest.indexOf(":");
  const name = colon < 0 ? rest.split("@")[0]! : rest.slice(0, colon);
  if (name.toLowerCase() !== name) throw invalid(`: repository name (${name}) must be lowercase`);
  const match = shape.exec(`${domain}/${rest}`);
  if (!match) throw invalid("");
  const [, , path = "", tag, digest] = match;
  if (domain.length + 1 + path.length > nameCharactersMax) {
    throw new Failure(
      "invalid",
      `repository name must not be more than ${nameCharactersMax} characters`,
    );
  }
  if (digest !== undefined && !isDigest(digest)) {
    throw invalid(": unsupported digest algorithm", "Digests are sha256 or sha512");
  }
  return { domain, path, ...(tag ? { tag } : {}), ...(digest ? { digest } : {}) };
}

/** A first part with a dot, a colon or a capital, or `localhost`, is a registry's address. */
function splitDomain(text: string): { domain: string; rest: string } {
  const slash = text.indexOf("/");
  const first = slash < 0 ? "" : text.slice(0, slash);
  const isAddress = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  const found = isAddress ? first : defaultDomain;
  const domain = found === "index.docker.io" ? defaultDomain : found;
  const rest = isAddress ? text.slice(slash + 1) : text;
  const name = rest.split(/[:@]/)[0]!;
  const isOfficial = domain === defaultDomain && !name.includes("/");
  return { domain, rest: isOfficial ? `${officialPath}${rest}` : rest };
}

/** The reference, with tag `latest` where it has neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag || reference.digest ? reference : { ...reference, tag: "latest" };
}

/** The name without tag and digest as people write it: `busybox`, `team/app`, `host:5000/app`. */
export function familiarName({ domain, path }: Pick<Reference, "domain" | "path">): string {
  if (domain !== defaultDomain) return `${domain}/${path}`;
  const short = path.startsWith(officialPath) ? path.slice(officialPath.length) : path;
  return short.includes("/") ? path : short;
}

/** The reference as people write it: `busybox:latest`, `busybox@sha256:…`. */
export function familiarReference(reference: Reference): string {
  return `${familiarName(reference)}${suffixOf(reference)}`;
}

/** The reference with its domain: `docker.io/library/busybox:latest`. */
export function fullReference(reference: Reference): string {
  return `${reference.domain}/${reference.path}${suffixOf(reference)}`;
}

function suffixOf({ tag, digest }: Reference): string {
  return `${tag ? `:${tag}` : ""}${digest ? `@${digest}` : ""}`;
}

/** The hex digits when a text may be an ID or the start of one: `sha256:3f…`, `3f57d9401f8d`. */
export function idPrefixOf(text: string): string | undefined {
  const hex = text.startsWith("sha256:") ? text.slice("sha256:".length) : text;
  return /^[0-9a-f]{1,64}$/.test(hex) ? hex : undefined;
}
