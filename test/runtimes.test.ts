/** Containers under other OCI runtimes than the built-in one, as `runtimes` of daemon.json names them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestEngine, whyNot } from "./engine.ts";

const runc = Bun.which("runc", { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" });
const why = whyNot ?? (runc ? undefined : "needs runc");
const image = "busybox:latest";

describe.skipIf(why !== undefined)(`runtimes${why ? ` (skipped: ${why})` : ""}`, () => {
  let engine: TestEngine;

  beforeAll(async () => {
    engine = await TestEngine.open("runtimes");
    await engine.importBusybox();
    const file = join(engine.folder, "daemon.json");
    const runtimes = {
      second: { path: runc, runtimeArgs: ["--debug"] },
      shim: { runtimeType: "io.containerd.runc.v2", options: { BinaryName: runc } },
      gone: { path: "/nowhere/runtime" },
    };
    writeFileSync(file, JSON.stringify({ hosts: [engine.host], runtimes }));
    await engine.end();
    engine.extra = [`--config-file=${file}`];
    await engine.start();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("info lists them, run and exec use them, and inspect names them", async () => {
    const info = await engine.ok(["info", "-f", "{{.DefaultRuntime}} {{json .Runtimes.second}}"]);
    expect(info).toBe(`crun {"path":"${runc}","runtimeArgs":["--debug"]}`);
    for (const runtime of ["second", "shim"]) {
      const ran = await engine.docker(["run", "--rm", "--runtime", runtime, image, "false"]);
      expect([ran.code, ran.stderr]).toEqual([1, ""]);
    }
    const absent = await engine.docker(["run", "--rm", "--runtime", "second", image, "nosuch"]);
    expect(absent.code).toBe(127);
    expect(absent.stderr).toContain('exec: "nosuch": executable file not found in $PATH');
    const gone = await engine.docker(["run", "--rm", "--runtime", "gone", image, "true"]);
    expect(gone.code).toBe(127);
    expect(gone.stderr).toContain("fork/exec /nowhere/runtime: no such file or directory");
    const unknown = await engine.docker(["create", "--runtime", "nosuch", image, "true"]);
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain("unknown or invalid runtime name: nosuch");
    expect(await engine.ok(["ps", "-aq"])).toBe("");
  });

  test("a container outlives a daemon, and a daemon that does not know its runtime", async () => {
    const script = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done";
    await engine.ok([
      "run",
      "-d",
      "--name",
      "one",
      "--runtime",
      "second",
      image,
      "sh",
      "-c",
      script,
    ]);
    const { extra } = engine;
    engine.extra = [`--default-runtime=${runc}`];
    await engine.crash();
    expect(await engine.ok(["info", "-f", "{{.DefaultRuntime}}"])).toBe(runc!);
    expect(await engine.ok(["exec", "one", "echo", "hello"])).toBe("hello");
    await engine.ok(["stop", "one"]);
    expect(await engine.ok(["logs", "one"])).toBe("up\nbye");
    const state = "{{.State.ExitCode}} {{.HostConfig.Runtime}}";
    expect(await engine.ok(["inspect", "-f", state, "one"])).toBe("5 second");
    const refused = await engine.docker(["start", "one"]);
    expect(refused.stderr).toContain("unknown or invalid runtime name: second");
    expect(await engine.ok(["run", "--rm", image, "echo", "default"])).toBe("default");
    engine.extra = extra;
    await engine.crash();
    await engine.ok(["start", "one"]);
    expect(await engine.ok(["exec", "one", "echo", "again"])).toBe("again");
    await engine.ok(["rm", "-f", "one"]);
  });
});
