import { describe, expect, test } from "bun:test";
import { formatImageConfig, parseImageConfig } from "./config.ts";
import { mergeRunConfig } from "./run-config.ts";
import type { RunConfig } from "./types.ts";

describe("mergeRunConfig()", () => {
  test.each<[string, RunConfig, RunConfig, RunConfig]>([
    ["takes the image's command", { Cmd: ["a"] }, {}, { Entrypoint: null, Cmd: ["a"] }],
    ["takes the asked command", { Cmd: ["a"] }, { Cmd: ["b"] }, { Entrypoint: null, Cmd: ["b"] }],
    [
      "drops the image's command with its entrypoint",
      { Entrypoint: ["e"], Cmd: ["a"] },
      { Entrypoint: ["f"] },
      { Entrypoint: ["f"], Cmd: null },
    ],
    [
      "keeps the image's entrypoint before an asked command",
      { Entrypoint: ["e"], Cmd: ["a"] },
      { Cmd: ["b"], Entrypoint: null },
      { Entrypoint: ["e"], Cmd: ["b"] },
    ],
    [
      "takes [] for no entrypoint",
      { Entrypoint: ["e"] },
      { Entrypoint: [] },
      { Entrypoint: [], Cmd: null },
    ],
    [
      "joins variables, the asked ones first",
      { Env: ["A=1", "B=2"] },
      { Env: ["C=3", "A=9"] },
      { Env: ["C=3", "A=9", "B=2"], Entrypoint: null, Cmd: null },
    ],
    [
      "joins labels, ports and volumes",
      { Labels: { a: "1", b: "2" }, ExposedPorts: { "1/tcp": {} }, Volumes: { "/a": {} } },
      { Labels: { b: "3" }, ExposedPorts: { "2/tcp": {} }, Volumes: { "/b": {} } },
      {
        Labels: { a: "1", b: "3" },
        ExposedPorts: { "1/tcp": {}, "2/tcp": {} },
        Volumes: { "/a": {}, "/b": {} },
        Entrypoint: null,
        Cmd: null,
      },
    ],
    [
      "takes the image's values where nothing is asked for",
      { User: "u", WorkingDir: "/w", StopSignal: "SIGINT", Shell: ["/bin/ash"] },
      { User: "", WorkingDir: "" },
      {
        User: "u",
        WorkingDir: "/w",
        StopSignal: "SIGINT",
        Shell: ["/bin/ash"],
        Entrypoint: null,
        Cmd: null,
      },
    ],
    [
      "fills a healthcheck's gaps",
      { Healthcheck: { Test: ["CMD", "x"], Retries: 3, Interval: 5 } },
      { Healthcheck: { Test: [], Interval: 7 } },
      { Healthcheck: { Test: ["CMD", "x"], Retries: 3, Interval: 7 }, Entrypoint: null, Cmd: null },
    ],
    ["does not pass triggers on", { OnBuild: ["RUN x"] }, {}, { Entrypoint: null, Cmd: null }],
  ])("%s", (_, image, asked, expected) => {
    expect(mergeRunConfig(image, asked)).toEqual({ Env: [], ...expected });
  });
});

test("formatImageConfig() gives the same bytes for the same config in another order", () => {
  const rootfs = { type: "layers", diff_ids: [] } as const;
  const one = {
    os: "linux",
    architecture: "amd64",
    rootfs,
    config: { Labels: { b: "1", a: "2" }, Cmd: ["x"] },
  };
  const other = {
    rootfs,
    config: { Cmd: ["x"], Labels: { a: "2", b: "1" } },
    architecture: "amd64",
    os: "linux",
  };
  expect(Buffer.from(formatImageConfig(one)).toString()).toBe(
    Buffer.from(formatImageConfig(other)).toString(),
  );
  expect(parseImageConfig(formatImageConfig(one))).toEqual(one);
});
