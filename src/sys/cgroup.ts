import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { errnoOf, failureOf } from "./libc.ts";
import { listMounts, type MountPoint } from "./mount.ts";

/**
 * Where control groups are: version 1 has a tree per controller (or a few), version 2 one for all. On
 * hybrid hosts the controllers are in version 1 trees. cgroups(7)
 */
export interface Cgroups {
  readonly version: 1 | 2;
  /** Mount point by controller; of version 2 all are at "". */
  readonly roots: ReadonlyMap<string, string>;
  /** What a user's engine can limit; absent: all that the kernel has. */
  readonly controllers?: ReadonlySet<string>;
}

/** The trees that are mounted, or undefined where there is none. */
export function findCgroups(mounts: readonly MountPoint[] = listMounts()): Cgroups | undefined {
  const roots = new Map<string, string>();
  for (const { type, target, options } of mounts) {
    if (type !== "cgroup") continue;
    for (const name of options.split(",")) {
      if (name !== "rw" && name !== "ro" && !roots.has(name)) roots.set(name, target);
    }
  }
  if (roots.has("memory") || roots.has("freezer") || roots.has("pids"))
    return { version: 1, roots };
  const unified = mounts.find(({ type }) => type === "cgroup2");
  return unified && { version: 2, roots: new Map([["", unified.target]]) };
}

/** Trees of nothing: there is no limit, no figure and no freezer. */
export const noCgroups: Cgroups = { version: 1, roots: new Map(), controllers: new Set() };

/** The group of a delegated tree in which the engine itself is: with processes in it, none can be divided. */
export const engineGroup = "engine";

/**
 * The version 2 tree that this process's group is the root of, with the controllers that are open to the
 * groups in it: a user's engine has one that was delegated to it. Undefined where it has none.
 */
export function delegatedCgroups(root = "/sys/fs/cgroup"): Cgroups | undefined {
  const own = readCgroup("/proc/self", "cgroup") ?? "";
  if (!new RegExp(`^0::/${engineGroup}$`, "m").test(own)) return undefined;
  const open = readCgroup(root, "cgroup.subtree_control");
  if (open === undefined || readCgroup(`${root}/${engineGroup}`, "cgroup.procs") === undefined)
    return undefined;
  const controllers = new Set(open.trim().split(/\s+/).filter(Boolean));
  return { version: 2, roots: new Map([["", root]]), controllers };
}

/**
 * The directory of this process's group of version 2, if this user may divide it: it was delegated.
 * cgroups(7), "Delegation". Not root's own, which needs nobody's leave.
 */
export function dividableGroup(): string | undefined {
  const path = /^0::(\/.+)$/m.exec(readCgroup("/proc/self", "cgroup") ?? "")?.[1];
  return path && isDividable(groupDirectory(path));
}

/** The directory of a group of version 2 by its path, wherever the tree is mounted. */
export function groupDirectory(path: string): string | undefined {
  const tree = listMounts().findLast(({ type }) => type === "cgroup2");
  return tree && `${tree.target}${path}`;
}

function isDividable(directory: string | undefined): string | undefined {
  try {
    for (const name of ["", "/cgroup.procs", "/cgroup.subtree_control"])
      accessSync(`${directory}${name}`, constants.W_OK);
    return directory;
  } catch {
    return undefined; // another user's, or not there
  }
}

/** The directory of a group for a controller, or undefined where the host lacks the controller. */
export function cgroupDirectory(
  { version, roots }: Cgroups,
  controller: string,
  path: string,
): string | undefined {
  const root = roots.get(version === 2 ? "" : controller);
  return root === undefined ? undefined : `${root}${path}`;
}

/** Every directory of a group: one per tree. */
export function cgroupDirectories({ roots }: Cgroups, path: string): string[] {
  return [...new Set(roots.values())].map((root) => `${root}${path}`);
}

/** The text of a file of a group, or undefined when the file or the group is not there. */
export function readCgroup(directory: string | undefined, name: string): string | undefined {
  if (directory === undefined) return undefined;
  try {
    return readFileSync(`${directory}/${name}`, "utf8");
  } catch (error) {
    if (["ENOENT", "ENODEV", "EOPNOTSUPP"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}

/** Writes a setting of a group. @throws "not_found" — the group is gone | "invalid" | "conflict" | … */
export function writeCgroup(directory: string, name: string, value: string): void {
  try {
    writeFileSync(`${directory}/${name}`, value, { flag: "r+" });
  } catch (error) {
    throw failureOf(`write "${value}" to`, errnoNumber(error), `${directory}/${name}`);
  }
}

const errnoNumber = (error: unknown) => Math.abs((error as { errno?: number }).errno ?? 5);

/** Makes a group, with those above it. It may be there. */
export function makeCgroup(directory: string): void {
  mkdirSync(directory, { recursive: true });
}

/** Removes a group: false while it has processes or groups in it. One that is gone is fine. */
export function removeCgroup(directory: string): boolean {
  // crun has removed nearly all of them: an exception for each would cost more than the rest.
  if (!existsSync(directory)) return true;
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT") return true;
    if (errno === "EBUSY" || errno === "ENOTEMPTY") return false;
    throw failureOf("remove", errnoNumber(error), directory);
  }
}
