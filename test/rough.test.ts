/** Containers that behave badly, and a host that lost power. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { TestEngine, whyNot } from "./engine.ts";

/** Processes whose command line has this word. */
function processesWith(word: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(word);
      } catch {
        return false; // it ended while we looked
      }
    })
    .map(Number);
}

describe.skipIf(whyNot !== undefined)(`rough${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  const ok = (...args: string[]) => engine.ok(args);

  beforeAll(async () => {
    engine = await TestEngine.open("rough");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("a container in the host's process namespace ends with its first process, and leaves none", async () => {
    const line = "sleep 98765 & exit 3";
    const ran = await engine.docker(["run", "--rm", "--pid", "host", "busybox", "sh", "-c", line]);
    expect(ran.code).toBe(3);
    expect(processesWith("98765")).toEqual([]);
  });

  test("one that ignores SIGTERM is killed when its time is over", async () => {
    const script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    await ok("run", "-d", "--name", "deaf", "busybox", "sh", "-c", script);
    while ((await ok("logs", "deaf")) !== "ready") await Bun.sleep(20);
    await ok("stop", "-t", "1", "deaf");
    expect(await ok("inspect", "-f", "{{.State.ExitCode}} {{.State.Running}}", "deaf")).toBe(
      "137 false",
    );
    await ok("rm", "deaf");
  });

  test("one that forks without end stays in its limit, and all of it goes", async () => {
    // The shell that forks ends at the limit; its children stay.
    const script = "(while :; do sleep 61231 & done); exec sleep 61231";
    await ok("run", "-d", "--name", "bomb", "--pids-limit", "60", "busybox", "sh", "-c", script);
    while (!/^(59|60)$/.test(await ok("stats", "--no-stream", "--format", "{{.PIDs}}", "bomb"))) {
      await Bun.sleep(50);
    }
    expect(
      Number(await ok("stats", "--no-stream", "--format", "{{.PIDs}}", "bomb")),
    ).toBeLessThanOrEqual(60);
    expect(await ok("run", "--rm", "busybox", "echo", "others go on")).toBe("others go on");
    await ok("rm", "-f", "bomb");
    expect(processesWith("61231")).toEqual([]);
  });

  test("one that closes its streams runs on, and its exit code is kept", async () => {
    const script = "exec 0<&- 1>&- 2>&-; sleep 0.3; exit 5";
    const ran = await engine.docker(["run", "--name", "mute", "busybox", "sh", "-c", script]);
    expect([ran.code, ran.stdout]).toEqual([5, ""]);
    expect(await ok("inspect", "-f", "{{.State.ExitCode}}", "mute")).toBe("5");
    await ok("rm", "mute");
  });

  test("after a power loss, with the run directory gone, all comes back that should", async () => {
    await ok("network", "create", "wire");
    const loop = "echo up >> /v/starts; while :; do sleep 0.1; done";
    await ok(
      "run",
      "-d",
      "--restart",
      "always",
      "--name",
      "back",
      "-v",
      "kept:/v",
      "--network",
      "wire",
      "-p",
      "18661:80",
      "busybox",
      "sh",
      "-c",
      loop,
    );
    await ok(
      "run",
      "-d",
      "--restart",
      "always",
      "--name",
      "web",
      "--network",
      "wire",
      "busybox",
      "httpd",
      "-f",
      "-p",
      "80",
    );
    await ok(
      "run",
      "-d",
      "--name",
      "away",
      "busybox",
      "sh",
      "-c",
      "echo last words; echo x > /file; sleep 61233",
    );
    await engine.docker(["run", "--name", "done", "busybox", "sh", "-c", "exit 9"]);
    while ((await ok("logs", "away")) !== "last words") await Bun.sleep(20);
    loosePower(engine, (await ok("ps", "-q", "--no-trunc")).split("\n"));
    await engine.end("SIGKILL");
    rmSync(join(engine.folder, "run"), { recursive: true, force: true });
    await engine.start();
    const state = (name: string) =>
      ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name);
    for (const name of ["back", "web"]) {
      while ((await state(name)) !== "running 0") await Bun.sleep(50);
    }
    expect(await state("away")).toMatch(/^exited \d+$/);
    expect(await state("done")).toBe("exited 9");
    expect(await ok("logs", "away")).toBe("last words");
    while ((await ok("exec", "back", "cat", "/v/starts")) !== "up\nup") await Bun.sleep(50);
    expect(
      await ok("exec", "back", "wget", "-q", "-O", "-", "http://web/bin/nothing").catch((error) =>
        String(error),
      ),
    ).toContain("404");
    await ok("start", "away");
    expect(await ok("exec", "away", "cat", "/file")).toBe("x");
    const doctor = await engine.lading(["doctor"]);
    expect(doctor.stdout.split("\n").filter((line) => line.startsWith("problem"))).toEqual([]);
    await ok("rm", "-f", "-v", "back", "web", "away", "done");
    await ok("network", "rm", "wire");
  });
});

/** What a host forgets that is switched off: processes, mounts, links, rules. Files stay. */
function loosePower(engine: TestEngine, ids: readonly string[]): void {
  process.kill(engine.pid, "SIGKILL");
  const isOurs = (line: string) =>
    ids.some((id) => line.includes(id)) || line.includes(engine.folder);
  for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    try {
      const groups = readFileSync(`/proc/${name}/cgroup`, "utf8");
      const line = readFileSync(`/proc/${name}/cmdline`, "utf8");
      const isWanted = isOurs(groups) || (isOurs(line) && !line.includes("\0daemon\0"));
      if (isWanted && Number(name) !== process.pid) process.kill(Number(name), "SIGKILL");
    } catch {
      // it has ended
    }
  }
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter(isOurs);
  for (const line of mounts.reverse()) spawnSync("umount", ["-l", line.split(" ")[4]!]);
  const links = readdirSync(`/sys/class/net/${engine.bridge}/brif`);
  for (const link of [...links, engine.bridge]) spawnSync("ip", ["link", "delete", link]);
  for (const family of ["ip", "ip6", "inet", "bridge"]) {
    spawnSync("nft", ["delete", "table", family, `lading-${engine.bridge}`]);
  }
}
