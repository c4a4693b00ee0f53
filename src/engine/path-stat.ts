import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import type { FileType, Stat } from "../sys/mod.ts";
import type { Core } from "./core.ts";
import { linkTarget, locate, type Place, partsOf } from "./paths.ts";
import { formatNs } from "./times.ts";
import type { Container, PathStat } from "./types.ts";

/** Bits of Go's os.FileMode besides the permissions. https://pkg.go.dev/io/fs#FileMode */
const typeBits: Readonly<Record<FileType, number>> = {
  file: 0,
  directory: 2 ** 31,
  symlink: 2 ** 27,
  block: 2 ** 26,
  char: 2 ** 26 + 2 ** 21,
  fifo: 2 ** 25,
  socket: 2 ** 24,
  unknown: 2 ** 19,
};

export function goMode({ type, mode }: Pick<Stat, "type" | "mode">): number {
  const setuid = mode & 0o4000 ? 2 ** 23 : 0;
  const setgid = mode & 0o2000 ? 2 ** 22 : 0;
  const sticky = mode & 0o1000 ? 2 ** 20 : 0;
  return typeBits[type] + setuid + setgid + sticky + (mode & 0o777);
}

/** A path in a container that leads to something. */
export interface Found {
  readonly place: Place;
  readonly stat: PathStat;
}

/** Finds a path as `cp` means it: a link itself, unless "/" or "/." follows. @throws "not_found" */
export async function findPath(core: Core, container: Container, path: string): Promise<Found> {
  const parts = await partsOf(core, container);
  const isFollowed = path.endsWith("/") || path.endsWith("/.");
  const place = locate(parts, path, { followLast: isFollowed });
  const { stat } = place;
  if (!stat || (isFollowed && stat.type !== "directory" && path !== "/")) {
    throw new Failure(
      "not_found",
      `Could not find the file ${path.slice(0, 1000)} in container ${container.name}`,
    );
  }
  const mtimeNs = BigInt(stat.mtimeSeconds) * 1_000_000_000n + BigInt(stat.mtimeNanoseconds);
  return {
    place,
    stat: {
      name: baseName(path),
      size: stat.sizeBytes,
      mode: goMode(stat),
      mtime: formatNs(mtimeNs),
      linkTarget: stat.type === "symlink" ? linkTarget(place) : "",
    },
  };
}

/** As Go's filepath.Base: "/" for the root, "." for `dir/.`. */
export function baseName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed === "" ? "/" : posix.basename(trimmed);
}
