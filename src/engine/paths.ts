import { existsSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { closeFile, errnoOf, findAt, type IdMap, open, readLinkAt, type Stat } from "../sys/mod.ts";
import type { Core } from "./core.ts";
import { findInRoot, makeDirectory, withRoot } from "./rootfs.ts";
import type { Container } from "./types.ts";
import { mountRoot, ownersOnDisk } from "./users.ts";

/** A directory of the host that a part of a container's tree is. */
export interface Part {
  /** Where it is in the container; "/" for the root filesystem. */
  readonly target: string;
  /** A path that is ours to trust; what is below it is not. */
  readonly source: string;
  /** Where in `source` the part begins: "" or "/sub/path". */
  readonly prefix: string;
  /** Whose owners it shows: those of the container's users on the host. Absent: those inside. */
  readonly owners?: IdMap | undefined;
}

/** A place in a container. `path` is inside `part.source`, and must be opened as in a root. */
export interface Place {
  readonly part: Part;
  /** Without links, but for the last name when that was not to be followed. */
  readonly path: string;
  /** The same as the container sees it. */
  readonly inside: string;
  readonly stat: Stat | undefined;
}

const endMs = 10_000;
const linksMax = 40; // the kernel's own bound

/**
 * The parts that a container's tree is made of. Of a running one: what its processes see. Of another: its
 * snapshot, and over that its volumes and bind mounts, which are mounted nowhere then.
 */
export async function partsOf(core: Core, { id }: Container): Promise<Part[]> {
  const live = core.live.get(id);
  if (live && !existsSync(`/proc/${live.process.pid}/root`)) {
    // It has ended just now: what it left is its snapshot's, once its end is written down.
    await Promise.race([live.recorded, Bun.sleep(endMs)]);
  }
  if (live && live === core.live.get(id))
    return [
      {
        target: "/",
        source: `/proc/${live.process.pid}/root`,
        prefix: "",
        owners: core.records.inside(id).owners,
      },
    ];
  const { root: source, owners } = await mountRoot(core, id);
  const root = { target: "/", source, prefix: "", owners };
  const above = core.records.inside(id).mounts.map(async (plan): Promise<Part[]> => {
    const { target } = plan;
    if (plan.kind === "bind")
      return (await boundPart(target, plan.source)).map((part) => ({ ...part, owners }));
    if (plan.kind !== "volume") return [];
    const prefix = plan.subpath === "" ? "" : `/${plan.subpath}`;
    const files = await core.volumes.mount(plan.name, id);
    return [{ target, source: files, prefix, owners: ownersOnDisk(files, owners) }];
  });
  const parts = (await Promise.all(above)).flat();
  makeWays(root, parts);
  return [root, ...parts];
}

/** Makes the folders that a first start would make: before it, the way to a volume may lead nowhere. */
function makeWays(root: Part, parts: readonly Part[]): void {
  for (const { target, prefix } of parts) {
    if (parts.some((other) => target.startsWith(`${other.target}/`))) continue;
    const folder = prefix === "" ? target : posix.dirname(target);
    try {
      makeDirectory(root.source, folder);
    } catch (error) {
      // The image has a file on the way: a start will say so, and other files can be had until then.
      if (!["ENOTDIR", "EEXIST", "ELOOP", "ENOENT"].includes(errnoOf(error) ?? "")) throw error;
    }
  }
}

/** Of a file, its folder with the file as the beginning; none when the source is gone. */
async function boundPart(target: string, bound: string): Promise<Part[]> {
  try {
    const source = await realpath(bound);
    if ((await stat(source)).isDirectory()) return [{ target, source, prefix: "" }];
    return [{ target, source: posix.dirname(source), prefix: `/${posix.basename(source)}` }];
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ESTALE"].includes(errnoOf(error) ?? "")) return [];
    throw error;
  }
}

/** Whether what is at a path was mounted read-only, or lies on a read-only root. */
export function readOnlyReason(core: Core, id: string, inside: string): string | undefined {
  const { hostConfig } = core.records.get(id);
  const over = core.records
    .inside(id)
    .mounts.filter(({ target }) => inside === target || inside.startsWith(`${target}/`))
    .sort((a, b) => b.target.length - a.target.length)[0];
  if (!over) return hostConfig.ReadonlyRootfs ? "container rootfs is marked read-only" : undefined;
  const isReadOnly =
    over.kind === "image" || (over.kind === "tmpfs" ? over.options.includes("ro") : over.readOnly);
  return isReadOnly ? "mounted volume is marked read-only" : undefined;
}

/**
 * Follows a path through the parts, links as the container means them. Nothing leads out of a part but
 * into another: the last step is left to the kernel, inside the part.
 * @throws Failure "invalid" — more than 40 links
 */
export function locate(
  parts: readonly Part[],
  path: string,
  { followLast }: { followLast: boolean },
): Place {
  const pending = path.split("/");
  let real: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const name = pending.shift()!;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      real.pop();
      continue;
    }
    real.push(name);
    const isLast = pending.every((rest) => rest === "" || rest === ".");
    if (isLast && !followLast) continue;
    const target = linkAt(placeOf(parts, real));
    if (target === undefined) continue;
    if (++links > linksMax) {
      throw new Failure("invalid", `Cannot use "${path}": too many levels of symbolic links`);
    }
    real = target.startsWith("/") ? [] : real.slice(0, -1);
    pending.unshift(...target.split("/"));
  }
  const place = placeOf(parts, real);
  return { ...place, stat: statOf(place) };
}

type Spot = Omit<Place, "stat">;

function placeOf(parts: readonly Part[], real: readonly string[]): Spot {
  const inside = `/${real.join("/")}`;
  const isIn = ({ target }: Part) => inside === target || inside.startsWith(`${target}/`);
  const [root, ...above] = parts;
  const part = above.filter(isIn).sort((a, b) => b.target.length - a.target.length)[0] ?? root!;
  const rest = part.target === "/" ? inside : inside.slice(part.target.length);
  return { part, path: `${part.prefix}${rest}` || "/", inside };
}

function inParent<T>({ part, path }: Spot, task: (parent: number, name: string) => T) {
  return withRoot(part.source, (root) => {
    if (path === "/") return task(root, "");
    const parent = findInRoot(root, posix.dirname(path), open.directory);
    if (parent === undefined) return undefined;
    try {
      return task(parent, posix.basename(path));
    } finally {
      closeFile(parent);
    }
  });
}

export function statOf(spot: Spot): Stat | undefined {
  return inParent(spot, findAt);
}

function linkAt(spot: Spot): string | undefined {
  return inParent(spot, (parent, name) => {
    if (findAt(parent, name)?.type !== "symlink") return undefined;
    return readLinkAt(parent, name).toString("utf8");
  });
}

/** What a link at a place says, as an absolute path in the container. */
export function linkTarget(spot: Spot): string {
  const target = linkAt(spot) ?? "";
  return posix.normalize(
    target.startsWith("/") ? target : `${posix.dirname(spot.inside)}/${target}`,
  );
}
