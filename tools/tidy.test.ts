import { expect, test } from "bun:test";
import { badImports, badNames, badSyntax } from "./tidy.ts";

const cases: [path: string, target: string, allowed: boolean][] = [
  ["src/image/pull.ts", "content/mod.ts", true],
  ["src/image/pull.ts", "content/store.ts", false], // past the door
  ["src/network/bridge.ts", "volume/mod.ts", false], // a sibling
  ["src/content/store.ts", "image/mod.ts", false], // upward
  ["src/cli/run.ts", "api/client.ts", true],
  ["src/cli/compose.ts", "compose/mod.ts", true],
  ["src/cli/run.ts", "engine/mod.ts", false], // a client behind the API
  ["src/cli/run.ts", "api/server.ts", false],
];
for (const [path, target, allowed] of cases) {
  test(`badImports() ${allowed ? "lets" : "refuses to let"} ${path} import ${target}`, () => {
    expect(badImports(path, `import { x } from "../${target}";`)).toHaveLength(allowed ? 0 : 1);
    expect(badImports(path, `await import("../${target}");`)).toHaveLength(allowed ? 0 : 1);
  });
}

test("badNames() refuses words that say nothing", () => {
  expect(badNames("src/image/util.ts", "")).toHaveLength(1);
  expect(badNames("src/image/pull.ts", "export class PullManager {}")).toHaveLength(1);
  expect(badNames("src/image/pull.ts", "export function pull() {}")).toHaveLength(0);
});

test("badSyntax() refuses what cannot be erased, an empty catch and a slow copy", () => {
  expect(badSyntax("a.ts", "export enum A { x }")).toHaveLength(1);
  expect(badSyntax("a.ts", "try { f() } catch {}")).toHaveLength(1);
  expect(badSyntax("a.ts", "const a = Uint8Array.from(b);")).toHaveLength(1);
  expect(badSyntax("a.ts", "const a = 1;")).toHaveLength(0);
});
