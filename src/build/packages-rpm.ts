/** The database of rpm, as SQLite: one header a package. */
import { Database } from "bun:sqlite";
import type { Distribution, Package } from "./packages.ts";
import { purlOf } from "./packages-url.ts";

/** https://rpm-software-management.github.io/rpm/manual/tags.html */
const tags = { name: 1000, version: 1001, release: 1002, epoch: 1003, license: 1014, arch: 1022 };
const headersMax = 50_000;

/** The file is somebody else's: it is read from memory, and nothing in its schema is trusted. */
export function* readRpm(
  bytes: Uint8Array,
  { place, distribution }: { place: string; distribution: Distribution },
): Generator<Package> {
  for (const blob of blobsIn(bytes)) {
    const header = readHeader(Buffer.from(blob));
    const { name, version, release, epoch, license = "", arch = "" } = header;
    if (!name || !version) continue;
    const full = release ? `${version}-${release}` : version;
    const { id, version: distroVersion } = distribution;
    const distro = distroVersion === "" ? id : `${id}-${distroVersion}`;
    const qualifiers = { arch, distro, ...(epoch ? { epoch } : {}) };
    const purl = purlOf({ type: "rpm", namespace: id, name, version: full, qualifiers });
    yield { name, version: full, purl, license, source: place };
  }
}

function blobsIn(bytes: Uint8Array): Uint8Array[] {
  let database: Database | undefined;
  try {
    database = Database.deserialize(bytes, { readonly: true } as never);
    database.run("PRAGMA trusted_schema = OFF");
    return database
      .query<{ blob: Uint8Array }, [number]>("SELECT blob FROM Packages LIMIT ?")
      .all(headersMax)
      .map(({ blob }) => blob)
      .filter((blob) => blob instanceof Uint8Array);
  } catch {
    return []; // no database of rpm's
  } finally {
    database?.close();
  }
}

type Fields = { readonly [Name in keyof typeof tags]?: string };

/** Two counts, then entries of tag, type, offset and count, then what the offsets point into. */
function readHeader(blob: Buffer): Fields {
  if (blob.length < 8) return {};
  const entries = blob.readUInt32BE(0);
  const start = 8 + entries * 16;
  if (entries > 10_000 || start > blob.length) return {};
  const fields: Record<string, string> = {};
  for (let at = 8; at < start; at += 16) {
    const tag = blob.readUInt32BE(at);
    const name = Object.entries(tags).find(([, number]) => number === tag)?.[0];
    if (!name) continue;
    const [type, offset] = [blob.readUInt32BE(at + 4), start + blob.readUInt32BE(at + 8)];
    if (type === 4 && offset + 4 <= blob.length) fields[name] = `${blob.readUInt32BE(offset)}`;
    else if (type === 6 || type === 8 || type === 9) {
      const end = blob.indexOf(0, offset);
      if (offset < blob.length && end >= offset) fields[name] = blob.toString("utf8", offset, end);
    }
  }
  return fields;
}
