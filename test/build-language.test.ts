/** What of the Dockerfile language shows only in containers, with registries, devices and servers. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, lading, TestEngine, whyNot } from "./engine.ts";

const sshd = "/usr/sbin/sshd";

describe.skipIf(whyNot !== undefined)(`language${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  const build = async (dockerfile: string, flags: readonly string[] = [], env = {}) => {
    const ran = await engine.lading(["build", ...flags, "-"], { input: dockerfile, env });
    if (ran.code !== 0) throw new Error(`${ran.stdout}${ran.stderr}`);
    return ran.stdout;
  };

  beforeAll(async () => {
    engine = await TestEngine.open("language");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("CMD and ENTRYPOINT in both forms make the command that Docker's table says", async () => {
    // Each program tells its name and what it was given. Only a shell puts a value for $form.
    const base = `FROM busybox AS bin
RUN for n in entry cmd; do printf '#!/bin/sh\\necho '$n' "$@"\\n' > /bin/$n; chmod 755 /bin/$n; done
FROM scratch
COPY --from=bin / /
ENV form=shell`;
    const entrypoints = ["", "ENTRYPOINT entry $form", 'ENTRYPOINT ["entry", "$form"]'];
    const commands = ["", 'CMD ["cmd", "$form"]', "CMD cmd $form"];
    const table = [
      [undefined, "cmd $form", "cmd shell"],
      ["entry shell", "entry shell", "entry shell"],
      ["entry $form", "entry $form cmd $form", "entry $form /bin/sh -c cmd $form"],
    ];
    const cells = entrypoints.flatMap((entrypoint, row) =>
      commands.map((cmd, column) => ({ entrypoint, cmd, said: table[row]![column] })),
    );
    for (const [at, { entrypoint, cmd, said }] of cells.entries()) {
      await build([base, entrypoint, cmd].join("\n"), ["-t", `cell:${at}`]);
      const ran = await engine.docker(["run", "--rm", `cell:${at}`]);
      if (said === undefined) {
        expect([ran.code, ran.stderr]).toEqual([125, expect.stringContaining("no command")]);
      } else expect([entrypoint, cmd, ran.stdout]).toEqual([entrypoint, cmd, `${said}\n`]);
    }
    // A command at the end of `run` stands in CMD's place; --entrypoint takes both away.
    const given = await engine.ok(["run", "--rm", "cell:7", "given"]);
    expect(given).toBe("entry $form given");
    expect(await engine.ok(["run", "--rm", "--entrypoint", "cmd", "cell:7"])).toBe("cmd");
  });

  test("FROM takes an image by its digest, with and without a tag, and no other", async () => {
    const port = 20_000 + ((process.pid + 7_777) % 20_000);
    const data = ["--data-root", join(engine.folder, "registry")];
    const serve = ["registry", "serve", "--addr", `127.0.0.1:${port}`, ...data];
    const registry = Bun.spawn([lading, ...serve], { stdout: "ignore", stderr: "ignore" });
    try {
      const name = `127.0.0.1:${port}/team/base`;
      await build("FROM busybox\nRUN echo by digest > /said", ["-t", `${name}:1`]);
      const isServed = () => fetch(`http://127.0.0.1:${port}/v2/`).then(Boolean, () => false);
      while (!(await isServed())) await Bun.sleep(50);
      const pushed = await engine.ok(["push", `${name}:1`]);
      const [digest] = /sha256:[0-9a-f]{64}/.exec(pushed.slice(pushed.lastIndexOf("digest:")))!;
      await build("FROM busybox\nRUN echo moved > /said", ["-t", `${name}:1`]);
      await engine.ok(["push", `${name}:1`]);
      await engine.ok(["rmi", "-f", `${name}:1`]);
      for (const from of [`${name}@${digest}`, `${name}:1@${digest}`]) {
        expect(await build(`FROM ${from}\nRUN cat /said`, ["--no-cache"])).toContain("by digest");
      }
      const none = `${name}@sha256:${"0".repeat(64)}`;
      await expect(build(`FROM ${none}`)).rejects.toThrow("not found");
    } finally {
      registry.kill();
      await registry.exited;
    }
  });

  test("--cgroup-parent puts the commands of a build below it, with both clients", async () => {
    const parent = `/ldt-language-${process.pid}`;
    const text = "FROM busybox\nRUN sleep 1";
    const flags = ["--no-cache", `--cgroup-parent=${parent}`];
    const places = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map((root) => root + parent);
    const hasChild = () =>
      places.some((place) => {
        if (!existsSync(place)) return false;
        return readdirSync(place, { withFileTypes: true }).some((each) => each.isDirectory());
      });
    const watch = async (running: Promise<unknown>) => {
      let [isOver, isSeen] = [false, false];
      const done = running.finally(() => {
        isOver = true;
      });
      while (!isOver && !isSeen) {
        isSeen = hasChild();
        await Bun.sleep(10);
      }
      await done;
      expect([isSeen, hasChild()]).toEqual([true, false]);
    };
    await watch(build(text, flags));
    const folder = join(engine.folder, "cgroup");
    mkdirSync(folder);
    writeFileSync(join(folder, "Dockerfile"), text);
    await watch(engine.ok(["build", ...flags, folder]));
    await command(["sh", "-c", `rmdir /sys/fs/cgroup/*${parent} /sys/fs/cgroup${parent}`]);
    const outside = build(text, ["--no-cache", "--cgroup-parent=/../x"]);
    await expect(outside).rejects.toThrow("it leads out");
  });

  test("RUN --device gives what a specification of the host says of a device's name", async () => {
    const path = `/etc/cdi/lading-language-${process.pid}.json`;
    const kind = `lading.example/language${process.pid}`;
    const given = join(engine.folder, "given");
    writeFileSync(given, "mounted\n");
    const mount = { hostPath: given, containerPath: "/given", options: ["ro", "bind"] };
    const node = { path: "/dev/made", hostPath: "/dev/zero" };
    const device = (name: string, more: object) => ({
      name,
      containerEdits: { env: [`NAMED=${name}`], deviceNodes: [node], ...more },
    });
    const hooks = [{ hookName: "createRuntime", path: "/bin/true" }];
    mkdirSync("/etc/cdi", { recursive: true });
    writeFileSync(
      path,
      JSON.stringify({
        cdiVersion: "0.6.0",
        kind,
        devices: [device("one", { mounts: [mount] }), device("with-hooks", { hooks })],
      }),
    );
    try {
      const run = (name: string) =>
        build(
          `FROM busybox\nRUN --device=${name} echo $NAMED; cat /given; head -c 2 /dev/made | wc -c`,
          ["--no-cache", "--allow", "device"],
        );
      for (const name of [`${kind}=one`, kind, `${kind}=one,required`]) {
        expect(await run(name)).toContain("one\nmounted\n2\n");
      }
      await expect(run(`${kind}=with-hooks`)).rejects.toThrow("it wants hooks");
      await expect(run(`${kind}=none,required`)).rejects.toThrow("not available");
    } finally {
      rmSync(path);
    }
  });

  test.skipIf(!existsSync(sshd))(
    "ADD and contexts take repositories over SSH, by the client's agent alone",
    async () => {
      const server = await openSsh(join(engine.folder, "ssh"));
      try {
        const { address } = server;
        const text = `FROM busybox\nADD ${address} /all\nADD ${address}#v1:sub /part\nRUN cat /all/file /part/deep; ls -d /all/.git || echo without`;
        const with_ = ["--no-cache", "--ssh", `default=${server.folder}/client`];
        expect(await build(text, with_)).toContain("two\ndeep one\n");
        const context = await engine.lading(["build", ...with_.slice(1), "-t", "ssh:1", address]);
        expect([context.code, context.stderr]).toEqual([0, ""]);
        expect(await engine.ok(["run", "--rm", "ssh:1", "cat", "/in/file"])).toBe("two");
        await expect(build(text, ["--no-cache"])).rejects.toThrow(/Permission denied[\s\S]*--ssh/);
        await server.changeHostKey();
        await expect(build(text, with_)).rejects.toThrow(
          /Host key .* has changed[\s\S]*known_hosts/,
        );
      } finally {
        await server.close();
      }
    },
  );
});

/** A real server with one repository, for whoever has the key `client`. */
async function openSsh(folder: string) {
  const port = 20_000 + ((process.pid + 12_345) % 20_000);
  mkdirSync(folder, { mode: 0o700 });
  const must = async (script: string) => {
    const ran = await command(["sh", "-euc", script], { cwd: folder });
    if (ran.code !== 0) throw new Error(ran.stderr);
  };
  await must(`mkdir -p /run/sshd
for key in host other client; do ssh-keygen -q -t ed25519 -N '' -f $key; done
cp client.pub keys
git init -q -b main made; cd made; mkdir sub
printf 'FROM busybox\\nCOPY . /in\\n' > Dockerfile; echo one > file; echo deep one > sub/deep
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
git add .; git commit -qm one; git tag v1; echo two > file; git commit -qam two
cd ..; git clone -q --bare made made.git`);
  const start = async (key: string) => {
    writeFileSync(
      join(folder, "config"),
      `Port ${port}\nListenAddress 127.0.0.1\nHostKey ${folder}/${key}\nPidFile none\nUsePAM no
StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nAuthorizedKeysFile ${folder}/keys\n`,
    );
    writeFileSync(join(folder, "log"), "");
    const argv = [sshd, "-D", "-e", "-f", `${folder}/config`];
    const child = Bun.spawn(argv, { stderr: Bun.file(join(folder, "log")) });
    while (!readFileSync(join(folder, "log"), "utf8").includes("Server listening")) {
      if (child.exitCode !== null) throw new Error(readFileSync(join(folder, "log"), "utf8"));
      await Bun.sleep(20);
    }
    return child;
  };
  let child = await start("host");
  const close = async () => {
    child.kill();
    await child.exited;
  };
  return {
    folder,
    address: `ssh://root@127.0.0.1:${port}${folder}/made.git`,
    close,
    changeHostKey: async () => {
      await close();
      child = await start("other");
    },
  };
}
