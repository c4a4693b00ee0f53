import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { Failure } from "../base/mod.ts";
import { changeRules, closeNamespace, openNamespace } from "../sys/mod.ts";
import {
  fetchHere,
  fetchInside,
  hostAddress,
  inside,
  isOutOfReach,
  type Laboratory,
  leftovers,
  networkSpec,
  openLaboratory,
  openStore,
  outsideAddress,
  sandboxSpec,
  until,
} from "./laboratory.ts";
import type { NetworkStore, PortSpec, Sandbox, SandboxSpec } from "./types.ts";
import { writeSetting } from "./wire.ts";

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "no failure",
    (error: { code?: string; message?: string }) => `${error.code}: ${error.message}`,
  );
const port = (containerPort: number, hostPort: number): PortSpec => ({
  containerPort,
  protocol: "tcp",
  hostIp: "",
  hostPort,
});

describe.skipIf(process.getuid?.() !== 0)("networks", () => {
  let laboratory: Laboratory;
  let store: NetworkStore;
  const opened: Sandbox[] = [];
  const open = async (changes: Partial<SandboxSpec>) => {
    const sandbox = await store.open(sandboxSpec(changes));
    opened.push(sandbox);
    return sandbox;
  };

  beforeEach(async () => {
    laboratory = await openLaboratory();
    store = await laboratory.open();
  });

  afterEach(async () => {
    for (const { containerId } of opened.splice(0)) await store.close(containerId);
    await store.shutdown();
    const left = await leftovers();
    await laboratory[Symbol.asyncDispose]();
    expect(left).toBe("");
  });

  test("create() gives a subnet that nobody has, and refuses a name or subnet that is taken", async () => {
    const one = await store.create(networkSpec("one"));
    expect(one.subnets).toEqual([{ subnet: "172.18.0.0/16", gateway: "172.18.0.1" }]);
    expect(await codeOf(store.create(networkSpec("one")))).toBe(
      "conflict: network with name one already exists",
    );
    const subnets = [{ subnet: "172.18.5.0/24" }];
    expect(await codeOf(store.create(networkSpec("two", { subnets })))).toStartWith(
      "conflict: invalid pool request: Pool overlaps with other one on this address space",
    );
    const host = [{ subnet: "192.0.2.0/25" }];
    expect(await codeOf(store.create(networkSpec("two", { subnets: host })))).toStartWith(
      "conflict",
    );
    expect(await codeOf(store.create(networkSpec("host")))).toStartWith("denied");
    expect(await codeOf(store.remove("bridge"))).toStartWith("denied");
  });

  test("a network on a link of the host's leaves it as it was", async () => {
    const ip = async (...args: string[]) => {
      const child = Bun.spawn(["ip", ...args], { stdout: "pipe", stderr: "pipe" });
      return `${await new Response(child.stdout).text()}${await new Response(child.stderr).text()}`;
    };
    await ip("link", "add", "labother", "type", "bridge");
    await ip("link", "add", "labport", "master", "labother", "type", "veth");
    const on = (bridge: string) => ({ options: { "com.docker.network.bridge.name": bridge } });
    expect(await codeOf(store.create(networkSpec("one", on("labport"))))).toBe(
      'conflict: Cannot use "labport" as a bridge: it is a veth',
    );
    expect(store.list().map(({ name }) => name)).not.toContain("one");
    await store.create(networkSpec("two", on("labother")));
    await store.reconcile(new Set());
    await store.remove("two");
    const links = await ip("-br", "link");
    for (const name of ["labother", "labport@"]) expect(links).toContain(name);
    for (const name of ["labother", "labport"]) await ip("link", "delete", name);
  });

  test("remove() refuses a network in use, and takes the bridge of another away", async () => {
    const network = await store.create(networkSpec("one"));
    const sandbox = await open({ endpoints: [{ network: "one" }], containerName: "user" });
    expect(await codeOf(store.remove("one"))).toContain(
      `network one has active endpoints (name:"user" id:"${sandbox.containerId.slice(0, 12)}")`,
    );
    await store.close(sandbox.containerId);
    await store.remove(network.id.slice(0, 8));
    expect(await leftovers()).not.toContain("br-");
    expect(() => store.resolve("one")).toThrow("network one not found");
  });

  test("containers reach each other within a network, not across, and not out of an internal one", async () => {
    await store.create(networkSpec("inner", { internal: true }));
    await store.create(networkSpec("other"));
    const [one, two] = [
      await open({ endpoints: [{ network: "inner" }] }),
      await open({ endpoints: [{ network: "inner" }] }),
    ];
    const three = await open({ endpoints: [{ network: "other" }] });
    await laboratory.serve(one.netnsPath, 80, "one");
    await laboratory.serve(three.netnsPath, 80, "three");
    await laboratory.serve(laboratory.outside.path, 80, "outside");
    const [a1, a3] = [one, three].map((sandbox) => sandbox.endpoints[0]!.address);
    expect(await fetchInside(two.netnsPath, `http://${a1}/`)).toBe("one");
    expect(await isOutOfReach(three.netnsPath, `http://${a1}/`)).toBe(true);
    expect(await isOutOfReach(two.netnsPath, `http://${a3}/`)).toBe(true);
    await inside(two.netnsPath, ["ip", "route", "add", "default", "via", "172.18.0.1"]);
    expect(await isOutOfReach(two.netnsPath, `http://${outsideAddress}/`)).toBe(true);
    expect(await fetchInside(three.netnsPath, `http://${outsideAddress}/`)).toBe("outside");
  });

  test("open() gives the addresses and the MAC that were asked for, once", async () => {
    const subnets = [
      { subnet: "10.9.0.0/24", ipRange: "10.9.0.128/25", auxAddresses: { a: "10.9.0.129" } },
      { subnet: "fd12::/64" },
    ];
    await store.create(networkSpec("own", { subnets, enableIPv6: true }));
    const wish = { network: "own", ipv4: "10.9.0.7", macAddress: "02:00:00:00:00:07" };
    const one = await open({ endpoints: [{ ...wish, ipv6: "fd12::77" }] });
    expect(one.endpoints[0]).toMatchObject({ address: "10.9.0.7", mac: "02:00:00:00:00:07" });
    const shown = await inside(one.netnsPath, ["ip", "addr", "show", "dev", "eth0"]);
    expect(shown).toContain("inet 10.9.0.7/24");
    expect(shown).toContain("inet6 fd12::77/64");
    expect(shown).toContain("02:00:00:00:00:07");
    expect(await codeOf(store.open(sandboxSpec({ endpoints: [wish] })))).toBe(
      "conflict: Address already in use",
    );
    const far = { network: "own", ipv4: "10.8.0.7" };
    expect(await codeOf(store.open(sandboxSpec({ endpoints: [far] })))).toBe(
      "invalid: no configured subnet contains IP address 10.8.0.7",
    );
    const two = await open({ endpoints: [{ network: "own" }] });
    expect(two.endpoints[0]).toMatchObject({ address: "10.9.0.130", address6: "fd12::2" });
    await laboratory.serve(one.netnsPath, 80, "one");
    expect(await fetchInside(two.netnsPath, "http://[fd12::77]/")).toBe("one");
  });

  test("connect() and disconnect() move the way out and the published ports", async () => {
    await store.create(networkSpec("aaa"));
    const sandbox = await open({ ports: [port(80, 8300)] });
    await laboratory.serve(sandbox.netnsPath, 80, "web");
    await laboratory.serve(laboratory.outside.path, 80, "outside");
    const { containerId, netnsPath } = sandbox;
    const before = store.sandbox(containerId);
    expect(store.sandbox(containerId)).toBe(before!);
    const both = await store.connect(containerId, { network: "aaa", aliases: ["alias"] });
    expect(store.sandbox(containerId)).toBe(both);
    expect(both.endpoints.map(({ interfaceName }) => interfaceName)).toEqual(["eth0", "eth1"]);
    expect(readFileSync(both.hostsPath, "utf8")).toContain(`${both.endpoints[1]!.address}\tinside`);
    expect(await inside(netnsPath, ["ip", "route"])).toContain("default via 172.18.0.1");
    expect(await fetchHere("http://127.0.0.1:8300/")).toBe("web");
    expect(await codeOf(store.connect(containerId, { network: "aaa" }))).toStartWith("denied");
    const left = await store.disconnect(containerId, "bridge");
    expect(left.endpoints.map(({ networkName }) => networkName)).toEqual(["aaa"]);
    expect(await fetchHere("http://[::1]:8300/")).toBe("web");
    expect(await fetchInside(netnsPath, `http://${outsideAddress}/`)).toBe("outside");
    const back = await store.connect(containerId, { network: "bridge", gatewayPriority: 1 });
    expect(await inside(netnsPath, ["ip", "route"])).toContain("default via 172.17.0.1");
    expect(back.ports).toEqual(sandbox.ports);
    expect(await fetchHere("http://127.0.0.1:8300/")).toBe("web");
  });

  test("a network with IPv6 alone has no IPv4, and publishes through the daemon", async () => {
    await store.create(networkSpec("six", { enableIPv4: false, enableIPv6: true }));
    const sandbox = await open({ endpoints: [{ network: "six" }], ports: [port(80, 8400)] });
    expect(sandbox.endpoints[0]!.address).toBe("");
    await laboratory.serve(sandbox.netnsPath, 80, "six");
    for (const place of ["127.0.0.1", "[::1]", "192.0.2.1", "[2001:db8::1]"]) {
      expect(await fetchHere(`http://${place}:8400/`)).toBe("six");
    }
    expect(await fetchInside(laboratory.outside.path, "http://[2001:db8::1]:8400/")).toBe("six");
  });

  test("two engines side by side choose different subnets and keep to their own rules", async () => {
    const second = await openStore(`${laboratory.folder}/b`, "labbr1");
    const [one, two] = [
      await open({}),
      await second.open(sandboxSpec({ ports: [port(80, 8500)] })),
    ];
    expect(two.endpoints[0]!.address).not.toBe(one.endpoints[0]!.address);
    await laboratory.serve(two.netnsPath, 80, "second");
    expect(await fetchInside(one.netnsPath, "http://192.0.2.1:8500/")).toBe("second");
    expect(await isOutOfReach(one.netnsPath, `http://${two.endpoints[0]!.address}/`)).toBe(true);
    await second.close(two.containerId);
    await second.shutdown();
    expect(await leftovers()).not.toContain("labbr1");
    expect(await leftovers()).toContain("lading-labbr0");
  });

  test("rules that somebody flushed are back with the next container", async () => {
    await changeRules("flush ruleset");
    const sandbox = await open({ ports: [port(80, 8600)] });
    await laboratory.serve(sandbox.netnsPath, 80, "back");
    await laboratory.serve(laboratory.outside.path, 80, "outside");
    expect(await fetchHere("http://127.0.0.1:8600/")).toBe("back");
    expect(await fetchInside(sandbox.netnsPath, `http://${outsideAddress}/`)).toBe("outside");
  });

  test("open() on none has a loopback alone, and on host no namespace", async () => {
    const none = await open({ endpoints: [{ network: "none" }] });
    expect(await inside(none.netnsPath, ["ip", "-o", "link"])).toMatch(/^1: lo.*\n$/);
    const host = await open({ endpoints: [{ network: "host" }] });
    expect(host.netnsPath).toBe("");
    expect(readFileSync(host.hostsPath, "utf8")).toBe(readFileSync("/etc/hosts", "utf8"));
  });

  test("close() deletes the links also when a process lives on in the namespace", async () => {
    const sandbox = await open({});
    const held = openNamespace(sandbox.netnsPath);
    await store.close(sandbox.containerId);
    await until(async () => !(await leftovers()).includes("veth"));
    closeNamespace(held);
  });
});

describe.skipIf(process.getuid?.() !== 0)("after kill -9", () => {
  test("reconcile() takes back what runs and takes away what does not", async () => {
    await using laboratory = await openLaboratory();
    const { folder } = laboratory;
    const runs = sandboxSpec({ endpoints: [{ network: "kept" }], ports: [port(80, 8700)] });
    const ended = sandboxSpec({ endpoints: [{ network: "kept" }], ports: [port(81, 8701)] });
    const { daemon, sandboxes } = await startDaemon(laboratory, ["kept"], [runs, ended]);
    const [before] = sandboxes;
    await laboratory.serve(before!.netnsPath, 80, "lives");
    expect(await fetchHere("http://127.0.0.1:8700/")).toBe("lives");
    daemon.kill("SIGKILL");
    await daemon.exited;
    expect(await fetchHere("http://127.0.0.1:8700/")).toBe("lives");
    expect(await isOutOfReach("/proc/thread-self/ns/net", "http://[::1]:8700/")).toBe(true);

    // As if it had died between giving an address back and forgetting it.
    const given = [before!.endpoints[0]!.networkId, "172.18.0.9", runs.containerId];
    using database = new Database(`${folder}/state.db`);
    database.run("INSERT INTO network_address VALUES (?, ?, ?)", given);

    const store = await laboratory.open();
    const done = await store.reconcile(new Set([runs.containerId]));
    expect(done.join("\n")).toContain(`Took back the network of container`);
    const after = store.sandbox(runs.containerId)!;
    expect(after.endpoints).toEqual(before!.endpoints);
    expect(after.ports).toEqual(before!.ports);
    expect(await fetchHere("http://127.0.0.1:8700/")).toBe("lives");
    expect(await fetchHere("http://[::1]:8700/")).toBe("lives");
    expect(await fetchInside(after.netnsPath, "http://127.0.0.1/")).toBe("lives");
    expect(store.sandbox(ended.containerId)).toBeUndefined();
    const next = await store.open(
      sandboxSpec({
        endpoints: [{ network: "kept", ipv4: "172.18.0.3" }],
        ports: [port(80, 8701)],
      }),
    );
    expect(next.endpoints[0]!.address).toBe("172.18.0.3");
    const free = await store.open(
      sandboxSpec({ endpoints: [{ network: "kept", ipv4: "172.18.0.9" }] }),
    );
    expect(free.endpoints[0]!.address).toBe("172.18.0.9");
    for (const { containerId } of [next, after, free]) await store.close(containerId);
    await store.shutdown();
    expect(await leftovers()).toBe("");
  });

  test("reconcile() moves ports to the endpoint that leads out by what is written down", async () => {
    await using laboratory = await openLaboratory();
    const { folder } = laboratory;
    const endpoints = [{ network: "aaa" }, { network: "bridge" }];
    const spec = sandboxSpec({ endpoints, ports: [port(80, 8700)] });
    const { daemon, sandboxes } = await startDaemon(laboratory, ["aaa"], [spec]);
    const [before] = sandboxes;
    await laboratory.serve(before!.netnsPath, 80, "lives");
    daemon.kill("SIGKILL");
    await daemon.exited;
    // As if it had died after a connection with a priority was written down, its ports not yet moved.
    using database = new Database(`${folder}/state.db`);
    database.run(
      "UPDATE network_sandbox SET json = json_set(json, '$.attachments[1].endpoint.gatewayPriority', 1)",
    );

    const store = await laboratory.open();
    await store.reconcile(new Set([spec.containerId]));
    expect(await fetchHere("http://127.0.0.1:8700/")).toBe("lives");
    await store.disconnect(spec.containerId, "bridge");
    expect(await fetchHere("http://127.0.0.1:8700/")).toBe("lives");
    await store.close(spec.containerId);
    await store.remove("aaa");
    await store.shutdown();
    expect(await leftovers()).toBe("");
  });

  test("disconnect() ends what was cut off when the link was gone already", async () => {
    await using laboratory = await openLaboratory();
    const spec = sandboxSpec({ endpoints: [{ network: "aaa" }, { network: "bridge" }] });
    const { daemon, sandboxes } = await startDaemon(laboratory, ["aaa"], [spec]);
    const [before] = sandboxes;
    await laboratory.serve(before!.netnsPath, 80, "lives");
    await inside(before!.netnsPath, ["ip", "link", "delete", "eth0"]);
    daemon.kill("SIGKILL");
    await daemon.exited;

    const store = await laboratory.open();
    await store.reconcile(new Set([spec.containerId]));
    const { endpoints, netnsPath } = await store.disconnect(spec.containerId, "aaa");
    expect(endpoints).toEqual([before!.endpoints[1]!]);
    expect(await inside(netnsPath, ["ip", "route"])).toContain("default via 172.17.0.1 dev eth1");
    await store.close(spec.containerId);
    await store.remove("aaa");
    await store.shutdown();
    expect(await leftovers()).toBe("");
  });
});

test.skipIf(process.getuid?.() !== 0)(
  "open() leaves the ports of a killed engine alone",
  async () => {
    await using laboratory = await openLaboratory();
    const { folder, bridge } = laboratory;
    const local = { ...port(80, 8701), hostIp: "127.0.0.1" };
    const sctp = { ...port(80, 8702), protocol: "sctp" } as const;
    const killed = sandboxSpec({ ports: [port(80, 8700), local, sctp] });
    const { daemon, sandboxes } = await startDaemon(laboratory, [], [killed]);
    const [held] = sandboxes;
    await laboratory.serve(held!.netnsPath, 80, "of the killed engine");
    daemon.kill("SIGKILL");
    await daemon.exited;

    writeSetting("net/ipv4/ip_local_port_range", "8700 8702");
    const other = await openStore(`${folder}/other`, "labbr1");
    await other.reconcile(new Set());
    for (const taken of [port(1, 8700), { ...local, hostPort: 8700 }, port(1, 8701), local, sctp]) {
      const opening = other.open(sandboxSpec({ ports: [taken] }));
      const failure = await opening.catch((error: Failure) => error);
      expect(String(failure)).toContain("port is already allocated");
      expect(failure).toMatchObject({
        code: "conflict",
        hint: expect.stringContaining(`nft delete table ip lading-${bridge}`),
      });
    }
    const free = [{ ...port(80, 8701), hostIp: hostAddress }, port(80, 0)];
    const mine = await other.open(sandboxSpec({ ports: free }));
    expect(mine.ports.map(({ hostIp, hostPort }) => `${hostIp} ${hostPort}`)).toEqual([
      `${hostAddress} 8701`,
      "0.0.0.0 8702",
      ":: 8702",
    ]);
    await laboratory.serve(mine.netnsPath, 80, "of the other");
    expect(await fetchHere("http://127.0.0.1:8700/")).toBe("of the killed engine");
    expect(await fetchHere("http://127.0.0.1:8701/")).toBe("of the killed engine");
    expect(await fetchHere(`http://${hostAddress}:8701/`)).toBe("of the other");
    expect(await fetchHere("http://127.0.0.1:8702/")).toBe("of the other");
    await other.close(mine.containerId);

    const again = await laboratory.open();
    await again.reconcile(new Set());
    const next = await other.open(sandboxSpec({ ports: [port(80, 8700)] }));
    await other.close(next.containerId);
    await again.shutdown();
    await other.shutdown();
    expect(await leftovers()).toBe("");
  },
);

/** A daemon to be killed, with these networks and sandboxes. */
async function startDaemon(
  { folder, bridge }: Laboratory,
  networks: string[],
  specs: SandboxSpec[],
) {
  const program = [process.execPath, `${import.meta.dir}/crash.ts`, folder, bridge];
  const work = [JSON.stringify(networks.map((name) => networkSpec(name))), JSON.stringify(specs)];
  const daemon = Bun.spawn([...program, ...work], { stdout: "pipe", stderr: "inherit" });
  const line = await new Response(daemon.stdout.pipeThrough(firstLine())).text();
  return { daemon, sandboxes: JSON.parse(line) as Sandbox[] };
}

/** Ends a stream after its first line. */
function firstLine(): TransformStream<Uint8Array, Uint8Array> {
  return new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk);
      if (chunk.includes(10)) controller.terminate();
    },
  });
}
