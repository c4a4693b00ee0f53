/** Containers through the API itself: WebSocket, figures against the kernel's, waits and events. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { TestEngine, whyNot } from "./engine.ts";

interface StatsAnswer {
  readonly memory_stats: { readonly usage: number; readonly limit: number };
  readonly pids_stats: object;
  readonly cpu_stats: { readonly cpu_usage: { readonly total_usage: number } };
  readonly networks: { readonly eth0: { readonly rx_packets: number } };
}

describe.skipIf(whyNot !== undefined)(
  `containers by API${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;
    beforeAll(async () => {
      engine = await TestEngine.open("ctnapi");
      await engine.importBusybox();
    });
    afterAll(async () => {
      expect(await engine.close()).toEqual([]);
    });
    const unix = () => engine.host.slice("unix://".length);
    const call = (path: string, init: RequestInit = {}) =>
      fetch(`http://engine${path}`, { ...init, unix: unix() } as RequestInit);

    test("attach/ws carries input and output in frames", async () => {
      const id = await engine.ok(["run", "-d", "-i", "busybox", "cat"]);
      const socket = connect(unix());
      let received = Buffer.alloc(0);
      socket.on("data", (bytes) => {
        received = Buffer.concat([received, Buffer.from(bytes)]);
      });
      const until = async (isThere: () => boolean) => {
        for (let attempt = 0; attempt < 400 && !isThere(); attempt++) await Bun.sleep(10);
        expect(isThere()).toBe(true);
      };
      const key = Buffer.from("0123456789abcdef").toString("base64");
      socket.write(
        `GET /containers/${id}/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n` +
          `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      );
      await until(() => received.includes("\r\n\r\n"));
      expect(received.toString("latin1")).toStartWith("HTTP/1.1 101");
      expect(received.toString("latin1")).toContain("BACScCJPNqyz+UBoqMH89VmURoA=");
      const text = Buffer.from("over the wire\n");
      const mask = [1, 2, 3, 4];
      socket.write(
        Buffer.from([
          0x82,
          0x80 | text.length,
          ...mask,
          ...text.map((byte, at) => byte ^ mask[at % 4]!),
        ]),
      );
      await until(() => received.includes("over the wire\n"));
      const at = received.indexOf("over the wire\n");
      expect(received[at - 1]).toBe(text.length);
      expect(received[at - 2]! & 0x80).toBe(0x80);
      socket.destroy();
      await engine.ok(["rm", "-f", id]);
    });

    test("inspect names the folders that hold a container's files, as overlay2 of Docker", async () => {
      const id = await engine.ok(["run", "-d", "busybox", "sleep", "1000"]);
      await engine.ok(["exec", id, "sh", "-c", "echo made >/made"]);
      const foldersOf = async (name: string) =>
        JSON.parse(await engine.ok(["inspect", "-f", "{{json .GraphDriver.Data}}", name]));
      const { MergedDir: merged, LowerDir: lower, ...own } = await foldersOf(id);
      for (const folder of [merged, own.UpperDir]) {
        expect(readFileSync(join(folder, "made"), "utf8")).toBe("made\n");
      }
      expect(readdirSync(merged)).toContain("bin");
      expect(await foldersOf("busybox")).toEqual({ UpperDir: lower });
      expect(readdirSync(lower)).toContain("bin");
      await engine.ok(["stop", "-t", "0", id]);
      expect(await foldersOf(id)).toEqual({ LowerDir: lower, ...own });
      await engine.ok(["rm", id]);
    });

    test("a build joins a container's network, and sees its names", async () => {
      const image = "FROM busybox\nRUN cat /etc/hosts && ip a show eth0 && echo own >> /etc/hosts";
      const build = (...flags: string[]) =>
        engine.docker(["build", "--no-cache", "--network=container:donor", ...flags, "-"], {
          input: image,
          env: { DOCKER_BUILDKIT: "0" },
        });
      await engine.ok(
        "run -d --name donor --hostname build.host --add-host db:10.9.8.7 busybox sleep 1000".split(
          " ",
        ),
      );
      const hosts = await engine.ok(["exec", "donor", "cat", "/etc/hosts"]);
      const { code, stdout } = await build("--add-host", "more:10.9.8.6");
      expect([code, stdout]).toEqual([0, expect.stringContaining(hosts)]);
      expect(hosts).toContain("10.9.8.7\tdb");
      expect(stdout).toContain("10.9.8.6\tmore");
      const address = "{{.NetworkSettings.Networks.bridge.IPAddress}}";
      expect(stdout).toContain(`inet ${await engine.ok(["inspect", "-f", address, "donor"])}/`);
      expect(await engine.ok(["exec", "donor", "cat", "/etc/hosts"])).toBe(hosts);
      await engine.ok(["stop", "-t", "0", "donor"]);
      expect((await build()).stderr).toContain("cannot join network of a non running container");
      await engine.ok(["rm", "donor"]);
      expect((await build()).stderr).toContain("No such container: donor");
      const other = (await build("--network=mine")).stderr;
      expect(other).toContain('Cannot build on network "mine"');
    });

    test("stats are the figures of the container's group", async () => {
      const id = await engine.ok([
        "run",
        "-d",
        "-m",
        "32m",
        "--pids-limit",
        "9",
        "busybox",
        "sleep",
        "100",
      ]);
      const pid = await engine.ok(["inspect", "-f", "{{.State.Pid}}", id]);
      const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
      const file = (controller: string, v1: string, v2: string) => {
        const line = lines.find((each) => each.split(":")[1]!.split(",").includes(controller));
        const path = line
          ? `/sys/fs/cgroup/${controller}${line.split(":")[2]}/${v1}`
          : `/sys/fs/cgroup${lines[0]!.split(":")[2]}/${v2}`;
        return readFileSync(path, "utf8");
      };
      const answer = await call(`/containers/${id}/stats?stream=false&one-shot=true`);
      const stats = (await answer.json()) as StatsAnswer;
      expect(stats.memory_stats.usage).toBe(
        Number(file("memory", "memory.usage_in_bytes", "memory.current")),
      );
      expect(stats.memory_stats.limit).toBe(32 << 20);
      expect(stats.pids_stats).toEqual({ current: 1, limit: 9 });
      const used = file("cpuacct", "cpuacct.usage", "cpu.stat");
      const usedNs = /usage_usec (\d+)/.test(used)
        ? Number(/usage_usec (\d+)/.exec(used)![1]) * 1000
        : Number(used);
      expect(stats.cpu_stats.cpu_usage.total_usage).toBe(usedNs);
      expect(stats.networks.eth0.rx_packets).toBeGreaterThanOrEqual(0);
      await engine.ok(["rm", "-f", id]);
    });

    test("wait answers for each condition", async () => {
      const body = JSON.stringify({
        Image: "busybox",
        Cmd: ["sh", "-c", "exit 7"],
        HostConfig: { AutoRemove: true },
      });
      const headers = { "Content-Type": "application/json" };
      const make = async () => {
        const made = await call("/containers/create", { method: "POST", body, headers });
        return ((await made.json()) as { Id: string }).Id;
      };
      for (const condition of ["next-exit", "removed"]) {
        const id = await make();
        const waiting = call(`/containers/${id}/wait?condition=${condition}`, { method: "POST" });
        await call(`/containers/${id}/start`, { method: "POST" });
        expect(await (await waiting).json()).toMatchObject({ StatusCode: 7 });
      }
      const idle = await make();
      const over = await call(`/containers/${idle}/wait`, { method: "POST" });
      expect(await over.json()).toMatchObject({ StatusCode: 0 });
      const odd = await call(`/containers/${idle}/wait?condition=odd`, { method: "POST" });
      expect(odd.status).toBe(400);
      await engine.ok(["rm", idle]);
    });

    test("OOM ends with 137, says so, and is an event", async () => {
      const eat = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
      const ran = await engine.docker([
        "run",
        "--name",
        "eats",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "busybox",
        ...eat,
      ]);
      expect(ran.code).toBe(137);
      expect(await engine.ok(["inspect", "-f", "{{.State.OOMKilled}}", "eats"])).toBe("true");
      const answer = await call(
        `/events?since=0&until=${Date.now() / 1000 + 0.2}&filters=${encodeURIComponent('{"event":["oom"],"container":["eats"]}')}`,
      );
      expect(await answer.text()).toContain('"Action":"oom"');
      await engine.ok(["rm", "eats"]);
    });

    test("container prune --dry-run says what would go, and removes nothing", async () => {
      const id = await engine.ok(["create", "--label", "dry", "busybox", "true"]);
      const prune = ["container", "prune", "--filter", "label=dry"];
      const preview = await engine.lading([...prune, "--dry-run"]);
      expect(preview.stdout).toContain(`Would delete containers:\n${id}`);
      expect(await engine.ok(["ps", "-aq", "--no-trunc"])).toContain(id);
      const pruned = await engine.lading([...prune, "-f"]);
      expect(pruned.stdout).toContain(`Deleted Containers:\n${id}`);
    });

    test("image, volume and network prune --dry-run remove nothing", async () => {
      const build = { input: "FROM scratch\nLABEL dry=1\n" };
      await engine.ok(["build", "-q", "-t", "dry:1", "-"], build);
      await engine.ok(["volume", "create", "--label", "dry", "dryvolume"]);
      await engine.ok(["network", "create", "--label", "dry", "drynetwork"]);
      const cases: [argv: string[], preview: string, pruned: string][] = [
        [["image", "prune", "-a"], "Would delete images:\nuntagged: dry:1", "untagged: dry:1"],
        [["volume", "prune", "-a"], "Would delete volumes:\ndryvolume", "dryvolume"],
        [["network", "prune"], "Would delete networks:\ndrynetwork", "drynetwork"],
      ];
      for (const [argv, preview, pruned] of cases) {
        const wish = [...argv, "--filter", argv[0] === "image" ? "label=dry=1" : "label=dry"];
        for (let round = 0; round < 2; round++) {
          expect((await engine.lading([...wish, "--dry-run"])).stdout).toContain(preview);
        }
        expect((await engine.lading([...wish, "-f"])).stdout).toContain(pruned);
        expect((await engine.lading([...wish, "--dry-run"])).stdout).not.toContain("Would delete");
      }
    });

    test("system prune --dry-run sees what would be free without the containers", async () => {
      const id = await engine.ok(["create", "--label", "sys", "-v", "/data", "busybox", "true"]);
      const volume = await engine.ok(["inspect", "-f", "{{(index .Mounts 0).Name}}", id]);
      await engine.ok(["network", "create", "idle"]);
      const preview = await engine.lading(["system", "prune", "--volumes", "-a", "--dry-run"]);
      const would = [
        "Containers:\n" + id,
        "Networks:\nidle",
        `Volumes:\n${volume}`,
        "Images:\nuntagged: busybox:latest",
      ];
      for (const part of would) expect(preview.stdout).toContain(`Would delete ${part}`);
      expect(await engine.ok(["volume", "ls", "-q"])).toContain(volume);
      expect(await engine.ok(["images", "-q"])).not.toBe("");
      await engine.ok(["rm", "-v", id]);
      await engine.ok(["network", "rm", "idle"]);
    });

    test("a network that create asks for stands instead of the mode's, not beside it", async () => {
      await engine.ok(["network", "create", "asked"]);
      const ask = { Image: "busybox", Cmd: ["true"] };
      for (const HostConfig of [{}, { NetworkMode: "default" }, { NetworkMode: "bridge" }]) {
        const answer = await call("/v1.51/containers/create", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({
            ...ask,
            HostConfig,
            NetworkingConfig: { EndpointsConfig: { asked: {} } },
          }),
        });
        const { Id } = (await answer.json()) as { Id: string };
        const shown = await engine.ok(["inspect", "-f", "{{json .NetworkSettings.Networks}}", Id]);
        expect(Object.keys(JSON.parse(shown))).toEqual(["asked"]);
        await engine.ok(["rm", Id]);
      }
      await engine.ok(["network", "rm", "asked"]);
    });

    test("checkpoints are refused in words", async () => {
      const id = await engine.ok(["create", "busybox", "true"]);
      const answer = await call(`/containers/${id}/checkpoints`, { method: "POST", body: "{}" });
      expect(answer.status).toBe(501);
      expect(await answer.text()).toContain("without CRIU");
      await engine.ok(["rm", id]);
    });
  },
);
