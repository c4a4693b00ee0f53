/** Package URLs: https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst */
export interface PackageUrl {
  readonly type: string;
  /** `a/b`; "" for none. */
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly qualifiers?: Readonly<Record<string, string>>;
}

export function purlOf({ type, namespace, name, version, qualifiers = {} }: PackageUrl): string {
  const path = [type, ...namespace.split("/"), name].filter((part) => part !== "").map(encode);
  const query = Object.entries(qualifiers)
    .filter(([, value]) => value !== "")
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${encode(value)}`);
  const tail = query.length > 0 ? `?${query.join("&")}` : "";
  return `pkg:${path.join("/")}${version === "" ? "" : `@${encode(version)}`}${tail}`;
}

const encode = (text: string) => encodeURIComponent(text).replaceAll("%3A", ":");
