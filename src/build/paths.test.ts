import { expect, test } from "bun:test";
import { basename, below, dirname, join } from "./paths.ts";

test("join() cleans, and leaves names that are no UTF-8 as they are", () => {
  expect(join("a\udcff", "./b/../c")).toBe("a\udcff/c");
  expect(join("/", "/a", "../../b")).toBe("/b");
  expect(join("", "../a")).toBe("../a");
  expect(join("", ".")).toBe("");
  expect(join("/")).toBe("/");
});

test("dirname(), basename() and below() part a path", () => {
  expect([dirname("/a/b\udcff"), dirname("/a"), dirname("a")]).toEqual(["/a", "/", ""]);
  expect([basename("a/b\udcff"), basename("a/b/"), basename("a")]).toEqual(["b\udcff", "b", "a"]);
  expect([below("", "a/b"), below("a", "a/b")]).toEqual(["a/b", "b"]);
});
