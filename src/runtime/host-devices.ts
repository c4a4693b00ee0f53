import { readdir, stat } from "node:fs/promises";
import { errnoOf } from "../sys/mod.ts";
import type { Device } from "./types.ts";

/** As Docker: these are file systems of their own, or the container's own. */
const skipped = new Set(["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"]);
const devicesMax = 10_000;
const [characterType, blockType] = [0o020000, 0o060000];

/** The devices below /dev, for a privileged container. */
export async function listHostDevices(directory = "/dev"): Promise<Device[]> {
  const found: Device[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (skipped.has(entry.name) || found.length >= devicesMax) continue;
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await listHostDevices(path)));
    else if (entry.isCharacterDevice() || entry.isBlockDevice()) {
      const device = await describeDevice(path);
      if (device) found.push(device);
    }
  }
  return found;
}

/** The device at a path; undefined: there is none. */
export async function describeDevice(path: string): Promise<Device | undefined> {
  try {
    const { mode, rdev, uid, gid } = await stat(path);
    const type = (mode & 0o170000) === blockType ? "b" : "c";
    if (type === "c" && (mode & 0o170000) !== characterType) return undefined;
    // gnu_dev_major(3) and gnu_dev_minor(3), of numbers that fit 32 bits.
    const major = Math.floor(rdev / 256) & 0xfff;
    const minor = (rdev & 0xff) | (Math.floor(rdev / 4096) & 0xfff00);
    return { path, type, major, minor, fileMode: mode & 0o777, uid, gid };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
