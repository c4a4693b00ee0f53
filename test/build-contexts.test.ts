/** Where a build's files may come from, and what its limits do, through both command lines. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { command, TestEngine, whyNot } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(
  `contexts of builds${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;
    let server: ReturnType<typeof Bun.serve>;
    let base = "";
    let count = 0;

    const folder = (files: Record<string, string>): string => {
      const path = join(engine.folder, `context-${count++}`);
      for (const [name, content] of Object.entries({ ".keep": "", ...files })) {
        mkdirSync(dirname(join(path, name)), { recursive: true });
        writeFileSync(join(path, name), content);
      }
      return path;
    };
    const build = async (args: string[], input?: string | Uint8Array): Promise<string> => {
      const options = input === undefined ? {} : { input };
      const ran = await engine.lading(["build", "--no-cache", ...args], options);
      return ran.code === 0 ? ran.stdout : `failed: ${ran.stdout}${ran.stderr}`;
    };

    beforeAll(async () => {
      engine = await TestEngine.open("contexts");
      await engine.importBusybox();
      const files = folder({
        Dockerfile: "FROM busybox\nCOPY f /f\nRUN cat /f",
        f: "top",
        "s/f": "sub",
      });
      writeFileSync(join(files, "s/Dockerfile"), "FROM busybox\nCOPY f /f\nRUN cat /f");
      const git = ["git", "-C", files, "-c", "user.name=t", "-c", "user.email=t@t"];
      for (const args of [
        "init -q -b main",
        "add .",
        "commit -qm one",
        "tag v1",
        "update-server-info",
      ]) {
        expect((await command([...git, ...args.split(" ")])).code).toBe(0);
      }
      const www = folder({ Dockerfile: "FROM busybox\nRUN echo lone" });
      symlinkSync(join(files, ".git"), join(www, "r.git"));
      await command(["tar", "-C", files, "-czf", join(www, "all.tgz"), "--exclude=.git", "."]);
      server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: async (request) => {
          const file = Bun.file(join(www, new URL(request.url).pathname));
          return (await file.exists()) ? new Response(file) : new Response("", { status: 404 });
        },
      });
      base = `http://127.0.0.1:${server.port}`;
    });
    afterAll(async () => {
      await server.stop(true);
      expect(await engine.close()).toEqual([]);
    });

    test("a context may be a repository, an archive or a Dockerfile elsewhere", async () => {
      expect(await build([`${base}/r.git#v1`])).toContain("\ntop");
      expect(await build([`${base}/r.git#v1:s`])).toContain("\nsub");
      expect(await build([`${base}/r.git?ref=v1&subdir=s`])).toContain("\nsub");
      expect(await build([`${base}/all.tgz`])).toContain("\ntop");
      expect(await build(["-f", "s/Dockerfile", `${base}/all.tgz`])).toContain("\ntop");
      expect(await build([`${base}/Dockerfile`])).toContain("\nlone\n");
      const own = "FROM busybox\nCOPY s/f /\nRUN echo own; cat /f";
      expect(await build(["-f", "-", `${base}/r.git`], own)).toContain("\nown\nsub");
      expect(await build([`${base}/r.git#gone`])).toContain("does not contain ref gone");
      expect(await build([`${base}/gone`])).toContain("status 404");
    });

    test("a context may come on stdin, packed in any way, or be a Dockerfile alone", async () => {
      const files = folder({ Dockerfile: "FROM busybox\nCOPY f /\nRUN cat /f", f: "piped" });
      for (const how of ["--no-auto-compress", "-z", "-j", "-J"]) {
        const tar = join(engine.folder, "piped.tar");
        await command(["tar", "-C", files, how, "-cf", tar, "."]);
        const bytes = new Uint8Array(await Bun.file(tar).arrayBuffer());
        expect(await build(["-"], bytes)).toContain("\npiped");
      }
      expect(await build(["-"], "FROM busybox\nRUN echo alone")).toContain("\nalone\n");
      const other = "FROM busybox\nCOPY f /\nRUN echo other; cat /f";
      expect(await build(["-f", "-", files], other)).toContain("\nother\npiped");
    });

    test("a Dockerfile from elsewhere is no file of the context, and brings its ignore file", async () => {
      const context = folder({ ".dockerignore": "a\n.keep", a: "", b: "" });
      const text = "FROM busybox\nCOPY . /c\nRUN ls -A /c";
      const other = folder({ D: text, "D.dockerignore": "b\n.keep", E: text });
      expect(await build(["-f", join(other, "D"), context])).toContain(
        "\n.dockerignore\na\n ---> ",
      );
      expect(await build(["-f", join(other, "E"), context])).toContain(
        "\n.dockerignore\nb\n ---> ",
      );
    });

    test("the docker CLI's Dockerfile from elsewhere makes an archive without an end", async () => {
      const text = "FROM busybox\nCOPY . /c\nRUN ls -A /c";
      const [context, other] = [folder({ a: "" }), folder({ D: text, "D.dockerignore": ".keep" })];
      for (const [file, input] of [[join(other, "D")], ["-", text]] as const) {
        const options = input === undefined ? {} : { input };
        const ran = await engine.docker(["build", "--no-cache", "-f", file, context], options);
        expect(`${ran.stderr}${ran.stdout}`).toMatch(/\na\n[\s\S]*Successfully built/);
      }
    });

    test("names stand for folders, images, layouts, addresses and stages", async () => {
      const other = folder({ ".dockerignore": "out", in: "named", out: "out" });
      const context = folder({
        Dockerfile: [
          "FROM busybox AS made",
          "RUN echo made > /made",
          "FROM docker.io/library/base:latest",
          "COPY --from=other / /x/",
          "COPY --from=alias /made /",
          "COPY --from=repo f /top",
          "COPY --from=packed s/f /sub",
          "COPY --from=one Dockerfile /lone",
          "RUN --mount=from=other,target=/m ls /m /x && cat /made /top /sub /lone",
        ].join("\n"),
      });
      const names = {
        other,
        base: "docker-image://busybox",
        alias: "target:made",
        repo: `${base}/r.git#v1`,
        packed: `${base}/all.tgz`,
        one: `${base}/Dockerfile`,
      };
      const flags = Object.entries(names).map(
        ([name, place]) => `--build-context=${name}=${place}`,
      );
      const told = await build([...flags, context]);
      expect(told).toContain("/m:\nin\n\n/x:\nin\nmade\ntopsubFROM busybox\nRUN echo lone");
      const onFolder = folder({
        Dockerfile: "FROM other\nCOPY --from=busybox /bin /bin\nRUN cat in",
      });
      expect(await build([`--build-context=other=${other}`, onFolder])).toContain("\nnamed");
    });

    test("a name may stand for one image of an OCI layout", async () => {
      const layout = folder({});
      const saved = join(engine.folder, "saved.tar");
      await engine.ok(["save", "-o", saved, "busybox"]);
      await command(["tar", "-C", layout, "-xf", saved]);
      const context = folder({ Dockerfile: "FROM base\nRUN echo from a layout" });
      const from = (version: string) =>
        build([`--build-context=base=oci-layout://${layout}${version}`, context]);
      expect(await from("")).toContain("\nfrom a layout\n");
      expect(await from(":latest")).toContain("\nfrom a layout\n");
      expect(await from(":none")).toContain("it has no none, but latest");
    });

    test("a source policy holds, and what a repository brings is what was asked for", async () => {
      const policy = join(engine.folder, "policy.json");
      const rules = [{ action: "DENY", selector: { identifier: "docker-image://*" } }];
      writeFileSync(policy, JSON.stringify({ rules }));
      const context = folder({ Dockerfile: "FROM busybox" });
      const env = { EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: policy };
      const denied = await engine.lading(["build", context], { env });
      expect(denied.stderr).toContain(
        'source "docker-image://docker.io/library/busybox:latest" denied',
      );
      const own = "FROM busybox\nCOPY . /c\nRUN ls -d /c/.git";
      const kept = ["--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", "-f", "-", `${base}/r.git`];
      expect(await build(kept, own)).toContain("\n/c/.git\n");
      expect(await build(["-f", "-", `${base}/r.git`], own)).toContain("No such file or directory");
    });

    test("a context that is not there is told before anything is built", async () => {
      const context = folder({ Dockerfile: "FROM busybox" });
      expect(await build(["--build-context=a=/no/such", context])).toContain("no such folder");
      expect(await build(["--build-context=a", context])).toContain("expected key=value");
      expect(await build(["--build-context=a=docker-imag://x", context])).toContain(
        "Did you mean docker-image:?",
      );
    });

    test("a Dockerfile can be asked without being built", async () => {
      const context = folder({
        Dockerfile: "# one the first\nFROM busybox AS one\nARG N=1\nMAINTAINER me\nCOPY a.log /",
        ".dockerignore": "*.log",
      });
      const ask = (...args: string[]) => engine.lading(["build", ...args, context]);
      const checked = await ask("--check");
      expect(checked.code).toBe(1);
      expect(checked.stdout).toContain("Check complete, 2 warnings have been found!");
      expect(checked.stdout).toContain("Dockerfile:4\n--------------------\n");
      expect(checked.stdout).toContain("   4 | >>> MAINTAINER me\n");
      const json = await ask("--call=check,format=json,ignorestatus=true");
      expect(json.code).toBe(0);
      expect(JSON.parse(json.stdout).warnings[1].ruleName).toBe("CopyIgnoredFile");
      expect((await ask("--call=targets")).stdout).toContain("one (default)   the first");
      expect((await ask("--call=outline")).stdout).toContain("N           1\n");
      expect((await ask("--call=other")).stderr).toContain("unsupported call: other");
      const clean = folder({ Dockerfile: "FROM busybox" });
      const fine = await engine.lading(["build", "--check", clean]);
      expect(fine).toMatchObject({ code: 0, stdout: "Check complete, no warnings found.\n" });
    });

    test("a context may hold anything, and what is no file is left out or refused", async () => {
      const context = folder({
        Dockerfile: "FROM busybox\nCOPY . /c/\nRUN cd /c && ls -A | wc -l && du -m big && cat new*",
        "new\nline": "newline",
      });
      const script = `set -e; cd ${context}; rm .keep; mkfifo fifo; ln -s b a; ln -s a b; ln -s /etc/shadow out
        truncate -s 64M big; printf x > "$(printf 'bad\\377')"; mkdir "$(printf 'd\\376')"
        printf y > "$(printf 'd\\376')/in"; ln -s "$(printf 'to\\375')" "$(printf 'link\\375')"
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'`;
      expect((await command(["sh", "-c", script])).code).toBe(0);
      // Dockerfile, new line, fifo, a, b, out, big, bad, d, link; not the socket.
      const told = await build([context]);
      expect(told).toContain("\n10\n");
      expect(told).toContain("newline");
      expect(told).toMatch(/\n[01]\tbig/); // a hole is one still
      const theirs = await engine.docker(["build", "--no-cache", context]);
      expect(theirs.stdout).toContain("\n10\n");
      expect((await command(["mknod", join(context, "null"), "c", "1", "3"])).code).toBe(0);
      expect(await build([context])).toContain("\n10\n");
      const refused = await engine.docker(["build", "--no-cache", context]);
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toContain('Cannot unpack "null": it is a device');
    });

    test("a context whose files change while they are sent is told, or sent as it was", async () => {
      const context = folder({ Dockerfile: "FROM busybox\nCOPY . /c/" });
      const script = `cd ${context}; i=0; while [ $i -lt 150 ]; do truncate -s $((i % 4))M a; rm -f b; echo x > b; i=$((i+1)); done`;
      const changing = command(["sh", "-c", script]);
      const told = await Promise.all([build([context]), build([context])]);
      await changing;
      for (const each of told)
        expect(each).toMatch(/Successfully built|changed|no such file|is gone|shrank/);
      expect(await build([context])).toContain("Successfully built");
    });

    test("limits act in RUN, with both clients", async () => {
      const look = [
        "FROM busybox",
        "RUN ulimit -n; grep -E 'NoNewPrivs|Seccomp:|Cpus_allowed_list' /proc/self/status; \\",
        "  df -m /dev/shm | tail -1; grep extra /etc/hosts; cat /proc/self/cgroup; \\",
        "  cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max \\",
        "  /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true",
      ].join("\n");
      const context = folder({ Dockerfile: look });
      const flags = [
        "--ulimit=nofile=123:456",
        "--memory=64m",
        "--memory-swap=-1",
        "--cpu-quota=50000",
        "--cpu-period=100000",
        "--cpuset-cpus=0",
        "--shm-size=8m",
        "--add-host=extra:192.0.2.7",
      ];
      const ours = await build([...flags, "--security-opt=no-new-privileges", context]);
      const theirs = await engine.docker(["build", "--no-cache", ...flags, context]);
      for (const told of [ours, theirs.stdout]) {
        expect(told).toContain("\n123\n");
        expect(told).toMatch(/Cpus_allowed_list:\s+0\n/);
        expect(told).toMatch(/shm +8 /);
        expect(told).toContain("192.0.2.7\textra\n");
        expect(told).toContain("\n67108864\n");
        expect(told).toMatch(/\n50000( 100000)?\n/);
      }
      expect(ours).toMatch(/NoNewPrivs:\s+1/);
      expect(await build(["--isolation=hyperv", context])).toContain(
        'Unsupported isolation: "hyperv"',
      );
      expect(await build(["--add-host=extra:here", context])).toContain(
        'invalid IP address in add-host: "here"',
      );
      expect(await build(["--add-host=extra", context])).toContain(
        'bad format for add-host: "extra"',
      );
      expect(await build(["--security-opt=seccomp=unconfined", context])).toMatch(/Seccomp:\s+0/);
    });
  },
);
