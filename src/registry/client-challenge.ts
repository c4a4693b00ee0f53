/** What a registry wants to be shown, as its 401 says. */
export type Challenge =
  | { readonly kind: "none" }
  | { readonly kind: "basic" }
  | { readonly kind: "bearer"; readonly realm: string; readonly service: string };

/**
 * Parses `WWW-Authenticate`; of several challenges Bearer is taken before Basic.
 * Spec: https://distribution.github.io/distribution/spec/auth/token/, RFC 9110 section 11.
 */
export function parseChallenge(header: string | null): Challenge | undefined {
  if (header === null || header.length > 8192) return undefined;
  // What stands in quotes is no scheme.
  const bare = header.replace(/"(?:[^"\\]|\\.)*"/g, (quoted) => "_".repeat(quoted.length));
  const found = [...bare.matchAll(/(?:^|,)\s*(bearer|basic)(?=\s|,|$)\s*/gi)];
  const bearer = found.find(([, scheme]) => scheme!.toLowerCase() === "bearer");
  if (bearer) {
    const fields = parseFields(header.slice(bearer.index + bearer[0].length));
    const realm = fields.get("realm");
    if (realm) return { kind: "bearer", realm, service: fields.get("service") ?? "" };
  }
  return found.length > 0 && !bearer ? { kind: "basic" } : undefined;
}

/** `a="b",c=d` to its end, or to the next scheme. */
function parseFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  const field = /\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)/y;
  for (let match = field.exec(text); match; match = field.exec(text)) {
    const value = match[2]?.replace(/\\(.)/g, "$1") ?? match[3] ?? "";
    const name = match[1]!.toLowerCase();
    if (!fields.has(name)) fields.set(name, value);
  }
  return fields;
}
