/**
 * Archives as bytes: tar in every dialect in, deterministic ustar and PAX out, gzip and zstd. No file
 * system: who unpacks onto a disk uses `unpackTar` of the snapshot folder.
 * Spec: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13
 */
export {
  type Compression,
  type DecompressOptions,
  decompress,
  Expansion,
  gzip,
  magicBytes,
  sniffCompression,
} from "./compression.ts";
export {
  cleanPath,
  type EntryType,
  noXattrs,
  type Segment,
  type TarBounds,
  type TarFields,
  type TarHeader,
} from "./header.ts";
export { joinTars } from "./join.ts";
export { type TarEvent, TarParser } from "./parse.ts";
export { readTar, type TarEntry } from "./read.ts";
export { wantedBy } from "./wanted.ts";
export { type TarInput, tarEnd, tarHeader, tarPadding, writeTar } from "./write.ts";
