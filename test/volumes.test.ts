/** Volumes and mounts through the docker client, seen by the container, the kernel and a plugin. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { servePlugin } from "../src/plugin/laboratory.ts";
import { TestEngine, whyNot } from "./engine.ts";

// Many runs a test, and the machine may be busy.
setDefaultTimeout(60_000);

describe.skipIf(whyNot !== undefined)(`volumes${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let host: string;
  beforeAll(async () => {
    engine = await TestEngine.open("vols");
    await engine.importBusybox();
    host = mkdtempSync("/tmp/lading-host-");
    mkdirSync(`${host}/sub`);
    writeFileSync(`${host}/file`, "mine");
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
    rmSync(host, { recursive: true });
  });
  const run = (options: readonly string[], script: string) =>
    engine.ok(["run", "--rm", ...options, "busybox", "sh", "-c", script]);
  const refusal = async (...args: string[]) => {
    const { code, stderr } = await engine.docker(args);
    expect(code).not.toBe(0);
    return stderr;
  };
  const lading = async (args: readonly string[], input?: Uint8Array) => {
    const ran = await engine.lading(args, input ? { input } : {});
    if (ran.code !== 0) throw new Error(ran.stderr);
    return ran.stdout;
  };
  /** What the engine's own view of mounts has at a volume. */
  const mounted = (volume: string) =>
    readFileSync(`/proc/${engine.pid}/mountinfo`, "utf8")
      .split("\n")
      .filter((line) => line.includes(`/volume/${volume}/_data `));

  test("type, o and device are a mount while a container runs, and none after", async () => {
    const options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=1000"];
    await engine.ok(["volume", "create", ...options, "mem"]);
    expect(await run(["-v", "mem:/d"], "grep ' /d ' /proc/mounts; stat -c %u /d")).toMatch(
      /^tmpfs \/d tmpfs rw,.*size=1024k,uid=1000.*\n1000$/,
    );
    await engine.ok(["run", "-d", "--name", "one", "-v", "mem:/d", "busybox", "sleep", "1000"]);
    await engine.ok(["run", "-d", "--name", "two", "-v", "mem:/d", "busybox", "sleep", "1000"]);
    expect(mounted("mem").length).toBe(1);
    await engine.ok(["kill", "one"]);
    await engine.ok(["wait", "one"]);
    expect(mounted("mem").length).toBe(1);
    await engine.crash();
    expect(mounted("mem").length).toBe(1);
    await engine.ok(["rm", "-f", "two"]);
    expect(mounted("mem")).toEqual([]);
    // One that does not run is mounted for cp.
    expect(await engine.ok(["cp", "one:/d/.", "-"])).toContain("./");
    expect(await refusal("volume", "rm", "mem")).toContain("remove mem: volume is in use - [");
    await engine.ok(["rm", "one"]);
    await engine.ok(["volume", "rm", "mem"]);
  });

  test("a share whose server cannot be found says so, without the password", async () => {
    const share = ["-o", "type=cifs", "-o", "device=//nosuch.invalid/x", "-o", "o=password=secret"];
    await engine.ok(["volume", "create", ...share, "share"]);
    const said = await refusal("run", "--rm", "-v", "share:/d", "busybox", "true");
    expect(said).toContain("failed to mount local volume: mount //nosuch.invalid/x:");
    expect(said).toContain("password=********");
    expect(said).toContain("error resolving passed in network volume address");
    await engine.ok(["volume", "rm", "share"]);
    const port = ["-o", "type=cifs", "-o", "device=//h:1/x", "share"];
    expect(await refusal("volume", "create", ...port)).toContain("port not allowed in CIFS");
  });

  test("a bind has the propagation asked for, where its source can have it", async () => {
    const inEngine = ["--mount", "-t", String(engine.pid), "sh", "-c"];
    const alone = `cd ${host}; mkdir alone; mount -t tmpfs x alone; mount --make-private alone`;
    const shared = "mkdir shared; mount -t tmpfs x shared; mount --make-shared shared";
    spawnSync("nsenter", [...inEngine, `${alone}; ${shared}`]);
    const look = async (name: string, propagation: string) => {
      const mount = `type=bind,src=${host}/${name},dst=/d,bind-propagation=${propagation}`;
      const script = "grep ' /d ' /proc/self/mountinfo";
      const ran = await engine.docker([
        "run",
        "--rm",
        "--mount",
        mount,
        "busybox",
        "sh",
        "-c",
        script,
      ]);
      return (
        /(shared|master):/.exec(ran.stdout)?.[0] ??
        /not a (shared|shared or slave) mount/.exec(ran.stderr)?.[0] ??
        ""
      );
    };
    try {
      expect(await look("alone", "rprivate")).toBe("");
      expect(await look("shared", "private")).toBe("");
      for (const kind of ["shared", "rshared"]) {
        expect(await look("shared", kind)).toBe("shared:");
        expect(await look("alone", kind)).toBe("not a shared mount");
      }
      for (const kind of ["slave", "rslave"]) {
        expect(await look("shared", kind)).toBe("master:");
        expect(await look("alone", kind)).toBe("not a shared or slave mount");
      }
    } finally {
      spawnSync("nsenter", [...inEngine, `umount ${host}/alone ${host}/shared`]);
    }
  });

  test("a read-only bind is so down to what is mounted below it, or not, as asked for", async () => {
    const below = `${host}/sub`;
    // Where the host's mounts do not reach the engine by themselves, it is made in its view.
    const inEngine = ["--mount", "-t", String(engine.pid)];
    spawnSync("nsenter", [...inEngine, "mount", "-t", "tmpfs", "below", below]);
    try {
      const options = (mode: string) => ["--mount", `type=bind,src=${host},dst=/d,ro${mode}`];
      const script = "touch /d/x 2>/dev/null; echo $?; touch /d/sub/x 2>/dev/null; echo $?";
      expect(await run(options(""), script)).toBe("1\n1");
      expect(await run(options(",bind-recursive=writable"), script)).toBe("1\n0");
      const strict = ",bind-recursive=readonly,bind-propagation=rprivate";
      expect(await run(options(strict), script)).toBe("1\n1");
      const flat = "grep -c ' /d[ /]' /proc/self/mountinfo";
      expect(await run(options(",bind-recursive=disabled"), flat)).toBe("1");
    } finally {
      spawnSync("nsenter", [...inEngine, "umount", below]);
    }
  });

  test("nocopy, subpaths, images and tmpfs are mounted as asked for", async () => {
    expect(await run(["-v", "copied:/etc"], "ls /etc")).toBe(
      "group\nhostname\nhosts\npasswd\nresolv.conf",
    );
    const bare = ["--mount", "type=volume,src=bare,dst=/bin/x,volume-nocopy"];
    expect(await run(bare, "ls /bin/x")).toBe("");
    await run(["-v", "bare:/d"], "mkdir /d/part; echo 1 > /d/part/file");
    const part = ["--mount", "type=volume,src=bare,dst=/d,volume-subpath=part"];
    expect(await run(part, "cat /d/file")).toBe("1");
    const image = ["--mount", "type=image,src=busybox,dst=/i,image-subpath=etc"];
    expect(await run(image, "ls /i; touch /i/x 2>/dev/null || echo ro")).toBe("group\npasswd\nro");
    const memory = ["--tmpfs", "/t:size=64k,mode=700,uid=5,exec"];
    expect(await run(memory, "stat -c '%u %a' /t; grep -c noexec /proc/mounts")).toMatch(
      /^5 700\n/,
    );
    const missing = `type=bind,src=${host}/new,dst=/d,bind-create-src`;
    await lading(["run", "--rm", "--mount", missing, "busybox", "true"]);
    expect(existsSync(`${host}/new`)).toBe(true);
    expect(await refusal("run", "--rm", "-v", "bare:/d:U", "busybox", "true")).toContain(
      "invalid mode: U",
    );
  });

  test("idmap shows the owner's files as the container's user's, and the other way round", async () => {
    const owned = mkdtempSync(`${host}/owned-`);
    writeFileSync(`${owned}/file`, "");
    for (const path of [owned, `${owned}/file`]) chownSync(path, 1000, 1000);
    const script =
      "stat -c %u:%g /d/file; touch /d/new; grep -c ' /d .*idmapped' /proc/self/mountinfo";
    expect(await run(["-v", `${owned}:/d:idmap`], script)).toBe("0:0\n1");
    expect(statSync(`${owned}/new`).uid).toBe(1000);
    expect(await run(["-u", "33:33", "-v", `${owned}:/d:idmap`], script)).toBe("33:33\n1");
    await run(["-v", "owned:/d"], "touch /d/file; chown 1000:1000 /d/file");
    const mount = "type=volume,src=owned,dst=/d,idmap=uids=1000-7-1;gids=1000-8-1";
    const look = ["busybox", "stat", "-c", "%u:%g", "/d/file"];
    expect(await lading(["run", "--rm", "--mount", mount, ...look])).toBe("7:8\n");
    const bad = await engine.lading(["run", "--rm", "--mount", `${mount}#1`, ...look]);
    expect(bad.stderr).toContain("invalid idmap");
    await engine.ok(["volume", "rm", "owned"]);
  });

  test("prune leaves named volumes, used ones, and those that are mounts of something", async () => {
    const bound = ["-o", "type=none", "-o", "o=bind", "-o", `device=${host}`];
    await engine.ok(["volume", "create", ...bound, "bound"]);
    await engine.ok(["volume", "create", "--label", "keep=yes", "kept"]);
    const name = await engine.ok(["volume", "create"]);
    await engine.ok(["create", "--name", "user", "-v", "/anonymous", "busybox"]);
    const said = await engine.ok(["volume", "prune", "-f"]);
    expect(said).toContain(name);
    const rest = () => engine.ok(["volume", "ls", "-q", "-f", "dangling=true"]);
    expect((await rest()).split("\n")).toEqual(["bare", "bound", "copied", "kept"]);
    await engine.ok(["volume", "prune", "-f", "-a", "--filter", "label!=keep"]);
    expect((await rest()).split("\n")).toEqual(["bound", "kept"]);
    await engine.ok(["rm", "-v", "user"]);
    expect(await engine.ok(["volume", "ls", "-q"])).toBe("bound\nkept");
    expect(await engine.ok(["system", "df", "-v"])).toMatch(/kept +0 +0B/);
    expect(await engine.ok(["volume", "ls", "-q", "-f", "label=keep=yes"])).toBe("kept");
    expect(await refusal("volume", "update", "kept")).toContain("cluster volumes");
    await engine.ok(["volume", "rm", "bound", "kept"]);
  });

  test("clone, snapshot, export and import keep files as they are", async () => {
    const make = "echo 1 > /d/a; chown 5:6 /d/a; ln /d/a /d/b; ln -s a /d/l; chmod 1777 /d";
    await run(["-v", "data:/d"], make);
    const look = "cd /d; stat -c '%n %u:%g %a %h' . a b; readlink l; cat a";
    const whole = ". 0:0 1777 2\na 5:6 644 2\nb 5:6 644 2\na\n1";
    const seen = (volume: string) => run(["-v", `${volume}:/d`], look);
    expect(await lading(["volume", "clone", "data", "copy"])).toBe("copy\n");
    expect(await seen("copy")).toBe(whole);
    await lading(["volume", "snapshot", "create", "data", "first"]);
    await run(["-v", "data:/d"], "rm /d/*; echo new > /d/new");
    await lading(["volume", "snapshot", "restore", "data", "first"]);
    expect(await seen("data")).toBe(whole);
    expect(await lading(["volume", "snapshot", "ls", "data"])).toContain("first");
    const tar = join(engine.folder, "data.tar");
    await lading(["volume", "export", "-o", tar, "data"]);
    await lading(["volume", "import", "-i", tar, "again"]);
    expect(await seen("again")).toBe(whole);
    await lading(["volume", "mv", "again", "other"]);
    expect(await seen("other")).toBe(whole);
    const { stderr } = await engine.lading(["volume", "mv", "other", "data"]);
    expect(stderr).toContain("create data: a volume of this name exists");
    const cut = readFileSync(tar).subarray(0, 1500);
    const half = await engine.lading(["volume", "import", "half"], { input: cut });
    expect(half.stderr).toContain("it ends too soon");
    expect(await engine.ok(["volume", "ls", "-q"])).toBe("copy\ndata\nother");
  });

  test("a volume in use is cloned frozen, or live, when one says so", async () => {
    const write = "i=0; while :; do echo $i > /d/a; echo $i > /d/b; i=$((i+1)); done";
    const argv = ["run", "-d", "--name", "writer", "-v", "data:/d", "busybox", "sh", "-c", write];
    await engine.ok(argv);
    const refused = await engine.lading(["volume", "clone", "data", "frozen"]);
    expect(refused.stderr).toContain("written to by running containers: writer");
    await lading(["volume", "clone", "--pause", "data", "frozen"]);
    expect(await engine.ok(["inspect", "-f", "{{.State.Status}}", "writer"])).toBe("running");
    const [a, b] = (await run(["-v", "frozen:/d"], "cat /d/a; echo; cat /d/b")).split(/\s+/);
    expect(Number(a) - Number(b || a)).toBeLessThanOrEqual(1);
    await lading(["volume", "clone", "--live", "data", "live"]);
    const restore = await engine.lading(["volume", "snapshot", "restore", "data", "first"]);
    expect(restore.stderr).toContain("volume is in use");
    await engine.ok(["rm", "-f", "writer"]);
    await engine.ok(["volume", "rm", "copy", "data", "other", "frozen", "live"]);
  });

  test("a clone that kill -9 cut off leaves nothing, or is whole", async () => {
    await run(["-v", "many:/d"], "for i in $(seq 2000); do echo $i > /d/$i; done");
    for (const delayMs of [20, 150]) {
      const clone = engine.lading(["volume", "clone", "many", "cut"]);
      await Bun.sleep(delayMs);
      await engine.crash();
      await clone;
      const names = (await engine.ok(["volume", "ls", "-q"])).split("\n");
      if (names.includes("cut")) {
        expect(await run(["-v", "cut:/d"], "ls /d | wc -l")).toBe("2000");
        await engine.ok(["volume", "rm", "cut"]);
      }
      const folders = readdirSync(join(engine.dataRoot, "volume"));
      expect(folders.filter((name) => name !== ".trash")).toEqual(["many"]);
    }
    await engine.ok(["volume", "rm", "many"]);
  });

  test("a plugin's volumes are made, mounted for each run, listed and removed", async () => {
    const name = `lading-test-${process.pid}`;
    const [folder, place] = ["/run/docker/plugins", `${host}/plugged`];
    mkdirSync(place);
    chownSync(place, 7, 7);
    const volumes = new Set(["known"]);
    const volumeOf = (Name: unknown) => ({ Name, Mountpoint: place, Status: { disk: "blue" } });
    const plugin = servePlugin(
      { folder, name, kinds: ["VolumeDriver"] },
      {
        "VolumeDriver.Create": ({ Name }) => void volumes.add(String(Name)),
        "VolumeDriver.Remove": ({ Name }) => void volumes.delete(String(Name)),
        "VolumeDriver.Mount": () => ({ Mountpoint: place }),
        "VolumeDriver.Unmount": () => ({}),
        "VolumeDriver.Get": ({ Name }) => ({ Volume: volumeOf(Name) }),
        "VolumeDriver.List": () => ({ Volumes: [...volumes].map(volumeOf) }),
        "VolumeDriver.Capabilities": () => ({ Capabilities: { Scope: "global" } }),
      },
    );
    try {
      await engine.ok(["volume", "create", "-d", name, "-o", "a=b", "disk"]);
      expect(plugin.calls[0]).toEqual({
        method: "VolumeDriver.Create",
        body: { Name: "disk", Opts: { a: "b" } },
      });
      expect(await run(["-v", "disk:/d"], "stat -c %u /d; echo 1 > /d/x")).toBe("7");
      expect(readFileSync(`${place}/x`, "utf8")).toBe("1\n");
      await engine.ok(["run", "-d", "--name", "held", "-v", "disk:/d", "busybox", "sleep", "1000"]);
      const source = "{{range .Mounts}}{{.Driver}} {{.Source}}{{end}}";
      expect(await engine.ok(["inspect", "-f", source, "held"])).toBe(`${name} ${place}`);
      await engine.crash();
      await engine.ok(["rm", "-f", "held"]);
      const named = (method: string) =>
        plugin.calls.filter((call) => call.method === `VolumeDriver.${method}`);
      const ids = (method: string) => named(method).map(({ body }) => body["ID"]);
      expect(ids("Unmount")).toEqual(ids("Mount"));
      const format = "{{.Scope}} {{.Status}} {{.Mountpoint}} {{.Options}}";
      expect(await engine.ok(["volume", "inspect", "-f", format, "disk"])).toBe(
        `global map[disk:blue] ${place} map[a:b]`,
      );
      const listed = ["volume", "ls", "-f", `driver=${name}`, "--format", "{{.Name}}"];
      expect(await engine.ok(listed)).toBe("disk\nknown");
      await engine.ok(["volume", "rm", "known"]);
      expect([...volumes]).toEqual(["disk"]);
    } finally {
      plugin[Symbol.dispose]();
      rmSync(`${folder}/${name}.sock`, { force: true });
    }
    const said = await refusal("run", "--rm", "-v", "disk:/d", "busybox", "true");
    expect(said).toContain("error while mounting volume");
    await engine.ok(["volume", "rm", "-f", "disk"]);
    expect(await refusal("volume", "create", "-d", name, "gone")).toContain(
      `error looking up volume plugin ${name}: plugin "${name}" not found`,
    );
  });
});
