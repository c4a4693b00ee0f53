/** What software an image's files hold: packages of its distribution, and those of languages. */
import { posix } from "node:path";
import { closeFile, open, openAt, readInto, type Stat } from "../sys/mod.ts";
import { parseIgnore } from "./ignore.ts";
import { readApk, readDpkg } from "./packages-distribution.ts";
import { readGo } from "./packages-go.ts";
import { readDistInfo, readPackageJson, readPackageLock } from "./packages-language.ts";
import { readRpm } from "./packages-rpm.ts";
import { Root } from "./rooted.ts";
import { walk } from "./tree.ts";

/** One piece of software. */
export interface Package {
  readonly name: string;
  readonly version: string;
  /** https://github.com/package-url/purl-spec */
  readonly purl: string;
  /** As it says itself; "" when it says nothing. */
  readonly license: string;
  /** The file that tells of it. */
  readonly source: string;
}

export interface Distribution {
  readonly id: string;
  readonly version: string;
}

const bytesMax = 64 << 20;
const smallBytesMax = 4 << 20;
const packagesMax = 100_000;
const entriesMax = 2_000_000;

/** Reads a root filesystem. Blocking: for a worker. The files are hostile; what makes no sense is no package. */
export function listPackages({ path }: { path: string }): Package[] {
  using root = new Root(path);
  const distribution = readDistribution(root);
  const found = new Map<string, Package>();
  const nothing = parseIgnore("");
  const filter = { ignore: nothing, exclude: nothing };
  const whole = { path: "", asked: "", isFolder: true, isArchive: false, keep: undefined };
  let entries = 0;
  for (const { path: place, folder, name, stat } of walk(root, whole, filter)) {
    if (++entries > entriesMax || found.size >= packagesMax) break;
    if (stat.type !== "file" || stat.sizeBytes === 0) continue;
    const reader = readerOf(place, stat);
    if (!reader) continue;
    const read: Read = (offset, length) => {
      const size = Math.max(0, Math.min(stat.sizeBytes - offset, length));
      return readFile(folder, name, { offset, size });
    };
    for (const each of reader(read, { place, distribution })) found.set(each.purl, each);
  }
  return [...found.values()].sort((a, b) => (a.purl < b.purl ? -1 : 1));
}

/** Bytes of a file, fewer where it ends. */
export type Read = (offset: number, length: number) => Uint8Array;
type Reader = (
  read: Read,
  about: { readonly place: string; readonly distribution: Distribution },
) => Iterable<Package>;

function readerOf(place: string, { mode, sizeBytes }: Stat): Reader | undefined {
  const name = posix.basename(place);
  const text = (read: Read) => Buffer.from(read(0, bytesMax)).toString("utf8");
  if (place === "var/lib/dpkg/status" || posix.dirname(place) === "var/lib/dpkg/status.d") {
    return (read, about) => readDpkg(text(read), about);
  }
  if (place === "lib/apk/db/installed" || place === "usr/lib/apk/db/installed") {
    return (read, about) => readApk(text(read), about);
  }
  if (name === "rpmdb.sqlite") return (read, about) => readRpm(read(0, bytesMax), about);
  if (sizeBytes > smallBytesMax && name === "package.json") return undefined;
  if (name === "package.json" && /(?:^|\/)node_modules\//.test(place)) {
    return (read, { place: source }) => readPackageJson(text(read), source);
  }
  if (name === "package-lock.json") {
    return (read, { place: source }) => readPackageLock(text(read), source);
  }
  if (/\.dist-info\/METADATA$|\.egg-info(?:\/PKG-INFO)?$/.test(place)) {
    return (read, { place: source }) => readDistInfo(text(read), source);
  }
  const isProgram = (mode & 0o111) !== 0 && sizeBytes > 64 << 10;
  return isProgram ? (read, { place: source }) => readGo(read, source) : undefined;
}

function readFile(
  folder: number,
  name: string,
  { offset, size }: { offset: number; size: number },
): Uint8Array {
  const file = openAt(folder, name, open.readOnly | open.nonBlock);
  try {
    const bytes = new Uint8Array(size);
    let at = 0;
    while (at < size) {
      const got = readInto(file, bytes.subarray(at), offset + at);
      if (got === 0) break;
      at += got;
    }
    return bytes.subarray(0, at);
  } finally {
    closeFile(file);
  }
}

/** https://www.freedesktop.org/software/systemd/man/latest/os-release.html */
function readDistribution(root: Root): Distribution {
  const text = root.text("etc/os-release", 64 << 10) ?? root.text("usr/lib/os-release", 64 << 10);
  const value = (name: string) =>
    new RegExp(`^${name}=["']?([^"'\\n]*)`, "m").exec(text ?? "")?.[1] ?? "";
  return { id: value("ID") || "linux", version: value("VERSION_ID") };
}
