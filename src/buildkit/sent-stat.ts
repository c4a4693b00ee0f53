/** What a client says of a file, as a tar has it. */
import type { TarFields } from "../archive/mod.ts";
import type { fileStat } from "./messages.ts";

export type Stat = ReturnType<typeof fileStat.decode>;

/** Go's os.FileMode. */
export const goMode = {
  directory: 2 ** 31,
  symlink: 2 ** 27,
  device: 2 ** 26,
  fifo: 2 ** 25,
  socket: 2 ** 24,
  setuid: 2 ** 23,
  setgid: 2 ** 22,
  charDevice: 2 ** 21,
  sticky: 2 ** 20,
} as const;

const has = (mode: number, bit: number) => Math.floor(mode / bit) % 2 === 1;

export function isFile({ mode, linkName }: Stat): boolean {
  const others = [goMode.directory, goMode.symlink, goMode.device, goMode.fifo, goMode.socket];
  return linkName === "" && !others.some((bit) => has(mode, bit));
}

/** Undefined for a socket: no tar holds one. */
export function headerOf(stat: Stat): TarFields | undefined {
  const { mode, path, linkName } = stat;
  if (has(mode, goMode.socket)) return undefined;
  const seconds = floorDivide(stat.modTime, 1_000_000_000n);
  return {
    path,
    type: typeOf(stat),
    linkPath: linkName,
    mode: modeOf(stat),
    uid: stat.uid,
    gid: stat.gid,
    sizeBytes: isFile(stat) ? stat.size : 0,
    mtimeSeconds: Number(seconds),
    mtimeNanoseconds: Number(stat.modTime - seconds * 1_000_000_000n),
    deviceMajor: stat.deviceMajor,
    deviceMinor: stat.deviceMinor,
    xattrs: stat.xattrs,
  };
}

/** Permissions, with the three bits above them. */
export function modeOf({ mode }: Stat): number {
  const special =
    (has(mode, goMode.setuid) ? 0o4000 : 0) +
    (has(mode, goMode.setgid) ? 0o2000 : 0) +
    (has(mode, goMode.sticky) ? 0o1000 : 0);
  return special + (mode % 0o1000);
}

function floorDivide(value: bigint, by: bigint): bigint {
  return value / by - (value % by < 0n ? 1n : 0n);
}

export function typeOf({ mode, linkName }: Stat): NonNullable<TarFields["type"]> {
  if (has(mode, goMode.directory)) return "directory";
  if (has(mode, goMode.symlink)) return "symlink";
  if (has(mode, goMode.fifo)) return "fifo";
  if (has(mode, goMode.device)) return has(mode, goMode.charDevice) ? "char" : "block";
  return linkName === "" ? "file" : "link";
}
