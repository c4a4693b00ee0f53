/** An engine that a user runs who is not root. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { busyboxTar, command, dockerPath, lading, whyNot } from "./engine.ts";

const user = `ldt${process.pid}`;
const sh = (line: string) => command(["sh", "-c", line], { timeoutMs: 30_000 });
const missing = ["unshare", "nsenter", "newuidmap", "slirp4netns", "useradd"].find(
  (program) => !Bun.which(program, { PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` }),
);
const readsCheckout = whyNot
  ? false
  : Bun.spawnSync(["setpriv", "--reuid=65534", "--clear-groups", "test", "-r", lading]).exitCode ===
    0;
const why =
  whyNot ??
  (missing
    ? `needs ${missing}`
    : readsCheckout
      ? undefined
      : "needs a checkout that other users can read");

describe.skipIf(why !== undefined)(`without root${why ? ` (skipped: ${why})` : ""}`, () => {
  let folder: string;
  let tunMode: number | undefined;
  let engine: ReturnType<typeof Bun.spawn> | undefined;
  const socket = () => `${folder}/lading/lading.sock`;
  const docker = (...args: string[]) =>
    command([dockerPath!, ...args], {
      env: { DOCKER_HOST: `unix://${socket()}` },
      timeoutMs: 60_000,
    });
  const ok = async (...args: string[]) => {
    const ran = await docker(...args);
    if (ran.code !== 0) throw new Error(`docker ${args.join(" ")}: ${ran.stderr}`);
    return ran.stdout.trim();
  };
  const left = async () => (await sh(`pgrep -u ${user} -a || true`)).stdout;

  async function start(): Promise<void> {
    engine = await launch();
  }

  /** A daemon that accepts requests. @throws with its last words */
  async function launch(group?: string): Promise<ReturnType<typeof Bun.spawn>> {
    const line = `cd / && XDG_RUNTIME_DIR=${folder} XDG_DATA_HOME=${folder}/data exec ${lading} daemon`;
    const join = group ? `echo $$ >${group}/cgroup.procs &&` : "";
    const be = `setpriv --reuid=${user} --regid=${user} --init-groups`;
    const child = Bun.spawn(["sh", "-c", `${join} exec ${be} sh -c '${line}'`], {
      stdout: "pipe",
      stderr: "pipe",
      env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: folder },
    });
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    const said = Buffer.from(value ?? []).toString();
    if (!said.includes("accepts requests")) {
      throw new Error(said + (await new Response(child.stderr).text()));
    }
    return child;
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lading-rootless-"));
    expect((await sh(`useradd --no-create-home ${user} && id -u ${user}`)).code).toBe(0);
    const uid = Number((await sh(`id -u ${user}`)).stdout);
    chownSync(folder, uid, uid);
    // As udev has it on a Debian host.
    tunMode = statSync("/dev/net/tun").mode & 0o777;
    chmodSync("/dev/net/tun", 0o666);
    await start();
  });
  afterAll(async () => {
    engine?.kill("SIGTERM");
    await engine?.exited;
    await sh(`pkill -KILL -u ${user}; userdel ${user}`);
    if (tunMode !== undefined) chmodSync("/dev/net/tun", tunMode);
    rmSync(folder, { recursive: true, force: true });
  });

  test("runs containers whose root is the user, with a network and a published port", async () => {
    const imported = await command([dockerPath!, "import", "-", "busybox"], {
      input: busyboxTar(),
      env: { DOCKER_HOST: `unix://${socket()}` },
    });
    expect(imported.code).toBe(0);
    expect(await ok("run", "--rm", "--network", "none", "busybox", "id", "-u")).toBe("0");
    const page = "echo of the user > /page; exec httpd -f -h /";
    await ok("run", "-d", "--name", "web", "-p", "127.0.0.1:18641:80", "busybox", "sh", "-c", page);
    const pid = await ok("inspect", "-f", "{{.State.Pid}}", "web");
    expect(statSync(`/proc/${pid}`).uid).toBe(statSync(folder).uid);
    expect(
      (
        await command([
          "curl",
          "-s",
          "--retry",
          "5",
          "--retry-connrefused",
          "http://127.0.0.1:18641/page",
        ])
      ).stdout,
    ).toBe("of the user\n");
    const top = await ok("top", "web", "-eo", "pid,args");
    expect(top.split("\n").slice(1)).toEqual([
      expect.stringMatching(new RegExp(`^${pid} +httpd -f`)),
    ]);
    const again = await docker("run", "--rm", "-p", "127.0.0.1:18641:80", "busybox", "true");
    expect(again.stderr).toContain("port is already allocated");
    expect(await ok("info", "-f", "{{.SecurityOptions}}")).toContain("name=rootless");
  });

  test("builds, with deleted and foreign files in layers", async () => {
    const context = join(folder, "context");
    mkdirSync(context);
    await Bun.write(
      join(context, "Dockerfile"),
      "FROM busybox\nRUN rm /bin/vi && mkdir -p /d/e && chown 1000:1000 /d\nRUN rm -r /d/e && mkdir /d/e\n",
    );
    const built = await command([dockerPath!, "build", "-q", "-t", "built", context], {
      env: { DOCKER_HOST: `unix://${socket()}`, DOCKER_BUILDKIT: "0" },
      timeoutMs: 60_000,
    });
    expect(built.stderr.replace(/.*deprecated[\s\S]*/i, "")).toBe("");
    expect(
      await ok("run", "--rm", "built", "sh", "-c", "stat -c %u /d; ls /d /bin/vi 2>&1; true"),
    ).toBe("1000\nls: /bin/vi: No such file or directory\n/d:\ne");
  });

  test("kill -9 leaves containers and ports as they are; SIGTERM without containers leaves nothing", async () => {
    await sh(`pkill -KILL -u ${user} -f "main.[tj]s daemon"`);
    await engine?.exited;
    const page = await command(["curl", "-s", "http://127.0.0.1:18641/page"]);
    expect(page.stdout).toBe("of the user\n");
    await start();
    expect(await ok("exec", "web", "cat", "/page")).toBe("of the user");
    await ok("rm", "-f", "web");
    const gone = await command(["curl", "-s", "http://127.0.0.1:18641/page"]);
    expect(gone.code).not.toBe(0);
    engine?.kill("SIGTERM");
    expect(await engine?.exited).toBe(0);
    for (let tries = 0; tries < 100 && (await left()) !== ""; tries++) await Bun.sleep(50);
    expect(await left()).toBe("");
    // Several at once: one has the folders, and all have found, or made, the same keeper.
    const all = await Promise.allSettled([launch(), launch(), launch()]);
    engine = all.find((one) => one.status === "fulfilled")?.value;
    const refused = all.filter((one) => one.status === "rejected");
    const why = expect.stringContaining("another one uses the");
    expect(refused.map(({ reason }) => String(reason))).toEqual([why, why]);
    expect((await sh(`pgrep -u ${user} -c "^(tail|slirp4netns)$"`)).stdout.trim()).toBe("2");
    expect(await ok("run", "--rm", "built", "echo", "again")).toBe("again");
  }, 180_000);

  test("divides a control group that was delegated to it", async () => {
    engine?.kill("SIGTERM");
    await engine?.exited;
    const tree = join(folder, "groups");
    const group = join(tree, user);
    mkdirSync(tree);
    expect((await sh(`mount -t cgroup2 none ${tree}`)).code).toBe(0);
    try {
      await sh(`mkdir -p ${group}/later && chown -R ${user} ${group}`);
      engine = await launch(group);
      const groupOf = async (pid: number | string) =>
        /^0::(.*)$/m.exec((await sh(`cat /proc/${pid}/cgroup`)).stdout)?.[1];
      expect(await groupOf(engine.pid)).toBe(`/${user}/engine`);
      const words = await docker(
        "run",
        "-d",
        "--memory=32m",
        "--name=one",
        "busybox",
        "sleep",
        "99",
      );
      const isOpen = (await sh(`cat ${group}/cgroup.subtree_control`)).stdout.includes("memory");
      expect(words.stderr.includes("Limits of memory are discarded")).toBe(!isOpen);
      const pid = await ok("inspect", "-f", "{{.State.Pid}}", "one");
      const own = await groupOf(pid);
      expect(own).toMatch(new RegExp(`^/${user}/lading/[0-9a-f]{64}/container$`));
      expect(await ok("info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}}")).toBe("cgroupfs 2");
      // The next daemon comes from elsewhere, and goes to where the keeper is.
      await sh(`pkill -KILL -u ${user} -f "main.[tj]s daemon"`);
      await engine.exited;
      engine = await launch(`${group}/later`);
      expect(await groupOf(engine.pid)).toBe(`/${user}/engine`);
      await ok("pause", "one");
      expect((await sh(`cat ${tree}${own}/cgroup.events`)).stdout).toContain("frozen 1");
      await ok("unpause", "one");
      expect(await ok("top", "one", "-eo", "pid,args")).toContain("sleep 99");
      await ok("rm", "-f", "one");
      const ofContainers = async () =>
        (await sh(`find ${group}/lading -mindepth 1 -type d`)).stdout.trim();
      for (let tries = 0; tries < 100 && (await ofContainers()) !== ""; tries++)
        await Bun.sleep(50);
      expect(await ofContainers()).toBe("");
    } finally {
      engine?.kill("SIGTERM");
      await engine?.exited;
      for (let tries = 0; tries < 100 && (await left()) !== ""; tries++) await Bun.sleep(50);
      await sh(`find ${group} -depth -type d -exec rmdir {} + ; umount ${tree}`);
    }
  }, 180_000);
});
