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
    Env: null,
    Cmd: null,
    Entrypoint: null,
    Volumes: null,
    WorkingDir: "",
    OnBuild: null,
    Labels: {},
  });
  expect(HostConfig).toMatchObject({ CpuCount: 0, CpuPercent: 0, IOMaximumIOps: 0 });
});

test("containerInspect() has null for what is empty, and keeps the words of Windows", async () => {
  const body = { Image: "x", Env: [], Volumes: {}, HostConfig: { CpuCount: 3 } };
  const full = { Image: "x", Env: ["A=1"], Volumes: { "/v": {} } };
  const two = [requestFrom(body, "web"), requestFrom(full, "full")];
  const made = two.map((request, at) => containerFrom(`${at}`.repeat(64), request));
  await using served = await serveFakes(made);
  const { Config, HostConfig } = await served.client.containers.inspect("web");
  expect(Config).toMatchObject({ Env: null, Volumes: null });
  expect(HostConfig).toMatchObject({ CpuCount: 3, CpuPercent: 0 });
  const other = await served.client.containers.inspect("full");
  expect(other.Config).toMatchObject({ Env: ["A=1"], Volumes: { "/v": {} } });
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
