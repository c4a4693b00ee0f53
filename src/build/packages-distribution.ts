/** The databases of dpkg and apk. */
import type { Distribution, Package } from "./packages.ts";
import { purlOf } from "./packages-url.ts";

interface About {
  readonly place: string;
  readonly distribution: Distribution;
}

/** https://manpages.debian.org/bookworm/dpkg/dpkg-query.1.en.html: stanzas of `Field: value`. */
export function* readDpkg(text: string, about: About): Generator<Package> {
  for (const stanza of text.split(/\n\n+/)) {
    const field = fieldsOf(stanza, /^([A-Za-z-]+): ?(.*)$/);
    const [name, version] = [field("Package"), field("Version")];
    const status = field("Status");
    if (!name || !version || (status !== "" && !status.endsWith(" installed"))) continue;
    const arch = field("Architecture");
    yield made({ type: "deb", name, version, license: "", arch }, about);
  }
}

/** https://wiki.alpinelinux.org/wiki/Apk_spec: stanzas of `L:value`. */
export function* readApk(text: string, about: About): Generator<Package> {
  for (const stanza of text.split(/\n\n+/)) {
    const field = fieldsOf(stanza, /^([A-Za-z]):(.*)$/);
    const [name, version] = [field("P"), field("V")];
    if (!name || !version) continue;
    yield made({ type: "apk", name, version, license: field("L"), arch: field("A") }, about);
  }
}

function fieldsOf(stanza: string, shape: RegExp): (name: string) => string {
  const fields = new Map<string, string>();
  for (const line of stanza.split("\n")) {
    const match = shape.exec(line);
    if (match && !fields.has(match[1]!)) fields.set(match[1]!, match[2]!.trim());
  }
  return (name) => fields.get(name) ?? "";
}

function made(
  found: { type: string; name: string; version: string; license: string; arch: string },
  { place, distribution }: About,
): Package {
  const { type, name, version, license, arch } = found;
  const { id, version: release } = distribution;
  const distro = release === "" ? id : `${id}-${release}`;
  const purl = purlOf({ type, namespace: id, name, version, qualifiers: { arch, distro } });
  return { name, version, purl, license, source: place };
}
