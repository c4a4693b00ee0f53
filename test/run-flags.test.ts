/**
 * The 104 flags of `docker run`, each by what it does: by what the container prints, by what `inspect`
 * says where that is all there is, and by the kernel's files for limits.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { command, TestEngine, whyNot } from "./engine.ts";

/** Flags and a command after `run --rm`; what is printed, on either stream. */
type Printed = [flags: string, args: string[], printed: string | RegExp];
/** Flags, then what a template of `inspect` shows of the container created with them. */
type Shown = [flags: string, args: string[], template: string, shown: string];
/** Flags, then the file of the container's group on version 1 and on version 2, and its content. */
type Limited = [flags: string, args: string[], v1: string, v2: string | undefined, content: string];

const disk = (() => {
  for (const name of ["vda", "sda", "nvme0n1", "xvda", "loop0"]) {
    const path = `/sys/class/block/${name}/dev`;
    if (existsSync(path))
      return { path: `/dev/${name}`, numbers: readFileSync(path, "utf8").trim() };
  }
  return undefined;
})();
const image = "busybox";
/** Twenty at once, on a busy machine. */
const slowMs = 30_000;
const sh = (script: string) => [image, "sh", "-c", script];

const printed: Printed[] = [
  ["attach", ["-a", "stderr", ...sh("echo out; echo err >&2")], /^err$/],
  ["entrypoint", ["--entrypoint", "echo", image, "hello"], /^hello$/],
  ["env", ["-e", "A=b", ...sh("echo $A")], /^b$/],
  ["workdir", ["-w", "/some/where", image, "pwd"], /^\/some\/where$/],
  ["user", ["-u", "www", image, "id"], /uid=33\(www\) gid=33\(www\) groups=.*500\(extra\)/],
  ["user", ["-u", "5:6", image, "id"], /uid=5 gid=6/],
  ["group-add", ["--group-add", "extra", "--group-add", "4242", image, "id"], /500\(extra\).*4242/],
  ["group-add", ["--group-add", "nosuch", image, "id"], /nosuch/],
  ["hostname", ["-h", "hh", image, "hostname"], /^hh$/],
  ["domainname", ["--domainname", "dd", image, "cat", "/proc/sys/kernel/domainname"], /^dd$/],
  ["init", ["--init", ...sh("tr '\\0' ' ' < /proc/1/cmdline")], /^\/sbin\/docker-init -- /],
  ["quiet", ["-q", image, "echo", "x"], /^x$/],
  ["pull", ["--pull", "never", "nosuchimage"], /No such image/],
  ["platform", ["--platform", "linux/s390x", "--pull", "never", image, "true"], /platform/],
  ["runtime", ["--runtime", "crun", image, "echo", "x"], /^x$/],
  ["runtime", ["--runtime", "nosuch", image, "true"], /unknown or invalid runtime name: nosuch/],
  ["disable-content-trust", ["--disable-content-trust", image, "echo", "x"], /^x$/],
  ["cpu-count cpu-percent", ["--cpu-count", "1", "--cpu-percent", "1", image, "echo", "x"], /x$/],
  ...(disk ? [weightOf(disk.path)] : []),
  ["io-maxbandwidth", ["--io-maxbandwidth", "1m", image, "echo", "x"], /x$/],
  ["io-maxiops", ["--io-maxiops", "10", image, "echo", "x"], /x$/],
  ["kernel-memory", ["--kernel-memory", "50m", image, "echo", "x"], /x$/],
  ["oom-score-adj", ["--oom-score-adj", "500", image, "cat", "/proc/self/oom_score_adj"], /^500$/],
  ["shm-size", ["--shm-size", "8m", image, "df", "-k", "/dev/shm"], / 8192 /],
  ["ulimit", ["--ulimit", "nofile=123:456", ...sh("ulimit -n; ulimit -Hn")], /^123\n456$/],
  ["blkio-weight", ["--blkio-weight", "300", image, "echo", "x"], /^x/m],
  ["storage-opt", ["--storage-opt", "size=10m", image, "true"], /--storage-opt is supported only/],
  [
    "device",
    [
      "--device",
      "/dev/loop-control:/dev/ff:r",
      ...sh("ls -l /dev/ff; : </dev/ff && echo reads; : >/dev/ff"),
    ],
    /^crw.*\nreads\n.*Operation not permitted$/,
  ],
  ["device", ["--device", "/dev/nosuch", image, "true"], /no such file or directory/],
  ["gpus", ["--gpus", "all", image, "true"], /could not select device driver|gpu/],
  ["cgroupns", ["--cgroupns", "private", image, "cat", "/proc/self/cgroup"], /:\/$/m],
  ["cgroupns", ["--cgroupns", "host", image, "cat", "/proc/self/cgroup"], /[0-9a-f]{64}/],
  ["ipc", ["--ipc", "none", ...sh("grep -c ' /dev/shm ' /proc/mounts")], /^0$/],
  ["pid", ["--pid", "host", ...sh("ls -d /proc/[0-9]* 2>/dev/null | wc -l")], /^\d\d+$/],
  ["userns", ["--userns", "host", image, "cat", "/proc/self/uid_map"], /0 +0 +4294967295/],
  ["uts", ["--uts", "host", image, "hostname"], new RegExp(`^${hostname()}$`)],
  ["isolation", ["--isolation", "default", image, "echo", "x"], /^x$/],
  ["cap-add", ["--cap-add", "ALL", image, "grep", "CapEff", "/proc/self/status"], /f{6}$/],
  ["cap-drop", ["--cap-drop", "ALL", image, "grep", "CapEff", "/proc/self/status"], /0{16}$/],
  ["privileged", ["--privileged", ...sh("ls /dev/kmsg")], /^\/dev\/kmsg$/],
  ["read-only", ["--read-only", image, "touch", "/x"], /Read-only file system/],
  [
    "security-opt",
    ["--security-opt", "no-new-privileges", image, "grep", "NoNew", "/proc/self/status"],
    /1$/,
  ],
  [
    "security-opt",
    ["--security-opt", "seccomp=unconfined", image, "grep", "Seccomp:", "/proc/self/status"],
    /0$/,
  ],
  [
    "security-opt",
    ["--security-opt", "systempaths=unconfined", ...sh("grep -c ' /proc/' /proc/mounts")],
    /^0$/,
  ],
  ["security-opt", ["--security-opt", "foo=bar", image, "true"], /invalid --security-opt/],
  [
    "sysctl",
    ["--sysctl", "net.core.somaxconn=7", image, "cat", "/proc/sys/net/core/somaxconn"],
    /^7$/,
  ],
  ["sysctl", ["--sysctl", "kernel.msgmax=77", image, "cat", "/proc/sys/kernel/msgmax"], /^77$/],
  ["add-host", ["--add-host", "h:1.2.3.4", image, "cat", "/etc/hosts"], /1\.2\.3\.4\s+h/],
  ["dns", ["--dns", "9.9.9.9", image, "cat", "/etc/resolv.conf"], /nameserver 9\.9\.9\.9/],
  ["dns-option", ["--dns-option", "ndots:3", image, "cat", "/etc/resolv.conf"], /ndots:3/],
  ["dns-search", ["--dns-search", "ex.org", image, "cat", "/etc/resolv.conf"], /search ex\.org/],
  ["network", ["--network", "none", image, "ls", "/sys/class/net"], /^lo$/],
  ["ip", ["--network", "flags", "--ip", "10.213.78.9", image, "ip", "a"], /10\.213\.78\.9/],
  ["ip6", ["--network", "flags", "--ip6", "fd00:78::9", image, "ip", "a"], /fd00:78::9/],
  ["mac-address", ["--mac-address", "02:42:0a:01:02:03", image, "ip", "l"], /02:42:0a:01:02:03/],
  [
    "network-alias",
    ["--network", "flags", "--network-alias", "al", image, "nslookup", "al", "127.0.0.11"],
    /Name:\s+al/,
  ],
  [
    "mount",
    ["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m", image, "grep", " /t ", "/proc/mounts"],
    /size=1024k/,
  ],
  [
    "mount",
    ["--mount", `type=image,src=${image},dst=/i`, image, "ls", "/i/bin/sh"],
    /\/i\/bin\/sh/,
  ],
  ["tmpfs", ["--tmpfs", "/t:size=64k", image, "grep", " /t ", "/proc/mounts"], /size=64k/],
  ["volume", ["-v", "/etc/hostname:/v:ro", ...sh("cat /v; echo x > /v")], /Read-only file system/],
  ["volume-driver", ["--volume-driver", "nosuch", "-v", "zz:/v", image, "true"], /nosuch/],
  ["log-driver", ["--log-driver", "nosuch", image, "true"], /no log driver named 'nosuch'/],
  ["log-opt", ["--log-opt", "foo=1", image, "true"], /unknown log opt 'foo'/],
  ["help", ["--help"], /Create and run a new container/],
];

const shown: Shown[] = [
  ["cpu-rt", ["--cpu-rt-period", "9000"], "{{.HostConfig.CpuRealtimePeriod}}", "9000"],
  ["cpu-rt", ["--cpu-rt-runtime", "800"], "{{.HostConfig.CpuRealtimeRuntime}}", "800"],
  ["stop-timeout", ["--stop-timeout", "7"], "{{.Config.StopTimeout}}", "7"],
  ["stop-signal", ["--stop-signal", "SIGUSR1"], "{{.Config.StopSignal}}", "SIGUSR1"],
  ["interactive tty", ["-i", "-t"], "{{.Config.OpenStdin}} {{.Config.Tty}}", "true true"],
  ["label", ["-l", "k=v"], "{{.Config.Labels.k}}", "v"],
  ["annotation", ["--annotation", "k=v"], "{{.HostConfig.Annotations.k}}", "v"],
  ["restart", ["--restart", "on-failure:3"], "{{.HostConfig.RestartPolicy}}", "{on-failure 3}"],
  [
    "health",
    [
      "--health-cmd",
      "x",
      "--health-interval",
      "2s",
      "--health-timeout",
      "3s",
      "--health-retries",
      "4",
      "--health-start-period",
      "5s",
      "--health-start-interval",
      "6s",
    ],
    "{{json .Config.Healthcheck}}",
    '{"Test":["CMD-SHELL","x"],"Interval":2000000000,"Timeout":3000000000,"StartPeriod":5000000000,"StartInterval":6000000000,"Retries":4}',
  ],
  ["no-healthcheck", ["--no-healthcheck"], "{{.Config.Healthcheck.Test}}", "[NONE]"],
  ["expose", ["--expose", "80"], "{{json .Config.ExposedPorts}}", '{"80/tcp":{}}'],
  [
    "publish",
    ["-p", "127.0.0.1:18799:80"],
    "{{json .HostConfig.PortBindings}}",
    '{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"18799"}]}',
  ],
  ["publish-all", ["-P"], "{{.HostConfig.PublishAllPorts}}", "true"],
];

const limited: Limited[] = [
  ["cpus", ["--cpus", "0.5"], "cpu/cpu.cfs_quota_us", "cpu.max", "50000"],
  [
    "cpu-period cpu-quota",
    ["--cpu-period", "20000", "--cpu-quota", "10000"],
    "cpu/cpu.cfs_period_us",
    undefined,
    "20000",
  ],
  ["cpu-shares", ["-c", "512"], "cpu/cpu.shares", undefined, "512"],
  ["cpuset-cpus", ["--cpuset-cpus", "0"], "cpuset/cpuset.cpus", "cpuset.cpus", "0"],
  ["cpuset-mems", ["--cpuset-mems", "0"], "cpuset/cpuset.mems", "cpuset.mems", "0"],
  ["memory", ["-m", "32m"], "memory/memory.limit_in_bytes", "memory.max", "33554432"],
  [
    "memory-swap",
    ["-m", "32m", "--memory-swap", "64m"],
    "memory/memory.memsw.limit_in_bytes",
    undefined,
    "67108864",
  ],
  [
    "oom-kill-disable",
    ["--oom-kill-disable", "-m", "32m"],
    "memory/memory.oom_control",
    undefined,
    "oom_kill_disable 1",
  ],
  [
    "memory-reservation",
    ["--memory-reservation", "16m"],
    "memory/memory.soft_limit_in_bytes",
    "memory.low",
    "16777216",
  ],
  ["memory-swappiness", ["--memory-swappiness", "10"], "memory/memory.swappiness", undefined, "10"],
  ["pids-limit", ["--pids-limit", "17"], "pids/pids.max", "pids.max", "17"],
  [
    "device-cgroup-rule",
    ["--device-cgroup-rule", "c 42:* rmw"],
    "devices/devices.list",
    undefined,
    "c 42:* rwm",
  ],
  ...(disk ? throttles(disk) : []),
];

const rates = ["read-bps", "write-bps", "read-iops", "write-iops"].map((kind) => `device-${kind}`);

function weightOf(path: string): Printed {
  return [
    "blkio-weight-device",
    ["--blkio-weight-device", `${path}:200`, image, "echo", "x"],
    /^x/m,
  ];
}

function throttles({ path, numbers }: { path: string; numbers: string }): Limited[] {
  const rate = (kind: string, value: string, content: string): Limited => [
    `device-${kind}`,
    [`--device-${kind}`, `${path}:${value}`],
    `blkio/blkio.throttle.${kind.replace("-", "_")}_device`,
    undefined,
    `${numbers} ${content}`,
  ];
  return [
    rate("read-bps", "1mb", "1048576"),
    rate("write-bps", "1mb", "1048576"),
    rate("read-iops", "77", "77"),
    rate("write-iops", "78", "78"),
  ];
}

describe.skipIf(whyNot !== undefined)(`run${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await TestEngine.open("rflags");
    await engine.importBusybox();
    const subnets = ["--subnet", "10.213.78.0/24", "--ipv6", "--subnet", "fd00:78::/64"];
    await engine.ok(["network", "create", ...subnets, "flags"]);
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  for (const [flags, args, wanted] of printed) {
    test.concurrent(
      `--${flags}: ${args.join(" ").slice(0, 60)}`,
      async () => {
        const { stdout, stderr } = await engine.docker(["run", "--rm", ...args]);
        expect(`${stdout}${stderr}`.trim()).toMatch(wanted);
      },
      slowMs,
    );
  }

  for (const [flags, args, template, wanted] of shown) {
    test.concurrent(
      `--${flags} is what inspect says`,
      async () => {
        const id = await engine.ok(["create", ...args, image, "true"]);
        expect(await engine.ok(["inspect", "-f", template, id.split("\n").at(-1)!])).toBe(wanted);
      },
      slowMs,
    );
  }

  for (const [flags, args, v1, v2, wanted] of limited) {
    test.concurrent(
      `--${flags} is in the container's group`,
      async () => {
        const id = await engine.ok(["run", "-d", ...args, image, "sleep", "100"]);
        const pid = await engine.ok(["inspect", "-f", "{{.State.Pid}}", id]);
        const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
        const [controller = "", file = ""] = v1.split("/");
        const line = lines.find((each) => each.split(":")[1]!.split(",").includes(controller));
        if (line) {
          const path = `/sys/fs/cgroup/${controller}${line.split(":")[2]}/${file}`;
          expect(readFileSync(path, "utf8")).toContain(wanted);
        } else if (v2) {
          const path = `/sys/fs/cgroup${lines[0]!.split(":")[2]}/${v2}`;
          expect(readFileSync(path, "utf8")).toContain(wanted);
        }
        await engine.ok(["rm", "-f", id]);
      },
      slowMs,
    );
  }

  test("no flag of the docker client is forgotten", async () => {
    const help = await engine.ok(["run", "--help"]);
    const known = [...help.matchAll(/^ +(?:(-\w), )?--([a-z0-9-]+)/gm)];
    const short = new Map(known.map(([, letter, name]) => [letter ?? "", name!]));
    const here = [...readFileSync(import.meta.path, "utf8").matchAll(/"(--?[a-z0-9-]+)"/gi)];
    const seen = new Set(here.map(([, flag]) => short.get(flag!) ?? flag!.replace(/^--/, "")));
    // In terminal.test.ts, containers.test.ts and wishes.test.ts.
    const elsewhere = ["detach-keys", "sig-proxy", "link", "link-local-ip", ...rates];
    const forgotten = known.map(([, , name]) => name!).filter((name) => !seen.has(name));
    expect(forgotten.filter((name) => !elsewhere.includes(name))).toEqual([]);
    expect(known.length).toBeGreaterThanOrEqual(100);
  });

  test("files and other containers: --env-file, --label-file, --cidfile, --name, --volumes-from, --ipc, --pid", async () => {
    const { folder } = engine;
    writeFileSync(`${folder}/env`, "X=1\n#c\nHOME=/h\n");
    writeFileSync(`${folder}/labels`, "a=b\n# c\nd\n");
    const files = ["--env-file", `${folder}/env`, "--label-file", `${folder}/labels`];
    const donor = [
      "--name",
      "donor",
      "--cidfile",
      `${folder}/cid`,
      "-v",
      "/data",
      "--ipc",
      "shareable",
    ];
    const script = "echo $X$HOME > /data/f; echo shm > /dev/shm/f; exec sleep 1234";
    await engine.ok(["run", "-d", ...donor, ...files, ...sh(script)]);
    expect(readFileSync(`${folder}/cid`, "utf8")).toMatch(/^[0-9a-f]{64}$/);
    expect(await engine.ok(["inspect", "-f", "{{json .Config.Labels}}", "donor"])).toBe(
      '{"a":"b"}',
    );
    const shares = [
      "--volumes-from",
      "donor:ro",
      "--ipc",
      "container:donor",
      "--pid",
      "container:donor",
    ];
    const look = "cat /data/f /dev/shm/f; ps | grep -c 'sleep 123[4]'; touch /data/x";
    const { stdout, stderr } = await engine.docker(["run", "--rm", ...shares, ...sh(look)]);
    expect(stdout).toBe("1/h\nshm\n1\n");
    expect(stderr).toContain("Read-only file system");
    await engine.ok(["rm", "-f", "-v", "donor"]);
  });

  test("--cgroup-parent, --use-api-socket, --sig-proxy, -d, -i", async () => {
    const id = await engine.ok([
      "run",
      "-d",
      "--cgroup-parent",
      "/lading-rflags",
      image,
      "sleep",
      "100",
    ]);
    const pid = await engine.ok(["inspect", "-f", "{{.State.Pid}}", id]);
    expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain("/lading-rflags/");
    await engine.ok(["rm", "-f", id]);
    const through = await engine.docker(["run", "--rm", "-i", image, "cat"], { input: "in" });
    expect(through.stdout).toBe("in");
    const socket = ["run", "--rm", "--use-api-socket", image, "ls", "-l", "/var/run/docker.sock"];
    expect((await engine.docker(socket)).stdout).toMatch(/^s/);
    const trap = sh("trap 'echo got; exit 0' TERM; while :; do sleep 0.1; done");
    const { env } = engine;
    const proxied = await command(
      ["timeout", "-s", "TERM", "2", "docker", "run", "--rm", ...trap],
      { env },
    );
    expect(proxied.stdout).toContain("got");
  });
});
