import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { claimRoots } from "./claim.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/lading-claim-`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const claim = (data: string, exec: string, bridge: string) =>
  claimRoots({ dataRoot: `${folder}/${data}`, execRoot: `${folder}/${exec}`, bridge }, folder);

test("claimRoots() refuses a second engine each of the three", () => {
  using _first = claim("data", "run", "one0");
  expect(() => claim("data", "run2", "two0")).toThrow(`another one uses the data root "${folder}`);
  expect(() => claim("data2", "run", "two0")).toThrow(`another one uses the exec root "${folder}`);
  expect(() => claim("data2", "run2", "one0")).toThrow('another one uses the bridge "one0"');
  using _second = claim("data2", "run2", "two0");
});

test("claimRoots() keeps nothing of a claim that failed, and gives all back", () => {
  {
    using _first = claim("data", "run", "one0");
    expect(() => claim("data2", "run2", "one0")).toThrow("bridge");
    using _other = claim("data2", "run2", "two0");
  }
  using _again = claim("data", "run", "one0");
});

test("claimRoots() refuses the data root of a registry", () => {
  mkdirSync(`${folder}/data/registry`, { recursive: true });
  expect(() => claim("data", "run", "one0")).toThrow("it is the data root of a registry");
});

test("claimRoots() takes one folder for both roots", () => {
  using _claim = claim("both", "both", "one0");
});
