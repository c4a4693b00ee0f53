import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { bundleConfig } from "./bundle.ts";
import { groupPath, withinReach } from "./groups.ts";
import { bundleSpec, processSpec } from "./laboratory.ts";
import { parseOomKills } from "./oom.ts";
import { refusal } from "./refusal.ts";
import { usageOfV1, usageOfV2 } from "./usage.ts";
import { resolveUser } from "./user.ts";
import { parseEvents, watchScript } from "./watcher.ts";

type Config = {
  process: { args: string[]; capabilities: Record<string, string[]> };
  mounts: { destination: string; options: string[]; type: string }[];
  linux: {
    namespaces: { type: string; path?: string }[];
    resources: { devices: { allow: boolean; type: string }[] };
    devices: { path: string }[];
    sysctl: Record<string, string>;
  };
};
const config = (more: Parameters<typeof bundleSpec>[2] = {}, parts = {}) =>
  bundleConfig(bundleSpec("/root", ["true"], more), { cgroupsPath: "/a/b", ...parts }) as Config;

test("bundleConfig() mounts Docker's defaults in order, without those that are covered", () => {
  const targets = (made: Config) => made.mounts.map(({ destination }) => destination);
  expect(targets(config())).toEqual([
    "/proc",
    "/dev",
    "/dev/pts",
    "/sys",
    "/sys/fs/cgroup",
    "/dev/mqueue",
    "/dev/shm",
  ]);
  const mount = (target: string) => [{ type: "bind", source: "/x", target, options: ["rbind"] }];
  expect(targets(config({ mounts: mount("/dev") }))).toEqual([
    "/proc",
    "/sys",
    "/sys/fs/cgroup",
    "/dev",
  ]);
  expect(targets(config({ mounts: mount("/dev/shm/") })).at(-1)).toBe("/dev/shm/");
  expect(targets(config({ mounts: mount("/dev/shm/") })).length).toBe(7);
});

test("bundleConfig() names the namespaces that are private or another's", () => {
  const namespaces = {
    network: { path: "/run/netns/x" },
    pid: "host",
    ipc: "private",
    uts: "host",
    cgroup: "private",
  } as const;
  expect(config({ namespaces }).linux.namespaces).toEqual([
    { type: "mount" },
    { type: "network", path: "/run/netns/x" },
    { type: "ipc" },
    { type: "cgroup" },
  ]);
  expect(config({ namespaces })).not.toHaveProperty("hostname");
  expect(config({ domainname: "d" }).linux.sysctl).toEqual({ "kernel.domainname": "d" });
});

test("bundleConfig() gives root its capabilities, and others the bounding set alone", () => {
  const root = config().process.capabilities;
  expect(root["effective"]).toHaveLength(14);
  const user = { uid: 5, gid: 5, additionalGids: [] };
  const other = config({ process: processSpec(["x"], { user }) }).process.capabilities;
  expect(other).toMatchObject({ effective: [], permitted: [], inheritable: [], ambient: [] });
  expect(other["bounding"]).toHaveLength(14);
});

test("bundleConfig() opens everything to a privileged container", () => {
  const hostDevices = [{ path: "/dev/kvm", type: "c", major: 10, minor: 232 }] as const;
  const made = config({ privileged: true }, { hostDevices });
  expect(made.linux.resources.devices).toEqual([
    { allow: true, type: "a", access: "rwm" } as never,
  ]);
  expect(made.linux.devices.map(({ path }) => path)).toEqual(["/dev/kvm"]);
  const sys = made.mounts.find(({ destination }) => destination === "/sys");
  expect(sys!.options).toContain("rw");
  expect(config({}, { hostDevices }).linux.devices).toEqual([]);
});

test("bundleConfig() puts an init program in front", () => {
  const made = config({ init: true }, { initPath: "/usr/bin/catatonit" });
  expect(made.process.args).toEqual(["/sbin/docker-init", "--", "true"]);
  expect(made.mounts.at(-1)).toMatchObject({ destination: "/sbin/docker-init", type: "bind" });
});

test("groupPath() is below the parent, and cannot leave the tree", () => {
  const v1 = { version: 1, roots: new Map() } as const;
  expect(groupPath(v1, "", "abc")).toBe("/lading/abc");
  expect(groupPath(v1, "/a//b/", "abc")).toBe("/a/b/abc");
  expect(groupPath({ ...v1, version: 2 }, "", "abc")).toBe("/lading/abc/container");
  expect(() => groupPath(v1, "/a/../..", "abc")).toThrow("leads out");
});

test("resolveUser() looks names up in the root filesystem, and only there", () => {
  const root = mkdtempSync(`${tmpdir()}/lading-user-`);
  try {
    mkdirSync(`${root}/etc`);
    expect(resolveUser(root, "")).toMatchObject({ uid: 0, gid: 0, additionalGids: [0] });
    expect(resolveUser(root, "7:8")).toMatchObject({ uid: 7, gid: 8, home: "/" });
    expect(() => resolveUser(root, "ann")).toThrow(
      "unable to find user ann: no matching entries in passwd file",
    );
    expect(() => resolveUser(root, "-1")).toThrow("uids and gids must be in range 0-2147483647");
    writeFileSync(`${root}/etc/passwd`, "# x\nann:x:5:6::/home/ann:/bin/sh\nbad\nzz:x:no:1\n");
    writeFileSync(`${root}/etc/group`, "staff:x:6:\nwheel:x:9:bob,ann\ndisk:x:10:bob\n");
    expect(resolveUser(root, "ann", ["disk", "77"])).toEqual({
      uid: 5,
      gid: 6,
      additionalGids: [6, 9, 10, 77],
      home: "/home/ann",
    });
    expect(resolveUser(root, "5")).toMatchObject({ uid: 5, gid: 6, home: "/home/ann" });
    expect(resolveUser(root, "ann:disk")).toMatchObject({ gid: 10, additionalGids: [10] });
    expect(() => resolveUser(root, "ann:nogroup")).toThrow(
      "unable to find group nogroup: no matching entries in group file",
    );
    rmSync(`${root}/etc/passwd`);
    symlinkSync("/etc/passwd", `${root}/etc/passwd`); // leads to itself, inside
    expect(() => resolveUser(root, "daemon")).toThrow("unable to find user daemon");
    rmSync(`${root}/etc/passwd`);
    symlinkSync("../../../../../../../../etc/passwd-outside", `${root}/etc/passwd`);
    writeFileSync(`${root}/etc/passwd-outside`, "inside:x:3:3::/:\n");
    expect(resolveUser(root, "inside").uid).toBe(3);
  } finally {
    rmSync(root, { recursive: true });
  }
});

const words: [said: string, code: string, exitCode: number, part: string][] = [
  [
    "2026-11-21T11:34:56.615449Z: executable file `x` not found in $PATH: No such file or directory\n",
    "not_found",
    127,
    'exec: "x": executable file not found in $PATH: unknown',
  ],
  ["open executable: Permission denied\n", "denied", 126, 'exec: "x": permission denied'],
  ["chdir `/a`: Not a directory", "denied", 126, "chdir `/a`: Not a directory"],
  ["error stat'ing file `/a`: No such file", "invalid", 128, "error stat'ing file"],
  ["", "invalid", 128, "without a word"],
  [
    'time="2026-11-21T11:34:56Z" level=warning msg="a word"\n' +
      'time="2026-11-21T11:34:56Z" level=error msg="runc run failed: unable to start container ' +
      'process: exec: \\"x\\": executable file not found in $PATH" func="main.fatal()"\n',
    "not_found",
    127,
    'create failed: runc run failed: unable to start container process: exec: "x": executable',
  ],
];
for (const [said, code, exitCode, part] of words) {
  test(`refusal() of "${said.slice(0, 40).trim()}" ends with ${exitCode}`, () => {
    const failure = refusal(said, { program: "x", action: "run" });
    expect(failure).toMatchObject({ code, exitCode });
    expect(failure.message).toContain(part);
  });
}

test("refusal() of a program without a name says that it was not found", () => {
  const failure = refusal("open executable: Is a directory", { program: "", action: "run" });
  expect(failure).toMatchObject({ code: "not_found", exitCode: 127 });
});

test("parseEvents() reads what has come so far", () => {
  expect(parseEvents("")).toEqual({ pid: undefined });
  expect(parseEvents("123")).toEqual({ pid: 123 });
  expect(parseEvents("123exit 7\n")).toEqual({ pid: 123, exitCode: 7 });
  expect(parseEvents("exit 1\n")).toEqual({ pid: undefined, exitCode: 1 });
  expect(parseEvents("123exit 1")).toEqual({ pid: 123 });
});

for (const [stdin, terminal, tells, device] of [
  [true, false, true, undefined],
  [false, false, true, undefined],
  [false, true, true, undefined],
  [true, false, false, undefined],
  [false, true, false, "/dev/pts/7"],
] as const) {
  test(`watchScript() is right to the shell (${stdin}, ${terminal}, ${tells}, ${device})`, () => {
    const script = watchScript({ stdin, terminal, tells, device });
    const checked = Bun.spawnSync(["/bin/sh", "-n", "-c", script]);
    expect(checked.stderr.toString()).toBe("");
    expect(checked.exitCode).toBe(0);
  });
}

const v1Files: Record<string, string> = {
  "cpuacct.usage": "123456789\n",
  "cpuacct.usage_percpu": "100 200 \n",
  "cpuacct.stat": "user 3\nsystem 4\n",
  "cpu.stat": "nr_periods 5\nnr_throttled 6\nthrottled_time 7\n",
  "memory.usage_in_bytes": "1000\n",
  "memory.max_usage_in_bytes": "2000\n",
  "memory.limit_in_bytes": "3000\n",
  "memory.stat": "cache 1\nrss 2\n",
  "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 8\n",
  "pids.current": "9\n",
  "pids.max": "max\n",
  "blkio.throttle.io_service_bytes_recursive": "8:0 Read 11\n8:0 Write 12\nTotal 23\n",
  "blkio.throttle.io_serviced_recursive": "8:0 Read 2\n8:0 Total 2\nTotal 2\n",
};
const v2Files: Record<string, string> = {
  "cpu.stat":
    "usage_usec 10\nuser_usec 4\nsystem_usec 6\nnr_periods 1\nnr_throttled 2\nthrottled_usec 3\n",
  "memory.current": "1000\n",
  "memory.max": "max\n",
  "memory.stat": "anon 5\n",
  "memory.events": "low 0\noom 1\noom_kill 2\n",
  "pids.current": "9\n",
  "pids.max": "20\n",
  "io.stat": "8:0 rbytes=11 wbytes=12 rios=1 wios=1 dbytes=0 dios=0\n",
};

test("usageOfV1() reads the files of version 1", () => {
  expect(usageOfV1((_, name) => v1Files[name])).toEqual({
    cpu: {
      totalNs: 123456789,
      userNs: 30_000_000,
      systemNs: 40_000_000,
      perCpuNs: [100, 200],
      periods: 5,
      throttledPeriods: 6,
      throttledNs: 7,
    },
    memory: { usage: 1000, max: 2000, limit: 3000, stats: { cache: 1, rss: 2 }, oomKills: 8 },
    pids: { current: 9 },
    blockIo: [
      { major: 8, minor: 0, op: "Read", value: 11 },
      { major: 8, minor: 0, op: "Write", value: 12 },
      { major: 8, minor: 0, op: "ops:Read", value: 2 },
      { major: 8, minor: 0, op: "ops:Total", value: 2 },
    ],
  });
});

test("usageOfV2() reads the files of version 2", () => {
  const usage = usageOfV2((_, name) => v2Files[name]);
  expect(usage.cpu).toMatchObject({ totalNs: 10_000, userNs: 4_000, throttledNs: 3_000 });
  expect(usage.memory).toEqual({ usage: 1000, limit: 2 ** 63, stats: { anon: 5 }, oomKills: 2 });
  expect(usage.pids).toEqual({ current: 9, limit: 20 });
  expect(usage.blockIo).toEqual([
    { major: 8, minor: 0, op: "read", value: 11 },
    { major: 8, minor: 0, op: "write", value: 12 },
  ]);
});

test("usageOfV1() and usageOfV2() are zero where the host has no such files", () => {
  for (const read of [usageOfV1, usageOfV2]) {
    const { cpu, memory, pids } = read(() => undefined);
    expect([cpu.totalNs, memory.usage, pids.current]).toEqual([0, 0, 0]);
  }
});

test("parseOomKills() finds the count in either version's file", () => {
  expect(parseOomKills(v1Files["memory.oom_control"]!)).toBe(8);
  expect(parseOomKills(v2Files["memory.events"]!)).toBe(2);
  expect(parseOomKills("")).toBe(0);
});

test("withinReach() keeps the limits that there are controllers for", () => {
  const all = {
    memory: { limit: 5 },
    cpu: { shares: 3, cpus: "0" },
    pids: { limit: 7 },
    devices: [{ allow: true, type: "a", access: "rwm" } as const],
  };
  const reach = (...names: string[]) => {
    return withinReach(all, { version: 2, roots: new Map(), controllers: new Set(names) });
  };
  expect(withinReach(all, { version: 2, roots: new Map() })).toBe(all);
  expect(reach()).toEqual({ devices: all.devices });
  expect(reach("cpu", "pids")).toEqual({
    cpu: { shares: 3 },
    pids: all.pids,
    devices: all.devices,
  });
  expect(reach("memory", "cpuset").cpu).toEqual({ cpus: "0" });
});
