import { expect, test } from "bun:test";
import { Failure } from "../base/mod.ts";
import { statusOf } from "./answers.ts";

test("statusOf() blames the caller for a program that cannot run, not for a start that cannot be", () => {
  const ended = (exitCode: number) =>
    statusOf(Object.assign(new Failure("invalid", "no"), { exitCode }));
  expect([ended(126), ended(127), ended(128)]).toEqual([400, 400, 500]);
  expect(statusOf(new Failure("invalid", "no"))).toBe(400);
  const lacking = Object.assign(new Failure("not_found", "no network"), { exitCode: 128 });
  expect(statusOf(lacking)).toBe(404);
});
