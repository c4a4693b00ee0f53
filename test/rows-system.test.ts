/** Every command of the docker client on the engine as a whole; flags with a grammar; restarts; raw answers. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { command, lading, TestEngine, whyNot } from "./engine.ts";
import { follow, forgotten, type Step, until } from "./steps.ts";

const created = (flags: string, template: string, shown: string): Step[] => [
  [`docker create --name grammar ${flags} busybox true`, /./],
  [`docker inspect -f '${template}' grammar`, shown],
  ["docker rm -v grammar", "grammar"],
];

/** Flags of `run` whose values have a grammar, and what is made of them. */
const grammars: [name: string, steps: Step[]][] = [
  [
    "--publish",
    created(
      "-p 127.0.0.1:18811-18812:80-81 -p [::1]:18811:80/udp -p 18813:90/sctp -p 99",
      "{{json .HostConfig.PortBindings}}",
      '{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"18811"}],"80/udp":[{"HostIp":"::1","HostPort":"18811"}],' +
        '"81/tcp":[{"HostIp":"127.0.0.1","HostPort":"18812"}],"90/sctp":[{"HostIp":"","HostPort":"18813"}],' +
        '"99/tcp":[{"HostIp":"","HostPort":""}]}',
    ),
  ],
  [
    "--network",
    created(
      "--network name=bridge,driver-opt=com.docker.network.endpoint.ifname=up0,gw-priority=7,mac-address=02:42:ac:00:00:09",
      "{{with .NetworkSettings.Networks.bridge}}{{.DriverOpts}} {{.GwPriority}}{{end}}",
      "map[com.docker.network.endpoint.ifname:up0] 7",
    ),
  ],
  [
    "--mount",
    [
      ...created(
        "--mount type=volume,src=grammar,dst=/v,volume-nocopy,volume-label=a=b,readonly " +
          "--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700 " +
          "--mount type=bind,src=/tmp,dst=/b,ro,bind-recursive=disabled " +
          "--mount type=image,src=busybox,dst=/i,image-subpath=bin",
        "{{range .Mounts}}{{.Type}}:{{.Destination}}:{{.RW}} {{end}}",
        "volume:/v:false tmpfs:/t:true bind:/b:false image:/i:false",
      ),
      ["docker volume rm grammar", "grammar"],
    ],
  ],
  [
    "--ulimit, --add-host, --restart",
    created(
      "--ulimit nofile=5:9 --ulimit core=-1 --add-host a:1.2.3.4 --add-host b=::1 --restart on-failure:3",
      "{{json .HostConfig.Ulimits}} {{.HostConfig.ExtraHosts}} {{.HostConfig.RestartPolicy}}",
      '[{"Name":"core","Hard":-1,"Soft":-1},{"Name":"nofile","Hard":9,"Soft":5}] [a:1.2.3.4 b:::1] {on-failure 3}',
    ),
  ],
  [
    "what no grammar has",
    [
      ["docker create --mount type=npipe,src=a,dst=/b busybox", /npipe|not supported|invalid/i, 1],
      ["docker create --mount type=volume,dst=/b,ro busybox", /ReadOnly mode/, 1],
      ["docker create --mount type=cluster,src=a,dst=/b busybox", /cluster/i, 1],
      ["docker create --add-host h busybox", /bad format for add-host/, 125],
      ["docker create -v /a:b busybox", /absolute/, 1],
      ["docker create -p 1-3:80-81 busybox", /invalid ranges specified/, 125],
      ["docker create --isolation hyperv busybox", /[Ii]nvalid isolation/, 1],
      ["docker create --pid foo busybox", /invalid PID mode/, 125],
      ["docker create --ipc foo busybox", /Invalid IPC mode/, 1],
    ],
  ],
];

describe.skipIf(whyNot !== undefined)(`rows${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  const call = (path: string, init: RequestInit = {}) =>
    fetch(`http://x${path}`, { ...init, unix: engine.host.replace("unix://", "") });

  beforeAll(async () => {
    engine = await TestEngine.open("rows-sys");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  for (const [name, steps] of grammars) test(`grammar of ${name}`, () => follow(engine, steps));

  test("version, info, system info: -f", async () => {
    await follow(engine, [
      ["docker version -f '{{.Server.Os}} {{.Server.APIVersion}}'", "linux 1.51"],
      [
        "docker version -f '{{range .Server.Components}}{{.Name}} {{end}}'",
        "Engine Lading crun lading-init",
      ],
      ["docker version -f '{{.Server.Version}}'", /^28\.\d+\.\d+\+lading\.\d+\.\d+\.\d+$/],
      ["docker info -f '{{.RuncCommit.ID}}'", /^[0-9a-f]{40}$|^\d/],
      ["docker version -f '{{.Foo}}'", /can't evaluate field Foo/, 1],
      [
        "docker info -f '{{.OSType}} {{.MemoryLimit}} {{.Swarm.LocalNodeState}}'",
        "linux true inactive",
      ],
      [
        "docker system info -f '{{.Plugins.Volume}} {{.Plugins.Network}}'",
        /^\[local\] \[bridge host /,
      ],
      ["docker info | grep -c '^Server:'", "1"],
    ]);
  });

  test("system df -v --format, system prune -a --filter -f --volumes, container prune", async () => {
    const script = "echo 12345 > /v/f; echo 1234567890 > /big";
    await follow(engine, [
      [`docker run --name df1 -v dfv:/v busybox sh -c '${script}'`, ""],
      ["docker system df --format '{{.Type}}'", "Images\nContainers\nLocal Volumes\nBuild Cache"],
      [
        "docker system df -v --format '{{range .Containers}}{{.Names}} {{.Size}} {{.LocalVolumes}}{{end}}" +
          " {{range .Volumes}}{{.Name}} {{.Links}} {{.Size}}{{end}}'",
        "df1 11B 1 dfv 1 6B",
      ],
      ["docker system prune -f --filter foo=bar", /invalid filter 'foo'/i, 1],
      ["docker container prune -f --filter until=foo", /until/, 1],
      ["docker container prune -f --filter label=other", /reclaimed space: 0B/],
      ["docker container prune -f --filter until=1h", /reclaimed space: 0B/],
      ["docker system prune -a -f --volumes --filter label=other", /reclaimed space: 0B/],
      [
        "docker container prune --force",
        /^Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space: 11B$/,
      ],
      ["docker volume rm dfv", "dfv"],
      ["docker create --name df2 busybox", /./],
      ["docker network create dfn", /./],
      [
        "docker system prune -f",
        /^Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Networks:\ndfn\n\nTotal reclaimed space: 0B$/,
      ],
      ["docker ps -aq -f name=df", ""],
      ["docker network ls -q -f name=dfn", ""],
    ]);
  });

  test("system events --since --until --filter --format", async () => {
    const since = String(Date.now() / 1000);
    await follow(engine, [
      ["docker run --name ev --label k=v -v evv:/v busybox true", ""],
      ["docker rm ev", "ev"],
      ["docker volume rm evv", "evv"],
      ["docker network prune -f", ""],
      ["docker image prune -f --filter label=other", /0B/],
    ]);
    const now = String(Date.now() / 1000 + 0.1);
    const events = `docker system events --since ${since} --until ${now} --format '{{.Type}} {{.Action}}' --filter`;
    await follow(engine, [
      [
        `${events} container=ev`,
        "container create\ncontainer attach\ncontainer start\ncontainer die\ncontainer destroy",
      ],
      [`${events} type=volume`, "volume create\nvolume mount\nvolume unmount\nvolume destroy"],
      [`${events} type=network`, "network connect\nnetwork disconnect\nnetwork prune"],
      [`${events} type=image`, "image prune"],
      [`${events} event=start --filter label=k=v --filter image=busybox`, "container start"],
      [`${events} label=nope`, ""],
      [`${events} scope=swarm`, ""],
      ["docker events --since x", /failed to parse/, 1],
    ]);
  });

  test("restarts come with a delay that doubles, as often as allowed", async () => {
    const at = Date.now() / 1000;
    const state = "docker inspect -f '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}'";
    await follow(engine, [
      ["docker run -d --name re1 --restart on-failure:3 busybox false", /./],
      ["docker run -d --name re2 --restart unless-stopped busybox true", /./],
    ]);
    await until(engine, [`${state} re1`, "3 exited 1"]);
    await until(engine, ["docker inspect -f '{{ge .RestartCount 2}}' re2", "true"]);
    const times = await engine.ok([
      ..."events --filter container=re1 --filter event=start --format {{.TimeNano}}".split(" "),
      ...["--since", String(at), "--until", String(Date.now() / 1000)],
    ]);
    const starts = times.split("\n").map((text) => Number(text) / 1e6);
    const gaps = starts.slice(1).map((time, index) => time - starts[index]!);
    expect(gaps.length).toBe(3);
    for (const [index, gap] of gaps.entries()) expect(gap).toBeGreaterThan(100 * 2 ** index);
    await follow(engine, [
      ["docker stop -t 0 re2", "re2"],
      ["docker inspect -f '{{.State.Status}}' re2", "exited"],
      ["docker rm -f re1 re2", "re1\nre2"],
      ["docker create --restart always:3 busybox", /maximum retry count/, 1],
      ["docker create --rm --restart always busybox", /conflicting options/, 125],
    ]);
  });

  test("a context made from another one reaches the same engine", async () => {
    await follow(engine, [
      ["docker context create --from default copy", /copy/],
      ["docker context export copy - | DOCKER_HOST= docker context import again -", /again/],
      ["DOCKER_HOST= docker --context again version -f '{{.Server.Platform.Name}}'", "Lading"],
      ["docker context rm -f copy again", "copy\nagain"],
    ]);
  });

  test("completion in bash knows commands, flags and names, and runs nothing that it is told", async () => {
    await engine.ok(["create", "--name", "complete-me", "busybox"]);
    const answers = async (fake: string, ...words: string[]) => {
      const script =
        `eval "$(${lading} completion bash)"; lading() { ${fake} }; COMP_WORDS=(lading ${words.join(" ")}); ` +
        `COMP_CWORD=${words.length}; _lading; echo "\${COMPREPLY[@]}"`;
      return (await command(["bash", "-c", script], { env: engine.env })).stdout.trim();
    };
    const real = `${lading} "$@";`;
    expect(await answers(real, "pau")).toBe("pause");
    expect(await answers(real, "network", "disc")).toBe("disconnect");
    expect(await answers(real, "ps", "--no-")).toBe("--no-trunc");
    expect(await answers(real, "stop", "comp")).toBe("complete-me");
    expect(await answers(real, "history", "busyb")).toBe("busybox:latest");
    const hostile = `printf 'comp$(touch ${engine.folder}/hacked)\\ncompany\\n';`;
    expect(await answers(hostile, "stop", "comp")).toBe("company");
    expect(existsSync(join(engine.folder, "hacked"))).toBe(false);
    await engine.ok(["rm", "complete-me"]);
  });

  test("_ping and its HEAD, auth, and bodies that are none", async () => {
    for (const method of ["GET", "HEAD"]) {
      const answer = await call("/_ping", { method });
      expect([answer.status, answer.headers.get("api-version")]).toEqual([200, "1.51"]);
      expect(await answer.text()).toBe(method === "GET" ? "OK" : "");
    }
    const headers = { "Content-Type": "application/json" };
    const cases: [path: string, body: string | undefined, status: number][] = [
      ["/auth", '{"username":"a","password":"b","serveraddress":"127.0.0.1:1"}', 503],
      ["/auth", "{", 400],
      ["/containers/create", "{", 400],
      ["/containers/create", '{"Image":5}', 400],
      ["/containers/create", "{}", 400],
      ["/containers/nosuch/start", undefined, 404],
      ["/containers/nosuch/exec", '{"Cmd":["x"]}', 404],
      ["/exec/nosuch/start", "{}", 404],
      ["/exec/nosuch/resize?h=1&w=1", undefined, 404],
      ["/networks/create", "{}", 400],
      ["/networks/nosuch/connect", '{"Container":"x"}', 404],
      ["/volumes/create", '{"Name":"a/b"}', 400],
      [`/containers/prune?filters=${encodeURIComponent('{"label":"x"}')}`, undefined, 400],
      ["/swarm/init", "{}", 501],
    ];
    for (const [path, body, status] of cases) {
      const answer = await call(path, { method: "POST", headers, ...(body ? { body } : {}) });
      expect([path, answer.status]).toEqual([path, status]);
      expect(await answer.text()).toContain('{"message":');
    }
    expect((await call("/networks/bridge?scope=swarm")).status).toBe(404);
    expect((await call("/v1.99/info")).status).toBe(400);
  });

  test("no flag of these commands is forgotten", async () => {
    const system = ["version", "info", "system df", "system events", "system info", "system prune"];
    const mine = [...system, "container prune"].map((name) => {
      return forgotten(engine, name, import.meta.path);
    });
    const words = "create export import inspect ls rm show update use".split(" ");
    const contexts = words.map((name) => {
      const elsewhere = join(import.meta.dir, "contexts.test.ts");
      return forgotten(engine, `context ${name}`, elsewhere, import.meta.path);
    });
    expect((await Promise.all([...mine, ...contexts])).flat()).toEqual([]);
  });
});
