import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
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

test("claimRoots() closes a data root to other users, unless it holds what is not the engine's", () => {
  const modeOf = (name: string) => statSync(`${folder}/${name}`).mode & 0o777;
  for (const name of ["empty", "used", "foreign"]) mkdirSync(`${folder}/${name}`, { mode: 0o755 });
  writeFileSync(`${folder}/used/lading.db`, "");
  writeFileSync(`${folder}/foreign/letter`, "");
  for (const name of ["fresh", "empty", "used", "foreign"])
    claim(name, "run", "one0")[Symbol.dispose]();
  expect(["fresh", "empty", "used", "foreign"].map(modeOf)).toEqual([0o710, 0o710, 0o710, 0o755]);
});

test("claimRoots() says which root it could not make, and how to name another", () => {
  writeFileSync(`${folder}/file`, "");
  const why = `"${folder}/file/x": not a directory`;
  const said = (root: string) => ({
    message: `Cannot make the ${root} root ${why}`,
    hint: `Name another folder with --${root}-root`,
  });
  expect(() => claim("file/x", "run", "one0")).toThrow(expect.objectContaining(said("data")));
  expect(() => claim("data", "file/x", "one0")).toThrow(expect.objectContaining(said("exec")));
});
