import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { run, withinNamespace } from "../sys/mod.ts";
import {
  fetchInside,
  hostAddress,
  inside,
  isOutOfReach,
  type Laboratory,
  leftovers,
  networkSpec,
  openLaboratory,
  outsideAddress,
  sandboxSpec,
} from "./laboratory.ts";
import type { EndpointSpec, NetworkSpec, NetworkStore, Sandbox, SandboxSpec } from "./types.ts";

const refused = (promise: Promise<unknown>) =>
  promise.then(
    () => "no failure",
    (error: { code?: string; message?: string }) => `${error.code}: ${error.message}`,
  );
/** What a link is and hangs on, as ip(8) says it. */
const detail = (netns: string, name: string) =>
  run(["nsenter", `--net=${netns}`, "ip", "-d", "link", "show", name], { timeoutMs: 5_000 });

describe.skipIf(process.getuid?.() !== 0)("drivers", () => {
  let laboratory: Laboratory;
  let store: NetworkStore;
  const opened: Sandbox[] = [];
  const open = async (
    network: string,
    endpoint: Partial<EndpointSpec> = {},
    changes: Partial<SandboxSpec> = {},
  ) => {
    const spec = sandboxSpec({ endpoints: [{ network, ...endpoint }], ...changes });
    const sandbox = await store.open(spec);
    opened.push(sandbox);
    return sandbox;
  };
  const macvlan = (name: string, changes: Partial<NetworkSpec> = {}) =>
    store.create(networkSpec(name, { driver: "macvlan", ...changes }));
  const onWire = { subnets: [{ subnet: "192.0.2.0/24", gateway: outsideAddress }] };

  beforeEach(async () => {
    laboratory = await openLaboratory();
    store = await laboratory.open();
  });

  afterEach(async () => {
    for (const { containerId } of opened.splice(0)) await store.close(containerId);
    for (const { predefined, id } of store.list()) if (!predefined) await store.remove(id);
    await store.shutdown();
    const left = await leftovers();
    await laboratory[Symbol.asyncDispose]();
    expect(left).toBe("");
  });

  test("macvlan puts containers on the host's wire, with an address of its subnet", async () => {
    await macvlan("wire", { ...onWire, options: { parent: "eth0" } });
    const [one, two] = [await open("wire", { ipv4: "192.0.2.77" }), await open("wire")];
    expect(one.endpoints[0]).toMatchObject({ address: "192.0.2.77", gateway: outsideAddress });
    expect(await detail(one.netnsPath, "eth0")).toMatch(/macvlan mode bridge/);
    await laboratory.serve(laboratory.outside.path, 80, "outside");
    await laboratory.serve(one.netnsPath, 80, "one");
    expect(await fetchInside(one.netnsPath, `http://${outsideAddress}/`)).toBe("outside");
    expect(await fetchInside(laboratory.outside.path, "http://192.0.2.77/")).toBe("one");
    expect(await fetchInside(two.netnsPath, "http://192.0.2.77/")).toBe("one");
    // As with Docker: the parent itself does not reach its children.
    expect(await isOutOfReach("/proc/thread-self/ns/net", "http://192.0.2.77/")).toBe(true);
    expect(await fetchInside(two.netnsPath, `http://${hostAddress}:9/`, 1)).toStartWith("failed");
  });

  test.each(["private", "vepa", "passthru"])("macvlan has the mode %s", async (mode) => {
    await macvlan("wire", { ...onWire, options: { parent: "eth0", macvlan_mode: mode } });
    const one = await open("wire");
    expect(await detail(one.netnsPath, "eth0")).toContain(`macvlan mode ${mode}`);
    await laboratory.serve(laboratory.outside.path, 80, "outside");
    expect(await fetchInside(one.netnsPath, `http://${outsideAddress}/`)).toBe("outside");
    const again = macvlan("two", { options: { parent: "eth0" } });
    const reason = "conflict: network wire is already using parent interface eth0";
    if (mode === "passthru") expect(await refused(again)).toBe(reason);
    else await again;
  });

  test("macvlan without a parent is a network among its containers alone", async () => {
    const { id } = await macvlan("alone");
    const parent = `dm-${id.slice(0, 12)}`;
    const [one, two] = [await open("alone"), await open("alone")];
    await laboratory.serve(two.netnsPath, 80, "two");
    expect(await fetchInside(one.netnsPath, `http://${two.endpoints[0]!.address}/`)).toBe("two");
    expect(one.endpoints[0]!.gateway).toBe("");
    expect(await inside(one.netnsPath, ["ip", "route"])).not.toContain("default");
    expect(await leftovers()).toContain(parent);
    for (const { containerId } of opened.splice(0)) await store.close(containerId);
    await store.shutdown();
    expect(await leftovers()).toBe("");
    store = await laboratory.open();
    expect(await leftovers()).toContain(parent);
  });

  test("macvlan endpoints come and go on a running container", async () => {
    await macvlan("wire", { ...onWire, options: { parent: "eth0" } });
    const { containerId, netnsPath } = await open("bridge");
    await store.connect(containerId, { network: "wire", macAddress: "02:00:00:00:00:07" });
    expect(await detail(netnsPath, "eth1")).toContain("02:00:00:00:00:07");
    await store.disconnect(containerId, store.resolve("wire").id);
    expect(await inside(netnsPath, ["ip", "link"])).not.toContain("eth1");
    expect(await inside(netnsPath, ["ip", "route"])).toContain("default");
  });

  const wrong: [Partial<NetworkSpec>, string][] = [
    [
      { options: { parent: "lo" } },
      "invalid: loopback interface is not a valid macvlan parent link",
    ],
    [{ options: { parent: "../x" } }, 'invalid: invalid macvlan parent "../x"'],
    [
      { options: { parent: "absent" } },
      "invalid: invalid subinterface vlan name absent, example formatting is eth0.10",
    ],
    [
      { options: { parent: "eth0.4095" } },
      "invalid: vlan id must be between 1-4094, received: 4095",
    ],
    [{ options: { macvlan_mode: "no" } }, 'invalid: requested macvlan_mode "no" is not valid'],
    [
      { driver: "ipvlan", options: { ipvlan_mode: "l4" } },
      'invalid: requested ipvlan_mode "l4" is not valid',
    ],
  ];
  test.each(wrong)("create() refuses %p", async (changes, reason) => {
    expect(await refused(macvlan("wrong", changes))).toBe(reason);
    expect(store.list().map(({ name }) => name)).not.toContain("wrong");
  });

  test("ipvlan works, or is refused in words by a kernel without it", async () => {
    const options = { parent: "eth0", ipvlan_mode: "l3" };
    await store.create(networkSpec("flat", { driver: "ipvlan", options }));
    const spec = sandboxSpec({ endpoints: [{ network: "flat" }] });
    const answer = await store.open(spec).catch((error: { code: string }) => error);
    if ("code" in answer) expect(answer.code).toBe("unsupported");
    else {
      opened.push(answer);
      expect(await detail(answer.netnsPath, "eth0")).toContain("ipvlan");
      expect(await inside(answer.netnsPath, ["ip", "route"])).toContain("default dev eth0");
    }
  });

  test("settings make networks, and stay while one of them is there", async () => {
    const subnets = [{ subnet: "10.7.0.0/24", ipRange: "10.7.0.128/25" }];
    const options = { parent: "eth0" };
    await store.create(networkSpec("settings", { configOnly: true, subnets, options }));
    const made = await macvlan("made", { configFrom: "settings" });
    expect(made).toMatchObject({ options, driver: "macvlan", configFrom: "settings" });
    expect((await open("made")).endpoints[0]!.address).toBe("10.7.0.129");
    expect(await refused(open("settings"))).toBe(
      "denied: cannot create endpoint on configuration-only network",
    );
    expect(await refused(store.remove(store.resolve("settings").id))).toBe(
      'denied: configuration network "settings" is in use',
    );
    expect(await refused(macvlan("more", { configFrom: "made" }))).toStartWith("not_found");
    const own = { configFrom: "settings", options: { parent: "eth0" } };
    expect(await refused(macvlan("more", own))).toStartWith("invalid: user specified driver");
    for (const { containerId } of opened.splice(0)) await store.close(containerId);
    await store.remove(made.id);
  });

  const mode = (four: string) => ({ "com.docker.network.bridge.gateway_mode_ipv4": four });
  const tcp = { protocol: "tcp", hostIp: "", hostPort: 8081 } as const;

  test("routed opens a port where the container is; nat-unprotected opens all", async () => {
    const subnets = [{ subnet: "10.8.0.0/24" }];
    await store.create(networkSpec("way", { subnets, options: mode("routed") }));
    const ports = [{ ...tcp, containerPort: 80 }];
    const one = await open("way", { ipv4: "10.8.0.7" }, { ports });
    for (const port of [80, 81]) await laboratory.serve(one.netnsPath, port, `${port}`);
    const { outside } = laboratory;
    const route = ["ip", "route", "add", "10.8.0.0/16", "via", hostAddress];
    await inside(outside.path, route);
    expect(one.ports).toContainEqual({ ...ports[0]!, hostIp: "0.0.0.0", hostPort: 0 });
    expect(await fetchInside(outside.path, "http://10.8.0.7/")).toBe("80");
    expect(await isOutOfReach(outside.path, "http://10.8.0.7:81/")).toBe(true);
    expect(await isOutOfReach(outside.path, `http://${hostAddress}:8081/`)).toBe(true);
    expect(await inside(outside.path, ["ping", "-c1", "-W2", "10.8.0.7"])).toContain(
      "1 packets rec",
    );
    // Its own address leaves the host.
    await laboratory.serve(outside.path, 80, "outside");
    expect(await fetchInside(one.netnsPath, `http://${outsideAddress}/`)).toBe("outside");

    const open2 = { subnets: [{ subnet: "10.8.1.0/24" }], options: mode("nat-unprotected") };
    await store.create(networkSpec("bare", open2));
    const two = await open("bare", { ipv4: "10.8.1.7" });
    await laboratory.serve(two.netnsPath, 81, "two");
    expect(await fetchInside(outside.path, "http://10.8.1.7:81/")).toBe("two");
  });

  test("trusted links of the host lead to published ports of the containers, and to no others", async () => {
    const options = { "com.docker.network.bridge.trusted_host_interfaces": "eth0:other" };
    const gateway = { DefaultGatewayIPv4: "10.8.2.254" };
    const subnets = [{ subnet: "10.8.2.0/24", auxAddresses: gateway }];
    await store.create(networkSpec("trusting", { subnets, options }));
    await store.create(networkSpec("wary", { subnets: [{ subnet: "10.8.3.0/24" }] }));
    const publish = (hostPort: number) => ({ ports: [{ ...tcp, containerPort: 80, hostPort }] });
    const one = await open("trusting", { ipv4: "10.8.2.7" }, publish(8082));
    const two = await open("wary", { ipv4: "10.8.3.7" }, publish(8083));
    for (const { netnsPath } of [one, two]) {
      for (const port of [80, 81]) await laboratory.serve(netnsPath, port, `${port}`);
    }
    // The way out is another's; the way back to who came in by a route is the bridge's.
    expect(await inside(one.netnsPath, ["ip", "route"])).toContain("default via 10.8.2.254");
    await inside(one.netnsPath, ["ip", "route", "replace", "default", "via", "10.8.2.1"]);
    const outside = laboratory.outside.path;
    await inside(outside, ["ip", "route", "replace", "10.8.0.0/16", "via", hostAddress]);
    expect(await fetchInside(outside, "http://10.8.2.7/")).toBe("80");
    expect(await isOutOfReach(outside, "http://10.8.2.7:81/")).toBe(true);
    expect(await isOutOfReach(outside, "http://10.8.3.7/")).toBe(true);
    const odd = { "com.docker.network.bridge.trusted_host_interfaces": "a b" };
    expect(await refused(store.create(networkSpec("odd", { options: odd })))).toStartWith(
      'invalid: invalid interface name "a b"',
    );
  });

  test("isolated is for internal networks, whose bridge has no address then", async () => {
    const options = mode("isolated");
    expect(await refused(store.create(networkSpec("x", { options })))).toStartWith("invalid");
    const made = await store.create(networkSpec("x", { internal: true, options }));
    const one = await open("x");
    const bridge = `br-${made.id.slice(0, 12)}`;
    expect(await inside("/proc/thread-self/ns/net", ["ip", "addr", "show", bridge])).not.toContain(
      "inet ",
    );
    expect(await isOutOfReach(one.netnsPath, `http://${made.subnets[0]!.gateway}/`)).toBe(true);
  });

  test("endpoints have link-local addresses, settings and names of their own", async () => {
    await store.create(
      networkSpec("own", { options: { "com.docker.network.container_iface_prefix": "net" } }),
    );
    const sysctls = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0";
    const driverOptions = { "com.docker.network.endpoint.sysctls": sysctls };
    const one = await open("own", { linkLocal: ["169.254.9.9"], driverOptions });
    expect(await inside(one.netnsPath, ["ip", "addr"])).toContain("169.254.9.9/16");
    const cat = ["cat", "/proc/sys/net/ipv4/conf/net0/log_martians"];
    expect(await inside(one.netnsPath, cat)).toBe("1\n");
    const bad = { "com.docker.network.endpoint.sysctls": "net.ipv4.ip_forward=1" };
    expect(await refused(open("own", { driverOptions: bad }))).toStartWith(
      'invalid: invalid endpoint sysctl setting "net.ipv4.ip_forward=1"',
    );
  });

  test("host_ipv4 is the address that containers leave by", async () => {
    await run(["ip", "addr", "add", "192.0.2.40/24", "dev", "eth0"], { timeoutMs: 5_000 });
    const options = { "com.docker.network.host_ipv4": "192.0.2.40" };
    await store.create(networkSpec("from", { options }));
    const one = await open("from");
    const { promise, resolve } = Promise.withResolvers<string>();
    let listener: { stop(): void } | undefined;
    withinNamespace(laboratory.outside, () => {
      const accept = ({ remoteAddress }: { remoteAddress: string }) => resolve(remoteAddress);
      const socket = { open: accept, data() {} };
      listener = Bun.listen({ hostname: "0.0.0.0", port: 90, socket });
    });
    await inside(one.netnsPath, ["nc", "-w", "1", outsideAddress, "90"]);
    expect(await promise).toBe("192.0.2.40");
    listener?.stop();
  });
});
