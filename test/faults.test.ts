/** What goes wrong: the daemon is killed in the middle of things, and bad input arrives. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxTar, command, dockerPath, TestEngine, whyNot } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(`faults${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  const ok = (...args: string[]) => engine.ok(args);

  beforeAll(async () => {
    engine = await TestEngine.open("fault");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("kill -9: a running container goes on, with its network, and its exit code is kept", async () => {
    await ok(
      "run",
      "-d",
      "--name",
      "on",
      "busybox",
      "sh",
      "-c",
      "while [ ! -e /end ]; do sleep 0.1; done; exit 42",
    );
    await ok(
      "run",
      "-d",
      "--name",
      "away",
      "busybox",
      "sh",
      "-c",
      "sleep 1; echo while away; exit 43",
    );
    await ok("run", "-d", "--name", "web", "-p", "18574:80", "busybox", "httpd", "-f", "-p", "80");
    const pid = await ok("inspect", "-f", "{{.State.Pid}}", "on");
    await engine.end("SIGKILL");
    await Bun.sleep(1500);
    await engine.start();
    expect(await ok("inspect", "-f", "{{.State.Pid}} {{.State.Running}}", "on")).toBe(
      `${pid} true`,
    );
    expect(await ok("inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", "away")).toBe(
      "43 exited",
    );
    expect(await ok("logs", "away")).toBe("while away");
    expect((await fetch("http://127.0.0.1:18574/")).status).toBe(404);
    expect((await fetch("http://[::1]:18574/")).status).toBe(404);
    await ok("exec", "on", "touch", "/end");
    expect(await ok("wait", "on")).toBe("42");
    await ok("rm", "-f", "on", "away", "web");
  });

  test("kill -9 while a container prints: every line is there, once, in order", async () => {
    const script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo $i; done";
    await ok("run", "-d", "--name", "printer", "busybox", "sh", "-c", script);
    for (let round = 0; round < 3; round++) {
      await Bun.sleep(100);
      await engine.crash();
    }
    expect(await ok("wait", "printer")).toBe("0");
    const lines = (await ok("logs", "printer")).split("\n");
    expect(lines.length).toBe(60_000);
    expect(lines.findIndex((line, index) => line !== `${index + 1}`)).toBe(-1);
    await ok("rm", "printer");
  }, 120_000);

  test("kill -9 in the middle of create, load and build leaves nothing and breaks nothing", async () => {
    const context = join(engine.folder, "context");
    mkdirSync(context, { recursive: true });
    writeFileSync(join(context, "big"), Buffer.alloc(20 << 20, "x"));
    writeFileSync(
      join(context, "Dockerfile"),
      "FROM busybox\nCOPY big /\nRUN sleep 1; echo done > /done\n",
    );
    const archive = join(engine.folder, "load.tar");
    await ok("save", "-o", archive, "busybox");
    for (const delayMs of [30, 150, 600]) {
      const running = [
        engine.docker(["build", "-t", "killed", context]),
        engine.docker(["load", "-i", archive]),
        engine.docker(["import", "-", "half"], { input: busyboxTar() }),
        engine.docker(["create", "--name", `made-${delayMs}`, "-v", "/anon", "busybox"]),
        engine.docker(["run", "--rm", "busybox", "true"]),
      ];
      await Bun.sleep(delayMs);
      await engine.crash();
      await Promise.all(running);
    }
    expect(await ok("build", "-q", "-t", "killed", context)).toStartWith("sha256:");
    expect(await ok("run", "--rm", "killed", "cat", "/done")).toBe("done");
    const ids = (await ok("ps", "-aq")).split("\n").filter(Boolean);
    if (ids.length > 0) await ok("rm", "-f", "-v", ...ids);
    expect(await ok("ps", "-aq")).toBe("");
    expect(await engine.leftovers().filter((line) => line.includes("overlay"))).toEqual([]);
    rmSync(context, { recursive: true });
  }, 120_000);

  test("kill -9 while an OCI runtime is at work: the next daemon waits for it", async () => {
    const [program, gate] = [join(engine.folder, "slow"), join(engine.folder, "gate")];
    const wait = `case " $* " in *" run "*) : < ${gate} ;; esac`; // until somebody opens it to write
    writeFileSync(program, `#!/bin/sh\n${wait}\nexec crun "$@"\n`, { mode: 0o755 });
    await command(["mkfifo", gate]);
    await engine.end();
    engine.extra = ["--add-runtime", `slow=${program}`];
    await engine.start();
    const slow = ["--name", "late", "--network", "host", "--runtime", "slow"];
    const ran = engine.docker(["run", "-d", ...slow, "busybox", "sleep", "1000"]);
    const isAtWork = async () =>
      (await command(["pgrep", "-f", `sh ${program} .* run `])).code === 0;
    while (!(await isAtWork())) await Bun.sleep(20);
    const started = engine.crash();
    // There is nothing else for it to do: it must not take that for its end.
    await Promise.race([started, Bun.sleep(3_000)]);
    await command(["sh", "-c", `: > ${gate}`]);
    await started;
    await ran;
    expect(await ok("exec", "late", "echo", "here")).toBe("here");
    await ok("rm", "-f", "late");
    engine.extra = [];
  });

  test("--rm and restart policies are kept over a crash", async () => {
    await ok("run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "0.5");
    await ok(
      "run",
      "-d",
      "--restart",
      "always",
      "--name",
      "back",
      "busybox",
      "sh",
      "-c",
      "sleep 0.5; exit 1",
    );
    await engine.end("SIGKILL");
    await Bun.sleep(1000);
    await engine.start();
    for (let attempt = 0; (await ok("ps", "-aq", "-f", "name=gone")) !== ""; attempt++) {
      expect(attempt).toBeLessThan(50);
      await Bun.sleep(100);
    }
    for (
      let attempt = 0;
      (await ok("ps", "-q", "-f", "name=back", "-f", "status=running")) === "";
      attempt++
    ) {
      expect(attempt).toBeLessThan(100);
      await Bun.sleep(50);
    }
    await ok("rm", "-f", "back");
  });

  test("a broken or hostile archive is refused, and nothing changes", async () => {
    const before = await ok("images", "-aq", "--no-trunc");
    const whole = busyboxTar();
    for (const input of [whole.subarray(0, 700_000), Buffer.alloc(2000, 7), new Uint8Array()]) {
      const ran = await engine.docker(["load"], { input });
      expect([ran.code, ran.stderr]).not.toEqual([0, ""]);
    }
    const cut = await engine.docker(["import", "-", "cut"], { input: whole.subarray(0, 700_000) });
    expect(cut.code).not.toBe(0);
    expect(cut.stderr).not.toContain("at ");
    expect(await ok("images", "-aq", "--no-trunc")).toBe(before);
  });

  test("what is wrong is said: names, images, ports, bodies, unknown pages", async () => {
    await ok("create", "--name", "taken", "busybox");
    const again = await engine.docker(["create", "--name", "taken", "busybox"]);
    expect(again.stderr).toContain('The container name "/taken" is already in use by container');
    expect((await engine.docker(["create", "--name", "a b", "busybox"])).stderr).toContain(
      "Invalid container name",
    );
    expect((await engine.docker(["run", "--pull=never", "no-such"])).stderr).toContain(
      "No such image: no-such",
    );
    const socket = engine.host.slice("unix://".length);
    const curl = async (...args: string[]) =>
      (
        await command(["curl", "-s", "--unix-socket", socket, "-w", "%{http_code}", ...args])
      ).stdout.trim();
    expect(await curl("http://x/v1.51/no/such/page")).toBe('{"message":"page not found"}\n404');
    expect(await curl("http://x/v9.99/info")).toEndWith("400");
    const json = ["-X", "POST", "-H", "Content-Type: application/json", "-d"];
    expect(await curl(...json, "{", "http://x/containers/create")).toEndWith("400");
    const body = join(engine.folder, "body.json");
    writeFileSync(body, `{"Image":"busybox","Env":["${"x".repeat(32 << 20)}"]}`);
    expect(await curl(...json, `@${body}`, "http://x/containers/create")).toMatch(/(400|413)$/);
    await ok("rm", "taken");
  });

  test("twenty clients at once", async () => {
    const runs = Array.from({ length: 20 }, (_, index) =>
      ok("run", "--rm", "busybox", "echo", `${index}`),
    );
    expect(await Promise.all(runs)).toEqual(Array.from({ length: 20 }, (_, index) => `${index}`));
    expect(await ok("ps", "-aq")).toBe("");
  });

  test("what loses its parent is the engine's to reap, whatever process 1 is", async () => {
    const parentOf = (pid: number) =>
      Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    await ok("run", "-d", "--name", "watched", "busybox", "sleep", "1000");
    const runtime = parentOf(Number(await ok("inspect", "-f", "{{.State.Pid}}", "watched")));
    const watcher = parentOf(runtime);
    process.kill(runtime, "SIGSTOP"); // else it ends as soon as the engine misses the watcher
    process.kill(watcher, "SIGKILL");
    while (parentOf(runtime) === watcher) await Bun.sleep(5);
    expect(parentOf(runtime)).toBe(engine.pid);
    process.kill(runtime, "SIGCONT");
    while (existsSync(`/proc/${runtime}`)) await Bun.sleep(5);
    expect(await ok("wait", "watched")).toBe("255");
    await ok("rm", "watched");
  });

  test("two engines side by side do not disturb each other", async () => {
    const other = await TestEngine.open("fault2");
    await other.importBusybox();
    await ok("run", "-d", "--name", "same", "busybox", "sleep", "1000");
    await other.ok(["run", "-d", "--name", "same", "busybox", "sleep", "1000"]);
    expect(await other.close()).toEqual([]);
    expect(await ok("exec", "same", "echo", "still here")).toBe("still here");
    await ok("rm", "-f", "same");
  });

  test("a full disk is said, and the engine goes on", async () => {
    const image = join(engine.folder, "small.img");
    const mounted = join(engine.folder, "small");
    const make = `truncate -s 64M ${image} && mkfs.ext4 -q ${image} && mkdir -p ${mounted} && mount -o loop ${image} ${mounted}`;
    const ran = await command(["sh", "-c", make]);
    expect(ran.stderr).toBe("");
    const small = await TestEngine.open("full", [`--data-root=${mounted}/data`]);
    try {
      await small.importBusybox();
      const filled = Buffer.concat([tarOfOneFile(90 << 20)]);
      const full = await small.docker(["import", "-", "too-big"], { input: filled });
      expect(full.code).not.toBe(0);
      expect(full.stderr.toLowerCase()).toContain("no space left");
      expect(await small.ok(["images", "-q", "too-big"])).toBe("");
      expect(await small.ok(["run", "--rm", "busybox", "echo", "goes on"])).toBe("goes on");
    } finally {
      await small.close();
      await command(["umount", mounted]);
    }
  }, 120_000);
});

/** A tar of one file of zeros. */
function tarOfOneFile(sizeBytes: number): Uint8Array {
  const made = Bun.spawnSync([
    "sh",
    "-c",
    `d=$(mktemp -d); truncate -s ${sizeBytes} $d/f; tar -C $d -c f; rm -r $d`,
  ]);
  return made.stdout;
}

test.skipIf(whyNot !== undefined)("the docker client is there", () => {
  expect(dockerPath).toBeDefined();
});
