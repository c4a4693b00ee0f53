/** What `run` promises, through the docker client and by what the kernel says. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { TestEngine, whyNot } from "./engine.ts";

async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await isTrue()) return;
    await Bun.sleep(25);
  }
  throw new Error(`It never came to this: ${what}`);
}

describe.skipIf(whyNot !== undefined)(`containers${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await TestEngine.open("ctn");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });
  const run = (...args: string[]) => engine.ok(["run", "--rm", ...args]);
  const inspect = async (name: string, format: string) =>
    (await engine.ok(["inspect", "-f", format, name])).trim();

  test("--restart on-unhealthy starts a sick container again, and not for ever", async () => {
    await engine.ok(
      ["run", "-d", "--name", "sick", "--restart", "on-unhealthy:1", "--stop-timeout", "1"].concat(
        ["--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "2"],
        ["busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
      ),
    );
    const state = "{{.RestartCount}} {{.State.Status}} {{.State.Health.Status}}";
    await until(
      "one restart",
      async () => (await inspect("sick", state)) === "1 running unhealthy",
    );
    const events = ["events", "--since", "1h", "--until", "0s", "--filter", "container=sick"];
    // The client rounds "0s" down to a second.
    await until("two events of sickness and two starts", async () => {
      const actions = await engine.ok([...events, "--format", "{{.Action}}"]);
      const count = (pattern: RegExp) => actions.match(pattern)?.length;
      return count(/health_status: unhealthy/g) === 2 && count(/^start$/gm) === 2;
    });
    await engine.ok(["rm", "-f", "sick"]);
  });

  test("devices of the Container Device Interface come with all they need", async () => {
    const kind = `ladingtest${process.pid}.org/dev`;
    const path = `/etc/cdi/lading-test-${process.pid}.json`;
    mkdirSync("/etc/cdi", { recursive: true });
    const mark = `${engine.folder}/hook`;
    const containerEdits = {
      env: ["DEVICE=zero"],
      deviceNodes: [{ path: "/dev/mine", hostPath: "/dev/zero" }],
      mounts: [{ hostPath: "/etc/hostname", containerPath: "/host-name", options: ["ro", "bind"] }],
      hooks: [
        { hookName: "createRuntime", path: "/bin/sh", args: ["sh", "-c", `echo x > ${mark}`] },
      ],
      additionalGIDs: [4242],
    };
    const spec = { cdiVersion: "0.7.0", kind, devices: [{ name: "zero", containerEdits }] };
    writeFileSync(path, JSON.stringify(spec));
    try {
      const show = "echo $DEVICE; head -c 1 /dev/mine | od -An -tx1; cat /host-name; id -G";
      const shown = await run("--device", `${kind}=zero`, "busybox", "sh", "-c", show);
      expect(shown).toContain("zero\n 00\n");
      expect(shown).toContain("4242");
      expect(await Bun.file(mark).text()).toBe("x\n");
      const absent = await engine.docker([
        "run",
        "--rm",
        "--device",
        `${kind}=no`,
        "busybox",
        "true",
      ]);
      expect(absent.stderr).toContain(`unresolvable CDI devices ${kind}=no`);
    } finally {
      rmSync(path);
    }
    const gpus = await engine.docker(["run", "--rm", "--gpus", "all", "busybox", "true"]);
    expect(gpus.stderr).toContain("could not select device driver");
  });

  test("--link tells of the other container by variables and names", async () => {
    await engine.ok(
      ["run", "-d", "--name", "store", "-e", "FOO=bar", "--expose", "6000-6001", "busybox"].concat([
        "sleep",
        "100",
      ]),
    );
    const address = await inspect("store", "{{.NetworkSettings.IPAddress}}");
    const env = await run(
      "--name",
      "asks",
      "--link",
      "store:my-db",
      "-e",
      "MY_DB_ENV_X=own",
      "busybox",
      "env",
    );
    for (const line of [
      `MY_DB_PORT=tcp://${address}:6000`,
      `MY_DB_PORT_6001_TCP_ADDR=${address}`,
      "MY_DB_PORT_6001_TCP_PROTO=tcp",
      `MY_DB_PORT_6000_TCP_END=tcp://${address}:6001`,
      "MY_DB_NAME=/asks/my-db",
      "MY_DB_ENV_FOO=bar",
      "MY_DB_ENV_X=own",
    ]) {
      expect(env.split("\n")).toContain(line);
    }
    expect(await run("--link", "store:my-db", "busybox", "cat", "/etc/hosts")).toContain("my-db");
    await engine.ok(["rm", "-f", "store"]);
    const down = await engine.docker(["run", "--rm", "--link", "store:x", "busybox", "true"]);
    expect(down.stderr).toContain("No such container: store");
  });

  test("cp of a stopped container's folder takes what is mounted below it", async () => {
    const bound = `${engine.folder}/bound`;
    mkdirSync(bound);
    writeFileSync(`${bound}/f`, "bound");
    await run("-v", "cpv:/v", "busybox", "sh", "-c", "echo volume > /v/inside");
    const mounts = [
      "-v",
      "cpv:/data/vol",
      "-v",
      `${bound}:/data/vol/bind`,
      "-v",
      `${bound}/f:/data/file`,
    ];
    await engine.ok(["run", "--name", "cpc", ...mounts, "busybox", "true"]);
    await engine.ok(["cp", "cpc:/data", `${engine.folder}/out`]);
    const read = (path: string) => Bun.file(`${engine.folder}/out/${path}`).text();
    expect(await read("vol/inside")).toBe("volume\n");
    expect(await read("vol/bind/f")).toBe("bound");
    expect(await read("file")).toBe("bound");
    await engine.ok(["rm", "cpc"]);
    await engine.ok(["volume", "rm", "cpv"]);
  });

  test("events outlive the daemon", async () => {
    await run("--name", "told", "-v", "toldvol:/v", "busybox", "true");
    await engine.crash();
    const query = ["events", "--since", "1h", "--until", "0s", "--filter", "container=told"];
    await until("its events of before", async () => {
      const actions = await engine.ok([...query, "--format", "{{.Action}}"]);
      return ["create", "start", "die", "destroy"].every((action) => actions.includes(action));
    });
    const ofVolume = ["events", "--since", "1h", "--until", "0s", "--filter", "volume=toldvol"];
    const seen = (await engine.ok([...ofVolume, "--format", "{{.Action}}"])).split("\n");
    expect(seen).toEqual(["create", "mount", "unmount"]);
    await engine.ok(["volume", "rm", "toldvol"]);
  });

  test("a host that lost power brings back what should run, in the order of links and networks", async () => {
    const up = ["-d", "--restart", "always"];
    const sleep = ["busybox", "sleep", "1000"];
    // By name, those who need come before those they need.
    await engine.ok(["network", "create", "powered"]);
    await engine.ok(["run", ...up, "--name", "z-base", "--network", "powered", ...sleep]);
    await engine.ok(["run", ...up, "--name", "y-link", ...sleep]);
    await engine.ok([
      "run",
      ...up,
      "--name",
      "b-shares",
      "--network",
      "container:z-base",
      ...sleep,
    ]);
    await engine.ok(["run", ...up, "--name", "a-linked", "--link", "y-link:db", ...sleep]);
    await engine.ok(["run", "-d", "--name", "c-once", ...sleep]);
    const names = ["z-base", "y-link", "b-shares", "a-linked", "c-once"];
    const pids = await Promise.all(names.map((name) => inspect(name, "{{.State.Pid}}")));
    await engine.losePower(pids.map(Number));
    const running = ["ps", "--format", "{{.Names}}"];
    await until("all four run again", async () => {
      return (
        (await engine.ok(running)).trim().split("\n").sort().join() ===
        "a-linked,b-shares,y-link,z-base"
      );
    });
    expect(await inspect("c-once", "{{.State.Status}} {{.State.ExitCode}}")).toBe("exited 255");
    expect(await engine.ok(["exec", "a-linked", "cat", "/etc/hosts"])).toContain("db");
    await engine.ok(["rm", "-f", ...names]);
    await engine.ok(["network", "rm", "powered"]);
  }, 30_000);

  test("what this host cannot do is refused or said", async () => {
    const isolated = await engine.docker(["run", "--isolation", "process", "busybox", "true"]);
    expect(isolated.stderr).toContain("invalid isolation 'process' on linux");
    const cgroups = ["--security-opt", "writable-cgroups=true", "busybox", "cat", "/proc/mounts"];
    expect(await run(...cgroups)).toMatch(/cgroup\S* \/sys\/fs\/cgroup\S* cgroup2? rw/);
  });
});
