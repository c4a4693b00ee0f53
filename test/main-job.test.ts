/** The main job through the official docker client: a Dockerfile, an image, a container, and back. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Answer, openSpec, specPath } from "../src/api/spec-check.ts";
import { TestEngine, whyNot } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(
  `docker client${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;
    const ok = (...args: string[]) => engine.ok(args);
    const fails = async (...args: string[]) => {
      const ran = await engine.docker(args);
      expect(ran.code).not.toBe(0);
      return `${ran.code}: ${ran.stderr.trim()}`;
    };

    beforeAll(async () => {
      engine = await TestEngine.open("main");
      await engine.importBusybox();
    });
    afterAll(async () => {
      expect(await engine.close()).toEqual([]);
    });

    test("version and info name the engine", async () => {
      expect(await ok("version", "--format", "{{.Server.APIVersion}}")).toBe("1.51");
      expect(await ok("info", "--format", "{{.OSType}} {{.DockerRootDir}}")).toBe(
        `linux ${engine.dataRoot}`,
      );
    });

    test("run prints what the process prints and ends with its exit code", async () => {
      expect(await ok("run", "--rm", "busybox", "echo", "hello")).toBe("hello");
      const ran = await engine.docker([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
      ]);
      expect(ran).toEqual({ code: 7, stdout: "out\n", stderr: "err\n" });
    });

    test("run ends with 125, 126 and 127 as Docker's does", async () => {
      expect(await fails("run", "--rm", "--network", "no-such", "busybox")).toStartWith("125: ");
      expect(await fails("run", "--rm", "busybox", "/etc/passwd")).toStartWith("126: ");
      const missing = await fails("run", "--rm", "busybox", "no-such-program");
      expect(missing).toStartWith("127: ");
      expect(missing).toContain("executable file not found in $PATH");
      expect(await ok("ps", "-aq")).toBe("");
    });

    test("run passes stdin and half-closes it", async () => {
      const ran = await engine.docker(["run", "-i", "--rm", "busybox", "wc", "-c"], {
        input: Buffer.alloc(3_000_000, "x"),
      });
      expect(ran.stdout.trim()).toBe("3000000");
    });

    test("run applies environment, user, folder, labels, host name and limits", async () => {
      const script = 'echo "$A,$B,$(id -u):$(id -g),$(pwd),$(hostname)"';
      const flags = [
        "-e",
        "A=1",
        "-e",
        "B=two words",
        "-u",
        "www:extra",
        "-w",
        "/var/www",
        "-h",
        "box",
      ];
      expect(await ok("run", "--rm", ...flags, "busybox", "sh", "-c", script)).toBe(
        "1,two words,33:500,/var/www,box",
      );
      const limits =
        "ulimit -n; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true";
      expect(
        await ok(
          "run",
          "--rm",
          "-m",
          "64m",
          "--ulimit",
          "nofile=123:456",
          "busybox",
          "sh",
          "-c",
          limits,
        ),
      ).toBe("123\n67108864");
    });

    test("a container is isolated as Docker's is", async () => {
      const look =
        "cat /proc/self/status; mount; ls /proc/acpi /proc/kcore -l; cat /proc/1/cmdline";
      const inside = await ok("run", "--rm", "busybox", "sh", "-c", `${look} 2>&1`);
      expect(inside).toMatch(/CapEff:\s+00000000a80425fb/);
      expect(inside).toMatch(/Seccomp:\s+2/);
      expect(inside).toMatch(/sysfs on \/sys type sysfs \(ro/);
      expect(inside).toContain("shm on /dev/shm");
      expect(await fails("run", "--rm", "busybox", "unshare", "-U", "true")).toContain("1: ");
      expect(
        await ok("run", "--rm", "--privileged", "busybox", "grep", "CapEff", "/proc/self/status"),
      ).toBe(/^CapEff:.*$/m.exec(readFileSync("/proc/self/status", "utf8"))![0]);
    });

    test("build makes an image, and again from the cache", async () => {
      const context = join(engine.folder, "context");
      mkdirSync(context, { recursive: true });
      writeFileSync(join(context, "hello.txt"), "hello\n");
      writeFileSync(
        join(context, "Dockerfile"),
        [
          "ARG BASE=busybox",
          "FROM $BASE AS made",
          "ARG WHO=nobody",
          "WORKDIR /made",
          "COPY hello.txt .",
          "RUN cat hello.txt && echo $WHO > who && rm /etc/group",
          "FROM busybox",
          "COPY --from=made --chown=33:33 /made/ /srv/",
          "ENV GREETING=hi",
          "EXPOSE 80/tcp",
          'ENTRYPOINT ["cat"]',
          'CMD ["/srv/who"]',
          "",
        ].join("\n"),
      );
      const first = await ok("build", "-t", "made:1", "--build-arg", "WHO=me", context);
      expect(first).toContain("Successfully tagged made:1");
      expect(await ok("run", "--rm", "made:1")).toBe("me");
      const again = await ok("build", "-t", "made:1", "--build-arg", "WHO=me", context);
      expect(again.match(/Using cache/g)?.length).toBeGreaterThanOrEqual(7);
      const id = await ok("build", "-q", "--build-arg", "WHO=me", context);
      expect(id).toBe(await ok("inspect", "-f", "{{.Id}}", "made:1"));
      writeFileSync(join(context, "hello.txt"), "changed\n");
      const changed = await ok("build", "-t", "made:2", "--build-arg", "WHO=me", context);
      expect(changed).toContain("changed");
    });

    test("a failing build tells the line, the output and the exit code", async () => {
      const run = await engine.docker(["build", "-"], {
        input: "FROM busybox\nRUN echo before; exit 3\n",
      });
      expect(run.code).not.toBe(0);
      expect(run.stdout + run.stderr).toContain("before");
      expect(run.stderr).toContain("returned a non-zero code: 3");
      const wrong = await engine.docker(["build", "-"], { input: "FROM busybox\nRUNN echo\n" });
      expect(wrong.stderr).toContain("unknown instruction: RUNN");
      expect(wrong.stderr).toContain("line 2");
    });

    test("run -d -p serves a page on the host's port, v4 and v6", async () => {
      const serve = "mkdir -p /w; echo page > /w/index.html; exec httpd -f -p 80 -h /w";
      await ok("run", "-d", "--name", "web", "-p", "18573:80", "busybox", "sh", "-c", serve);
      expect(await ok("port", "web")).toBe("80/tcp -> 0.0.0.0:18573\n80/tcp -> [::]:18573");
      for (const host of ["127.0.0.1", "[::1]", "localhost"]) {
        expect(await getPage(`http://${host}:18573/`)).toBe("page\n");
      }
      const fetchInside = (address: string, port: number) =>
        ok(
          "run",
          "--rm",
          "busybox",
          "sh",
          "-c",
          `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc ${address} ${port} | tail -1`,
        );
      const address = await ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web");
      expect(await fetchInside(address, 80)).toBe("page");
      const gateway = await ok("inspect", "-f", "{{.NetworkSettings.Gateway}}", "web");
      expect(await fetchInside(gateway, 18573)).toBe("page");
      const taken = await fails("run", "--rm", "-p", "18573:80", "busybox", "true");
      expect(taken).toMatch(/^125: .*port is already allocated/s);
      await ok("rm", "-f", "web");
      expect(await ok("ps", "-aq")).toBe("");
    });

    test("exec runs in the container, with its own user and exit code", async () => {
      await ok("run", "-d", "--name", "box", "busybox", "sleep", "1000");
      expect(
        await ok(
          "exec",
          "-e",
          "V=1",
          "-w",
          "/tmp",
          "-u",
          "33",
          "box",
          "sh",
          "-c",
          "echo $V $(pwd) $(id -u)",
        ),
      ).toBe("1 /tmp 33");
      expect((await engine.docker(["exec", "box", "sh", "-c", "exit 9"])).code).toBe(9);
      expect((await engine.docker(["exec", "box", "no-such"])).code).toBe(127);
      const piped = await engine.docker(["exec", "-i", "box", "cat"], { input: "through\n" });
      expect(piped.stdout).toBe("through\n");
      expect(await ok("top", "box")).toContain("sleep 1000");
      await ok("rm", "-f", "box");
    });

    test("logs follow, tail, and tell times", async () => {
      const script = "for i in 1 2 3 4 5; do echo line $i; done; echo err >&2; sleep 1; echo last";
      await ok("run", "-d", "--name", "talker", "busybox", "sh", "-c", script);
      const followed = await engine.docker(["logs", "-f", "talker"]);
      expect(followed.stdout).toBe("line 1\nline 2\nline 3\nline 4\nline 5\nlast\n");
      expect(followed.stderr).toBe("err\n");
      expect(await ok("logs", "--tail", "1", "talker")).toBe("last");
      expect(await ok("logs", "-t", "--tail", "1", "talker")).toMatch(
        /^20\d\d-\d\d-\d\dT.*Z last$/,
      );
      await ok("rm", "talker");
    });

    test("cp goes both ways, diff tells, commit keeps", async () => {
      const file = join(engine.folder, "in.txt");
      writeFileSync(file, "from the host\n");
      await ok(
        "create",
        "--name",
        "files",
        "busybox",
        "sh",
        "-c",
        "cat /root/in.txt > /root/out.txt",
      );
      await ok("cp", file, "files:/root/in.txt");
      await ok("start", "-a", "files");
      await ok("cp", "files:/root/out.txt", `${file}.out`);
      expect(readFileSync(`${file}.out`, "utf8")).toBe("from the host\n");
      expect(await ok("diff", "files")).toBe("C /root\nA /root/in.txt\nA /root/out.txt");
      await ok("commit", "-c", "CMD cat /root/out.txt", "-m", "kept", "files", "kept:1");
      expect(await ok("run", "--rm", "kept:1")).toBe("from the host");
      expect(await fails("cp", "files:/no/such", file)).toContain(
        "Could not find the file /no/such in container files",
      );
      await ok("rm", "files");
    });

    test("cp copies the root of a running container, without what the kernel shows in it", async () => {
      await ok("run", "-d", "--name", "whole", "-v", "whole:/vol", "busybox", "sleep", "1000");
      await ok("exec", "whole", "touch", "/vol/kept");
      const target = join(engine.folder, "whole");
      await ok("cp", "whole:/", target);
      expect(readdirSync(target)).toContain("bin");
      expect(readdirSync(join(target, "vol"))).toEqual(["kept"]);
      for (const name of ["proc", "sys"]) expect(readdirSync(join(target, name))).toEqual([]);
      const content = join(engine.folder, "content");
      expect((await engine.lading(["cp", "whole:/vol/.", content])).code).toBe(0);
      expect(readdirSync(content)).toEqual(["kept"]);
      expect((await engine.lading(["rm", "-f", "-v", "whole", "absent"])).code).toBe(0);
      await ok("volume", "rm", "whole");
    });

    test("save and load keep every digest", async () => {
      const archive = join(engine.folder, "saved.tar");
      for (const place of ["/dev/full", engine.folder, join(engine.folder, "no/such")]) {
        const ran = await engine.lading(["save", "-o", place, "busybox"]);
        expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining("invalid output path")]);
      }
      expect(statSync("/dev/full").isCharacterDevice()).toBe(true);
      await ok("save", "-o", archive, "busybox", "kept:1");
      const id = await ok("inspect", "-f", "{{.Id}}", "kept:1");
      await ok("rmi", "kept:1");
      expect(await ok("load", "-i", archive)).toContain("Loaded image: kept:1");
      expect(await ok("inspect", "-f", "{{.Id}}", "kept:1")).toBe(id);
      const again = join(engine.folder, "again.tar");
      await ok("save", "-o", again, "busybox", "kept:1");
      expect(readFileSync(again).equals(readFileSync(archive))).toBe(true);
      expect(await ok("run", "--rm", "kept:1")).toBe("from the host");
      expect(await ok("history", "-q", "kept:1")).toContain(id.slice(7, 19));
    });

    test("volumes keep data, and are refused while in use", async () => {
      await ok("run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept > /data/f");
      expect(await ok("run", "--rm", "-v", "data:/data:ro", "busybox", "cat", "/data/f")).toBe(
        "kept",
      );
      expect(
        await fails("run", "--rm", "-v", "data:/data:ro", "busybox", "touch", "/data/g"),
      ).toContain("Read-only");
      await ok("create", "--name", "user", "-v", "data:/data", "busybox");
      expect(await fails("volume", "rm", "data")).toContain("volume is in use");
      await ok("rm", "user");
      expect(await ok("volume", "rm", "data")).toBe("data");
      const bind = join(engine.folder, "bind");
      await ok(
        "run",
        "--rm",
        "-v",
        `${bind}:/b`,
        "--tmpfs",
        "/t:size=1m",
        "busybox",
        "sh",
        "-c",
        "df /t > /b/df",
      );
      expect(readFileSync(join(bind, "df"), "utf8")).toContain("1024");
    });

    test("stop, restart, pause, rename and wait do as they say", async () => {
      const script = "trap 'echo bye; exit 5' TERM; while :; do sleep 0.1; done";
      await ok("run", "-d", "--name", "first", "busybox", "sh", "-c", script);
      await ok("pause", "first");
      expect(await ok("ps", "--format", "{{.Status}}", "-f", "name=first")).toContain("(Paused)");
      await ok("unpause", "first");
      await ok("rename", "first", "second");
      await ok("restart", "second");
      await ok("stop", "second");
      expect(await ok("wait", "second")).toBe("5");
      expect(await ok("logs", "--tail", "1", "second")).toBe("bye");
      expect(await ok("ps", "-a", "--format", "{{.Names}} {{.State}}")).toBe("second exited");
      expect(await fails("kill", "second")).toContain("is not running");
      await ok("rm", "second");
    });

    test("events, stats and system df answer", async () => {
      const since = Math.floor(Date.now() / 1000) - 1;
      await ok("run", "--rm", "--name", "ev", "busybox", "true");
      const until = Math.ceil(Date.now() / 1000) + 1;
      const format = "{{.Type}} {{.Action}}";
      const lines = await ok(
        "events",
        "--since",
        `${since}`,
        "--until",
        `${until}`,
        "--format",
        format,
        "-f",
        "container=ev",
      );
      for (const action of ["create", "attach", "start", "die", "destroy"]) {
        expect(lines).toContain(`container ${action}`);
      }
      await ok("run", "-d", "--name", "st", "busybox", "sleep", "1000");
      expect(await ok("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}")).toBe("st 1");
      expect(await ok("system", "df", "--format", "{{.Type}} {{.TotalCount}}")).toContain(
        "Containers 1",
      );
      await ok("rm", "-f", "st");
    });

    test("images are named, refused and removed as Docker's are", async () => {
      await ok("tag", "busybox", "other/name:v1");
      await ok("create", "--name", "user", "other/name:v1");
      expect(await fails("rmi", "other/name:v1", "busybox:latest")).toContain("conflict");
      await ok("rm", "user");
      expect(await ok("images", "--format", "{{.Repository}}:{{.Tag}}", "busybox")).toContain(
        "busybox:latest",
      );
      expect(await fails("inspect", "no-such-image")).toContain("No such object: no-such-image");
      expect(await fails("rmi", "no-such-image")).toContain("No such image: no-such-image");
    });

    const spec = openSpec();
    const absent = spec ? "" : ` (skipped: ${specPath()} is absent)`;
    test.skipIf(!spec)(`every answer so far was as Docker's description has it${absent}`, () => {
      const answers = readFileSync(engine.recordPath, "utf8").trim().split("\n");
      expect(answers.length).toBeGreaterThan(200);
      const wrong = answers.flatMap((line) => spec!.check(JSON.parse(line) as Answer));
      // Gone from the description since 1.45; docker-compose 1.29 ends without it.
      const unknown = wrong.filter(
        (text) => !text.includes("the body has the field ContainerConfig"),
      );
      expect([...new Set(unknown)]).toEqual([]);
    });
  },
);

async function getPage(url: string): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await (await fetch(url)).text();
    } catch (error) {
      if (attempt === 50) throw error;
      await Bun.sleep(50); // the server inside may still be starting
    }
  }
}
