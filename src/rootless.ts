/**
 * An engine that a user starts who is not root: it lives in namespaces of its own (user, network, mounts)
 * in which it is root. A keeper (`tail -f`) holds them for as long as containers need them, so that a later
 * daemon finds them again; slirp4netns(1) joins their network to the host's, without rights.
 * user_namespaces(7), unshare(1), nsenter(1)
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir, userInfo } from "node:os";
import { Failure, isFailure, log } from "./base/mod.ts";
import {
  dividableGroup,
  engineGroup,
  groupDirectory,
  isNamespaced,
  lockFile,
  replaceProcess,
} from "./sys/mod.ts";

const waitMs = 15_000;
const stepMs = 20;
const variable = "LADING_ROOTLESS";
const programs = {
  unshare: "util-linux",
  nsenter: "util-linux",
  newuidmap: "uidmap",
  slirp4netns: "slirp4netns",
} as const;

/** True for an engine of a user's, on either side of the border. */
export const isRootless: boolean = isNamespaced || process.getuid?.() !== 0;

/** The name server that slirp4netns answers as. */
export const rootlessDns = "10.0.2.3";

/** Where a user's engine has its files unless it is told. */
export function rootlessPlaces(): { dataRoot: string; execRoot: string; host: string } {
  const data = process.env["XDG_DATA_HOME"] || `${homedir()}/.local/share`;
  // Of the user, also where the environment names one of root's.
  const run = process.env["XDG_RUNTIME_DIR"] || `/tmp/lading-run-${userInfo().uid}`;
  const execRoot = `${run}/lading`;
  return { dataRoot: `${data}/lading`, execRoot, host: `unix://${execRoot}/lading.sock` };
}

/** slirp4netns's socket, where this engine has one. */
export function portSocket(): string | undefined {
  const folder = process.env[variable];
  return folder === undefined ? undefined : `${folder}/slirp.sock`;
}

/**
 * Goes on as root of the namespaces, with the same process ID; returns where this process is root already.
 * @throws Failure "unavailable" — a program is not installed | "denied" — no subordinate IDs
 */
export async function enterNamespaces(execRoot: string, argv: readonly string[]): Promise<void> {
  if (process.getuid?.() === 0) return;
  for (const [program, packageName] of Object.entries(programs))
    requireProgram(program, packageName);
  const folder = `${execRoot}/rootless`;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (statSync(folder).uid !== process.getuid?.()) {
    throw new Failure("denied", `Cannot start an engine: "${folder}" belongs to another user`);
  }
  // Until this process is another program: two daemons at once would each make a keeper.
  const group = dividableGroup();
  using _lock = await waitForLock(`${execRoot}/rootless.lock`);
  const keeper = keeperOf(folder) ?? (await startKeeper(folder, group !== undefined));
  joinGroup(keeper);
  const nsenter = requireProgram("nsenter", programs.nsenter);
  const groups = sharesGroups(keeper) ? [] : ["--cgroup"];
  const spaces = ["--user", "--net", "--mount", ...groups, "--preserve-credentials"];
  replaceProcess(
    [
      nsenter,
      ...spaces,
      `--target=${keeper}`,
      `--wd=${process.cwd()}`,
      "--",
      process.execPath,
      ...argv,
    ],
    { ...process.env, [variable]: folder },
  );
}

/** Lets go of the namespaces: to call when no container needs them any more. */
export function leaveNamespaces(): void {
  const folder = process.env[variable];
  if (folder === undefined) return;
  for (const name of ["slirp", "keeper"]) end(folder, name);
  rmSync(folder, { recursive: true, force: true });
}

async function waitForLock(path: string): Promise<Disposable> {
  for (const deadlineMs = Date.now() + 2 * waitMs; ; await Bun.sleep(stepMs)) {
    try {
      return lockFile(path);
    } catch (cause) {
      if (!isFailure(cause, "conflict")) throw cause;
      if (Date.now() < deadlineMs) continue;
      throw new Failure("timeout", "Cannot start an engine without root: another one is starting", {
        hint: `See who holds ${path}`,
        cause,
      });
    }
  }
}

function requireProgram(name: string, packageName: string): string {
  const path = Bun.which(name, { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` });
  if (path) return path;
  throw new Failure(
    "unavailable",
    `Cannot start an engine without root: ${name} is not installed`,
    {
      hint: `Install it (Debian's package ${packageName}), or run the engine as root`,
    },
  );
}

/** The process that a file names, if it is still the one: this folder is on its command line. */
function running(folder: string, name: string): number | undefined {
  try {
    const pid = Number(readFileSync(`${folder}/${name}`, "latin1"));
    const words = pid > 0 ? readFileSync(`/proc/${pid}/cmdline`, "latin1") : "";
    return words.includes(folder) ? pid : undefined;
  } catch {
    return undefined; // no such file, no such process, or somebody else's
  }
}

function end(folder: string, name: string): void {
  const pid = running(folder, name);
  if (pid !== undefined) process.kill(pid, "SIGKILL");
}

/** A keeper whose network still has its way out. */
function keeperOf(folder: string): number | undefined {
  const keeper = running(folder, "keeper");
  if (keeper !== undefined && running(folder, "slirp") !== undefined) return keeper;
  for (const name of ["slirp", "keeper"]) end(folder, name);
  return undefined;
}

function sharesGroups(keeper: number): boolean {
  const link = (pid: number | "self") => readlinkSync(`/proc/${pid}/ns/cgroup`);
  return link("self") === link(keeper);
}

/** Goes where the keeper is: an engine divides the groups that it is in. What is refused costs limits alone. */
function joinGroup(keeper: number): void {
  if (sharesGroups(keeper)) return;
  const path = /^0::(\/.*)$/m.exec(readFileSync(`/proc/${keeper}/cgroup`, "utf8"))?.[1] ?? "";
  try {
    writeFileSync(`${groupDirectory(path)}/cgroup.procs`, `${process.pid}`);
  } catch (error) {
    log("warn", "Cannot join the engine's control group: limits have no effect", { error });
  }
}

/**
 * Shows a group that was delegated as the root of all. The processes in it go into a group of their own:
 * one that has some gives no controllers to those below it. Each step that fails leaves less to limit.
 */
const divide = `(mount -t cgroup2 none /sys/fs/cgroup && cd /sys/fs/cgroup && mkdir -p ${engineGroup} && {
    for p in $(cat cgroup.procs); do echo $p >${engineGroup}/cgroup.procs; done
    for c in $(cat cgroup.controllers); do echo +$c >cgroup.subtree_control; done; true; }) 2>/dev/null`;

async function startKeeper(folder: string, isDelegated: boolean): Promise<number> {
  for (const name of ["keeper", "slirp", "slirp.sock", "ready"]) {
    rmSync(`${folder}/${name}`, { force: true });
  }
  // crun looks at the host's control groups, which a user may not write: an empty folder hides them.
  const hide = "mount -t tmpfs -o mode=755 none /sys/fs/cgroup";
  const groups = isDelegated ? `${divide} || ${hide}` : hide;
  const script = `ip link set lo up && { ${groups}; } &&
    echo $$ >keeper.new && mv keeper.new keeper && exec tail -f ${folder}/keeper`;
  const map = ["--user", "--map-root-user", "--map-auto"];
  const unshare = [
    "unshare",
    ...map,
    "--net",
    "--mount",
    ...(isDelegated ? ["--cgroup"] : []),
    "--propagation=slave",
    "sh",
    "-c",
    script,
  ];
  await start(folder, unshare, () => running(folder, "keeper") !== undefined);
  const keeper = running(folder, "keeper")!;
  const flags = ["--configure", "--mtu=65520", "--disable-host-loopback"];
  const slirp = `echo $$ >slirp; exec slirp4netns "$@" --ready-fd=3 --api-socket=${folder}/slirp.sock ${keeper} tap0 3>ready`;
  const isReady = () => existsSync(`${folder}/ready`) && statSync(`${folder}/ready`).size > 0;
  await start(folder, ["sh", "-c", slirp, "sh", ...flags], isReady);
  return keeper;
}

function hintFor(said: string): string {
  if (said.includes("/dev/net/tun")) return "Open it to users: chmod 666 /dev/net/tun";
  if (!/uid|gid|unshare/.test(said))
    return "Run the engine as root, or see docs/manual/rootless.md";
  const range = "100000-165535";
  const flags = `--add-subuids ${range} --add-subgids ${range}`;
  return `The user needs subordinate IDs: "usermod ${flags} ${userInfo().username}", as root`;
}

/** Starts what outlives this process, and waits until it is there. @throws Failure with its last words */
async function start(folder: string, argv: string[], isThere: () => boolean): Promise<void> {
  const log = `${folder}/log`;
  const child = Bun.spawn(argv, {
    cwd: folder,
    stdio: ["ignore", Bun.file(log), Bun.file(log)],
    detached: true,
  });
  child.unref();
  for (let waited = 0; waited < waitMs; waited += stepMs) {
    if (isThere()) return;
    if (child.exitCode !== null) break;
    await Bun.sleep(stepMs);
  }
  child.kill("SIGKILL");
  const lines = (existsSync(log) ? readFileSync(log, "utf8") : "").trim().split("\n");
  const said = lines.find((line) => !line.startsWith("sent ")) || "it does not come up";
  throw new Failure("denied", `Cannot start an engine without root: ${said}`, {
    hint: hintFor(said),
  });
}
