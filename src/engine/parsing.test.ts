import { describe, expect, test } from "bun:test";
import { capabilities } from "../runtime/mod.ts";
import { environment } from "./environment.ts";
import { afterResult, testCommand } from "./health.ts";
import { checkLogConfig, loggingOf } from "./logging.ts";
import { parsePort, portsOf } from "./ports.ts";
import { parseUntil } from "./prune.ts";
import { parseSecurity } from "./security.ts";
import { parseSignal } from "./signals.ts";
import { formatMs, nowNs } from "./times.ts";
import { parseProcesses } from "./top.ts";
import type { Container } from "./types.ts";

test("environment() orders as Docker does, and lets later layers win or take away", () => {
  const made = environment({
    hostname: "h1",
    terminal: true,
    home: "/root",
    layers: [
      ["A=1", "B=2", "PATH=/bin"],
      ["A=3", "B", "C=x=y"],
    ],
  });
  expect(made).toEqual(["PATH=/bin", "HOSTNAME=h1", "TERM=xterm", "A=3", "C=x=y", "HOME=/root"]);
});

describe("parseSignal()", () => {
  const good: [string, number][] = [
    ["9", 9],
    ["KILL", 9],
    ["sigterm", 15],
    ["SIGRTMIN+3", 37],
    ["RTMAX-1", 63],
    ["CHLD", 17],
  ];
  for (const [text, number] of good) {
    test(`knows ${text}`, () => expect(parseSignal(text)).toBe(number));
  }
  for (const bad of ["0", "65", "FOO", "", "-1", "9x", "__proto__", "RTMIN+40"]) {
    test(`refuses "${bad}"`, () => expect(() => parseSignal(bad)).toThrow("Invalid signal"));
  }
});

test("capabilities() adds and drops", () => {
  const plain = capabilities({ add: null, drop: null, privileged: false });
  expect(plain).toContain("CAP_CHOWN");
  expect(plain).not.toContain("CAP_SYS_ADMIN");
  const bare = capabilities({ add: ["net_raw"], drop: ["ALL"], privileged: false });
  expect(bare).toEqual(["CAP_NET_RAW"]);
  const all = capabilities({ add: ["ALL"], drop: ["CAP_MKNOD"], privileged: false });
  expect(all).not.toContain("CAP_MKNOD");
  expect(all.length).toBeGreaterThan(plain.length);
  expect(() => capabilities({ add: ["FLY"], drop: null, privileged: false })).toThrow(
    'invalid CapAdd: unknown capability: "CAP_FLY"',
  );
});

test("parseSecurity() reads each option, and refuses others", () => {
  const options = ["no-new-privileges", "seccomp=unconfined", "apparmor=x", "label=disable"];
  expect(parseSecurity(options, false)).toMatchObject({
    noNewPrivileges: true,
    seccomp: "unconfined",
    apparmorProfile: "x",
  });
  expect(parseSecurity(["no-new-privileges:false"], false).noNewPrivileges).toBe(false);
  expect(parseSecurity(null, true).seccomp).toBe("unconfined");
  expect(() => parseSecurity(["magic"], false)).toThrow('invalid --security-opt 1: "magic"');
  expect(() => parseSecurity(["a=b"], false)).toThrow('invalid --security-opt 2: "a=b"');
  expect(() => parseSecurity(["seccomp={"], false)).toThrow("Decoding seccomp profile failed");
});

test("parsePort() and portsOf() spread ranges", () => {
  expect(parsePort("80-82/UDP")).toEqual({ first: 80, last: 82, protocol: "udp" });
  for (const bad of ["", "0", "x", "80/icmp", "5-2", "99999", "1-2-3"]) {
    expect(() => parsePort(bad)).toThrow();
  }
  const container = {
    config: { ExposedPorts: { "80/tcp": {}, "53/udp": {} } },
    hostConfig: {
      PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8000-8010" }] },
      PublishAllPorts: true,
    },
  } as unknown as Container;
  expect(portsOf(container)).toEqual([
    { containerPort: 80, protocol: "tcp", hostIp: "127.0.0.1", hostPort: [8000, 8010] },
    { containerPort: 53, protocol: "udp", hostIp: "", hostPort: 0 },
  ]);
});

test("parseProcesses() keeps the rows of a container, command whole", () => {
  const text = "UID  PID CMD\nroot 1 /sbin/init\nroot 22 sleep  9 8\nroot 221 x\n";
  expect(parseProcesses(text, new Set([22]))).toEqual({
    titles: ["UID", "PID", "CMD"],
    processes: [["root", "22", "sleep 9 8"]],
  });
  expect(() => parseProcesses("UID CMD\n", new Set())).toThrow("Couldn't find PID field");
});

test("checkLogConfig() and loggingOf() bound a log", () => {
  expect(checkLogConfig({ Type: "", Config: {} }).Type).toBe("json-file");
  expect(() => checkLogConfig({ Type: "nosuch", Config: {} })).toThrow("no log driver named");
  expect(() => checkLogConfig({ Type: "local", Config: { x: "1" } })).toThrow(
    "unknown log opt 'x'",
  );
  expect(() => checkLogConfig({ Type: "local", Config: { "max-size": "big" } })).toThrow(
    "invalid size: 'big'",
  );
  expect(() => checkLogConfig({ Type: "", Config: { "max-file": "0" } })).toThrow("less than 1");
  const LogConfig = { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } };
  const container = { hostConfig: { LogConfig }, logDirectory: "/l" } as unknown as Container;
  expect(loggingOf(container)).toEqual({ kind: "disk", directory: "/l", bytesMax: 30 << 20 });
});

test("testCommand() runs CMD as it is and CMD-SHELL in the image's shell", () => {
  expect(testCommand({ Test: ["CMD", "a", "b"] }, undefined)).toEqual(["a", "b"]);
  expect(testCommand({ Test: ["CMD-SHELL", "a b"] }, undefined)).toEqual(["/bin/sh", "-c", "a b"]);
  expect(testCommand({ Test: ["CMD-SHELL", "a"] }, ["/bin/ash", "-e"])).toEqual([
    "/bin/ash",
    "-e",
    "a",
  ]);
  expect(testCommand({ Test: ["NONE"] }, undefined)).toBeUndefined();
  expect(testCommand({}, undefined)).toBeUndefined();
});

test("afterResult() needs a streak to be unhealthy, and forgives while starting", () => {
  const bad = { Start: "", End: "", ExitCode: 1, Output: "" };
  const starting = { Status: "starting", FailingStreak: 0, Log: [] } as const;
  const forgiven = afterResult(starting, bad, { retries: 1, isStarting: true });
  expect(forgiven).toMatchObject({ Status: "starting", FailingStreak: 0 });
  const once = afterResult(forgiven, bad, { retries: 2, isStarting: false });
  expect(once).toMatchObject({ Status: "starting", FailingStreak: 1 });
  const twice = afterResult(once, bad, { retries: 2, isStarting: false });
  expect(twice).toMatchObject({ Status: "unhealthy", FailingStreak: 2 });
  const well = afterResult(twice, { ...bad, ExitCode: 0 }, { retries: 2, isStarting: false });
  expect(well).toMatchObject({ Status: "healthy", FailingStreak: 0 });
  let many = well;
  for (let n = 0; n < 9; n++) many = afterResult(many, bad, { retries: 2, isStarting: false });
  expect(many.Log).toHaveLength(5);
});

test("parseUntil() takes a time, a duration and a date", () => {
  expect(parseUntil("1700000000")).toBe(1_700_000_000_000);
  expect(parseUntil("1h30m", 10_000_000)).toBe(10_000_000 - 5_400_000);
  expect(parseUntil("2024-01-01T00:00:00Z")).toBe(Date.UTC(2024, 0, 1));
  expect(() => parseUntil("soon")).toThrow("invalid until filter");
});

test("nowNs() never gives the same time twice, and formatMs() has nine digits", () => {
  const times = Array.from({ length: 1_000 }, nowNs);
  expect(new Set(times).size).toBe(times.length);
  expect(formatMs(1_700_000_000_123)).toBe("2023-11-14T22:13:20.123000000Z");
});
