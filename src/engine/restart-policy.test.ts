import { describe, expect, test } from "bun:test";
import { nextDelayMs, parseRestartPolicy, shallRestart, shallResume } from "./restart-policy.ts";
import type { RestartPolicy } from "./types.ts";

const policy = (Name: RestartPolicy["Name"], MaximumRetryCount = 0) => ({
  Name,
  MaximumRetryCount,
});

describe("shallRestart()", () => {
  const cases: [RestartPolicy, exitCode: number, count: number, manual: boolean, boolean][] = [
    [policy("no"), 1, 0, false, false],
    [policy(""), 1, 0, false, false],
    [policy("always"), 0, 9, false, true],
    [policy("always"), 0, 0, true, false],
    [policy("unless-stopped"), 1, 0, false, true],
    [policy("unless-stopped"), 1, 0, true, false],
    [policy("on-failure"), 0, 0, false, false],
    [policy("on-failure"), 1, 99, false, true],
    [policy("on-failure", 3), 1, 2, false, true],
    [policy("on-failure", 3), 1, 3, false, false],
  ];
  for (const [rule, exitCode, restartCount, manuallyStopped, wanted] of cases) {
    test(`${rule.Name}:${rule.MaximumRetryCount} exit ${exitCode}, ${restartCount} times`, () => {
      expect(shallRestart(rule, { exitCode, restartCount, manuallyStopped })).toBe(wanted);
    });
  }
});

test("shallResume() starts what a user stopped only for always", () => {
  const stopped = { exitCode: 0, restartCount: 0, manuallyStopped: true, hasRun: true };
  expect(shallResume(policy("always"), stopped)).toBe(true);
  expect(shallResume(policy("unless-stopped"), stopped)).toBe(false);
  expect(shallResume(policy("always"), { ...stopped, hasRun: false })).toBe(false);
});

test("nextDelayMs() doubles from 100 ms to a minute, and begins anew after 10 s of running", () => {
  const delays: number[] = [];
  for (let delay = 0; delays.length < 12; delays.push(delay)) delay = nextDelayMs(delay, 50);
  expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
  expect(nextDelayMs(60_000, 10_000)).toBe(100);
});

test("parseRestartPolicy() says what is wrong", () => {
  parseRestartPolicy(policy("on-failure", 5));
  expect(() => parseRestartPolicy(policy("always", 5))).toThrow(
    "can only be used with 'on-failure'",
  );
  expect(() => parseRestartPolicy(policy("on-failure", -1))).toThrow("cannot be negative");
  expect(() => parseRestartPolicy({ Name: "often" as "no", MaximumRetryCount: 0 })).toThrow(
    "unknown policy 'often'",
  );
});
