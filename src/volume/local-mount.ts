import { mkdirSync } from "node:fs";
import { Failure, toFailure } from "../base/mod.ts";
import { listMounts, mountFlag, mountNow, run, unmountNow } from "../sys/mod.ts";

/** What the options of a local volume ask to be mounted on it. */
export interface LocalMount {
  readonly type: string;
  readonly device: string;
  /** As after `-o` of mount(8). */
  readonly options: string;
}

const known = ["type", "o", "device"];
const helperTimeoutMs = 60_000;

/**
 * Reads `type`, `o` and `device` of a local volume; without options nothing is mounted.
 * @throws Failure "invalid" in Docker's words
 */
export function parseLocalOptions(
  name: string,
  options: Readonly<Record<string, string>>,
): LocalMount | undefined {
  const names = Object.keys(options);
  if (names.length === 0) return undefined;
  const refuse = (why: string) => new Failure("invalid", `create ${name}: ${why}`);
  if (names.includes("size")) {
    throw refuse("quota size requested but no quota support");
  }
  const unknown = names.find((option) => !known.includes(option));
  if (unknown !== undefined) throw refuse(`invalid option: "${unknown.slice(0, 100)}"`);
  const { type = "", device = "", o = "" } = options;
  if (device === "") throw refuse('missing required option: "device"');
  const isBind = o.split(",").some((word) => word === "bind" || word === "rbind");
  if (type === "" && !isBind) throw refuse('missing required option: "type"');
  if ([type, device, o].some((text) => text.includes("\0")))
    throw refuse("invalid option: NUL byte");
  return { type: type === "" ? "none" : type, device, options: o };
}

const flags: Readonly<Record<string, number>> = {
  defaults: 0,
  rw: 0,
  ro: mountFlag.readOnly,
  nosuid: mountFlag.noSuid,
  nodev: mountFlag.noDev,
  noexec: mountFlag.noExec,
  sync: 16,
  dirsync: 128,
  noatime: 1024,
  nodiratime: 2048,
  relatime: 1 << 21,
  strictatime: 1 << 24,
  bind: mountFlag.bind,
  rbind: mountFlag.bind | mountFlag.recursive,
};

/** `ro,bind,size=1m` as the flags of mount(2) and the text that the file system gets. */
export function splitOptions(options: string): { flags: number; data: string } {
  const words = options.split(",").filter((word) => word !== "");
  const data = words.filter((word) => !Object.hasOwn(flags, word)).join(",");
  return { flags: words.reduce((sum, word) => sum | (flags[word] ?? 0), 0), data };
}

/** Mounts, unless it is so already. Binds and tmpfs at once, others by mount(8), which may wait for a network. */
export async function mountLocal(mount: LocalMount, target: string): Promise<void> {
  if (isMounted(target)) return;
  const { type, device, options } = mount;
  const split = splitOptions(options);
  const isBind = (split.flags & mountFlag.bind) !== 0;
  try {
    mkdirSync(target, { recursive: true });
    if (isBind) mountBind(device, target, split.flags);
    else if (type === "tmpfs") mountNow({ type, source: device, target, ...split });
    else {
      const extra = options === "" ? [] : (["-o", options] as const);
      const argv = ["mount", "-t", type, ...extra, "--", device, target] as const;
      await run(argv, { timeoutMs: helperTimeoutMs });
    }
  } catch (error) {
    const { code, message } = toFailure(error);
    throw new Failure(
      code === "not_found" ? "invalid" : code,
      `error while mounting volume '${target}': failed to mount local volume: ` +
        `mount ${device}:${target}: ${message}`,
      { cause: error },
    );
  }
}

function mountBind(source: string, target: string, all: number): void {
  const kind = all & (mountFlag.bind | mountFlag.recursive);
  mountNow({ type: "none", source, target, flags: kind });
  const rest = all & ~kind;
  if (rest === 0) return;
  try {
    // The kernel takes the other flags of a bind only in a second step.
    mountNow({ type: "none", source, target, flags: mountFlag.bind | mountFlag.remount | rest });
  } catch (error) {
    unmountNow(target, { detach: true });
    throw error;
  }
}

/** Unmounts all that is stacked there; nothing is fine. */
export function unmountLocal(target: string): void {
  while (unmountNow(target, { detach: true }));
}

/** True when something is mounted there. */
export function isMounted(target: string): boolean {
  return listMounts().some((mount) => mount.target === target);
}

/** True when something is mounted at a path or below it. */
export function hasMounts(path: string): boolean {
  return listMounts().some(({ target }) => target === path || target.startsWith(`${path}/`));
}
