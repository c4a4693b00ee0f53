import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { isFailure } from "../base/mod.ts";
import { changeRules, readTable, removeTables, withinNamespace } from "../sys/mod.ts";
import { ignoreReports, sendDatagram } from "./datagram.ts";
import {
  askUdp,
  fetchHere,
  fetchInside,
  hostAddress,
  hostAddress6,
  inside,
  isOutOfReach,
  type Laboratory,
  leftovers,
  networkSpec,
  openLaboratory,
  outsideAddress,
  sandboxSpec,
  until,
} from "./laboratory.ts";
import type { NetworkStore, PortSpec, Sandbox } from "./types.ts";
import { writeSetting } from "./wire.ts";

const tcp = (containerPort: number, hostPort: PortSpec["hostPort"], hostIp = ""): PortSpec => ({
  containerPort,
  protocol: "tcp",
  hostIp,
  hostPort,
});

describe.skipIf(process.getuid?.() !== 0)("published ports", () => {
  let laboratory: Laboratory;
  let store: NetworkStore;
  let web: Sandbox;
  let other: Sandbox;
  let outside: string;

  beforeAll(async () => {
    laboratory = await openLaboratory();
    store = await laboratory.open();
    await store.reconcile(new Set());
    outside = laboratory.outside.path;
    const udp = { containerPort: 5353, protocol: "udp", hostIp: "", hostPort: 5300 } as const;
    web = await store.open(
      sandboxSpec({ ports: [tcp(80, 8080), tcp(80, 8081, "127.0.0.1"), udp] }),
    );
    other = await store.open(sandboxSpec());
    await laboratory.serve(web.netnsPath, 80, "web");
    await laboratory.serve(web.netnsPath, 81, "private");
    await laboratory.serveUdp(web.netnsPath, 5353, "datagram");
    await laboratory.serve(outside, 80, "outside");
  });

  afterAll(async () => {
    for (const { containerId } of [web, other]) await store.close(containerId);
    await store.shutdown();
    const filter = await readTable("ip", "filter");
    await removeTables([["ip", "filter"]]);
    const left = await leftovers();
    await laboratory[Symbol.asyncDispose]();
    expect(left).toBe("");
    expect(filter).not.toContain("LADING");
  });

  test("open() reports a port without a host address as two", () => {
    const places = web.ports.map(({ hostIp, hostPort }) => `${hostIp} ${hostPort}`);
    expect(places).toEqual([
      "0.0.0.0 8080",
      ":: 8080",
      "127.0.0.1 8081",
      "0.0.0.0 5300",
      ":: 5300",
    ]);
  });

  const places: [from: string, url: string][] = [
    ["localhost", "http://127.0.0.1:8080/"],
    ["IPv6 localhost", "http://[::1]:8080/"],
    ["the host's address", `http://${hostAddress}:8080/`],
    ["the host's IPv6 address", `http://[${hostAddress6}]:8080/`],
    ["a port of localhost alone", "http://127.0.0.1:8081/"],
  ];
  test.each(places)("a published port answers at %s", async (_name, url) => {
    expect(await fetchHere(url)).toBe("web");
  });

  test("a published port answers from outside, over IPv4 and IPv6", async () => {
    expect(await fetchInside(outside, `http://${hostAddress}:8080/`)).toBe("web");
    expect(await fetchInside(outside, `http://[${hostAddress6}]:8080/`)).toBe("web");
  });

  test("a port of localhost alone does not answer from outside", async () => {
    expect(await isOutOfReach(outside, `http://${hostAddress}:8081/`)).toBe(true);
  });

  test.each([
    "0",
    "1",
  ])("a container reaches another, and itself, by the host when br_netfilter is %s", async (value) => {
    writeSetting("net/bridge/bridge-nf-call-iptables", value);
    const { address, gateway } = web.endpoints[0]!;
    for (const host of [gateway, hostAddress]) {
      expect(await fetchInside(other.netnsPath, `http://${host}:8080/`)).toBe("web");
      expect(await fetchInside(web.netnsPath, `http://${host}:8080/`)).toBe("web");
    }
    expect(await fetchInside(other.netnsPath, `http://${address}/`)).toBe("web");
  });

  test("datagrams are answered over IPv4 and IPv6", async () => {
    expect(await askUdp("127.0.0.1", 5300)).toBe("datagram");
    expect(await askUdp(hostAddress, 5300)).toBe("datagram");
    expect(await askUdp("::1", 5300)).toBe("datagram");
  });

  test("a flow of datagrams goes to who has the port now", async () => {
    const udp = { containerPort: 5353, protocol: "udp", hostIp: "", hostPort: 5400 } as const;
    const answers: string[] = [];
    const opening = withinNamespace(laboratory.outside, () => ({
      socket: Bun.udpSocket({
        hostname: "0.0.0.0",
        socket: {
          data: (_socket, data) => void answers.push(data.toString()),
          error: ignoreReports,
        },
      }),
    }));
    const client = await opening.socket;
    const send = () => sendDatagram(() => client.send("?", 5400, hostAddress));
    const sandboxes: Sandbox[] = [];
    for (const text of ["first", "second"]) {
      const sandbox = await store.open(sandboxSpec({ ports: [udp] }));
      sandboxes.push(sandbox);
      await laboratory.serveUdp(sandbox.netnsPath, 5353, text);
      send();
      await until(() => answers.at(-1) === text);
      await store.close(sandbox.containerId);
    }
    client.close();
    const addresses = sandboxes.map(({ endpoints }) => endpoints[0]!.address);
    expect(addresses[0]).not.toBe(addresses[1]!);
  });

  test.each([
    "ip",
    "inet",
  ])("published ports stay reachable where another firewall of family %s drops what is forwarded", async (family) => {
    const chain = "chain FORWARD { type filter hook forward priority 0; policy drop; }";
    await changeRules(`table ${family} wall {\n${chain}\n}`);
    const next = await store.open(sandboxSpec()); // The rules are looked at after each.
    const isAround = async () =>
      (await fetchInside(outside, `http://${hostAddress}:8080/`, 1)) === "web";
    await until(isAround);
    expect(await fetchInside(other.netnsPath, `http://${hostAddress}:8080/`)).toBe("web");
    expect(await fetchHere("http://127.0.0.1:8080/")).toBe("web");
    await removeTables([[family, "wall"]]);
    await store.close(next.containerId);
    const last = await store.open(sandboxSpec());
    await store.close(last.containerId);
    await until(isAround);
  });

  test("containers pass the FORWARD chain of iptables that drops, and only they", async () => {
    const user = "chain DOCKER-USER { ip daddr 192.0.2.9 drop; }";
    const chain =
      "chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }";
    await changeRules(`table ip filter {\n${user}\n${chain}\n}`);
    const spec = sandboxSpec();
    for (let round = 0; round < 2; round++) {
      await store.open(spec); // The rules are looked at after each.
      await until(async () => {
        return (await fetchInside(other.netnsPath, `http://${outsideAddress}/`, 1)) === "outside";
      });
      await store.close(spec.containerId);
    }
    const rules = (await readTable("ip", "filter")) ?? "";
    expect(rules.match(/jump LADING-labbr0/g)).toHaveLength(1);
    // What others refuse before stays refused, and our own table still guards what comes in.
    expect(rules).toMatch(/jump DOCKER-USER\n.*jump LADING-labbr0\n/);
    expect(await fetchInside(outside, `http://${hostAddress}:8080/`)).toBe("web");
    await inside(outside, ["ip", "route", "replace", "172.16.0.0/12", "via", hostAddress]);
    expect(await isOutOfReach(outside, `http://${web.endpoints[0]!.address}:81/`)).toBe(true);
  });

  test("a container reaches the outside, which has no route back to it", async () => {
    expect(await fetchInside(other.netnsPath, `http://${outsideAddress}/`)).toBe("outside");
  });

  test("an unpublished port is out of reach of a neighbour that routes to it", async () => {
    const { address } = web.endpoints[0]!;
    expect(await fetchHere(`http://${address}:81/`)).toBe("private");
    await inside(outside, ["ip", "route", "replace", "172.16.0.0/12", "via", hostAddress]);
    expect(await isOutOfReach(outside, `http://${address}:81/`)).toBe(true);
    expect(await isOutOfReach(outside, `http://${address}:80/`)).toBe(true);
  });

  test("a container cannot reach the host's localhost through the bridge", async () => {
    using server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("own") });
    const gateway = other.endpoints[0]!.gateway;
    await inside(other.netnsPath, ["ip", "route", "add", "127.0.0.9/32", "via", gateway]);
    const { port } = server;
    expect(await fetchHere(`http://127.0.0.1:${port}/`)).toBe("own");
    expect(await isOutOfReach(other.netnsPath, `http://127.0.0.9:${port}/`)).toBe(true);
  });

  test("open() refuses a port that a container has, and leaves nothing", async () => {
    const spec = sandboxSpec({ containerName: "late", ports: [tcp(1, 9999), tcp(80, 8080)] });
    const failure = await store.open(spec).catch((error: unknown) => error);
    expect(isFailure(failure, "conflict")).toBe(true);
    expect(String(failure)).toMatch(
      /programming external connectivity on endpoint late \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:8080 failed: port is already allocated/,
    );
    expect(store.sandbox(spec.containerId)).toBeUndefined();
    Bun.listen({ hostname: "0.0.0.0", port: 9999, socket: { data() {} } }).stop();
  });

  test("open() refuses a port where another program listens", async () => {
    using server = Bun.serve({ hostname: "0.0.0.0", port: 0, fetch: () => new Response("") });
    const ports = [tcp(80, server.port!)];
    const failure = await store.open(sandboxSpec({ ports })).catch((error: unknown) => error);
    expect(isFailure(failure, "conflict")).toBe(true);
    expect(String(failure)).toContain("address already in use");
  });

  test("open() finds a free port in a range, and any free port for 0", async () => {
    const spec = sandboxSpec({ ports: [tcp(80, [8080, 8090]), tcp(81, 0)] });
    const { ports } = await store.open(spec);
    expect(ports[0]).toMatchObject({ hostIp: "0.0.0.0", hostPort: 8082 });
    expect(ports[2]!.hostPort).toBeGreaterThan(1023);
    expect(ports[3]!.hostPort).toBe(ports[2]!.hostPort);
    await store.close(spec.containerId);
  });

  test("close() frees the port for the next", async () => {
    const spec = sandboxSpec({ ports: [tcp(80, 8100)] });
    const first = await store.open(spec);
    await store.close(spec.containerId);
    const next = await store.open({ ...spec, containerName: "again" });
    expect(next.ports).toEqual(first.ports);
    await store.close(spec.containerId);
  });

  test("ports of a network without traffic between containers go through the daemon", async () => {
    const options = { "com.docker.network.bridge.enable_icc": "false" };
    const network = await store.create(networkSpec("quiet", { options }));
    const endpoints = [{ network: "quiet" }];
    const one = await store.open(sandboxSpec({ endpoints, ports: [tcp(80, 8200)] }));
    const two = await store.open(sandboxSpec({ endpoints }));
    await laboratory.serve(one.netnsPath, 80, "quiet");
    const { address, gateway } = one.endpoints[0]!;
    await until(async () => (await fetchHere(`http://${address}/`)) === "quiet");
    for (const value of ["0", "1"]) {
      writeSetting("net/bridge/bridge-nf-call-iptables", value);
      expect(await isOutOfReach(two.netnsPath, `http://${address}/`)).toBe(true);
      expect(await fetchInside(two.netnsPath, `http://${gateway}:8200/`)).toBe("quiet");
    }
    for (const { containerId } of [one, two]) await store.close(containerId);
    await store.remove(network.id);
  });
});
