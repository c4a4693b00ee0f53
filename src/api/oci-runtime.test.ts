import { expect, test } from "bun:test";
import { parseVersion } from "./oci-runtime.ts";

test.each([
  ["crun version 1.8.1\ncommit: f8a0\nrundir: /run\n", "1.8.1", "f8a0"],
  ["runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1\nspec: 1.0.2\n", "1.1.5+ds1", "1.1.5+ds1-1"],
  ["gibberish", "", ""],
])("parseVersion() of %j", (text, version, commit) => {
  expect(parseVersion(text)).toEqual({ version, commit });
});
