/** Every command of the docker client on containers, each flag by what it does; and what it refuses. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TestEngine, whyNot } from "./engine.ts";
import { follow, forgotten, type Step, until } from "./steps.ts";

/** Tables of steps by name; each is a test, and they run beside each other. */
const tables: Record<string, readonly Step[]> = {
  "attach --detach-keys --no-stdin --sig-proxy": [
    ["docker run -d -i --name at busybox sh -c 'read x; echo got $x; exit 4'", /./],
    ["docker attach --detach-keys foo at", /received 400|Invalid detach keys/, 1],
    ["timeout -s KILL 1 docker attach --no-stdin at < /dev/null", /^(Killed)?$/, 137],
    ["echo hello | docker attach --sig-proxy=false at", "got hello", 4],
    ["docker attach at", /cannot attach to a stopped container/, 1],
    ["docker attach nosuch", /No such container: nosuch/, 1],
    ["docker rm at", "at"],
  ],
  "create, start -a -i --detach-keys, wait": [
    ["docker create -i --name cs busybox sh -c 'cat; exit 3'", /^[0-9a-f]{64}$/],
    ["docker create --name cs busybox", /name "\/cs" is already in use/, 1],
    ["echo in | docker start -a -i --detach-keys ctrl-x cs", "in", 3],
    ["docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' cs", "exited 3"],
    ["docker wait cs", "3"],
    ["docker wait cs nosuch", /3\n.*No such container: nosuch/, 1],
    ["docker start --checkpoint x --checkpoint-dir /x cs", /[Cc]heckpoint/, 1],
    ["docker start nosuch cs", /cs\n.*No such container: nosuch/s, 1],
    ["docker rm -f cs", "cs"],
  ],
  "commit -a -c -m -p": [
    ["docker run --name cm busybox touch /made", ""],
    ["docker commit -a me -c 'CMD [\"x\"]' -m why --pause=false cm made:1", /^sha256:/],
    [
      "docker inspect -f '{{json .Config.Cmd}} {{.Author}} {{.Comment}} {{len .RootFS.Layers}}' made:1",
      '["x"] me why 2',
    ],
    ["docker run --rm made:1 ls /made", "/made"],
    ["docker commit cm 'Bad/Name'", /must be lowercase/, 1],
    ["docker commit -c 'FOO x' cm", /unknown instruction: FOO/, 1],
    ["docker rmi made:1", /Untagged: made:1/],
    ["docker rm cm", "cm"],
  ],
  "cp -a -L -q, export -o, diff": [
    ["docker create --name cp busybox", /./],
    ["docker cp -q /etc/hostname cp:/tmp/", ""],
    ["docker cp -a cp:/tmp/hostname - | tar t", "hostname"],
    ["docker cp cp:/bin/sh - | tar tv | cut -c1", "l"],
    ["docker cp -L cp:/bin/sh - | tar tv | cut -c1", "-"],
    ["docker cp cp:/nosuch -", /Could not find the file \/nosuch in container cp/, 1],
    ["docker cp /etc/hostname cp:/etc/passwd/x", /not a directory/, 1],
    ["docker cp /etc cp:/etc/passwd", /cannot copy directory/, 1],
    ["docker diff cp", "C /tmp\nA /tmp/hostname"],
    ["docker export cp | tar t | grep -c '^tmp/hostname$'", "1"],
    [
      'docker export -o "$DOCKER_CONFIG/x.tar" cp && tar tf "$DOCKER_CONFIG/x.tar" bin/sh',
      "bin/sh",
    ],
    ["docker export nosuch", /No such container/, 1],
    ["docker rm cp", "cp"],
  ],
  "exec -d -e --env-file -i --privileged -t -u -w --detach-keys": [
    ["docker run -d --name ex -e A=a busybox sleep 1000", /./],
    ["printf 'F=f\\n' > \"$DOCKER_CONFIG/env\"", ""],
    ["docker exec -e B=b --env-file \"$DOCKER_CONFIG/env\" ex sh -c 'echo $A$B$F'", "abf"],
    ["echo in | docker exec -i ex cat", "in"],
    ["docker exec -u www -w /tmp ex sh -c 'id -un; pwd'", "www\n/tmp"],
    ["docker exec -u nosuch ex id", /unable to find user nosuch/, 126],
    ["docker exec -t --detach-keys ctrl-x ex tty", "/dev/pts/0"],
    ["docker exec --privileged ex grep CapEff /proc/self/status", /f{6}$/],
    ["docker exec ex grep CapEff /proc/self/status", /00000000a80425fb$/],
    ["docker exec -d ex sh -c 'mkfifo /done; echo made >/done'", ""],
    ["docker exec ex sh -c 'while [ ! -p /done ]; do sleep 0.1; done; cat /done'", "made"],
    ["docker exec ex sh -c 'exit 9'", "", 9],
    ["docker exec ex nosuch", /executable file not found/, 127],
    ["docker exec ex /etc", /permission denied/, 126],
    ["docker exec -w /nosuch ex pwd", /No such file or directory/i, 126],
    ["docker pause ex", "ex"],
    ["docker exec ex true", /is paused, unpause the container before exec/, 1],
    ["docker rm -f ex", "ex"],
    ["docker exec ex true", /No such container: ex/, 1],
  ],
  "inspect -f -s --type": [
    ["docker create --name in busybox true", /./],
    ["docker inspect -s -f '{{.SizeRw}} {{.SizeRootFs}}' in", /^0 \d{6,}$/],
    ["docker container inspect -s -f '{{.Name}}' in", "/in"],
    ["docker inspect --type image in", /No such image: in/, 1],
    ["docker inspect --type volume in", /no such volume/, 1],
    ["docker inspect -f '{{.Nosuch}}' in", /can't evaluate field Nosuch|map has no entry/, 1],
    ["docker inspect in nosuch | head -1", /\[/],
    ["docker rm in", "in"],
  ],
  "kill -s, stop -s -t, restart -s -t, rm -f -l -v": [
    [
      "docker run -d --name ki -v kivol:/v -v /anon busybox sh -c " +
        "\"trap 'echo usr1' USR1; trap 'echo hup; exit 6' HUP; while :; do sleep 0.1; done\"",
      /./,
    ],
    ["docker kill -s FOO ki", /Invalid signal: FOO/, 1],
    ["docker kill -s 0 ki", /Invalid signal: 0/, 1],
    ["docker kill -s USR1 ki", "ki"],
    ["docker restart -s HUP -t 20 ki", "ki"],
    ["docker logs ki", "usr1\nhup"],
    ["docker rm ki", /container is running: stop the container before removing/, 1],
    ["docker stop -s HUP -t 20 ki", "ki"],
    ["docker inspect -f '{{.State.ExitCode}}' ki", "6"],
    ["docker kill ki", /is not running/, 1],
    ["docker stop ki", "ki"],
    ["docker rm -l ki", /cannot remove the default link name/, 1],
    ["docker rm -v ki", "ki"],
    ["docker volume ls -q -f dangling=true | grep -c .", "1"],
    ["docker volume rm kivol", "kivol"],
    ["docker rm -f nosuch", /No such container: nosuch/],
    [
      "docker run -d --name si --stop-signal HUP --stop-timeout 30 busybox sh -c " +
        "\"trap 'exit 7' HUP; echo ready; while :; do sleep 0.1; done\"",
      /./,
    ],
    ["while ! docker logs si | grep -q ready; do sleep 0.1; done", ""],
    ["docker stop si", "si"],
    ["docker inspect -f '{{.State.ExitCode}}' si", "7"],
    ["docker rm si", "si"],
  ],
  "rm --link takes a link away, not the container": [
    ["docker run -d --name web busybox sleep 1000", /./],
    ["docker run -d --name app --link web:db busybox sleep 1000", /./],
    ["docker inspect -f '{{json .HostConfig.Links}}' app", '["/web:/app/db"]'],
    ["docker rm --link app/nosuch", /No such link: \/app\/nosuch/, 1],
    ["docker rm app/db", /No such container: app\/db/, 1],
    ["docker rm --link app/db", "app/db"],
    ["docker restart -t 0 app", "app"],
    ["docker exec app grep -cw db /etc/hosts", "0", 1],
    ["docker rm -f app web", "app\nweb"],
  ],
  "logs --details -f --since -n -t --until": [
    [
      "docker run --name lo --log-opt labels=a --log-opt env-regex=^E --log-opt tag={{.Name}} " +
        "-l a=1 -e E=2 busybox sh -c 'echo one; printf three'",
      "one\nthree",
    ],
    ["docker logs lo", "one\nthree"],
    ["docker logs -n 1 -f lo", "three"],
    ["docker logs -t -n 1 lo", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z three$/],
    ["docker logs --since 1h lo", "one\nthree"],
    ["docker logs --until 1h lo", ""],
    ["docker logs --details -n 1 lo", "E=2,a=1,tag=lo three"],
    ["docker logs --since foo lo", /foo/, 1],
    ["docker rm lo", "lo"],
    ["docker run --name lo busybox sh -c 'echo one; echo two >&2'", "one\ntwo"],
    ["docker logs lo 2>/dev/null", "one"],
    ["docker logs lo 2>&1 >/dev/null", "two"],
    ["docker rm lo", "lo"],
    ["docker run --name lo --log-driver none busybox echo x", "x"],
    ["docker logs lo", /does not support reading/, 1],
    ["docker rm lo", "lo"],
  ],
  "log options that make no sense are refused": [
    ["docker create --log-opt max-size=foo busybox", /invalid size: 'foo'/, 1],
    ["docker create --log-opt max-file=0 busybox", /max-file cannot be less than 1/, 1],
    ["docker create --log-driver local --log-opt env=x busybox", /unknown log opt 'env'/, 1],
  ],
  "ls -a -f --format -n -l --no-trunc -q -s": [
    [
      "docker run -d --name ls1 -p 127.0.0.1:18801:80 --expose 90 -l k=v -v lsvol:/d busybox sleep 1000",
      /./,
    ],
    ["docker create --name ls2 busybox true", /./],
    ["docker ps --no-trunc -f name=ls1 --format '{{.Command}} {{.Labels}}'", '"sleep 1000" k=v'],
    [
      "docker ps -f name=ls1 --format '{{.Ports}} {{.State}}'",
      "90/tcp, 127.0.0.1:18801->80/tcp running",
    ],
    ["docker ps -s -f name=ls1 --format '{{.Size}}'", /^0B \(virtual \d/],
    ["docker ps -a -q -f name=ls2 | wc -c", "13"],
    ["docker ps -n 1000 -a --format '{{.Names}}' | grep -c '^ls[12]$'", "2"],
    ["docker ps -l -q --no-trunc | wc -c", "65"],
    ...[
      ["ancestor=busybox", 2],
      ["ancestor=nosuch", 0],
      ["before=ls2", 1],
      ["since=ls1", 1],
      ["status=created", 1],
      ["label=k=w", 0],
      ["label=k=v", 1],
      ["network=bridge", 2],
      ["network=host", 0],
      ["volume=lsvol", 1],
      ["volume=/d", 1],
      ["publish=18801", 1],
      ["expose=90/tcp", 1],
      ["health=none", 2],
      ["health=healthy", 0],
      ["exited=77", 0],
      ["is-task=false", 2],
      ["is-task=true", 0],
    ].map(([filter, count]): Step => {
      const line = `docker ps -a -f ${filter} --format '{{.Names}}' | grep -c '^ls[12]$'`;
      return [line, String(count), count === 0 ? 1 : 0];
    }),
    ["docker ps -f foo=bar", /invalid filter 'foo'/i, 1],
    ["docker ps -f status=foo", /invalid filter 'status=foo'/i, 1],
    ["docker rm -f -v ls1 ls2", "ls1\nls2"],
    ["docker volume rm lsvol", "lsvol"],
  ],
  "pause, unpause, rename, port, top": [
    [
      "docker run -d --name pa -p 127.0.0.1:18802:80 -p 127.0.0.1:18802:81/udp busybox sleep 1000",
      /./,
    ],
    ["docker port pa", "80/tcp -> 127.0.0.1:18802\n81/udp -> 127.0.0.1:18802"],
    ["docker port pa 81/udp", "127.0.0.1:18802"],
    ["docker port pa 82", /No public port '82' published for pa/, 1],
    ["docker top pa -o pid,comm", /^PID +COMMAND\n\d+ +sleep$/],
    ["docker top pa -o foo", /ps: error: unknown user-defined format specifier "foo"/, 1],
    ["docker pause pa", "pa"],
    ["docker pause pa", /is already paused/, 1],
    ["docker ps -f name=pa --format '{{.Status}}'", /\(Paused\)$/],
    ["docker unpause pa", "pa"],
    ["docker unpause pa", /is not paused/, 1],
    ["docker rename pa pa", /Renaming a container with the same name/, 1],
    ["docker rename pa '!'", /Invalid container name/, 1],
    ["docker rename pa pb", ""],
    ["docker inspect -f '{{.Name}}' pb", "/pb"],
    ["docker inspect pa", /No such object: pa/, 1],
    ["docker rm -f pb", "pb"],
    ["docker run -d --name pc -P --expose 90 busybox sleep 1000", /./],
    ["docker port pc 90", /^0\.0\.0\.0:\d+\n\[::\]:\d+$/],
    ["docker rm -f pc", "pc"],
    ["docker run -d --name pd busybox sh -c 'while :; do echo; sleep 0.05; done'", /./],
    ["docker pause pd", "pd"],
    [
      "sleep 0.2; before=$(docker logs pd | wc -l); sleep 0.4; echo $(($(docker logs pd | wc -l) - before))",
      "0",
    ],
    ["docker unpause pd", "pd"],
    ["docker logs -f -n 0 pd | head -n 2 | wc -l", "2"],
    ["docker rm -f pd", "pd"],
  ],
  "stats -a --format --no-stream --no-trunc": [
    ["docker run -d --name st busybox sleep 1000", /./],
    ["docker stats --no-stream --format '{{.Name}} {{.PIDs}}' st", "st 1"],
    ["docker stats --no-stream --no-trunc --format '{{.ID}}' st", /^[0-9a-f]{64}$/],
    ["docker stats -a --no-stream --format '{{.Name}} {{.MemUsage}}' | grep -c '^st '", "1"],
    ["docker stats --no-stream nosuch", /No such container/, 1],
    ["docker rm -f st", "st"],
  ],
  "limits that no kernel can keep are refused": [
    ["docker create --cpu-shares=-1 busybox", /invalid CPU shares \(-1\)/, 1],
    ["docker create --cpus 1000 busybox", /range of CPUs is from 0.01 to/i, 1],
    ["docker create -m 1m busybox", /Minimum memory limit allowed is 6MB/, 1],
    ["docker create -m 64m --memory-swap 32m busybox", /Minimum memoryswap limit/, 1],
    ["docker create --cpuset-cpus 999 busybox", /Requested CPUs are not available/, 1],
    ["docker create --ulimit nofile=5:3 busybox", /soft limit must be less than/, 125],
    ["docker create --shm-size=-1 busybox", /SHM size|invalid size/, 125],
  ],
};

/** Flag of `update`, its value, file of version 1 and what is in it then. */
const updates: [flags: string, v1: string, content: string][] = [
  ["--memory 64m --memory-swap 128m", "memory/memory.limit_in_bytes", "67108864"],
  ["--memory-reservation 8m", "memory/memory.soft_limit_in_bytes", "8388608"],
  ["--cpu-shares 300", "cpu/cpu.shares", "300"],
  ["--cpu-period 50000 --cpu-quota 20000", "cpu/cpu.cfs_quota_us", "20000"],
  ["--cpuset-cpus 0 --cpuset-mems 0", "cpuset/cpuset.cpus", "0"],
  ["--pids-limit 33", "pids/pids.max", "33"],
];

describe.skipIf(whyNot !== undefined)(`rows${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await TestEngine.open("rows");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  for (const [name, steps] of Object.entries(tables)) {
    test.concurrent(name, () => follow(engine, steps), 60_000);
  }

  test("update changes limits of what runs, and they are there after a restart", async () => {
    await follow(engine, [
      ["docker run -d --name up -m 32m busybox sleep 1000", /./],
      ["docker update -m 128m up", /update the memoryswap at the same time/, 1],
      ["docker update --cpus 1000 up", /range of CPUs/i, 1],
      ["docker update --restart foo up", /foo/, 1],
      ["docker update --blkio-weight 300 up", /^up/],
      ["docker update --restart on-failure:3 up", "up"],
      ["docker inspect -f '{{.HostConfig.RestartPolicy}}' up", "{on-failure 3}"],
    ]);
    const group = "docker exec up cat /sys/fs/cgroup";
    const isV1 = (await engine.docker(["exec", "up", "ls", "/sys/fs/cgroup/memory"])).code === 0;
    for (const [flags, file, content] of updates) {
      await follow(engine, [[`docker update ${flags} up`, "up"]]);
      if (isV1) await follow(engine, [[`${group}/${file}`, content]]);
    }
    await follow(engine, [
      ["docker update --cpus 0.5 up", /CPU Period is set|CPU Quota/, 1],
      ["docker update --cpu-rt-period 1000 --cpu-rt-runtime 2000 up", /./, 1],
      ["docker restart -t 0 up", "up"],
      ...(isV1 ? [[`${group}/cpu/cpu.shares`, "300"] as const] : []),
      ["docker rm -f up", "up"],
    ]);
  });

  test("health: streak, output, time limit; and not healthy once it has ended", async () => {
    const run = "docker run -d --health-interval 300ms --health-retries 2";
    const status = (name: string) => `docker inspect -f '{{.State.Health.Status}}' ${name}`;
    const first = "{{with index .State.Health.Log 0}}{{.ExitCode}} {{json .Output}}{{end}}";
    await follow(engine, [
      [`${run} --name he1 --health-cmd 'echo o; test -f /ok' busybox sleep 1000`, /./],
      [`${run} --name he2 --health-cmd 'sleep 9' --health-timeout 500ms busybox sleep 1000`, /./],
      [`${run} --name he3 --health-cmd 'yes | head -c 9000' busybox sleep 1000`, /./],
    ]);
    await until(engine, [status("he1"), "unhealthy"]);
    await follow(engine, [
      [`docker inspect -f '${first}' he1`, '1 "o\\n"'],
      ["docker ps -f name=he1 -f health=unhealthy --format '{{.Status}}'", /\(unhealthy\)$/],
      ["docker exec he1 touch /ok", ""],
    ]);
    await until(engine, [status("he1"), "healthy"]);
    await until(engine, [
      `docker inspect -f '${first}' he2`,
      '-1 "Health check exceeded timeout (500ms)"',
    ]);
    const length = "{{len (index .State.Health.Log 0).Output}}";
    await until(engine, [`docker inspect -f '${length}' he3`, String(4096 + "...".length)]);
    await until(engine, ["docker inspect -f '{{len .State.Health.Log}}' he3", "5"]);
    await follow(engine, [
      ["docker stop -t 0 he1", "he1"],
      [status("he1"), "unhealthy"],
      ["docker start he1", "he1"],
      [status("he1"), "starting"],
      ["docker rm -f he1 he2 he3", "he1\nhe2\nhe3"],
    ]);
  });

  test("a root that is read-only is so with hosts, hostname and resolv.conf", async () => {
    const script = "for f in hosts hostname resolv.conf; do echo >> /etc/$f; done 2>&1";
    const { stdout } = await engine.docker([
      "run",
      "--rm",
      "--read-only",
      "busybox",
      "sh",
      "-c",
      script,
    ]);
    expect(stdout.match(/Read-only file system/g)?.length).toBe(3);
    await follow(engine, [[`docker run --rm busybox sh -c '${script}; echo well'`, "well"]]);
  });

  test("a folder of devices is its devices, whatever else is in it", async () => {
    await follow(engine, [
      [
        'd="$DOCKER_CONFIG/devices"; mkdir -p "$d/sub"; mkfifo "$d/pipe"; mknod "$d/sub/null" c 1 3; ' +
          'docker run --rm --device "$d:/dev/own" busybox find /dev/own ! -type d',
        "/dev/own/sub/null",
      ],
    ]);
  });

  test("no flag of these commands is forgotten", async () => {
    const names =
      "attach commit cp create diff exec export inspect kill logs ls pause port prune rename restart " +
      "rm start stats stop top unpause update wait";
    const all = names.split(" ").filter((name) => !["create", "prune"].includes(name));
    const lists = all.map((name) => forgotten(engine, `container ${name}`, import.meta.path));
    expect((await Promise.all(lists)).flat()).toEqual([]);
    expect(await forgotten(engine, "inspect", import.meta.path)).toEqual([]);
  });
});
