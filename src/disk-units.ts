/** What the data root is made of: the smallest things that have one owner each. */

/** What kind of thing owns a unit, as `system df` sorts them. */
export type UnitKind = "image" | "container" | "volume" | "build cache" | "engine";

/** How many parts of a path name a unit, by how the path begins. */
const depths: readonly (readonly [string, number])[] = [
  ["snapshot/", 3],
  ["content/blobs/", 4],
  ["content/ingest/", 3],
  ["volume/.trash/", 3],
  ["volume/", 2],
  ["engine/logs/", 3],
  ["image/partial/", 3],
  ["build/", 3],
];

/** The unit that a path below the data root belongs to: `volume/data/_data/x` is of `volume/data`. */
export function unitOf(path: string): string {
  const depth = depths.find(([start]) => path.startsWith(start))?.[1] ?? 1;
  return path.split("/", depth).join("/");
}
