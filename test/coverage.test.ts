import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./engine.ts";

test("each test that docs/design/coverage.md names is there", () => {
  const page = readFileSync(join(root, "docs/design/coverage.md"), "utf8");
  const named = [...page.matchAll(/`([\w/.-]+\.test\.ts)` “([^”]+)”/g)];
  const absent = named.filter(([, path = "", name = ""]) => {
    const file = join(root, path);
    return !existsSync(file) || !readFileSync(file, "utf8").includes(name);
  });
  expect(absent.map(([text]) => text)).toEqual([]);
  expect(named.length).toBeGreaterThan(100);
});
