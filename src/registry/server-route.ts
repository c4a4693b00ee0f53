import { isRepositoryName, wireLimits } from "./protocol.ts";
import { Refusal } from "./refusal.ts";

/** What a path of the protocol asks for. References and ids are as they came: hostile. */
export type Route =
  | { readonly kind: "base" }
  | { readonly kind: "catalog" }
  | { readonly kind: "tags"; readonly name: string }
  | { readonly kind: "referrers"; readonly name: string; readonly digest: string }
  | { readonly kind: "manifest"; readonly name: string; readonly reference: string }
  | { readonly kind: "blob"; readonly name: string; readonly digest: string }
  | { readonly kind: "uploads"; readonly name: string }
  | { readonly kind: "upload"; readonly name: string; readonly id: string };

/** Splits `http://host/path?query`, which is how a request names its target, without a full parse. */
export function splitTarget(url: string): { path: string; query: URLSearchParams } {
  const start = url.indexOf("/", url.indexOf("//") + 2);
  const mark = url.indexOf("?", start);
  const path = start < 0 ? "/" : mark < 0 ? url.slice(start) : url.slice(start, mark);
  return { path, query: new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1)) };
}

/**
 * Finds what a path below `/v2/` asks for; undefined when it is no path of the protocol.
 * @throws Refusal NAME_INVALID
 */
export function parseRoute(path: string): Route | undefined {
  if (path.length > wireLimits.uriCharactersMax) return undefined;
  if (path === "/v2/" || path === "/v2") return { kind: "base" };
  if (path === "/v2/_catalog") return { kind: "catalog" };
  if (!path.startsWith("/v2/")) return undefined;
  const parts = path.slice("/v2/".length).split("/");
  const [third, second, last] = [parts.at(-3), parts.at(-2), parts.at(-1) ?? ""];
  const named = (tail: number) => ({ name: nameOf(parts.slice(0, -tail)) });
  if (third === "blobs" && second === "uploads" && parts.length > 3) {
    return last === ""
      ? { kind: "uploads", ...named(3) }
      : { kind: "upload", ...named(3), id: last };
  }
  if (parts.length < 3) return undefined;
  if (second === "blobs" && last === "uploads") return { kind: "uploads", ...named(2) };
  if (second === "blobs") return { kind: "blob", ...named(2), digest: decode(last) };
  if (second === "manifests") return { kind: "manifest", ...named(2), reference: decode(last) };
  if (second === "referrers") return { kind: "referrers", ...named(2), digest: decode(last) };
  if (second === "tags" && last === "list") return { kind: "tags", ...named(2) };
  return undefined;
}

function nameOf(parts: readonly string[]): string {
  const name = parts.join("/");
  if (isRepositoryName(name)) return name;
  throw new Refusal("NAME_INVALID", `Cannot use "${name.slice(0, 300)}" as a repository's name`, {
    hint: 'Lower-case letters, digits, ".", "_", "-" and "/" make a name',
  });
}

/** Some clients write the colon of a digest as %3A. */
function decode(text: string): string {
  return text.replace(/%3a/gi, ":");
}
