import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { servePlugin, type TestPlugin } from "../plugin/laboratory.ts";
import { openPlugins } from "../plugin/mod.ts";
import { createVeth, deleteLink, openNamespace, openNetlink } from "../sys/mod.ts";
import {
  inside,
  type Laboratory,
  leftovers,
  networkSpec,
  openLaboratory,
  sandboxSpec,
  until,
} from "./laboratory.ts";
import type { NetworkStore } from "./types.ts";

const refused = (promise: Promise<unknown>) =>
  promise.then(
    () => "no failure",
    (error: { code?: string; message?: string }) => `${error.code}: ${error.message}`,
  );

describe.skipIf(process.getuid?.() !== 0)("networks of plugins", () => {
  let laboratory: Laboratory;
  let store: NetworkStore;
  let plugin: TestPlugin;
  let fails = "";

  /** A driver as real ones are: it makes a pair of links, and takes it away again. */
  const makePair = () => {
    using netlink = openNetlink();
    const here = openNamespace("/proc/thread-self/ns/net");
    netlink.execute([
      createVeth({ near: { name: "plug-near" }, far: { name: "plug-far", namespaceFd: here.fd } }),
    ]);
    return {
      InterfaceName: { SrcName: "plug-far", DstPrefix: "net" },
      Gateway: "10.99.0.1",
      StaticRoutes: [
        { Destination: "10.98.0.0/16", RouteType: 0, NextHop: "10.99.0.9" },
        { Destination: "10.97.0.7/32", RouteType: 1 },
      ],
    };
  };
  const takePair = () => {
    using netlink = openNetlink();
    netlink.attempt([deleteLink("plug-near")]);
  };
  const answer = (method: string, task: () => unknown = () => ({})) => ({
    [`NetworkDriver.${method}`]: () => (fails === method ? { Err: "no wire" } : task()),
  });

  beforeEach(async () => {
    laboratory = await openLaboratory();
    fails = "";
    const folder = `${laboratory.folder}/plugins`;
    plugin = servePlugin(
      { folder, name: "weave", kinds: ["NetworkDriver"] },
      {
        ...answer("CreateNetwork"),
        ...answer("DeleteNetwork"),
        ...answer("CreateEndpoint", () => ({ Interface: {} })),
        ...answer("Join", makePair),
        ...answer("Leave"),
        ...answer("DeleteEndpoint", takePair),
      },
    );
    store = await laboratory.open({ plugins: openPlugins({ sockets: folder, specs: [] }) });
  });

  afterEach(async () => {
    await store.shutdown();
    plugin[Symbol.dispose]();
    const left = await leftovers();
    await laboratory[Symbol.asyncDispose]();
    expect(left).toBe("");
  });

  const make = () =>
    store.create(
      networkSpec("theirs", {
        driver: "weave",
        subnets: [{ subnet: "10.99.0.0/24" }],
        options: { colour: "red" },
      }),
    );
  const called = () => plugin.calls.map(({ method }) => method.replace("NetworkDriver.", ""));

  test("a container gets the interface that the plugin made, and gives it back", async () => {
    const { id } = await make();
    expect(plugin.calls[0]!.body).toMatchObject({
      NetworkID: id,
      Options: { "com.docker.network.generic": { colour: "red" } },
      IPv4Data: [{ Pool: "10.99.0.0/24", Gateway: "10.99.0.1/24" }],
    });
    const one = await store.open(sandboxSpec({ endpoints: [{ network: "theirs" }] }));
    expect(one.endpoints[0]).toMatchObject({ interfaceName: "net0", gateway: "10.99.0.1" });
    expect(await inside(one.netnsPath, ["ip", "addr", "show", "net0"])).toContain("10.99.0.2/24");
    const routes = await inside(one.netnsPath, ["ip", "route"]);
    expect(routes).toContain("default via 10.99.0.1 dev net0");
    expect(routes).toContain("10.98.0.0/16 via 10.99.0.9 dev net0");
    expect(routes).toMatch(/^10\.97\.0\.7 dev net0 +scope link/m);
    await store.close(one.containerId);
    await until(() => called().includes("DeleteEndpoint"));
    await store.remove(id);
    expect(called()).toEqual([
      "CreateNetwork",
      "CreateEndpoint",
      "Join",
      "Leave",
      "DeleteEndpoint",
      "DeleteNetwork",
    ]);
  });

  test("connect() and disconnect() reach a container that runs", async () => {
    const { id } = await make();
    const one = await store.open(sandboxSpec());
    await store.connect(one.containerId, { network: "theirs" });
    expect(await inside(one.netnsPath, ["ip", "addr", "show", "net0"])).toContain("10.99.0.2/24");
    await store.disconnect(one.containerId, id);
    expect(await inside(one.netnsPath, ["ip", "link"])).not.toContain("net0");
    expect(called().slice(-2)).toEqual(["Leave", "DeleteEndpoint"]);
    await store.close(one.containerId);
    await store.remove(id);
  });

  test("a plugin that refuses leaves nothing behind", async () => {
    fails = "CreateNetwork";
    expect(await refused(make())).toContain("no wire");
    expect(store.list().some(({ name }) => name === "theirs")).toBe(false);
    fails = "Join";
    const { id } = await make();
    expect(
      await refused(store.open(sandboxSpec({ endpoints: [{ network: "theirs" }] }))),
    ).toContain("no wire");
    expect(called()).toContain("DeleteEndpoint");
    fails = "DeleteNetwork";
    expect(await refused(store.remove(id))).toContain("no wire");
    expect(store.resolve("theirs").id).toBe(id);
    fails = "";
    await store.remove(id);
  });

  test("a driver that is nowhere is refused", async () => {
    const missing = store.create(networkSpec("x", { driver: "nosuch" }));
    expect(await refused(missing)).toContain("could not find plugin nosuch");
  });

  test("an address plugin gives subnets and addresses, and gets them back", async () => {
    const taken = new Set<string>();
    let next = 5;
    const folder = `${laboratory.folder}/plugins`;
    using ipam = servePlugin(
      { folder, name: "infoblox", kinds: ["IpamDriver"] },
      {
        "IpamDriver.GetDefaultAddressSpaces": () => ({ LocalDefaultAddressSpace: "here" }),
        "IpamDriver.RequestPool": ({ AddressSpace, Pool }) => ({
          PoolID: `${AddressSpace}/1`,
          Pool: Pool || "10.98.0.0/24",
        }),
        "IpamDriver.ReleasePool": () => ({}),
        "IpamDriver.RequestAddress": ({ Address }) => {
          const address = Address || `10.98.0.${next++}`;
          if (taken.has(`${address}`)) throw new Error("it is taken");
          taken.add(`${address}`);
          return { Address: `${address}/24` };
        },
        "IpamDriver.ReleaseAddress": ({ Address }) => void taken.delete(`${Address}`),
      },
    );
    const { id, subnets } = await store.create(networkSpec("given", { ipamDriver: "infoblox" }));
    expect(subnets).toMatchObject([{ subnet: "10.98.0.0/24", gateway: "10.98.0.5" }]);
    const one = await store.open(sandboxSpec({ endpoints: [{ network: "given" }] }));
    expect(one.endpoints[0]!.address).toBe("10.98.0.6");
    const two = await store.open(sandboxSpec());
    await store.connect(two.containerId, { network: "given", ipv4: "10.98.0.77" });
    expect([...taken]).toEqual(["10.98.0.5", "10.98.0.6", "10.98.0.77"]);
    const again = sandboxSpec({ endpoints: [{ network: "given", ipv4: "10.98.0.77" }] });
    expect(await refused(store.open(again))).toContain("it is taken");
    await store.disconnect(two.containerId, id);
    for (const { containerId } of [one, two]) await store.close(containerId);
    await until(() => taken.size === 1);
    await until(() => store.endpointsOf(id).size === 0);
    await store.remove(id);
    await until(() => taken.size === 0);
    expect(ipam.calls.at(-1)).toEqual({
      method: "IpamDriver.ReleasePool",
      body: { PoolID: "here/1" },
    });
    expect(await refused(store.create(networkSpec("x", { ipamDriver: "nosuch" })))).toStartWith(
      "not_found",
    );
  });
});
