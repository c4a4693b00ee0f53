/** Networks as the official docker client sees them: options, live changes, ports that come and go. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { command, TestEngine, whyNot } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(`networks${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  const ok = (...args: string[]) => engine.ok(args);
  const fails = async (...args: string[]) => {
    const ran = await engine.docker(args);
    expect(ran.code).not.toBe(0);
    return ran.stderr.trim();
  };
  const inspect = async (kind: "network" | "container", name: string) =>
    JSON.parse(await ok(kind, "inspect", name))[0];
  const serve = (port: number, text: string) =>
    `mkdir -p /www${port}; echo ${text} >/www${port}/index.html; httpd -p ${port} -h /www${port}`;
  const answers = async (url: string) => {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(1_000), keepalive: false });
      return (await response.text()).trim();
    } catch {
      return "nothing";
    }
  };

  beforeAll(async () => {
    engine = await TestEngine.open("nets", ["--default-address-pool=base=10.213.0.0/16,size=24"]);
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("create takes every option, and inspect shows it", async () => {
    const bridge = {
      "com.docker.network.bridge.name": "ldtn-own",
      "com.docker.network.driver.mtu": "1400",
    };
    const options = Object.entries(bridge).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    await ok(
      "network",
      "create",
      ...options,
      "--label",
      "a=b",
      "--attachable",
      "--internal",
      "--ipv6",
      "--subnet",
      "10.214.0.0/24",
      "--gateway",
      "10.214.0.9",
      "--ip-range",
      "10.214.0.128/25",
      "--aux-address",
      "printer=10.214.0.128",
      "--subnet",
      "fd00:214::/64",
      "full",
    );
    const seen = await inspect("network", "full");
    expect(seen).toMatchObject({
      Name: "full",
      Scope: "local",
      Driver: "bridge",
      EnableIPv4: true,
      EnableIPv6: true,
      Internal: true,
      Attachable: true,
      Ingress: false,
      ConfigFrom: { Network: "" },
      ConfigOnly: false,
      Labels: { a: "b" },
      Options: bridge,
      IPAM: {
        Driver: "default",
        Config: [
          {
            Subnet: "10.214.0.0/24",
            Gateway: "10.214.0.9",
            IPRange: "10.214.0.128/25",
            AuxiliaryAddresses: { printer: "10.214.0.128" },
          },
          { Subnet: "fd00:214::/64", Gateway: "fd00:214::1" },
        ],
      },
    });
    const address = await ok(
      "run",
      "--rm",
      "--network",
      "full",
      "busybox",
      "ip",
      "addr",
      "show",
      "eth0",
    );
    expect(address).toContain("10.214.0.129/24");
    expect(address).toContain("fd00:214::2/64");
    expect(address).toContain("mtu 1400");
  });

  test("create without IPv4 gives IPv6 alone; pools are the daemon's", async () => {
    await ok("network", "create", "--ipv4=false", "--ipv6", "six");
    const text = await ok(
      "run",
      "--rm",
      "--network",
      "six",
      "busybox",
      "ip",
      "addr",
      "show",
      "eth0",
    );
    expect(text).toContain("inet6 fd");
    expect(text).not.toContain("inet 10.");
    await ok("network", "create", "pooled");
    const [config] = (await inspect("network", "pooled")).IPAM.Config;
    expect(config.Subnet).toMatch(/^10\.213\.\d+\.0\/24$/);
  });

  test("create makes macvlan networks from settings, and containers get their addresses", async () => {
    await ok("network", "create", "--config-only", "--subnet", "10.215.0.0/24", "plan");
    await ok("network", "create", "-d", "macvlan", "--config-from", "plan", "wire");
    expect(await inspect("network", "plan")).toMatchObject({ ConfigOnly: true, Driver: "null" });
    expect(await inspect("network", "wire")).toMatchObject({
      Driver: "macvlan",
      ConfigFrom: { Network: "plan" },
    });
    await ok("run", "-d", "--name", "one", "--network", "wire", "busybox", "sleep", "100");
    const ping = await ok(
      "run",
      "--rm",
      "--network",
      "wire",
      "busybox",
      "ping",
      "-c1",
      "-W2",
      "one",
    );
    expect(ping).toContain("1 packets received");
    await engine.crash();
    const again = ["run", "--rm", "--network", "wire", "busybox", "ping", "-c1", "-W2", "one"];
    expect(await ok(...again)).toContain("1 packets received");
    expect(await ok("inspect", "-f", "{{.NetworkSettings.Networks.wire.IPAddress}}", "one")).toBe(
      "10.215.0.2",
    );
    expect(await fails("network", "rm", "plan")).toContain("is in use");
    expect(await fails("run", "--rm", "--network", "plan", "busybox")).toContain(
      "cannot create endpoint on configuration-only network",
    );
    await ok("rm", "-f", "one");
    const parent = `dm-${(await ok("network", "inspect", "-f", "{{.Id}}", "wire")).slice(0, 12)}`;
    expect((await command(["ip", "link", "show", parent])).code).toBe(0);
    await ok("network", "rm", "wire");
    expect((await command(["ip", "link", "show", parent])).code).not.toBe(0);
    await ok("network", "create", "-d", "macvlan", "wire");
  });

  const refused: [string[], string][] = [
    [["-d", "nosuch", "x"], "plugin not found"],
    [["-d", "host", "x"], "only one instance of"],
    [["--subnet", "10.0.0.1", "x"], "invalid CIDR"],
    [["--subnet", "10.216.0.0/24", "--gateway", "10.217.0.1", "x"], "no matching subnet"],
    [["--subnet", "10.214.0.0/25", "x"], "Pool overlaps"],
    [["--ipv4=false", "x"], "IPv4 or IPv6 must be enabled"],
    [["--config-from", "absent", "x"], "not found"],
    [["-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated", "x"], "internal network"],
    [["-o", "com.docker.network.driver.mtu=x", "x"], "invalid MTU"],
    [["--scope", "swarm", "x"], "takes a swarm"],
    [["--ipam-driver", "nosuch", "x"], "nosuch"],
  ];
  test.each(refused)("create refuses %p and makes nothing", async (args, reason) => {
    expect(await fails("network", "create", ...args)).toContain(reason);
    expect(await ok("network", "ls", "-q", "-f", "name=^x$")).toBe("");
  });

  test("a container that was made with a part of a network's ID leaves and joins it by its name", async () => {
    const id = await ok("network", "create", "parted");
    await ok(
      "run",
      "-d",
      "--name",
      "apart",
      "--network",
      id.slice(0, 12),
      "busybox",
      "sleep",
      "600",
    );
    await ok("network", "disconnect", "parted", "apart");
    await ok("network", "connect", "parted", "apart");
    await ok("network", "disconnect", id.slice(0, 7), "apart");
    await ok("rm", "-f", "apart");
    await ok("network", "rm", "parted");
  });

  test("connect and disconnect change a running container", async () => {
    await ok(
      "network",
      "create",
      "--subnet",
      "10.218.0.0/24",
      "--subnet",
      "fd00:218::/64",
      "--ipv6",
      "live",
    );
    await ok("run", "-d", "--name", "db", "--network", "live", "busybox", "sleep", "100");
    await ok("run", "-d", "--name", "web", "busybox", "sleep", "100");
    await ok(
      "network",
      "connect",
      "--ip",
      "10.218.0.7",
      "--ip6",
      "fd00:218::7",
      "--alias",
      "shop",
      "--link",
      "db:store",
      "--link-local-ip",
      "169.254.1.1",
      "--gw-priority",
      "5",
      "--driver-opt",
      "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
      "live",
      "web",
    );
    const run = (...argv: string[]) => ok("exec", "web", ...argv);
    expect(await run("ip", "addr", "show", "eth1")).toMatch(
      /10\.218\.0\.7\/24.*169\.254\.1\.1\/16.*fd00:218::7\/64/s,
    );
    expect(await run("ip", "route")).toContain("default via 10.218.0.1 dev eth1");
    expect(await run("cat", "/proc/sys/net/ipv4/conf/eth1/log_martians")).toBe("1");
    expect(await run("ping", "-c1", "-W2", "store")).toContain("1 packets received");
    expect(await ok("exec", "db", "ping", "-4", "-c1", "-W2", "shop")).toContain("(10.218.0.7)");
    const { Networks } = (await inspect("container", "web")).NetworkSettings;
    expect(Networks.live).toMatchObject({
      IPAMConfig: {
        IPv4Address: "10.218.0.7",
        IPv6Address: "fd00:218::7",
        LinkLocalIPs: ["169.254.1.1"],
      },
      Links: ["db:store"],
      Aliases: ["shop"],
      GwPriority: 5,
      IPAddress: "10.218.0.7",
      DNSNames: ["web", "shop", expect.any(String)],
    });
    expect(await fails("network", "connect", "live", "web")).toContain("already exists in network");
    const none = "no configured subnet contains IP address 10.9.9.9";
    await ok("create", "--name", "later", "busybox");
    expect(await fails("network", "connect", "--ip", "10.9.9.9", "live", "later")).toContain(none);
    expect(await fails("create", "--network", "live", "--ip", "10.9.9.9", "busybox")).toContain(
      none,
    );
    await ok("network", "connect", "--ip", "10.218.0.9", "live", "later");
    await ok("rm", "later");
    const option =
      "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1";
    const cat = ["cat", "/proc/sys/net/ipv4/conf/eth0/log_martians"];
    expect(await ok("run", "--rm", "--network", `name=live,${option}`, "busybox", ...cat)).toBe(
      "1",
    );
    await ok("network", "disconnect", "live", "web");
    expect(await run("ip", "route")).toContain("dev eth0");
    expect(await fails("network", "disconnect", "live", "web")).toContain("is not connected");
    await ok("rm", "-f", "web", "db");
  });

  test("filters find networks, and prune takes those that nobody uses", async () => {
    await ok("network", "create", "--label", "kind=spare", "spare");
    const ls = (...filters: string[]) =>
      ok("network", "ls", "--format", "{{.Name}}", ...filters.flatMap((one) => ["-f", one]));
    expect(await ls("label=kind=spare")).toBe("spare");
    expect(await ls("driver=macvlan")).toBe("wire");
    expect((await ls("type=builtin")).split("\n").sort()).toEqual(["bridge", "host", "none"]);
    expect(await ls("dangling=true", "name=spare")).toBe("spare");
    expect(await ls("scope=swarm")).toBe("");
    expect(await ok("network", "prune", "-f", "--filter", "label=kind=spare")).toContain("spare");
    expect(await ls("name=spare")).toBe("");
  });

  test("prune leaves settings for other networks, whether one was made from them or not", async () => {
    const label = ["--label", "kind=settings"];
    await ok("network", "create", "--config-only", ...label, "settings");
    await ok("network", "create", "--config-only", ...label, "idle-settings");
    await ok("network", "create", "--config-from", "settings", "planned");
    const prune = ["network", "prune", "-f", "--filter", "label=kind=settings"];
    // It has their label.
    expect(await ok(...prune)).toBe("Deleted Networks:\nplanned");
    await ok("network", "rm", "settings", "idle-settings");
  });

  test("update publishes ports of a running container and takes them back, for good", async () => {
    await ok(
      "run",
      "-d",
      "--name",
      "web",
      "-p",
      "127.0.0.1:29180:80",
      "busybox",
      "sh",
      "-c",
      `${serve(80, "eighty")}; ${serve(81, "more")}; sleep 100`,
    );
    const update = async (...args: string[]) => {
      const ran = await engine.lading(["update", ...args, "web"]);
      return ran.code === 0 ? "done" : ran.stderr.trim();
    };
    expect(await update("--publish-add", "29181:81")).toBe("done");
    expect(await answers("http://127.0.0.1:29181/")).toBe("more");
    expect(await ok("port", "web")).toContain("81/tcp -> 0.0.0.0:29181");
    expect(await update("--publish-add", "29181:80")).toContain("already allocated");
    expect(await update("--publish-rm", "82")).toContain("port 82/tcp is not published");
    expect(await update("--publish-rm", "29180:80", "--publish-add", "29180:81")).toBe("done");
    expect(await answers("http://127.0.0.1:29180/")).toBe("more");

    await engine.crash();
    expect(await answers("http://127.0.0.1:29181/")).toBe("more");
    await ok("restart", "-t", "0", "web");
    const { PortBindings } = (await inspect("container", "web")).HostConfig;
    expect(PortBindings["81/tcp"]).toEqual([
      { HostIp: "", HostPort: "29181" },
      { HostIp: "", HostPort: "29180" },
    ]);
    expect(await update("--publish-rm", "81")).toBe("done");
    expect(await answers("http://127.0.0.1:29181/")).toBe("nothing");
    expect(await ok("port", "web")).toBe("");
    await ok("rm", "-f", "web");
    await ok("run", "-d", "--name", "web", "--network", "host", "busybox", "sleep", "100");
    expect(await update("--publish-add", "29181:81")).toContain("no network of its own");
    await ok("rm", "-f", "web");
  });

  /** What `network why` says: reachable, or the step that stops it and why. */
  const why = async (from: string, to: string) => {
    const ran = await engine.lading(["network", "why", "--format", "json", from, to]);
    if (!ran.stdout.startsWith("{")) return ran.stderr.trim();
    const { Reachable, StoppedBy, Steps } = JSON.parse(ran.stdout);
    expect(ran.code).toBe(Reachable ? 0 : 1);
    return Reachable ? "reachable" : `${StoppedBy}: ${Steps.at(-1).Detail}`;
  };

  test("network why names what stops a connection", async () => {
    for (const name of ["north", "south"]) await ok("network", "create", name);
    await ok("network", "create", "--internal", "cellar");
    const icc = "com.docker.network.bridge.enable_icc=false";
    await ok("network", "create", "-o", icc, "apart");
    const run = (name: string, ...args: string[]) =>
      ok("run", "-d", "--name", name, "--network", ...args);
    const shell = ["busybox", "sh", "-c"];
    await run("web", "north", "-p", "29280:80", ...shell, `${serve(80, "web")}; sleep 100`);
    await run("lone", "north", ...shell, "httpd -p 127.0.0.1:80; sleep 100");
    await run("far", "south", "busybox", "sleep", "100");
    await run("deep", "cellar", "busybox", "sleep", "100");
    for (const name of ["left", "right"]) {
      await run(name, "apart", ...shell, `${serve(80, "x")}; sleep 100`);
    }
    await ok("create", "--name", "asleep", "busybox");

    expect(await why("lone", "web:80")).toBe("reachable");
    expect(await why("web", "web:80")).toBe("reachable");
    expect(await why("host", "web:80")).toBe("reachable");
    expect(await why("host", "localhost:29280")).toBe("reachable");
    expect(await why("far", "host:29280")).toBe("reachable");
    expect(await why("192.0.2.99", "web:80")).toBe("reachable");
    expect(await why("web", "lone:80")).toBe(
      `listener: lone listens at 127.0.0.1 alone, not at ${await ok("inspect", "-f", "{{.NetworkSettings.Networks.north.IPAddress}}", "lone")}`,
    );
    expect(await why("lone", "web:81")).toBe("listener: nothing in web listens at port 81/tcp");
    expect(await why("far", "web:80")).toBe(
      "dns: far and web share no network: far is on south, web on north",
    );
    const address = await ok(
      "inspect",
      "-f",
      "{{.NetworkSettings.Networks.north.IPAddress}}",
      "web",
    );
    expect(await why("far", `${address}:80`)).toBe("firewall: network north is closed to south");
    expect(await why("left", "right:80")).toBe(
      "firewall: network apart keeps its containers apart",
    );
    expect(await why("deep", "192.0.2.99:80")).toBe(
      "route: no route leads to 192.0.2.99: cellar is internal",
    );
    expect(await why("deep", "nowhere.example:80")).toStartWith("dns: ");
    expect(await why("192.0.2.99", "lone:80")).toBe("publish: 80/tcp of lone is not published");
    expect(await why("far", "host:29281")).toBe(
      "listener: 29281/tcp is listened to nowhere on the host",
    );
    expect(await why("web", "asleep:80")).toStartWith("listener: container asleep is not running");
    expect(await why("asleep", "web:80")).toStartWith("source: container asleep is not running");
    expect(await why("nobody", "web:80")).toContain("No such container: nobody");
    for (const to of ["web", "web:0", "web:99999", "web:80/sctp", ":80", "a:b:80"]) {
      expect(await why("far", to)).toContain("Cannot look for a way to");
    }
    // A user with curl has the same.
    const curl = ["curl", "-s", "--unix-socket", engine.host.slice("unix://".length)];
    const { stdout } = await command([...curl, "http://x/lading/network/why?from=lone&to=web:80"]);
    expect(JSON.parse(stdout)).toMatchObject({ From: "lone", To: "web:80", Reachable: true });
    const shown = (await engine.lading(["network", "why", "far", "web:80"])).stdout;
    expect(shown).toContain('"lading network connect north far" joins them');
    const names = ["web", "lone", "far", "deep", "left", "right", "asleep"];
    await ok("rm", "-f", ...names);
  });
});
