import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const isRoot = process.getuid?.() === 0;
const isHybrid = existsSync("/sys/fs/cgroup/unified") && existsSync("/sys/fs/cgroup/memory");
const why = !isRoot ? " (skipped: needs root)" : isHybrid ? "" : " (skipped: no hybrid cgroups)";

// taskset: kernels that number mount namespaces by CPU let one be kept in an older one for sure only if both
// were made on the same CPU (EINVAL else). The host's own is older than all.

/** Twice in a mount namespace with both kinds of cgroups: all that is mounted ends with it. */
const twice = `unified=/sys/fs/cgroup/unified
mountpoint -q $unified || mount -t cgroup2 none $unified
"$@" && "$@"`;

test.skipIf(!isRoot || !isHybrid)(
  `enterCgroupView() stays in its folder, when it makes the view and when it finds it${why}`,
  () => {
    const folder = realpathSync(mkdtempSync("/tmp/lading-view-"));
    const script = join(folder, "enter.ts");
    const [host, argv] = [join(import.meta.dir, "host.ts"), [script]];
    writeFileSync(
      script,
      `const { enterCgroupView } = await import(${JSON.stringify(host)});
      await enterCgroupView(${JSON.stringify(folder)}, ${JSON.stringify(argv)});
      console.log(process.cwd(), process.env.LADING_HOST_MOUNTS);`,
    );
    try {
      const shell = ["--mount", "--propagation=slave", "sh", "-c", twice, "sh"];
      const ran = spawnSync("taskset", ["-c", "0", "unshare", ...shell, process.execPath, script], {
        cwd: folder,
        encoding: "utf8",
      });
      expect([ran.stderr, ran.stdout]).toEqual(["", `${folder} 8\n${folder} 8\n`]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test.skipIf(!isRoot || !isHybrid)(
  `forgetNewCgroupView() unmounts a view that this process made, but not another's${why}`,
  () => {
    const folder = realpathSync(mkdtempSync("/tmp/lading-view-"));
    const script = join(folder, "enter.ts");
    const names = [join(import.meta.dir, "host.ts"), folder, [script]].map((each) =>
      JSON.stringify(each),
    );
    writeFileSync(
      script,
      `const { enterCgroupView, forgetNewCgroupView } = await import(${names[0]});
      await enterCgroupView(${names[1]}, ${names[2]});
      if (process.env.FAILS) await forgetNewCgroupView(${names[1]});`,
    );
    const mounted = `grep -c "$0" /proc/self/mountinfo`;
    const steps = `"$@" && ${mounted}; FAILS=1 "$@" && ${mounted}; umount "$0/mount-view/ns" "$0/mount-view"
    FAILS=1 "$@" && ${mounted}`;
    const unified = twice.split("\n").slice(0, 2).join("\n");
    try {
      const shell = ["--mount", "--propagation=slave", "sh", "-c", `${unified}\n${steps}`, folder];
      const ran = spawnSync("taskset", ["-c", "0", "unshare", ...shell, process.execPath, script], {
        encoding: "utf8",
      });
      expect([ran.stderr, ran.stdout]).toEqual(["", "2\n2\n0\n"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
