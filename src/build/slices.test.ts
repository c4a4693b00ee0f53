import { expect, test } from "bun:test";
import { checking } from "./checks.ts";
import { parseDockerfile, parsing } from "./parse.ts";
import { atOnce, inSlices, type Slices } from "./slices.ts";
import { planning } from "./stages.ts";

function stops(work: Slices<unknown>): number {
  let count = 0;
  while (!work.next().done) count++;
  return count;
}

test("inSlices() lets other work come between, and gives what atOnce() gives", async () => {
  let turns = 0;
  function* work(): Slices<number> {
    for (const lateMs = performance.now() + 20_000; turns < 2; ) {
      if (performance.now() > lateMs) return 0; // nothing came between
      yield;
    }
    return 7;
  }
  const count = setInterval(() => turns++, 0);
  expect(await inSlices(work())).toBe(7);
  clearInterval(count);
  expect(atOnce(work())).toBe(7);
}, 30_000);

test.each([
  ["many instructions", `FROM a\n${"RUN b\n".repeat(5_000)}`, 5_000],
  ["many stages", "FROM a\nRUN b\n".repeat(2_500), 5_000],
  ["many lines of one instruction", `FROM a\nRUN b \\\n${" c \\\n".repeat(200_000)} d`, 200],
  ["a long document", `FROM a\nRUN <<E\n${"b\n".repeat(200_000)}E`, 200],
  ["many empty lines", `${"\n".repeat(200_000)}FROM a`, 200],
] as const)("a Dockerfile with %s is read, planned and checked in slices", (_, text, least) => {
  expect(stops(parsing(text, "Dockerfile"))).toBeGreaterThanOrEqual(least);
  const dockerfile = parseDockerfile(text);
  const count = dockerfile.instructions.length;
  const options = { buildArgs: {}, platformArgs: {}, target: "" };
  expect(stops(planning(dockerfile, options))).toBeGreaterThanOrEqual(count);
  expect(stops(checking(dockerfile, {}))).toBeGreaterThanOrEqual(count);
});
