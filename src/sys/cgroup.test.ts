import { expect, test } from "bun:test";
import { cgroupDirectories, cgroupDirectory, findCgroups } from "./cgroup.ts";
import { parseMountInfo } from "./mount.ts";

const v1 = `31 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:29 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,xattr,name=systemd
`;
const hybrid = `${v1}35 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n`;
const v2 = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

for (const [name, text] of Object.entries({ v1, hybrid })) {
  test(`findCgroups() finds the tree of each controller on a ${name} host`, () => {
    const cgroups = findCgroups(parseMountInfo(text))!;
    expect(cgroups.version).toBe(1);
    expect(cgroupDirectory(cgroups, "cpuacct", "/a/b")).toBe("/sys/fs/cgroup/cpu,cpuacct/a/b");
    expect(cgroupDirectory(cgroups, "memory", "/a")).toBe("/sys/fs/cgroup/memory/a");
    expect(cgroupDirectory(cgroups, "pids", "/a")).toBeUndefined();
    expect(cgroupDirectories(cgroups, "/a")).toContain("/sys/fs/cgroup/systemd/a");
  });
}

test("findCgroups() has one tree for all on a version 2 host", () => {
  const cgroups = findCgroups(parseMountInfo(v2))!;
  expect(cgroups.version).toBe(2);
  expect(cgroupDirectory(cgroups, "memory", "/a")).toBe("/sys/fs/cgroup/a");
  expect(cgroupDirectories(cgroups, "/a")).toEqual(["/sys/fs/cgroup/a"]);
});

test("findCgroups() finds nothing where nothing is mounted", () => {
  expect(findCgroups(parseMountInfo("1 0 0:1 / / rw - ext4 /dev/vda rw\n"))).toBeUndefined();
});
