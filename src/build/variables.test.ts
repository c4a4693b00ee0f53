import { expect, test } from "bun:test";
import { hostPlatform } from "../oci/mod.ts";
import { emptyState } from "./base-image.ts";
import { childOf, lookupIn } from "./state.ts";
import { environmentOf, forgetIndexes, setEnvironment, setLabel, sizesOf } from "./variables.ts";

const times = { given: 1, commit: undefined, kept: false };
const empty = (env: readonly string[] = []) => {
  const state = emptyState(hostPlatform(), times);
  state.config.Env = env;
  return state;
};
const names = ["a", "b", "c=d", "10", "2", "__proto__", "constructor", "é"];
/** The same "random" choices in each run. */
function choices(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return (state >> 8) % below;
  };
}

test("setEnvironment() gives the list that a search through all of it gives", () => {
  for (let seed = 0; seed < 50; seed++) {
    const choose = choices(seed);
    const state = empty(["a=1", "b", "a=2", "c=d=3"]);
    const wanted = [...state.config.Env!];
    for (let line = 0; line < 30; line++) {
      const [name, value] = [names[choose(names.length)]!, `v=${line}`];
      const at = wanted.findIndex((entry) => entry === name || entry.startsWith(`${name}=`));
      wanted[at < 0 ? wanted.length : at] = `${name}=${value}`;
      if (choose(5) === 0) forgetIndexes(state);
      setEnvironment(state, name, value);
      expect(state.config.Env).toEqual(wanted);
      const lookup = lookupIn(state);
      const environment = environmentOf(state);
      for (const each of names) expect(lookup(each)).toBe(environment.get(each));
      expect(sizesOf(state)).toEqual({
        counts: [wanted.length, 0],
        length: wanted.join("").length,
      });
    }
  }
});

test("setLabel() gives the labels, in the order, that a new object with them gives", () => {
  const choose = choices(1);
  const state = empty();
  state.config.Labels = { from: "base" };
  let wanted: Record<string, string> = { from: "base" };
  for (let line = 0; line < 60; line++) {
    const [name, value] = [names[choose(names.length)]!, `v${line}`];
    wanted = { ...wanted, ...Object.fromEntries([[name, value]]) };
    if (choose(5) === 0) forgetIndexes(state);
    setLabel(state, name, value);
    expect(JSON.stringify(state.config.Labels)).toBe(JSON.stringify(wanted));
    const { counts, length } = sizesOf(state);
    const all = Object.entries(wanted).flat();
    expect([counts[1], length]).toEqual([all.length / 2, all.join("").length]);
  }
});

test("a stage changes its own lists in place, and none of what it stands on", () => {
  const env = ["a=1"];
  const parent = empty(env);
  setEnvironment(parent, "b", "2");
  setLabel(parent, "l", "1");
  const { Env, Labels } = parent.config;
  const child = childOf(parent, parent.platform);
  for (const state of [child, parent]) {
    setEnvironment(state, "c", "3");
    setLabel(state, "m", "2");
  }
  expect([env, parent.config.Env, child.config.Env]).toEqual([
    ["a=1"],
    ["a=1", "b=2", "c=3"],
    ["a=1", "b=2", "c=3"],
  ]);
  expect(parent.config.Env).toBe(Env!);
  expect(parent.config.Labels).toBe(Labels!);
  expect(child.config.Env).not.toBe(Env!);
  expect(child.config.Labels).not.toBe(Labels!);
});
