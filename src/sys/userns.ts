import { dlopen, FFIType as T } from "bun:ffi";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { check, cstr, libcPath } from "./libc.ts";
import { type NetworkNamespace, openNamespace } from "./netns.ts";

/** IDs that stand for others: `count` of them, from `inside` a user namespace and from `outside` it. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** Who the users and groups of a user namespace are for the host. Plain data. */
export interface IdMap {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** A map with a user namespace that has it, as a descriptor: the kernel takes maps in this form. */
export interface OwnerMap extends IdMap {
  readonly file: number;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Who has no name where the IDs are read: the kernel's overflow ID. */
export const nobody = 65_534;

const root: Owner = { uid: 0, gid: 0 };

/** Who an owner inside is for the host; undefined where the map has no place for one. */
export function ownerOutside({ uids, gids }: IdMap, { uid, gid }: Owner): Owner | undefined {
  const owner = { uid: translate(uids, uid, "out"), gid: translate(gids, gid, "out") };
  return owner.uid === undefined || owner.gid === undefined ? undefined : (owner as Owner);
}

/** Who a host's owner is inside. */
export function ownerInside({ uids, gids }: IdMap, { uid, gid }: Owner): Owner {
  return {
    uid: translate(uids, uid, "in") ?? nobody,
    gid: translate(gids, gid, "in") ?? nobody,
  };
}

function translate(ranges: readonly IdRange[], id: number, way: "in" | "out"): number | undefined {
  for (const { inside, outside, count } of ranges) {
    const [from, to] = way === "in" ? [outside, inside] : [inside, outside];
    if (id >= from && id < from + count) return to + id - from;
  }
  return undefined;
}

const capabilityBytes = { own: 20, ofNamespace: 24 } as const;

/**
 * An extended attribute as it reads inside: of capabilities that belong to a namespace's root (version 3),
 * those of the file's own root (version 2). capabilities(7)
 */
export function attributeInside(map: IdMap | undefined, name: string, value: Buffer): Buffer {
  const isOther = name !== "security.capability" || value.length !== capabilityBytes.ofNamespace;
  if (!map || isOther) return value;
  const own = Buffer.from(value.subarray(0, capabilityBytes.own));
  own.writeUInt32LE(((value.readUInt32LE(0) & 0x00ff_ffff) | 0x0200_0000) >>> 0, 0);
  return own;
}

/** The reverse: through a map, the kernel takes capabilities only as its root's. */
export function attributeOutside(
  map: IdMap | undefined,
  name: string,
  value: Uint8Array,
): Uint8Array {
  const isOther = name !== "security.capability" || value.length !== capabilityBytes.own;
  const owner = map && ownerOutside(map, root);
  if (!owner || isOther) return value;
  const outside = Buffer.alloc(capabilityBytes.ofNamespace);
  outside.set(value);
  outside.writeUInt32LE(((outside.readUInt32LE(0) & 0x00ff_ffff) | 0x0300_0000) >>> 0, 0);
  outside.writeUInt32LE(owner.uid, capabilityBytes.own);
  return outside;
}

const { symbols: libc } = dlopen(libcPath, {
  prctl: { args: [T.i32, T.u64, T.u64, T.u64, T.u64], returns: T.i32 },
  setfsuid: { args: [T.u32], returns: T.i32 },
  setfsgid: { args: [T.u32], returns: T.i32 },
});
const prctl = { getSecureBits: 27, setSecureBits: 28 } as const;
const keepCapabilities = 4; // SECBIT_NO_SETUID_FIXUP

/**
 * From here on this thread makes files as `owner`, with all its rights: setfsuid(2). Where files are
 * reached through a map that has no place for root, the kernel lets nobody else make one (EOVERFLOW).
 */
export function makeFilesAs({ uid, gid }: Owner): void {
  const bits = libc.prctl(prctl.getSecureBits, 0, 0, 0, 0);
  check("read", bits, "secure bits");
  // Without it, whoever is not root for files loses root's rights over them.
  check("set", libc.prctl(prctl.setSecureBits, bits | keepCapabilities, 0, 0, 0), "secure bits");
  libc.setfsgid(gid);
  libc.setfsuid(uid);
  check("set", libc.prctl(prctl.setSecureBits, bits, 0, 0, 0), "secure bits");
}

/**
 * Runs `task` with files made as the map's root, where there is a map. A task that awaits must be all that
 * its thread does.
 */
export function asRootOf<R>(map: IdMap | undefined, task: () => R): R {
  const owner = map && ownerOutside(map, root);
  if (!owner) return task();
  makeFilesAs(owner);
  let result: R | undefined;
  try {
    result = task();
    if (result instanceof Promise) result = result.finally(() => makeFilesAs(root)) as R;
    return result;
  } finally {
    if (!(result instanceof Promise)) makeFilesAs(root);
  }
}

/** A user namespace, and a network namespace that belongs to it. */
export interface NamespacePair {
  readonly user: number;
  readonly network: NetworkNamespace;
}

const waitMs = 10_000;

/**
 * Makes a user namespace with this map, and a network namespace in it: whoever is root there may mount
 * /sys and set the network up. A process has to be the first in there; it ends before this returns, the
 * descriptors keep both. user_namespaces(7)
 * @throws Failure "denied" | "unavailable" — the kernel has none, or no more of them
 */
export async function createUserNamespace(map: IdMap): Promise<NamespacePair> {
  const argv = ["unshare", "--user", "--net", "sh", "-c", "echo; read -r x"];
  const child = Bun.spawn(argv, { stdin: "pipe", stdout: "pipe", stderr: "pipe" });
  const timer = setTimeout(() => child.kill("SIGKILL"), waitMs);
  try {
    const { done } = await child.stdout.getReader().read();
    if (done) {
      const said = (await new Response(child.stderr).text()).trim().split("\n").at(-1);
      throw new Failure("denied", `Cannot make a user namespace: ${said || "it took too long"}`, {
        hint: "See the sysctls user.max_user_namespaces and kernel.unprivileged_userns_clone",
      });
    }
    const folder = `/proc/${child.pid}`;
    writeFileSync(`${folder}/uid_map`, linesOf(map.uids));
    writeFileSync(`${folder}/gid_map`, linesOf(map.gids));
    const user = openSync(`${folder}/ns/user`, "r");
    try {
      return { user, network: openNamespace(`${folder}/ns/net`) };
    } catch (error) {
      closeSync(user);
      throw error;
    }
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
  }
}

function linesOf(ranges: readonly IdRange[]): string {
  return ranges.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join("");
}

/** The map of a process, as the kernel has it. @throws when it has ended */
export function readIdMap(pid: number): IdMap {
  const read = (name: string) => {
    const lines = readFileSync(`/proc/${pid}/${name}`, "utf8").trim().split("\n");
    return lines.map((line) => {
      const [inside = 0, outside = 0, count = 0] = line.trim().split(/\s+/).map(Number);
      return { inside, outside, count };
    });
  };
  return { uids: read("uid_map"), gids: read("gid_map") };
}

const { symbols: kernel } = dlopen(libcPath, {
  syscall: { args: [T.i64, T.i64, T.ptr, T.i64, T.ptr, T.i64], returns: T.i64_fast },
});
// The same numbers on all architectures.
const call = { openTree: 428, moveMount: 429, setAttributes: 442 } as const;
const atCwd = -100;
const [clone, closeOnExec, emptyPath] = [1, 0o2000000, 0x1000];
const mapOwners = 0x10_0000n; // MOUNT_ATTR_IDMAP

/**
 * Opens a directory through a mount of its own that shows the owners of a map; the mount is nowhere in
 * the tree. What is mounted below is not in it. open_tree(2), mount_setattr(2)
 * @throws Failure "invalid" — its file system cannot; "unsupported" — the kernel cannot (before 5.12)
 */
export function openMapped(path: string, { file }: OwnerMap): number {
  const flags = clone | closeOnExec;
  const tree = Number(kernel.syscall(call.openTree, atCwd, cstr(path), flags, null, 0));
  check("open the tree", tree, path);
  try {
    const attributes = new BigUint64Array([mapOwners, 0n, 0n, BigInt(file)]);
    const size = attributes.byteLength;
    const set = kernel.syscall(call.setAttributes, tree, cstr(""), emptyPath, attributes, size);
    check("map the owners of", Number(set), path);
    return tree;
  } catch (error) {
    closeSync(tree);
    throw error;
  }
}

/** Puts what `openMapped` opened into the tree. move_mount(2) */
export function attachTree(tree: number, path: string): void {
  const fromEmptyPath = 4;
  const moved = kernel.syscall(call.moveMount, tree, cstr(""), atCwd, cstr(path), fromEmptyPath);
  check("mount on", Number(moved), path);
}

/** Whether a mount of what is there can show the owners of a map. */
export function canMapOwners(path: string, map: OwnerMap): boolean {
  try {
    closeSync(openMapped(path, map));
    return true;
  } catch (error) {
    if (error instanceof Failure && ["invalid", "unsupported", "denied"].includes(error.code))
      return false;
    throw error;
  }
}
