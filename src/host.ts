/** What the host must have before an engine can start, and how to stand where crun starts. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Failure, fileFailure, log } from "./base/mod.ts";
import { closeOnExec, isNamespaced, replaceProcess, run, runAny } from "./sys/mod.ts";

const hostMountsVariable = "LADING_HOST_MOUNTS";
const hostMountsFile = 8;
/** Set where this process is the first one in its view. */
const newViewVariable = "LADING_NEW_VIEW";

/** How cgroups are mounted. Hybrid has v1 controllers and a v2 tree without any beside them. */
export type CgroupMode = "v1" | "v2" | "hybrid" | "none";

/** Reads the mode off the mount table, the text of /proc/mounts. */
export function cgroupMode(mounts: string): CgroupMode {
  const lines = mounts.split("\n").map((line) => line.split(" "));
  const v2At = lines.filter(([, , type]) => type === "cgroup2").map(([, at]) => at);
  const hasV1 = lines.some(([, , type]) => type === "cgroup");
  if (v2At.includes("/sys/fs/cgroup")) return "v2";
  if (hasV1) return v2At.includes("/sys/fs/cgroup/unified") ? "hybrid" : "v1";
  return "none";
}

/** Refuses a host on which no container could run, in one sentence. @throws "unsupported" | "denied" */
export function requireHost(): void {
  if (process.platform !== "linux") {
    throw new Failure(
      "unsupported",
      `Cannot start an engine on ${process.platform}: it takes Linux`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new Failure(
      "denied",
      "Cannot start an engine: it takes root, here or in a user namespace",
    );
  }
  if (!/\boverlay\b/.test(readFileSync("/proc/filesystems", "utf8"))) {
    throw new Failure(
      "unsupported",
      "Cannot start an engine: the kernel has no overlay file system",
      {
        hint: "Load it: modprobe overlay",
      },
    );
  }
  if (!isNamespaced && cgroupMode(readFileSync("/proc/mounts", "utf8")) === "none") {
    throw new Failure("unsupported", "Cannot start an engine: no cgroups are mounted", {
      hint: "Mount them: mount -t cgroup2 none /sys/fs/cgroup",
    });
  }
}

/**
 * On a host in hybrid mode crun refuses to start. There this process starts itself anew in a mount
 * namespace of its own (slave of the host's) without /sys/fs/cgroup/unified. The namespace is kept in
 * `<exec root>/mount-view/ns`, so that an engine started later finds the mounts of containers that
 * still run. Elsewhere it does nothing.
 */
export async function enterCgroupView(execRoot: string, argv: readonly string[]): Promise<void> {
  if (isNamespaced || cgroupMode(readFileSync("/proc/mounts", "utf8")) !== "hybrid") return;
  const folder = `${execRoot}/mount-view`;
  const file = `${folder}/ns`;
  const self = [process.execPath, ...process.execArgv, ...argv] as const;
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw fileFailure(`make the exec root "${execRoot}"`, cause, {
      hint: "Name another folder with --exec-root",
    });
  }
  // Without --wdns the engine would stand in "/", and look there for what its flags name from here.
  if (isMounted(file)) become(`exec nsenter "--mount=$0" "--wdns=$PWD" -- "$@"`, [file, ...self]);
  if (!isMounted(folder)) {
    // unshare(1) keeps a mount namespace only on a private mount.
    await run(["mount", "--bind", folder, folder], { timeoutMs: 5_000 });
    await run(["mount", "--make-private", folder], { timeoutMs: 5_000 });
  }
  if (!existsSync(file)) writeFileSync(file, "");
  const inside = "sh -c 'umount /sys/fs/cgroup/unified && exec \"$@\"' sh";
  become(`exec unshare "--mount=$0" --propagation=slave ${inside} "$@"`, [file, ...self], {
    [newViewVariable]: "1",
  });
}

/**
 * Has the kernel move processes between control groups without waiting 6 to 16 ms each time: the mount
 * option `favordynmods` of the version 2 tree, which holds for version 1 too, on the whole host, until it
 * restarts. The price are slower forks and exits; none was measured (docs/design/speed.md). What fails
 * costs time alone: kernels before 6.0 do not know it, and only the host's own control groups allow it.
 */
export async function favorGroupMoves(): Promise<void> {
  const lines = readFileSync("/proc/mounts", "utf8").split("\n");
  const tree = lines.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2");
  const [, path, , options] = tree ?? [];
  if (!path || options?.split(",").includes("favordynmods")) return;
  // mount(8) keeps the options that are there; the system call would take them away.
  const command = ["mount", "-o", "remount,favordynmods", path] as const;
  const { exitCode, stderr } = await runAny([...command], { timeoutMs: 5_000 });
  if (exitCode !== 0) log("debug", "Cannot favor moves between control groups", { stderr });
}

/** Runs a shell line that ends in this program; the namespace left behind stays open as a descriptor. */
function become(line: string, words: readonly string[], more: NodeJS.ProcessEnv = {}): never {
  const script = `exec ${hostMountsFile}</proc/self/ns/mnt; ${line}`;
  const { [newViewVariable]: _, ...inherited } = process.env;
  const env = { ...inherited, [hostMountsVariable]: String(hostMountsFile), ...more };
  replaceProcess(["/bin/sh", "-c", script, ...words], env);
}

/** To call first: no process that we start may inherit the way out to the host's mounts. */
export function guardHostMounts(): void {
  if (process.env[hostMountsVariable]) closeOnExec(hostMountsFile);
}

/** Where the host sees what this process mounts, before the path; "" where it shares the host's mounts. */
export function mountsBelow(): string {
  const isApart = isNamespaced || process.env[hostMountsVariable] !== undefined;
  return isApart ? `/proc/${process.pid}/root` : "";
}

/** Forgets the kept mount namespace: to call when no container needs it any more. */
export async function forgetCgroupView(execRoot: string): Promise<void> {
  if (!process.env[hostMountsVariable]) return;
  const folder = `${execRoot}/mount-view`;
  // It is mounted in the host's namespace, not in ours.
  const host = `--mount=/proc/${process.pid}/fd/${hostMountsFile}`;
  await run(["nsenter", host, "--", "umount", `${folder}/ns`, folder], { timeoutMs: 5_000 });
}

/**
 * The same for a start that failed, where it was this process that made the namespace: nothing from before
 * stands in it. Containers that it started by their restart policies keep it.
 */
export async function forgetNewCgroupView(execRoot: string): Promise<void> {
  const containers = `${execRoot}/runtime/run`;
  if (!process.env[newViewVariable]) return;
  if (existsSync(containers) && readdirSync(containers).length > 0) return;
  await forgetCgroupView(execRoot).catch((error: unknown) =>
    log("warn", "Cannot unmount the view of the control groups", { error }),
  );
}

function isMounted(path: string): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[4] === path);
}
