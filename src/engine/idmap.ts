/**
 * Mounts that show other owners than the disk has: id-mapped mounts, which the runtime makes. Nothing
 * on the disk is changed.
 * Kernel: https://www.kernel.org/doc/html/latest/filesystems/idmappings.html
 */
import { stat } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import { resolveUser } from "../runtime/mod.ts";

const extentsMax = 340; // the kernel's own bound
const idsMax = 2 ** 32 - 1;
const extent = /^(\d{1,10})-(\d{1,10})-(\d{1,10})$/;

/**
 * Checks `user`, or `uids=DISK-SEEN-COUNT[#…];gids=…`: what is DISK's on the disk is SEEN's in the
 * container. @throws "invalid"
 */
export function checkIdMap(text: string): string {
  if (text === "" || text === "user") return text;
  const parts = text.split(";").map((part) => part.split("="));
  const isWhole = ["uids", "gids"].every(
    (key) => parts.filter(([name]) => name === key).length === 1,
  );
  const isRight = parts.length === 2 && parts.every(([, ranges]) => areExtents(ranges ?? ""));
  if (isWhole && isRight) return text;
  throw new Failure("invalid", `invalid idmap: "${text.slice(0, 300)}"`, {
    hint: 'Use "user", or "uids=DISK-SEEN-COUNT[#…];gids=DISK-SEEN-COUNT[#…]"',
  });
}

function areExtents(text: string): boolean {
  const extents = text.split("#").map((part) => extent.exec(part)?.slice(1).map(Number));
  return (
    extents.length <= extentsMax &&
    extents.every((numbers) => {
      const [disk = idsMax, seen = idsMax, count = 0] = numbers ?? [];
      return count > 0 && disk + count <= idsMax && seen + count <= idsMax;
    })
  );
}

/**
 * The runtime's option for a mount of `source`. "user" swaps whoever owns the source and the user that
 * the container runs as; all others are who they are.
 */
export async function idMapOptions(
  idMap: string,
  source: string,
  { root, user }: { root: string; user: string },
): Promise<string[]> {
  if (idMap === "") return [];
  if (idMap !== "user") return [`idmap=${idMap}`];
  const owner = await stat(source);
  const { uid, gid } = resolveUser(root, user);
  if (owner.uid === uid && owner.gid === gid) return [];
  return [`idmap=uids=${swap(owner.uid, uid)};gids=${swap(owner.gid, gid)}`];
}

/** All IDs, with two of them exchanged. */
export function swap(one: number, other: number): string {
  const [low, high] = [one, other].sort((a, b) => a - b) as [number, number];
  const extents =
    low === high
      ? [[0, 0, idsMax]]
      : [
          [0, 0, low],
          [low, high, 1],
          [low + 1, low + 1, high - low - 1],
          [high, low, 1],
          [high + 1, high + 1, idsMax - high - 1],
        ];
  return extents
    .filter(([, , count = 0]) => count > 0)
    .map((numbers) => numbers.join("-"))
    .join("#");
}
