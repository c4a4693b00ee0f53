import { Failure } from "../base/mod.ts";
import type { User } from "../runtime/mod.ts";

const idMax = 2 ** 31 - 1;

type Person = { name: string; uid: number; gid: number; home: string };
type Group = { name: string; gid: number; members: readonly string[] };

/**
 * Whom a process runs as: `user`, `uid`, `user:group`, `uid:gid` or "" (uid 0), looked up in the texts
 * of the container's /etc/passwd and /etc/group (the image's; hostile). Numbers need no entry.
 *
 * @throws "invalid" — no such name, or a number out of range
 */
export function resolveUser(
  spec: string,
  files: { readonly passwd: string; readonly group: string },
  groupAdd: readonly string[] = [],
): { user: User; home: string } {
  const [userPart = "", groupPart = ""] = spec.split(":", 2);
  const groups = parseGroups(files.group);
  const person = findPerson(userPart, parsePasswd(files.passwd));
  const gid = groupPart === "" ? person.gid : findGroup(groupPart, groups);
  const own =
    groupPart === "" && person.name !== ""
      ? groups.filter(({ members }) => members.includes(person.name)).map((group) => group.gid)
      : [];
  const added = groupAdd.map((name) => findGroup(name, groups));
  return {
    user: { uid: person.uid, gid, additionalGids: [...new Set([gid, ...own, ...added])] },
    home: person.home || "/",
  };
}

function findPerson(part: string, people: readonly Person[]): Person {
  const uid = part === "" ? 0 : parseId(part);
  const found =
    people.find(({ name }) => part !== "" && name === part) ??
    people.find((person) => uid !== undefined && person.uid === uid);
  if (found) return found;
  if (uid !== undefined) return { name: "", uid, gid: 0, home: "/" };
  throw new Failure(
    "invalid",
    `unable to find user ${part.slice(0, 100)}: no matching entries in passwd file`,
  );
}

function findGroup(part: string, groups: readonly Group[]): number {
  const gid = groups.find(({ name }) => name === part)?.gid ?? parseId(part);
  if (gid !== undefined) return gid;
  throw new Failure(
    "invalid",
    `unable to find group ${part.slice(0, 100)}: no matching entries in group file`,
  );
}

function parseId(text: string): number | undefined {
  if (!/^-?\d+$/.test(text)) return undefined;
  const id = Number(text);
  if (id >= 0 && id <= idMax) return id;
  throw new Failure("invalid", `uids and gids must be in range 0-${idMax}`);
}

function parsePasswd(text: string): Person[] {
  return rows(text).flatMap(([name = "", , uid = "", gid = "", , home = ""]) =>
    isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid), home }] : [],
  );
}

function parseGroups(text: string): Group[] {
  return rows(text).flatMap(([name = "", , gid = "", members = ""]) =>
    isId(gid) ? [{ name, gid: Number(gid), members: members.split(",") }] : [],
  );
}

function isId(text: string): boolean {
  return /^\d+$/.test(text) && Number(text) <= idMax;
}

function rows(text: string): string[][] {
  const lines = text.split("\n").map((line) => line.trim());
  return lines
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"));
}
