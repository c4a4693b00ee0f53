/** Every command of the docker client on networks and volumes, each flag by what it does or is refused for. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TestEngine, whyNot } from "./engine.ts";
import { follow, forgotten, type Step } from "./steps.ts";

const options =
  "--subnet 10.214.1.0/24 --ip-range 10.214.1.128/25 --gateway 10.214.1.1 --aux-address a=10.214.1.5 " +
  "--ipv6 --subnet fd14:1::/64 --ipv4 --internal --attachable --label k=v --scope local " +
  "-o com.docker.network.driver.mtu=1400 --ipam-driver default --ipam-opt x=y -d bridge";

const tables: Record<string, readonly Step[]> = {
  "create and inspect -f -v": [
    [`docker network create ${options} all`, /^[0-9a-f]{64}$/],
    // The client sends the subnets in any order.
    ...[
      `"Config":\\[.*{"Subnet":"10.214.1.0/24","IPRange":"10.214.1.128/25","Gateway":"10.214.1.1"`,
      `"AuxiliaryAddresses":{"a":"10.214.1.5"}`,
      `{"Subnet":"fd14:1::/64","Gateway":"fd14:1::1"}`,
      `"Options":{"x":"y"}.* true true map\\[k:v\\] local$`,
    ].map((part): Step => {
      const shown = "{{json .IPAM}} {{.Internal}} {{.Attachable}} {{.Labels}} {{.Scope}}";
      return [`docker network inspect -v -f '${shown}' all`, new RegExp(part)];
    }),
    ["docker run --rm --network all busybox cat /sys/class/net/eth0/mtu", "1400"],
    ["docker network create all", /network with name all already exists/, 1],
    ["docker network inspect all nosuch -f '{{.Name}}'", /all\n.*nosuch not found/s, 1],
    ["docker network rm -f all nosuch", "all"],
    ["docker network rm all", /all not found/, 1],
  ],
  "create --config-only --config-from": [
    ["docker network create --config-only --subnet 10.214.2.0/24 plan", /./],
    ["docker network create --config-from plan made", /./],
    ["docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' made", "10.214.2.0/24"],
    ["docker network rm plan", /is in use/, 1],
    ["docker network create --config-from nosuch x", /configuration network "nosuch"/, 1],
    [
      "docker run --rm --network plan busybox true",
      /cannot create endpoint on configuration-only network/,
      125,
    ],
    ["docker network rm made plan", "made\nplan"],
  ],
  "create refuses what cannot be": (
    [
      ["-d nosuch", /nosuch/],
      ["-d host", /only one instance of "host" network is allowed/],
      ["--subnet foo", /invalid CIDR/],
      ["--subnet 10.214.3.0/24 --gateway 10.9.0.1", /no matching subnet|10\.9\.0\.1/],
      ["--subnet 10.214.3.0/24 --ip-range 10.9.0.0/24", /10\.9\.0\.0|no matching/],
      ["--subnet 10.214.3.0/24 --subnet 10.214.4.0/24", /doesn't support multiple subnets/],
      ["--subnet 10.214.3.0/24 --subnet 10.214.3.0/25", /./],
      ["--ipam-driver nosuch", /nosuch/],
      ["-o com.docker.network.driver.mtu=foo", /foo/],
      ["--scope swarm", /swarm/],
      ["--ingress", /[Ii]ngress/],
    ] as const
  ).map(([flags, why]): Step => [`docker network create ${flags} bad`, why, 1]),
  "connect and disconnect": [
    ["docker network create --subnet 10.214.5.0/24 --ipv6 --subnet fd14:5::/64 co", /./],
    ["docker run -d --name c1 --network co busybox sleep 1000", /./],
    ["docker run -d --name c2 busybox sleep 1000", /./],
    ["docker network connect --ip 10.1.1.1 co c2", /no configured subnet contains IP address/, 1],
    [
      "docker network connect --ip 10.214.5.7 --ip6 fd14:5::7 --alias foo --link c1:lnk " +
        "--driver-opt com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1 " +
        "--gw-priority 5 co c2",
      "",
    ],
    ["docker network connect co c2", /already exists in network co/, 1],
    ["docker exec c2 ip -o addr show eth1", /10\.214\.5\.7\/24.*fd14:5::7\/64/s],
    ["docker exec c2 ip route | grep default", /via 10\.214\.5\.1 dev eth1/],
    ["docker exec c2 cat /proc/sys/net/ipv4/conf/eth1/log_martians", "1"],
    ["docker exec c2 ping -c1 -W3 lnk", /1 packets received/],
    ["docker exec c1 ping -c1 -W3 foo", /PING foo \((10\.214\.5\.7|fd14:5::7)\)/],
    ["docker network rm co", /has active endpoints/, 1],
    ["docker network disconnect co c2", ""],
    ["docker network disconnect -f co c2", /is not connected to/, 1],
    ["docker exec c2 ip route | grep default", /dev eth0/],
    ["docker network connect co nosuch", /No such container: nosuch/, 1],
    ["docker network connect nosuch c2", /network nosuch not found/, 1],
    ["docker rm -f c1 c2", "c1\nc2"],
    ["docker network rm co", "co"],
  ],
  "the host's network and none stand alone": [
    ["docker network create lone", /./],
    ["docker run -d --name ho --network host busybox sleep 1000", /./],
    ["docker network inspect -f '{{range .Containers}}{{.Name}}{{end}}' host", "ho"],
    ["docker network connect lone ho", /cannot be connected to any other network/, 1],
    ["docker run -d --name no --network none busybox sleep 1000", /./],
    ["docker network connect lone no", /one of the networks in private \(none\) mode/, 1],
    ["docker network disconnect none no", ""],
    ["docker network connect lone no", ""],
    ["docker exec no ip -o -4 addr | grep -c eth", "1"],
    ["docker create --name idle busybox ip -o link", /./],
    ["docker network connect host idle", /connected to host network/, 1],
    ["docker network connect none idle", /\(none\) mode/, 1],
    ["docker network disconnect bridge idle", ""],
    ["docker network connect none idle", ""],
    ["docker network connect bridge idle", /\(none\) mode/, 1],
    ["docker start -a idle", /^\d+: lo:[^\n]*$/],
    ["docker run --rm --network none --ip 1.2.3.4 busybox", /on user defined networks only/, 125],
    ["docker rm -f ho no idle", "ho\nno\nidle"],
    ["docker network rm lone", "lone"],
  ],
  "volume create, ls, inspect, rm, update": [
    ["docker volume create -d local -o type=tmpfs -o device=tmpfs --label k=v --name v1", /v1$/],
    ["docker volume create v1", "v1"],
    [
      "docker volume inspect -f '{{.Driver}} {{.Options}} {{.Labels}}' v1",
      /local map\[device:tmpfs.*map\[k:v\]/,
    ],
    ["docker volume ls -q -f name=v1 -f label=k -f driver=local -f dangling=true", "v1"],
    ...["label=l", "driver=nosuch", "dangling=false"].map((filter): Step => {
      return [`docker volume ls -q -f name=v1 -f ${filter}`, ""];
    }),
    ["docker volume ls -f name=v1 --format '{{.Name}} {{.Scope}}'", "v1 local"],
    ["docker volume ls -f foo=bar", /invalid filter 'foo'/i, 1],
    ["docker volume ls --cluster", /DRIVER|GROUP/],
    ["docker volume create -d nosuch v2", /nosuch/, 1],
    ["docker volume create -o foo=bar v2", /invalid option: "foo"|foo/, 1],
    ["docker volume create 'a!'", /includes invalid characters/, 1],
    ["docker volume inspect nosuch", /no such volume/, 1],
    [
      "docker volume create --type block --availability active --group g --scope single --sharing none " +
        "--limit-bytes 1g --required-bytes 1m --secret a=b --topology-preferred a=b --topology-required a=b",
      /swarm|cluster/i,
      1,
    ],
    ["docker volume update --availability drain v1", /swarm|cluster/i, 1],
    ["docker volume rm v1", "v1"],
    ["docker volume rm v1", /no such volume/, 1],
    ["docker volume rm -f v1", "v1"],
  ],
};

describe.skipIf(whyNot !== undefined)(`rows${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await TestEngine.open("rows-net");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  for (const [name, steps] of Object.entries(tables)) {
    test.concurrent(name, () => follow(engine, steps), 60_000);
  }

  test("ls -f --format --no-trunc -q; prune --filter -f -a", async () => {
    const dangling = "docker network ls -f dangling=true -f name=pr --format '{{.Name}}'";
    await follow(engine, [
      ["docker network create --label kind=pr pr1", /./],
      ["docker network create pr2", /./],
      ["docker network ls --no-trunc -q -f name=pr1", /^[0-9a-f]{64}$/],
      ["docker network ls -f type=builtin --format '{{.Name}}'", "bridge\nhost\nnone"],
      [
        "docker network ls -f driver=bridge -f scope=local -f label=kind --format '{{.Name}}'",
        "pr1",
      ],
      ...["driver=host", "scope=swarm", "label=other", "type=builtin", "dangling=false"].map(
        (filter): Step => [`docker network ls -q -f name=pr -f ${filter}`, ""],
      ),
      ["docker network ls -f foo=bar", /invalid filter 'foo'/i, 1],
      ["docker network ls -f dangling=foo", /dangling/, 1],
      [dangling, "pr1\npr2"],
      ["docker network prune -f --filter until=foo", /invalid until filter: "foo"/, 1],
      ["docker network prune -f --filter label=other", ""],
      ["docker network prune -f --filter label=kind", "Deleted Networks:\npr1"],
      ["docker network prune -f", "Deleted Networks:\npr2"],
      ["docker volume create --label k=v named", "named"],
      ["docker volume create", /^[0-9a-f]{64}$/],
      ["docker volume prune -f | grep -c '^[0-9a-f]*$'", "2"], // one name, one empty line
      ["docker volume prune -f -a --filter label=other", "Total reclaimed space: 0B"],
      ["docker volume prune -f -a --filter label=k", /named/],
    ]);
    const bare = `{"label":"k"}`; // no list: it must not count as none
    const answer = await fetch(`http://x/networks/prune?filters=${encodeURIComponent(bare)}`, {
      method: "POST",
      unix: engine.host.replace("unix://", ""),
    });
    expect(answer.status).toBe(400);
  });

  test("no flag of these commands is forgotten", async () => {
    const names = [
      ..."connect create disconnect inspect ls prune rm"
        .split(" ")
        .map((name) => `network ${name}`),
      ..."create inspect ls prune rm update".split(" ").map((name) => `volume ${name}`),
    ];
    const lists = names.map((name) => forgotten(engine, name, import.meta.path));
    const elsewhere = "network connect --link-local-ip"; // src/network/drivers.root.test.ts
    const all = (await Promise.all(lists)).flat().filter((one) => one !== elsewhere);
    expect(all).toEqual([]);
  });
});
