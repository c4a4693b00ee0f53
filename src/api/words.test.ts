import { expect, test } from "bun:test";
import type { ContainerState } from "../engine/mod.ts";
import { running } from "./fakes.ts";
import { spanWords, statusWords } from "./words.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

test("spanWords() speaks as Docker does", () => {
  const cases: [ms: number, words: string][] = [
    [999, "Less than a second"],
    [second, "1 second"],
    [59 * second, "59 seconds"],
    [minute, "About a minute"],
    [2 * minute, "2 minutes"],
    [59 * minute, "59 minutes"],
    [hour, "About an hour"],
    [1.5 * hour, "2 hours"],
    [47 * hour, "47 hours"],
    [48 * hour, "2 days"],
    [14 * day, "2 weeks"],
    [60 * day, "2 months"],
    [730 * day, "2 years"],
  ];
  for (const [ms, words] of cases) expect(spanWords(ms)).toBe(words);
});

test("statusWords() has a text for each state", () => {
  const nowMs = Date.parse("2024-05-18T13:01:10Z");
  const ended = "2024-05-18T13:01:05Z";
  const cases: [Partial<ContainerState>, string][] = [
    [{}, "Up 6 seconds"],
    [{ health: { Status: "healthy", FailingStreak: 0, Log: [] } }, "Up 6 seconds (healthy)"],
    [
      { health: { Status: "starting", FailingStreak: 0, Log: [] } },
      "Up 6 seconds (health: starting)",
    ],
    [{ status: "paused" }, "Up 6 seconds (Paused)"],
    [{ status: "restarting", exitCode: 1, finishedAt: ended }, "Restarting (1) 5 seconds ago"],
    [{ status: "exited", exitCode: 137, finishedAt: ended }, "Exited (137) 5 seconds ago"],
    [{ status: "created" }, "Created"],
    [{ status: "removing" }, "Removal In Progress"],
    [{ status: "dead" }, "Dead"],
  ];
  for (const [state, words] of cases) {
    expect(statusWords({ state: { ...running, ...state } }, nowMs)).toBe(words);
  }
});
