/**
 * Whose users containers have: `--userns-remap`, and `--userns` of a single container. The maps are those
 * that /etc/subuid and /etc/subgid give a user, as with Docker.
 */
import { chownSync, existsSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { Failure, log } from "./base/mod.ts";
import type { Users } from "./engine/mod.ts";
import { Remap } from "./runtime/mod.ts";
import {
  canMapOwners,
  type IdMap,
  type IdRange,
  isNamespaced,
  ownerOutside,
  run,
  runAny,
} from "./sys/mod.ts";

const defaultName = "dockremap";
const timeoutMs = 20_000;
const files = { uids: "/etc/subuid", gids: "/etc/subgid" } as const;
const idsMax = 2 ** 32 - 1;
const rangesMax = 340; // the kernel's own bound
/** What a user who has none gets, as useradd gives it. */
const range = { first: 100_000, count: 65_536 };

/** Opens the maps: that of `setting` at once, so that a daemon which cannot does not start. */
export async function openUsers(
  setting: string | undefined,
  { dataRoot }: { dataRoot: string },
): Promise<Users & { close(): void }> {
  let opening: Promise<Remap> | undefined;
  const open = () => {
    opening ??= openRemap(setting ?? "default", dataRoot).catch((error) => {
      opening = undefined; // the next container may find a host that has been set up
      throw error;
    });
    return opening;
  };
  if (setting !== undefined) await open();
  return {
    async of(mode) {
      const isOwn = mode === "private" || (mode === "" && setting !== undefined);
      return isOwn ? await open() : undefined;
    },
    close: () => void opening?.then((remap) => remap.close()).catch(() => {}),
  };
}

async function openRemap(setting: string, dataRoot: string): Promise<Remap> {
  const refuse = (why: string, hint: string) =>
    new Failure("unsupported", `Cannot remap users: ${why}`, { hint });
  if (isNamespaced) {
    throw refuse(
      "the engine is in a user namespace already",
      "Without root, users are others as it is",
    );
  }
  const map = await readRemap(setting);
  const remap = await Remap.open(map);
  try {
    if (!canMapOwners(dataRoot, remap)) {
      throw refuse(
        `neither the kernel nor the file system of "${dataRoot}" can show other owners`,
        "It takes Linux 5.19 and a data root on ext4, xfs or btrfs: see --data-root",
      );
    }
    for (let path = dirname(dataRoot); path !== "/"; path = dirname(path)) {
      if ((statSync(path).mode & 1) === 1) continue;
      throw refuse(`users may not pass through "${path}" to the data root`, `chmod o+x ${path}`);
    }
    chownSync(dataRoot, 0, ownerOutside(map, { uid: 0, gid: 0 })?.gid ?? 0);
    return remap;
  } catch (error) {
    remap.close();
    throw error;
  }
}

/**
 * The map for `default`, USER, USER:GROUP, UID or UID:GID. For `default` the user is made where there is none.
 * @throws Failure "invalid" | "not_found" — no such user, or no subordinate IDs
 */
export async function readRemap(setting: string): Promise<IdMap> {
  const parts = setting.split(":");
  const [user = "", group] = parts;
  if (parts.length > 2 || parts.includes("")) {
    throw new Failure(
      "invalid",
      `invalid user/group specification in --userns-remap: "${setting}"`,
      {
        hint: "It is default, USER, USER:GROUP or UID:GID",
      },
    );
  }
  const isDefault = setting === "default";
  if (isDefault) await makeDefaultUser();
  const name = await nameOf("passwd", isDefault ? defaultName : user);
  const groupName = await nameOf("group", isDefault ? defaultName : (group ?? name.name));
  if (name.id === 0) {
    throw new Failure("invalid", "Cannot remap users: root cannot be remapped to itself", {
      hint: "Name another user, or default",
    });
  }
  return { uids: rangesOf("uids", name), gids: rangesOf("gids", groupName) };
}

interface Named {
  readonly name: string;
  readonly id: number;
}

async function nameOf(table: "passwd" | "group", key: string): Promise<Named> {
  const { exitCode, stdout } = await runAny(["getent", table, key], { timeoutMs });
  const [name = "", , id = ""] = new TextDecoder().decode(stdout).trim().split(":");
  if (exitCode === 0 && name !== "") return { name, id: Number(id) };
  const what = table === "passwd" ? "user" : "group";
  throw new Failure("not_found", `Cannot remap users: there is no ${what} "${key.slice(0, 100)}"`);
}

function rangesOf(kind: "uids" | "gids", { name, id }: Named): readonly IdRange[] {
  const path = files[kind];
  const ranges = parseRanges(existsSync(path) ? readFileSync(path, "utf8") : "", [name, `${id}`]);
  if (ranges.length > 0) return ranges;
  const flag = kind === "uids" ? "--add-subuids" : "--add-subgids";
  throw new Failure("not_found", `Cannot remap users: ${path} has no IDs for "${name}"`, {
    hint: `For example: usermod ${flag} 100000-165535 ${name}`,
  });
}

/** The ranges that a file such as /etc/subuid gives to one of these names, one above the other inside. */
export function parseRanges(text: string, names: readonly string[]): readonly IdRange[] {
  const ranges: IdRange[] = [];
  let inside = 0;
  for (const line of text.split("\n")) {
    const [, name = "", first = "", length = ""] = /^([^:#]+):(\d+):(\d+)\s*$/.exec(line) ?? [];
    if (!names.includes(name)) continue;
    const [outside, count] = [Number(first), Number(length)];
    const isRight =
      count > 0 && outside > 0 && outside + count <= idsMax && inside + count <= idsMax;
    if (!isRight || ranges.length === rangesMax) {
      throw new Failure("invalid", `Cannot remap users: "${line}" is no range of IDs`);
    }
    ranges.push({ inside, outside, count });
    inside += count;
  }
  return ranges;
}

/** As Docker: a system user that nobody is, with a range of its own. What is there stays. */
async function makeDefaultUser(): Promise<void> {
  const { exitCode } = await runAny(["getent", "passwd", defaultName], { timeoutMs });
  if (exitCode !== 0) {
    log("info", `Making the system user ${defaultName}`);
    const flags = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"];
    await run(["useradd", ...flags, defaultName], { timeoutMs });
  }
  for (const [kind, flag] of [
    ["uids", "--add-subuids"],
    ["gids", "--add-subgids"],
  ] as const) {
    const path = files[kind];
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    if (text.split("\n").some((line) => line.startsWith(`${defaultName}:`))) continue;
    const first = firstFree(text);
    const last = first + range.count - 1;
    await run(["usermod", flag, `${first}-${last}`, defaultName], { timeoutMs });
  }
}

/** Above all that the file gives away. */
export function firstFree(text: string): number {
  const ends = text.split("\n").map((line) => {
    const [, first = 0, count = 0] = line.split(":").map(Number);
    return first + count || 0;
  });
  return Math.max(range.first, ...ends);
}
