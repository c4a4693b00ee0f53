/** The house rules hold for the whole tree, not only in a gate that somebody has to remember. */
import { expect, test } from "bun:test";
import { command, root } from "./engine.ts";

test("tidy.ts finds nothing to mend", async () => {
  const ran = await command([process.execPath, "tools/tidy.ts"], { cwd: root });
  expect(ran.stderr).toBe("");
  expect(ran.code).toBe(0);
});
