import { afterAll, expect, test } from "bun:test";
import { recordAnswers } from "./exchange.ts";
import { containerFrom, requestFrom, running, serveFakes } from "./fakes.ts";
import { type Answer, openSpec, specPath } from "./spec-check.ts";
import { statsAnswer } from "./stats.ts";

const spec = openSpec();
const answers: Answer[] = [];
afterAll(() => recordAnswers(undefined));

/** What the engine completes before it keeps a container. */
const engineFills = { CgroupnsMode: "private", LogConfig: { Type: "json-file" } };

test.skipIf(!spec)(`every answer is as ${specPath()} has it`, async () => {
  recordAnswers((answer) => void answers.push(answer));
  const full = requestFrom(
    {
      Image: "busybox",
      Cmd: ["sleep", "1 000"],
      Env: ["A=b"],
      Labels: { a: "b" },
      ExposedPorts: { "80/tcp": {}, "53/udp": {} },
      Healthcheck: { Test: ["CMD", "true"], Interval: 1e9 },
      HostConfig: {
        ...engineFills,
        PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "8080" }] },
        Mounts: [{ Type: "volume", Source: "data", Target: "/data" }],
        Ulimits: [{ Name: "nofile", Soft: 1, Hard: 2 }],
        RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 },
      },
    },
    "web",
  );
  const health = { Status: "healthy", FailingStreak: 0, Log: [] } as const;
  const containers = [
    containerFrom("a".repeat(64), full, { ...running, health }),
    containerFrom("b".repeat(64), requestFrom({ Image: "gone", HostConfig: engineFills }, "db"), {
      ...running,
      status: "exited",
      pid: 0,
    }),
  ];
  await using served = await serveFakes(containers);
  const { client } = served;
  await client.containers.list({ all: true, size: true });
  await client.containers.inspect("web", { size: true });
  await client.containers.inspect("db");
  await client.containers.create({ Image: "busybox" });
  await client.containers.start("web");
  await (await client.containers.wait("web")).exit;
  await client.containers.inspect("nobody").catch(() => {});
  await client.images.list();
  await client.images.inspect("busybox");
  await client.images.history("busybox");
  await client.images.remove("busybox");
  await client.images.inspect("nothing").catch(() => {});
  await client.networks.list();
  await client.networks.inspect("bridge");
  await client.networks.create({ Name: "mine" });
  await client.volumes.list();
  await client.volumes.inspect("data");
  await client.volumes.create({});
  await client.system.version();
  await client.system.info();
  await client.system.diskUsage();
  await client.request("GET", "/swarm").catch(() => {});
  await client.request("GET", "/plugins");
  expect(answers.length).toBeGreaterThanOrEqual(22);
  expect(answers.flatMap((answer) => spec!.check(answer))).toEqual([]);
});

test.skipIf(!spec)("statsAnswer() is as the specification has it, with and without samples", () => {
  const sample = {
    readMs: 1_716_037_262_123,
    usage: {
      cpu: {
        totalNs: 5,
        userNs: 3,
        systemNs: 2,
        perCpuNs: [5],
        periods: 0,
        throttledPeriods: 0,
        throttledNs: 0,
      },
      memory: { usage: 1, max: 2, limit: 3, stats: { cache: 1 }, oomKills: 0 },
      pids: { current: 1, limit: 100 },
      blockIo: [{ major: 8, minor: 0, op: "read", value: 10 }],
    },
    systemCpuNs: 100,
    onlineCpus: 2,
    networks: { eth0: { rx_bytes: 1, tx_bytes: 2 } },
  };
  const path = "/containers/x/stats";
  for (const stats of [
    statsAnswer({ id: "x", name: "n" }, sample, sample),
    statsAnswer({ id: "x", name: "n" }, undefined, undefined),
  ]) {
    const body = JSON.stringify(stats);
    expect(spec!.check({ method: "GET", path, status: 200, body })).toEqual([]);
  }
});

test.skipIf(!spec)("check() finds a wrong type, a missing field and an unknown one", () => {
  const check = (path: string, body: unknown) =>
    spec!.check({ method: "GET", path, status: 200, body: JSON.stringify(body) });
  expect(check("/containers/json", [{ Id: 5 }])).toHaveLength(1);
  expect(check("/volumes/x", { Name: "x" })).toHaveLength(5);
  expect(check("/containers/json", [{ Odd: 1 }])).toHaveLength(1);
  expect(check("/containers/json", [{ State: "asleep" }])).toHaveLength(1);
  expect(check("/nowhere", {})).toHaveLength(1);
});
