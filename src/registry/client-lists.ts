import { Failure } from "../base/mod.ts";
import { type Answer, refused } from "./client-fetch.ts";
import type { Session } from "./client-session.ts";
import { paths } from "./protocol.ts";

const entriesMax = 100_000;
const pagesMax = 1_000;
const pageBytesMax = 8 << 20;
const nameCharactersMax = 255;

/** The names of the repositories that a registry lists. */
export async function listCatalog(session: Session, signal: AbortSignal): Promise<string[]> {
  const scopes = ["registry:catalog:*"];
  const get = (target: string) => session.send({ method: "GET", target, scopes, signal });
  return await listPages(get, paths.catalog, "repositories");
}

/**
 * All pages of a list of names.
 * Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
 */
export async function listPages(
  get: (target: string) => Promise<Answer>,
  path: string,
  field: string,
): Promise<string[]> {
  const names: string[] = [];
  let target: string | undefined = `${path}?n=1000`;
  for (let page = 0; target; page++) {
    const answer: Answer = await get(target);
    if (answer.status !== 200) throw await refused(answer, `Cannot list ${path}`);
    names.push(...parseNames(await answer.bytes(pageBytesMax), field));
    if (names.length > entriesMax || page > pagesMax) {
      throw new Failure("exhausted", `Cannot list ${path}: there are too many entries`);
    }
    target = nextPage(answer);
  }
  return names;
}

function parseNames(bytes: Uint8Array, field: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch (cause) {
    throw new Failure("invalid", `Cannot read the list of ${field}: it is not JSON`, { cause });
  }
  const names = (value as Record<string, unknown> | null)?.[field] ?? [];
  if (!Array.isArray(names)) throw new Failure("invalid", `Cannot read the list of ${field}`);
  return names.filter(
    (name): name is string => typeof name === "string" && name.length <= nameCharactersMax,
  );
}

/** The next page of a list, on the same registry. */
function nextPage(answer: Answer): string | undefined {
  const link = /<([^>]{1,4096})>\s*;\s*rel="?next"?/.exec(answer.headers.get("link") ?? "");
  if (!link || !URL.canParse(link[1]!, answer.url.href)) return undefined;
  const url = new URL(link[1]!, answer.url);
  return url.origin === answer.url.origin ? `${url.pathname}${url.search}` : undefined;
}
