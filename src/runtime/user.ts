import { Failure } from "../base/mod.ts";
import {
  closeFile,
  errnoOf,
  open,
  openPath,
  openWithin,
  pathOf,
  readInto,
  resolve,
  statAt,
} from "../sys/mod.ts";
import type { User } from "./types.ts";

const fileBytesMax = 1 << 20;
const idMax = 2 ** 31 - 1;

/**
 * Whom a process runs as: `user`, `uid`, `user:group`, `uid:gid` or "" (root), by the root filesystem's
 * own /etc/passwd and /etc/group. An image is hostile: links are followed inside it alone, devices and
 * FIFOs are not opened, and no more than a MiB is read. Numbers need no entry.
 *
 * @throws "invalid" in Docker's words — no such name, or a number out of range
 */
export function resolveUser(
  rootfsPath: string,
  userAndGroup: string,
  groupAdd: readonly string[] = [],
): User & { readonly home: string } {
  const [user = "", group = ""] = userAndGroup.split(":", 2);
  const people = rows(readInRoot(rootfsPath, "etc/passwd"));
  const groups = rows(readInRoot(rootfsPath, "etc/group"));
  const uid = user === "" ? 0 : parseId(user);
  const entry =
    people.find(([name]) => user !== "" && name === user) ??
    people.find(([, , id]) => uid !== undefined && isId(id) && Number(id) === uid);
  if (!entry && uid === undefined) {
    throw missing("user", user, "passwd");
  }
  const [name = "", , id, mainGid, , home = ""] = entry ?? [];
  const gid = group === "" ? (isId(mainGid) ? Number(mainGid) : 0) : findGroup(group, groups);
  const memberships =
    group === "" && name !== ""
      ? groups.filter(([, , , members = ""]) => members.split(",").includes(name))
      : [];
  const own = memberships.flatMap(([, , number]) => (isId(number) ? [Number(number)] : []));
  const added = groupAdd.map((one) => findGroup(one, groups));
  return {
    uid: isId(id) ? Number(id) : (uid ?? 0),
    gid,
    additionalGids: [...new Set([gid, ...own, ...added])],
    home: home || "/",
  };
}

function findGroup(group: string, groups: readonly string[][]): number {
  const found = groups.find(([name]) => name === group)?.[2];
  const gid = isId(found) ? Number(found) : parseId(group);
  if (gid === undefined) throw missing("group", group, "group");
  return gid;
}

function missing(kind: string, name: string, file: string): Failure {
  const shown = name.slice(0, 100);
  return new Failure(
    "invalid",
    `unable to find ${kind} ${shown}: no matching entries in ${file} file`,
  );
}

function parseId(text: string): number | undefined {
  if (!/^-?\d+$/.test(text)) return undefined;
  const id = Number(text);
  if (id >= 0 && id <= idMax) return id;
  throw new Failure("invalid", `uids and gids must be in range 0-${idMax}`);
}

function isId(text: string | undefined): text is string {
  return text !== undefined && /^\d+$/.test(text) && Number(text) <= idMax;
}

function rows(text: string): string[][] {
  const lines = text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  return lines.map((line) => line.trim().split(":"));
}

function readInRoot(rootfsPath: string, path: string): string {
  const root = openPath(rootfsPath, open.path | open.directory);
  try {
    // Looked at before it is opened: opening a device or a FIFO has effects.
    const place = openWithin(root, path, { flags: open.path, resolve: resolve.inRoot });
    try {
      const { type, sizeBytes } = statAt(place, "");
      return type === "file" ? readStart(pathOf(place), sizeBytes) : "";
    } finally {
      closeFile(place);
    }
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) return "";
    throw error;
  } finally {
    closeFile(root);
  }
}

function readStart(path: string, sizeBytes: number): string {
  const file = openPath(path, open.readOnly);
  try {
    const bytes = Buffer.alloc(Math.min(sizeBytes, fileBytesMax));
    return bytes.toString("utf8", 0, readInto(file, bytes, 0));
  } finally {
    closeFile(file);
  }
}
