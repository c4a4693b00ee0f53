/** Containers in user namespaces, through the docker client, and as the kernel has them. */
import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { command, dockerPath, TestEngine, whyNot } from "./engine.ts";

setDefaultTimeout(60_000);

const user = `ldu${process.pid}`;
const sh = (line: string) => command(["sh", "-c", line]);
const ids = (path: string) => {
  const { uid, gid } = statSync(path);
  return `${uid}:${gid}`;
};

describe.skipIf(whyNot !== undefined)(
  `user namespaces${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;
    let first = 0;
    let remap: readonly string[];
    const run = (options: readonly string[], script: string) =>
      engine.ok(["run", "--rm", ...options, "busybox", "sh", "-c", script]);
    const exec = (name: string, script: string) => engine.ok(["exec", name, "sh", "-c", script]);
    const refusal = async (...args: string[]) => {
      const { code, stderr } = await engine.docker(args);
      expect(code).not.toBe(0);
      return stderr;
    };
    const restart = async (extra: readonly string[], signal?: "SIGKILL") => {
      expect(await engine.end(signal)).toBe(signal ? 137 : 0);
      engine.extra = extra;
      await engine.start();
    };
    const mapOf = async (name: string) => {
      const pid = await engine.ok(["inspect", "-f", "{{.State.Pid}}", name]);
      return readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().split(/\s+/).map(Number);
    };
    /** Owner and name of each entry that matters of a tar that the client prints. */
    const out = async (argv: string) => {
      const list = "tar --numeric-owner -tvf - | awk '{print $2, $6}' | grep mine";
      const env = `DOCKER_HOST=${engine.host} DOCKER_CONFIG=${engine.folder}/docker`;
      return (await sh(`${env} ${dockerPath} ${argv} | ${list}`)).stdout.trim();
    };

    beforeAll(async () => {
      // A plain user gets subordinate IDs from useradd.
      expect((await sh(`useradd --no-create-home ${user}`)).code).toBe(0);
      first = Number((await sh(`grep ^${user}: /etc/subuid | cut -d: -f2`)).stdout);
      remap = [`--userns-remap=${user}`];
      engine = await TestEngine.open("userns");
      chmodSync(engine.folder, 0o711);
      await engine.importBusybox();
    });
    afterEach(async () => void (await engine.docker(["rm", "-f", "-v", "one", "two", "three"])));
    afterAll(async () => {
      const left = await engine.close();
      await sh(`userdel ${user}`);
      expect(left).toEqual([]);
    });

    const dockerfile = `FROM busybox
RUN touch /mine && chown 33:500 /mine && mkdir -p /a/b && mv /a /c && rm /etc/group
RUN --mount=type=bind,target=/context cat /context/secret >/copy && ls -ln /context | grep -c " 0  *0 "
RUN --mount=type=cache,target=/cache,uid=33 test $(stat -c %u /cache) = 33
COPY --chown=5:6 secret /copied
USER www
RUN id >/tmp/id && cat /proc/self/uid_map >&2`;
    /** The digests of the layers that a build makes, and what it said. */
    const build = async () => {
      const context = `${engine.folder}/context`;
      mkdirSync(context, { recursive: true });
      writeFileSync(`${context}/secret`, "told", { mode: 0o600 });
      writeFileSync(`${context}/Dockerfile`, dockerfile);
      const args = ["--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1700000000", "-t", "built"];
      const said = await engine.lading(["build", ...args, context]);
      expect(said.stderr).not.toContain("rror");
      const layers = await engine.ok(["inspect", "-f", "{{json .RootFS.Layers}}", "built"]);
      return { said: said.stdout + said.stderr, layers: JSON.parse(layers) as string[] };
    };

    test("a build gives the same digests with --userns-remap as without", async () => {
      const before = await build();
      await engine.ok(["create", "--name", "strong", "--privileged", "busybox", "true"]);
      await engine.ok(["run", "-d", "--name", "older", "busybox", "sleep", "1000"]);
      await restart(remap);
      const after = await build();
      expect(before.said).toMatch(/ 0 +0 +4294967295/);
      expect(after.said).toContain(` ${first} `);
      expect(after.layers).toEqual(before.layers);
    });

    test("what ran before runs on as it was, and has the map after its next start", async () => {
      expect(await mapOf("older")).toEqual([0, 0, 4_294_967_295]);
      await exec("older", "touch /mine; chown 33:500 /mine");
      await engine.ok(["restart", "-t", "0", "older"]);
      expect(await mapOf("older")).toEqual([0, first, 65_536]);
      expect(await exec("older", "stat -c %u:%g /mine")).toBe("33:500");
      expect(await refusal("start", "strong")).toContain("incompatible with user namespaces");
      await engine.ok(["rm", "-f", "older", "strong"]);
    });

    test("root of a container is a user of the host's that nobody is", async () => {
      expect(await engine.ok(["info", "-f", "{{.SecurityOptions}}"])).toContain("name=userns");
      await engine.ok(["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
      expect(await mapOf("one")).toEqual([0, first, 65_536]);
      expect(await engine.ok(["top", "one", "-eo", "uid,pid,cmd"])).toMatch(
        new RegExp(`^${first} `, "m"),
      );
      expect(await exec("one", "id -u; ls /sys/class/net; stat -c %u:%g /etc/hosts /bin")).toBe(
        "0\neth0\nlo\n0:0\n0:0",
      );
      const asUser = [
        "exec",
        "-u",
        "www",
        "one",
        "sh",
        "-c",
        "id -u >/dev/stdout; touch /tmp/mine",
      ];
      expect(await engine.ok(asUser)).toBe("33");
      const [pid] = (await engine.ok(["inspect", "-f", "{{.State.Pid}}", "one"])).split("\n");
      expect(ids(`/proc/${pid}/root/tmp/mine`)).toBe(`${first + 33}:${first + 33}`);
      expect((await engine.ok(["diff", "one"])).split("\n")).toEqual(["C /tmp", "A /tmp/mine"]);
    });

    test("files copied in and out keep the owners that the container sees", async () => {
      const source = `${engine.folder}/mine`;
      writeFileSync(source, "");
      chownSync(source, 5, 6);
      await engine.ok(["run", "-d", "--name", "one", "-v", "vol:/v", "busybox", "sleep", "1000"]);
      for (const state of ["running", "exited"]) {
        await engine.ok(["cp", source, "one:/mine"]);
        await engine.ok(["cp", source, "one:/v/mine"]);
        expect(await out("cp one:/mine -")).toBe("5/6 mine");
        expect(await out("cp one:/v -")).toBe("5/6 v/mine");
        expect(await out("export one")).toBe("5/6 mine");
        expect(ids(`${engine.dataRoot}/volume/vol/_data/mine`)).toBe("5:6");
        if (state === "running") {
          expect(await exec("one", "stat -c %u:%g /mine /v/mine")).toBe("5:6\n5:6");
          await engine.ok(["stop", "-t", "0", "one"]);
        }
      }
      await engine.ok(["commit", "one", "kept"]);
      for (const userns of [[], ["--userns=host"]]) {
        const argv = ["run", "--rm", ...userns, "kept", "stat", "-c", "%u:%g", "/mine"];
        expect(await engine.ok(argv)).toBe("5:6");
      }
      chownSync(source, 70_000, 0);
      expect(await refusal("cp", "-a", source, "one:/mine")).toContain("has no user 70000:0");
    });

    test("volumes have the container's owners on the disk, bind mounts the host's", async () => {
      await engine.ok(["build", "-t", "filled", "-"], {
        input: "FROM busybox\nRUN mkdir /d && touch /d/mine && chown 33:500 /d/mine && chown 33 /d",
      });
      const data = `${engine.dataRoot}/volume/full/_data`;
      const look = "stat -c %u:%g /d /d/mine; touch /d/new";
      const volume = ["run", "--rm", "-v", "full:/d"];
      expect(await engine.ok([...volume, "filled", "sh", "-c", look])).toBe("33:0\n33:500");
      expect([ids(data), ids(`${data}/mine`), ids(`${data}/new`)]).toEqual([
        "33:0",
        "33:500",
        "0:0",
      ]);
      expect(await engine.ok([...volume, "--userns=host", "filled", "sh", "-c", look])).toBe(
        "33:0\n33:500",
      );
      // What a container makes setuid root in a volume is the host's root's on the disk.
      const asFirst = ["setpriv", `--reuid=${first}`, `--regid=${first}`, "--clear-groups"];
      const [through, onto] = await Promise.all(
        [engine.dataRoot, `${data}/mine`].map((path) => command([...asFirst, "test", "-x", path])),
      );
      expect([through?.code, onto?.code]).toEqual([0, 1]);
      const folder = `${engine.folder}/bound`;
      mkdirSync(folder, { mode: 0o777 });
      chmodSync(folder, 0o777);
      expect(await run(["-v", `${folder}:/b`], "stat -c %u /b; touch /b/new")).toBe("65534");
      expect(ids(`${folder}/new`)).toBe(`${first}:${first}`);
      const mount = ["--mount", `type=bind,src=${folder},dst=/b,idmap=user`];
      const own = await engine.lading(["run", "--rm", ...mount, "busybox", "touch", "/b/own"]);
      expect([own.code, ids(`${folder}/own`)]).toEqual([0, "0:0"]);
    });

    test("devices, sysctls, memory and terminals are the container's", async () => {
      const flags = ["--device=/dev/null:/dev/mine", "--sysctl=kernel.shmmax=1000000", "--init"];
      const script = `stat -c %u:%a /dev/mine; echo x >/dev/mine; cat /proc/sys/kernel/shmmax
      touch /dev/shm/x /t/x; stat -c %u /dev/shm/x /t/x; stat -c %u /proc/self/fd/1; pwd`;
      expect(await run([...flags, "--tmpfs=/t", "-w", "/made/here"], script)).toBe(
        `0:666\n1000000\n0\n0\n0\n/made/here`,
      );
      expect(await run(["--ipc=host"], "stat -c %u /dev/shm")).toBe("65534");
      expect(await run(["--cap-add=SYS_ADMIN"], "mount -t tmpfs x /tmp && echo yes")).toBe("yes");
    });

    test("what needs the host's users is refused, and goes with --userns=host", async () => {
      const words = {
        "--privileged": "privileged mode is incompatible with user namespaces",
        "--network=host":
          "cannot share the host's network namespace when user namespaces are enabled",
        "--pid=host": "cannot share the host PID namespace when user namespaces are enabled",
      };
      for (const [flag, why] of Object.entries(words)) {
        expect(await refusal("run", "--rm", flag, "busybox", "true")).toContain(why);
      }
      const own = ["run", "--rm", "--userns=private", "busybox", "cat", "/proc/self/uid_map"];
      expect((await engine.lading(own)).stdout).toContain(` ${first} `);
      const all = ["--userns=host", ...Object.keys(words)];
      expect(await run(all, "cat /proc/self/uid_map")).toMatch(/^0 +0 +4294967295$/);
    });

    test("who shares namespaces shares the user namespace", async () => {
      await engine.ok([
        "run",
        "-d",
        "--name",
        "one",
        "--ipc=shareable",
        "busybox",
        "sleep",
        "1000",
      ]);
      const namespace = "readlink /proc/self/ns/user; readlink /proc/self/ns/net";
      const shared = ["--network=container:one", "--pid=container:one", "--ipc=container:one"];
      expect(await run(shared, `${namespace}; ls -d /proc/1`)).toBe(
        `${await exec("one", namespace)}\n/proc/1`,
      );
      expect(await run([], namespace)).not.toBe(await exec("one", namespace));
      await engine.ok(["run", "-d", "--name", "two", "--userns=host", "busybox", "sleep", "1000"]);
      expect(await refusal("run", "--rm", "--network=container:two", "busybox", "true")).toContain(
        "it has other users",
      );
      const twice = ["--network=container:one", "--pid=container:three"];
      await engine.ok(["run", "-d", "--name", "three", "busybox", "sleep", "1000"]);
      expect(await refusal("run", "--rm", ...twice, "busybox", "true")).toContain(
        "it has another user namespace",
      );
    });

    test("a killed daemon's containers stay as they are, whatever the next one is told", async () => {
      await engine.ok(["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
      const source = `${engine.folder}/mine`;
      chownSync(source, 5, 6);
      for (const extra of [remap, []]) {
        await restart(extra, "SIGKILL");
        expect(await mapOf("one")).toEqual([0, first, 65_536]);
        expect(await exec("one", "id -u")).toBe("0");
        await engine.ok(["cp", source, "one:/mine"]);
        expect(await exec("one", "stat -c %u:%g /mine")).toBe("5:6");
        expect(await out("export one")).toBe("5/6 mine");
      }
      await engine.ok(["restart", "-t", "0", "one"]);
      expect(await mapOf("one")).toEqual([0, 0, 4_294_967_295]);
      expect(await exec("one", "stat -c %u:%g /mine")).toBe("5:6");
    });
  },
);
