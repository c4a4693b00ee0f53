import { closeSync, mkdirSync } from "node:fs";
import type { Device } from "../runtime/mod.ts";
import {
  chmodAt,
  chownAt,
  type IdMap,
  type Mount,
  makeNodeAt,
  mountFlag,
  mountNow,
  open,
  openPath,
  ownerOutside,
  unmountNow,
} from "../sys/mod.ts";

const kinds: Readonly<Record<Device["type"], number>> = {
  b: 0o060000,
  c: 0o020000,
  u: 0o020000,
  p: 0o010000,
};

/**
 * Device nodes for a container in a user namespace, where the kernel lets nobody make one. They are made
 * here, in memory at `directory`, with the owners that the container's users are, and bound into it: the
 * host's own nodes would be nobody's in there, and what its root alone may open would be closed to all.
 */
export function mountDevices(
  devices: readonly Device[],
  { directory, map }: { directory: string; map: IdMap },
): Mount[] {
  if (devices.length === 0) return [];
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  unmountNow(directory, { detach: true });
  const flags = mountFlag.noSuid | mountFlag.noExec;
  mountNow({ type: "tmpfs", source: "devices", target: directory, flags, data: "mode=700" });
  const folder = openPath(directory, open.path | open.directory);
  try {
    return devices.map((device, index) => {
      makeNode(folder, `${index}`, device, map);
      const options = ["bind", "rprivate", "nosuid", "noexec"];
      return { type: "bind", source: `${directory}/${index}`, target: device.path, options };
    });
  } finally {
    closeSync(folder);
  }
}

function makeNode(folder: number, name: string, device: Device, map: IdMap): void {
  const { type, major, minor, fileMode = 0o666, uid = 0, gid = 0 } = device;
  makeNodeAt(folder, name, { mode: kinds[type] | 0o600, major, minor });
  const root = { uid: 0, gid: 0 };
  const owner = ownerOutside(map, { uid, gid }) ?? ownerOutside(map, root) ?? root;
  chownAt(folder, name, owner);
  chmodAt(folder, name, fileMode);
}
