import { expect, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import { Failure, fileFailure, reasonOf, toFailure } from "./mod.ts";

function thrown(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error("it threw nothing");
}

const absent = () => thrown(() => readFileSync("/no/such"));

test("reasonOf() says in words why a file could not be used", () => {
  expect(reasonOf(absent())).toBe("no such file or directory");
  expect(reasonOf(thrown(() => readFileSync("/tmp")))).toBe("is a directory");
  expect(reasonOf(thrown(() => readFileSync("/dev/null/x")))).toBe("not a directory");
  expect(reasonOf(new Failure("internal", "Cannot open: ENOENT", { cause: absent() }))).toBe(
    "no such file or directory",
  );
  expect(reasonOf(Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" }))).toBe(
    "i/o error",
  );
  expect(reasonOf(new Error("it is not so"))).toBe("it is not so");
});

test("toFailure() tells a system call that failed in the house's words", () => {
  const { code, message } = toFailure(thrown(() => mkdirSync("/proc/x", { recursive: true })));
  expect([code, message]).toEqual([
    "internal",
    'Cannot mkdir "/proc/x": no such file or directory',
  ]);
  expect(toFailure(new Error("EOF")).message).toBe("EOF");
  expect(toFailure(undefined).message).toBe("undefined");
});

test("fileFailure() has the code that fits, and the hint", () => {
  const failure = fileFailure('read "/no/such"', absent(), { hint: "Make it" });
  expect(failure).toMatchObject({
    code: "not_found",
    message: 'Cannot read "/no/such": no such file or directory',
    hint: "Make it",
  });
  expect(
    fileFailure(
      "read it",
      thrown(() => readFileSync("/tmp")),
    ).code,
  ).toBe("invalid");
});
