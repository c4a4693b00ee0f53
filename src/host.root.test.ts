import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const isRoot = process.getuid?.() === 0;
const isHybrid = existsSync("/sys/fs/cgroup/unified") && existsSync("/sys/fs/cgroup/memory");
const why = !isRoot ? " (skipped: needs root)" : isHybrid ? "" : " (skipped: no hybrid cgroups)";

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
      const ran = spawnSync("unshare", [...shell, process.execPath, script], {
        cwd: folder,
        encoding: "utf8",
      });
      expect([ran.stderr, ran.stdout]).toEqual(["", `${folder} 8\n${folder} 8\n`]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
