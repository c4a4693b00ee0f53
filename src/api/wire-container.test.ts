import { expect, test } from "bun:test";
import type { Sandbox } from "../network/mod.ts";
import { containerFrom, requestFrom, serveFakes } from "./fakes.ts";
import { portList } from "./wire-container.ts";

const id = "a".repeat(64);

test("containerInspect() has the fields that clients read, asked for or not", async () => {
  await using served = await serveFakes([containerFrom(id, requestFrom({ Image: "x" }, "web"))]);
  const { Config, HostConfig } = await served.client.containers.inspect("web");
  expect(Config).toMatchObject({
    User: "",
    Cmd: null,
    Entrypoint: null,
    Volumes: null,
    WorkingDir: "",
    OnBuild: null,
    Labels: {},
  });
  expect(HostConfig).toMatchObject({ CpuCount: 0, CpuPercent: 0, IOMaximumIOps: 0 });
});

test("portList() of a container without a network is empty", () => {
  const asked = requestFrom({ Image: "x", ExposedPorts: { "80/tcp": {} } }, "web");
  const made = containerFrom(id, asked);
  const running = { ...made, state: { ...made.state, status: "running" as const } };
  const sandbox = { ports: [] } as unknown as Sandbox;
  const on = (NetworkMode: string) =>
    portList({ ...running, hostConfig: { ...running.hostConfig, NetworkMode } }, sandbox);
  expect(on("bridge")).toEqual([{ PrivatePort: 80, Type: "tcp" }]);
  expect(on("none")).toEqual([]);
});
