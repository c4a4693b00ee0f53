import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

test("every test that the builder's coverage page names is there", () => {
  const page = readFileSync(join(root, "docs/design/coverage-build.md"), "utf8");
  const rows = page
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (what|---) /.test(line))
    .map((line) => line.slice(2, -2).split(" | "));
  expect(rows.length).toBeGreaterThan(90);
  const texts = new Map<string, string>();
  const lost = rows.filter(([, file = "", name = ""]) => {
    const path = join(root, file);
    if (!texts.has(file)) texts.set(file, existsSync(path) ? readFileSync(path, "utf8") : "");
    return name === "" || !texts.get(file)!.includes(name);
  });
  expect(lost).toEqual([]);
});
