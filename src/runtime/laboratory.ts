/** What the root tests of this folder share: a root filesystem of busybox, and specs to run in it. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { cgroupDirectories, findCgroups, removeCgroup } from "../sys/mod.ts";
import { defaultCapabilities, defaultMaskedPaths, defaultReadonlyPaths } from "./defaults.ts";
import type { BundleSpec, Chunk, ProcessSpec, RunningProcess } from "./types.ts";

export const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** A directory that goes when it is disposed, with a root filesystem in it. */
export function makeLaboratory(): { directory: string; rootfs: string } & Disposable {
  const directory = mkdtempSync("/tmp/lading-runtime-");
  const rootfs = `${directory}/rootfs`;
  for (const name of ["bin", "dev", "etc", "proc", "root", "sbin", "sys", "tmp"]) {
    mkdirSync(`${rootfs}/${name}`, { recursive: true });
  }
  copyFileSync("/bin/busybox", `${rootfs}/bin/busybox`);
  const { stdout } = Bun.spawnSync(["/bin/busybox", "--list"]);
  for (const name of stdout.toString().trim().split("\n")) {
    if (name !== "busybox") symlinkSync("busybox", `${rootfs}/bin/${name}`);
  }
  writeFileSync(`${rootfs}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\n");
  return {
    directory,
    rootfs,
    [Symbol.dispose]: () => {
      rmSync(directory, { recursive: true, force: true });
      const cgroups = findCgroups();
      for (const group of cgroups ? cgroupDirectories(cgroups, testGroup) : []) removeCgroup(group);
    },
  };
}

/** One for this run, and for the daemons that it starts. */
const testGroup = `/lading-test-${(process.env["LADING_TEST_GROUP"] ??= String(process.pid))}`;
let count = 0;

/** An ID that no other container on this machine has. */
export function newId(): string {
  return `lading${process.pid}x${++count}`;
}

export function processSpec(args: readonly string[], more: Partial<ProcessSpec> = {}): ProcessSpec {
  return {
    args,
    env: [path, "TERM=xterm"],
    cwd: "/",
    user: { uid: 0, gid: 0, additionalGids: [] },
    terminal: false,
    capabilities: defaultCapabilities,
    noNewPrivileges: false,
    rlimits: [],
    ...more,
  };
}

export function bundleSpec(
  rootfs: string,
  args: readonly string[],
  more: Partial<BundleSpec> = {},
): BundleSpec {
  return {
    id: newId(),
    rootfs,
    readonlyRootfs: false,
    process: processSpec(args),
    hostname: "laboratory",
    mounts: [],
    shmSizeBytes: 64 << 20,
    namespaces: {
      network: "private",
      pid: "private",
      ipc: "private",
      uts: "private",
      cgroup: "private",
    },
    cgroupParent: testGroup,
    resources: {},
    devices: [],
    privileged: false,
    seccomp: "default",
    maskedPaths: defaultMaskedPaths,
    readonlyPaths: defaultReadonlyPaths,
    sysctl: {},
    init: false,
    ...more,
  };
}

export const everything = { stdout: true, stderr: true, from: "start", follow: true } as const;

/** All that comes, as text: of one stream, or of both in order. */
export async function textOf(chunks: AsyncIterable<Chunk>, stream?: 1 | 2): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) {
    if (stream === undefined || chunk.stream === stream) parts.push(chunk.bytes);
  }
  return Buffer.concat(parts).toString();
}

/** What a process prints, and how it ends. */
export async function outcomeOf(running: RunningProcess) {
  const [text, exit] = await Promise.all([textOf(running.read(everything)), running.exited]);
  return { text, ...exit };
}
