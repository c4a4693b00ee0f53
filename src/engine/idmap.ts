/**
 * Mounts that show other owners than the disk has: id-mapped mounts, which the runtime makes. Nothing
 * on the disk is changed.
 * Kernel: https://www.kernel.org/doc/html/latest/filesystems/idmappings.html
 */
import { stat } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import { resolveUser } from "../runtime/mod.ts";
import type { IdMap, IdRange } from "../sys/mod.ts";

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
  { root, user, owners }: { root: string; user: string; owners?: IdMap | undefined },
): Promise<string[]> {
  if (idMap === "") return [];
  const [uids, gids] = idMap === "user" ? await swaps(source, { root, user }) : asked(idMap);
  if (owners)
    return [`idmap=uids=${through(uids, owners.uids)};gids=${through(gids, owners.gids)}`];
  if (uids === all && gids === all) return [];
  return [`idmap=uids=${uids};gids=${gids}`];
}

async function swaps(source: string, { root, user }: { root: string; user: string }) {
  const owner = await stat(source);
  const { uid, gid } = resolveUser(root, user);
  return [swap(owner.uid, uid), swap(owner.gid, gid)] as const;
}

function asked(idMap: string): readonly [uids: string, gids: string] {
  const parts = new Map(idMap.split(";").map((part) => part.split("=") as [string, string]));
  return [parts.get("uids") ?? "", parts.get("gids") ?? ""];
}

/** What a map shows, as the host's IDs of a container in a user namespace: who is not in there is left out. */
export function through(shown: string, ranges: readonly IdRange[]): string {
  const extents = shown.split("#").flatMap((text) => {
    const [disk = 0, seen = 0, count = 0] = text.split("-").map(Number);
    return ranges.flatMap(({ inside, outside, count: length }) => {
      const from = Math.max(seen, inside);
      const size = Math.min(seen + count, inside + length) - from;
      return size > 0 ? [`${disk + from - seen}-${outside + from - inside}-${size}`] : [];
    });
  });
  if (extents.length > 0) return extents.join("#");
  throw new Failure("invalid", `invalid idmap: "${shown}" shows none of the container's users`);
}

/** Everybody is who they are. */
const all = `0-0-${idsMax}`;

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
