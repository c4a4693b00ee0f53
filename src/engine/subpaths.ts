import { closeSync, mkdirSync, openSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { closeFile, mountFlag, mountNow, pathOf, statAt, unmountNow } from "../sys/mod.ts";
import type { Core } from "./core.ts";
import { findInRoot, withRoot } from "./rootfs.ts";

/**
 * A part of a volume as the source of a mount. Whoever else uses the volume could swap a directory for a
 * link between our look and the runtime's mount; so the part is bound, by descriptor, to a place of ours.
 */
export function bindSubpath(core: Core, id: string, root: string, subpath: string): string {
  const directory = placeOf(core, id);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const target = `${directory}/${Bun.hash(`${root}\0${subpath}`).toString(16)}`;
  return withRoot(root, (volume) => {
    const part = findInRoot(volume, subpath);
    if (part === undefined) {
      throw new Failure(
        "not_found",
        `cannot access path ${root}/${subpath}: no such file or directory`,
      );
    }
    try {
      unmountNow(target, { detach: true });
      if (statAt(part, "").type === "directory") mkdirSync(target, { recursive: true });
      else closeSync(openSync(target, "a", 0o600));
      mountNow({ type: "", source: pathOf(part), target, flags: mountFlag.bind });
    } finally {
      closeFile(part);
    }
    return target;
  });
}

/** Where the /dev/shm is that a container lends to others. */
export function sharedMemoryOf(core: Core, id: string): string {
  return `${placeOf(core, id)}/shm`;
}

/** Where the device nodes are of a container that may make none. */
export function devicesOf(core: Core, id: string): string {
  return `${placeOf(core, id)}/devices`;
}

/** Mounts it, empty, until `dropSubpaths`. */
export function makeSharedMemory(core: Core, id: string, bytes: number): string {
  const target = sharedMemoryOf(core, id);
  mkdirSync(target, { recursive: true, mode: 0o700 });
  const flags = mountFlag.noSuid | mountFlag.noDev | mountFlag.noExec;
  mountNow({ type: "tmpfs", source: "shm", target, flags, data: `mode=1777,size=${bytes}` });
  return target;
}

/** Takes the places of a container away; none is fine. */
export function dropSubpaths(core: Core, id: string): void {
  const directory = placeOf(core, id);
  for (const name of namesIn(directory)) {
    unmountNow(`${directory}/${name}`, { detach: true });
    // Not recursive: should it still be mounted, nothing below it may go.
    rmdirOrFile(`${directory}/${name}`);
  }
  rmdirOrFile(directory);
}

/** Takes away those of containers that do not run. */
export function reconcileSubpaths(core: Core, running: ReadonlySet<string>): void {
  for (const id of namesIn(`${core.directory}/subpaths`)) {
    if (!running.has(id)) dropSubpaths(core, id);
  }
}

function placeOf(core: Core, id: string): string {
  return `${core.directory}/subpaths/${id}`;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return [];
    throw error;
  }
}

function rmdirOrFile(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOTDIR") unlinkSync(path);
    else if (code !== "ENOENT") throw error;
  }
}
