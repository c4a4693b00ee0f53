import { expect, test } from "bun:test";
import { Uploads } from "./uploads.ts";

test("Uploads ends what no build took, and leaves a build what it took", async () => {
  const ended: string[] = [];
  const taken = (path: string) => ({
    path,
    [Symbol.asyncDispose]: async () => void ended.push(path),
  });
  await using ours = taken("/ours");
  const uploads = new Uploads();
  await uploads.keep(taken("/theirs"));
  expect(uploads.take(await uploads.keep(ours)).path).toBe("/ours");
  await uploads[Symbol.asyncDispose]();
  expect(ended).toEqual(["/theirs"]);
});
