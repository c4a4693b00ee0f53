import { lookup } from "node:dns/promises";
import { mkdirSync } from "node:fs";
import { isIP, isIPv4 } from "node:net";
import { Failure, toFailure } from "../base/mod.ts";
import { listMounts, mountFlag, mountNow, runAny, unmountNow } from "../sys/mod.ts";

/** What the options of a local volume ask to be mounted on it. */
export interface LocalMount {
  readonly type: string;
  readonly device: string;
  /** As after `-o` of mount(8). */
  readonly options: string;
}

const known = ["type", "o", "device"];
const programTimeoutMs = 60_000;

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
  if (type === "cifs" && /^\w*:?\/\/[^/]*:\d*(\/|$)/.test(device)) {
    throw refuse("port not allowed in CIFS device URL, include 'port' in 'o='");
  }
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
export async function mountLocal(asked: LocalMount, target: string): Promise<void> {
  if (isMounted(target)) return;
  try {
    const mount = await withAddress(asked);
    const { type, device, options } = mount;
    const split = splitOptions(options);
    mkdirSync(target, { recursive: true });
    if ((split.flags & mountFlag.bind) !== 0) mountBind(device, target, split.flags);
    else if (type === "tmpfs") mountNow({ type, source: device, target, ...split });
    else await mountByProgram(mount, target);
  } catch (error) {
    const { code, message } = toFailure(error);
    const { device, options } = asked;
    const data = options === "" ? "" : `, data: ${options}`;
    const why = `failed to mount local volume: mount ${device}:${target}${data}: ${message}`;
    throw new Failure(code === "not_found" ? "invalid" : code, withoutPassword(why, options), {
      cause: error,
    });
  }
}

async function mountByProgram(mount: LocalMount, target: string): Promise<void> {
  const { type, device, options } = mount;
  const extra = options === "" ? [] : (["-o", options] as const);
  const argv = ["mount", "-t", type, ...extra, "--", device, target] as const;
  const { exitCode, stderr } = await runAny(argv, { timeoutMs: programTimeoutMs });
  if (exitCode === 0) return;
  // `mount: /target: why it failed.`, and below it where one could read more.
  const first = stderr.trim().split("\n")[0] ?? "";
  const why = first.replace(/^mount(\.\w+)?: /, "").replace(`${target}: `, "");
  throw new Failure("internal", why.replace(/\.$/, "") || `mount ended with ${exitCode}`);
}

function withoutPassword(text: string, options: string): string {
  const password = /(?:^|,)password=([^,]+)/.exec(options)?.[1];
  return password ? text.replaceAll(`password=${password}`, "password=********") : text;
}

/** The kernel knows no names: those of servers are looked up at each mount, as they may move. */
export async function withAddress(
  mount: LocalMount,
  resolveName: (name: string) => Promise<string> = addressOf,
): Promise<LocalMount> {
  const { type, device, options } = mount;
  if (type !== "nfs" && type !== "nfs4" && type !== "cifs") return mount;
  const given = /(?:^|,)addr=([^,]*)/.exec(options)?.[1] ?? "";
  if (given !== "" && !isIPv4(given)) {
    const address = isIP(given) ? given : await resolveName(given);
    return { ...mount, options: options.replace(`addr=${given}`, `addr=${address}`) };
  }
  const host = type === "cifs" ? /^\/\/([^/]+)/.exec(device)?.[1] : undefined;
  if (given !== "" || !host || isIP(host)) return mount;
  return { ...mount, device: device.replace(`//${host}`, `//${await resolveName(host)}`) };
}

async function addressOf(name: string): Promise<string> {
  try {
    return (await lookup(name)).address;
  } catch (cause) {
    const why = `error resolving passed in network volume address: lookup ${name}: no such host`;
    throw new Failure("unavailable", why, { cause });
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
