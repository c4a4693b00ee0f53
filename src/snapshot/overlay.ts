import { closeSync, mkdirSync, rmdirSync } from "node:fs";
import { Failure, limits } from "../base/mod.ts";
import {
  asRootOf,
  attachTree,
  isNamespaced,
  mountDataBytesMax,
  mountNow,
  type OwnerMap,
  openMapped,
  unmountNow,
} from "../sys/mod.ts";

/**
 * Options without which a directory would depend on its neighbours: no index (it ties an upper
 * directory to its lower ones), no redirects (a renamed directory would be a pointer to its old name),
 * no metacopy (a changed mode would be a file without content).
 * https://docs.kernel.org/filesystems/overlayfs.html
 */
const canonical = isNamespaced
  ? // In a user namespace the kernel takes no others, and has none of those three.
    "userxattr"
  : "index=off,redirect_dir=off,metacopy=off";

export interface OverlayMount {
  /** Absolute. */
  readonly target: string;
  /** Where the paths below start; absolute. */
  readonly directory: string;
  /** The topmost first; short. */
  readonly lowers: readonly string[];
  /** Absent: read-only. */
  readonly upper?: { readonly files: string; readonly work: string; readonly isVolatile: boolean };
  /** What it is called in the table of mounts: "overlay", or with a map's name. */
  readonly source: string;
}

/** The name of a mount, by which a later daemon knows which owners it shows. */
export function sourceOf(owners: OwnerMap | undefined): string {
  if (!owners) return "overlay";
  const map = JSON.stringify([owners.uids, owners.gids]);
  return `overlay-${Bun.hash(map).toString(36)}`;
}

/**
 * Mounts an overlay through whose files a container in a user namespace sees its own IDs, and the disk has
 * the image's. Overlayfs takes no map itself, but its layers may lie on a mount that has one (Linux 5.19):
 * `base`, which holds them all, is mounted so at `at` for as long as the one call takes.
 */
export function mountMapped(
  mount: OverlayMount,
  { base, at, owners }: { base: string; at: string; owners: OwnerMap },
): void {
  const tree = openMapped(base, owners);
  try {
    mkdirSync(at, { recursive: true, mode: 0o700 });
    attachTree(tree, at);
    try {
      const directory = mount.directory.replace(base, at);
      // Who mounts it makes its work directory, and is the maker of all that is copied up.
      asRootOf(owners, () => mountOverlay({ ...mount, directory }));
    } finally {
      unmountNow(at, { detach: true });
      rmdirSync(at);
    }
  } finally {
    closeSync(tree);
  }
}

/**
 * Mounts an overlay now, on this thread: about 0.3 ms. The kernel takes one page of options; where
 * absolute names do not fit, or hold what separates options, the names are relative, and the process
 * stands in `directory` for the length of one system call.
 * @throws Failure "exhausted" — too many layers
 */
export function mountOverlay(mount: OverlayMount): void {
  const absolute = optionsOf(mount, `${mount.directory}/`);
  const { target } = mount;
  const fits = Buffer.byteLength(absolute) <= mountDataBytesMax && !/[:,\\]/.test(mount.directory);
  if (fits) {
    mountNow({ type: "overlay", source: mount.source, target, data: absolute });
    return;
  }
  const data = optionsOf(mount, "");
  if (mount.lowers.length > limits.layersMax || data.length > mountDataBytesMax) {
    throw new Failure("exhausted", `Cannot mount ${mount.lowers.length} layers at once`, {
      hint: `An image may have ${limits.layersMax}: join some of its build steps`,
    });
  }
  const before = process.cwd();
  process.chdir(mount.directory);
  try {
    mountNow({ type: "overlay", source: mount.source, target, data });
  } finally {
    process.chdir(before);
  }
}

function optionsOf({ lowers, upper }: OverlayMount, prefix: string): string {
  const lower = `lowerdir=${lowers.map((path) => `${prefix}${path}`).join(":")}`;
  if (!upper) return `${lower},${canonical}`;
  const own = `upperdir=${prefix}${upper.files},workdir=${prefix}${upper.work}`;
  return `${lower},${own},${canonical}${upper.isVolatile ? ",volatile" : ""}`;
}
