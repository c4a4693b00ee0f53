import { Failure } from "../base/mod.ts";
import type { Root } from "./rooted.ts";

/** Whom a name stands for in a root filesystem. */
export interface Person {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly home: string;
}

const idMax = 2 ** 32 - 2;
const databaseBytesMax = 1 << 20;

/**
 * Looks up `user[:group]`, names or numbers, in the /etc/passwd and /etc/group of a root filesystem,
 * which is hostile. "" is root.
 * @throws Failure "invalid" — no such user or group there
 */
export function findPerson(root: Root, text: string): Person {
  const [user = "", group] = text.split(":", 2);
  const people = rows(root, "etc/passwd");
  const groups = rows(root, "etc/group");
  const wanted = user === "" ? "0" : user;
  const row =
    people.find(([name]) => name === wanted) ?? people.find(([, , uid]) => uid === wanted);
  const uid = idOf(row?.[2] ?? wanted);
  if (uid === undefined) {
    throw new Failure(
      "invalid",
      `unable to find user ${user}: no matching entries in passwd file`,
      {
        hint: "Make the user in an earlier RUN, or name it by number",
      },
    );
  }
  const extra = row
    ? groups.filter(([, , , members]) => members?.split(",").includes(row[0]!))
    : [];
  const additionalGids = extra
    .map(([, , gid]) => idOf(gid ?? ""))
    .filter((gid) => gid !== undefined);
  const gid = group ? findGroup(groups, group) : (idOf(row?.[3] ?? "") ?? 0);
  return { uid, gid, additionalGids: group ? [] : additionalGids, home: row?.[5] || "/" };
}

/** Owner for `--chown=user[:group]`: without a group, the group has the user's number, as in Docker. */
export function findOwner(root: Root, text: string): { uid: number; gid: number } {
  const { uid, gid } = findPerson(root, text);
  return text.includes(":") || !/^\d+$/.test(text) ? { uid, gid } : { uid, gid: uid };
}

function findGroup(groups: readonly string[][], group: string): number {
  const row = groups.find(([name]) => name === group);
  const gid = idOf(row?.[2] ?? group);
  if (gid !== undefined) return gid;
  throw new Failure("invalid", `unable to find group ${group}: no matching entries in group file`, {
    hint: "Make the group in an earlier RUN, or name it by number",
  });
}

function idOf(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  return Number(text) <= idMax ? Number(text) : undefined;
}

function rows(root: Root, path: string): string[][] {
  const lines = (root.text(path, databaseBytesMax) ?? "").split("\n");
  return lines
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"));
}
