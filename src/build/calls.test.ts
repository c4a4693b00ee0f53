import { afterAll, beforeAll, expect, test } from "bun:test";
import { buildIn, openWorld, requestOf, type World } from "./fakes.ts";
import type { BuildCall, BuildRequest } from "./types.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const call = (method: BuildCall, text: string, given: Partial<BuildRequest> = {}) => {
  const contextPath = world.context({ Dockerfile: text, ".dockerignore": "*.log" });
  return world.builder.call(method, requestOf({ contextPath, ...given }));
};

const text = `# VERSION of all
ARG VERSION=1
FROM base AS first
# NAME who it is for
ARG NAME
RUN --mount=type=secret,id=s,required --mount=type=ssh --mount=type=cache,target=/c true
# last what is shipped
FROM first AS last
COPY a.log $none $X /`;

test("call(check) knows the base image's variables and the ignore file", async () => {
  const { warnings } = (await call("check", text)) as { warnings: object[] };
  const url = "https://docs.docker.com/go/dockerfile/rule";
  const location = { ranges: [{ start: { line: 9 }, end: { line: 9 } }] };
  expect(warnings).toMatchObject([
    {
      ruleName: "UndefinedVar",
      url: `${url}/undefined-var/`,
      detail: "Usage of undefined variable '$none'",
      location,
    },
    { ruleName: "CopyIgnoredFile", url: `${url}/copy-ignored-file/`, location },
  ]);
  expect(world.ran).toEqual([]);
});

test("call(check) tells why what it checked cannot be built", async () => {
  const answer = await call("check", "FROM base\nMAINTAINER me", { target: "gone" });
  expect(answer).toMatchObject({
    warnings: [{ ruleName: "MaintainerDeprecated" }],
    buildError: { message: 'target stage "gone" could not be found' },
  });
});

test("call(outline) tells what a target can be given", async () => {
  const secret = { name: "s", required: true };
  expect(await call("outline", text, { buildArgs: { NAME: "me" } })).toMatchObject({
    name: "last",
    description: "what is shipped",
    args: [
      { name: "VERSION", value: "1", description: "of all" },
      { name: "NAME", value: "me", description: "who it is for" },
    ],
    secrets: [secret],
    ssh: [{ name: "default" }],
    cache: [{ ID: "/c" }],
  });
});

test("call(targets) lists the stages", async () => {
  const { targets } = (await call("targets", text)) as { targets: object[] };
  expect(targets).toMatchObject([
    { name: "first", base: "base" },
    { name: "last", base: "first", default: true, description: "what is shipped" },
  ]);
});

test("build() tells all findings, by BUILDKIT_DOCKERFILE_CHECK instead of the file's line", async () => {
  const dockerfile = "# check=skip=all\nFROM base\nENV A=$none\nMAINTAINER me";
  const warnings = async (check: string | null) => {
    const buildArgs = { BUILDKIT_DOCKERFILE_CHECK: check };
    const { lines } = await buildIn(world, dockerfile, { buildArgs });
    return lines.filter((line) => line.startsWith("warning"));
  };
  expect(await warnings(null)).toEqual([]);
  expect(await warnings("skip=MaintainerDeprecated")).toEqual([
    "warning UndefinedVar: Usage of undefined variable '$none' (line 3)",
  ]);
  await expect(warnings("error=true")).rejects.toThrow(
    "lint violation found for rules: UndefinedVar, MaintainerDeprecated",
  );
});

test("build() reports a syntax image that is not Docker's, and does not run it", async () => {
  const warningsOf = async (syntax: string) => {
    const { lines } = await buildIn(world, `# syntax=${syntax}\nFROM base`);
    return lines.filter((line) => line.startsWith("warning"));
  };
  expect(await warningsOf("docker/dockerfile:1.20")).toEqual([]);
  expect(await warningsOf("docker.io/docker/dockerfile-upstream:master")).toEqual([]);
  const [warning] = await warningsOf("example.org/mine");
  expect(warning).toContain("The syntax image example.org/mine is not run");
});
