import { existsSync, readdirSync, rmSync } from "node:fs";
import { posix } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../base/mod.ts";
import {
  type Cgroups,
  cgroupDirectories,
  cgroupDirectory,
  errnoOf,
  readCgroup,
  removeCgroup,
  writeCgroup,
} from "../sys/mod.ts";
import type { Resources } from "./types.ts";

const freezeTimeoutMs = 10_000;
const depthMax = 32;
const removeAttemptsMax = 20;

/**
 * The path of a container's group, as `config.json` has it. Version 2 has one more level: the group
 * above the container's own is ours, and outlives it. @throws "invalid"
 */
export function groupPath(cgroups: Cgroups, parent: string, id: string): string {
  const parts = (parent || "/lading").split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) {
    throw new Failure("invalid", `Cannot use cgroup parent "${parent}": it leads out`);
  }
  const path = `/${[...parts, id].join("/")}`;
  return cgroups.version === 2 ? `${path}/container` : path;
}

/** The limits that there are controllers for: a user's engine has those that were delegated to it. */
export function withinReach(resources: Resources, { controllers }: Cgroups): Resources {
  if (!controllers) return resources;
  const { memory, cpu, pids, blockIO, hugepageLimits, devices } = resources;
  const { cpus, mems, ...time } = cpu ?? {};
  const sets = { ...(cpus ? { cpus } : {}), ...(mems ? { mems } : {}) };
  const kept = {
    ...(controllers.has("cpu") ? time : {}),
    ...(controllers.has("cpuset") ? sets : {}),
  };
  return {
    ...(memory && controllers.has("memory") ? { memory } : {}),
    ...(Object.keys(kept).length > 0 ? { cpu: kept } : {}),
    ...(pids && controllers.has("pids") ? { pids } : {}),
    ...(blockIO && controllers.has("io") ? { blockIO } : {}),
    ...(hugepageLimits && controllers.has("hugetlb") ? { hugepageLimits } : {}),
    ...(devices ? { devices } : {}),
  };
}

/** Stops or lets go all processes of a group. @throws "timeout" | "not_found" */
export async function setFrozen(cgroups: Cgroups, path: string, isFrozen: boolean): Promise<void> {
  const directory = cgroupDirectory(cgroups, "freezer", path);
  if (directory === undefined) {
    throw new Failure("unsupported", "Cannot pause: the host has no freezer for control groups");
  }
  const isOld = cgroups.version === 1;
  const word = isFrozen ? "FROZEN" : "THAWED";
  const isSet = () => {
    if (isOld) return readCgroup(directory, "freezer.state")?.trim() === word;
    const events = readCgroup(directory, "cgroup.events") ?? "";
    return events.includes(`frozen ${isFrozen ? 1 : 0}`);
  };
  const deadline = Date.now() + freezeTimeoutMs;
  for (;;) {
    // Version 1 may stand at FREEZING until it is told again. cgroups: freezer-subsystem
    try {
      if (isOld) writeCgroup(directory, "freezer.state", word);
      else writeCgroup(directory, "cgroup.freeze", isFrozen ? "1" : "0");
    } catch (cause) {
      if (!["ENOENT", "ENODEV"].includes(errnoOf(cause) ?? "")) throw cause;
      if (!isFrozen) return; // its last process has ended: nothing hangs there any more
      throw new Failure("conflict", "Cannot pause: the container has ended", { cause });
    }
    if (isSet()) return;
    if (Date.now() > deadline) {
      throw new Failure("timeout", `Cannot ${isFrozen ? "pause" : "resume"}: processes hang`);
    }
    await sleep(1);
  }
}

/** The processes in a group and in those that the container made below it. */
export function listProcesses(cgroups: Cgroups, path: string): number[] {
  const controller = ["pids", "memory", "freezer", "cpu"].find((name) => cgroups.roots.has(name));
  const directory = cgroupDirectory(cgroups, controller ?? "", path);
  if (directory === undefined) return [];
  return [...new Set(processesBelow(directory, depthMax))].sort((a, b) => a - b);
}

function processesBelow(directory: string, depth: number): number[] {
  const text = readCgroup(directory, "cgroup.procs") ?? "";
  const own = text.split("\n").filter(Boolean).map(Number);
  if (depth === 0) return own;
  return [
    ...own,
    ...subgroups(directory).flatMap((name) => processesBelow(`${directory}/${name}`, depth - 1)),
  ];
}

function subgroups(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** Removes what is left of a group, in all trees. Its processes must have been killed. */
export async function removeGroup(cgroups: Cgroups, path: string): Promise<void> {
  removeImitation(cgroups, path);
  const own = cgroups.version === 2 ? path.replace(/\/[^/]*$/, "") : path;
  for (const directory of cgroupDirectories(cgroups, own)) {
    for (let attempt = 0; !removeTree(directory, depthMax); attempt++) {
      if (attempt >= removeAttemptsMax) break; // the next reconcile tries again
      await sleep(5);
    }
  }
}

/**
 * Where `unified` is a bare directory, its mount having been taken away on a hybrid host, crun makes
 * plain directories and files in it as if it were a tree of groups.
 */
function removeImitation({ version, roots }: Cgroups, path: string): void {
  const [root] = roots.values();
  if (version === 2 || root === undefined) return;
  const unified = `${posix.dirname(root)}/unified`;
  if (existsSync(`${unified}/cgroup.controllers`)) return;
  rmSync(`${unified}${path}`, { recursive: true, force: true });
}

function removeTree(directory: string, depth: number): boolean {
  if (removeCgroup(directory)) return true;
  if (depth === 0) return false;
  for (const name of subgroups(directory)) removeTree(`${directory}/${name}`, depth - 1);
  return removeCgroup(directory);
}
