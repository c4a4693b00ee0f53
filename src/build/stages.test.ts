import { describe, expect, test } from "bun:test";
import type { NamedContext } from "./named-context.ts";
import { parseDockerfile } from "./parse.ts";
import { platformArgs } from "./platform.ts";
import { plan } from "./stages.ts";

const read = (text: string, target = "", buildArgs = {}) =>
  plan(parseDockerfile(text), {
    buildArgs,
    platformArgs: platformArgs({ os: "linux", architecture: "arm64" }),
    target,
  });

const file = `ARG TAG=1.0
FROM base:$TAG AS one
RUN x
FROM one AS two
FROM scratch AS unused
COPY --from=two /a /b
FROM scratch AS assets
FROM two AS last
COPY --from=assets a b
COPY --from=0 a b
COPY --from=elsewhere:1 a b
RUN --mount=from=unused-name,target=/x y
`;

describe("plan()", () => {
  test("takes the last stage and only what it needs", () => {
    const { stages, target, used } = read(file);
    expect(target.name).toBe("last");
    expect([...used].sort()).toEqual([0, 1, 3, 4]);
    expect(stages.map(({ base }) => base)).toEqual([undefined, 0, undefined, undefined, 1]);
  });

  test.each([
    ["two", [0, 1]],
    ["TWO", [0, 1]],
    ["unused", [0, 1, 2]],
    ["3", [3]],
  ])("with target %s needs %j", (target, needed) => {
    expect([...read(file, target).used].sort()).toEqual(needed);
  });

  test("finds circles, with the line, and stages that name themselves", () => {
    const circle = "FROM a AS x\nCOPY --from=y /f /\nFROM a AS y\nRUN --mount=from=x,target=/m b";
    expect(() => read(circle)).toThrow(
      "dockerfile parse error on line 2: circular dependency detected on stage: y\n --> Dockerfile:2:1",
    );
    expect(() => read("FROM a AS x\nCOPY --from=x /f /")).toThrow("on stage: x");
    expect([...read("FROM a AS x\nCOPY --from=y /f /\nFROM a AS y", "x").used].sort()).toEqual([
      0, 1,
    ]);
  });

  test("plans five thousand stages that stand on each other, and finds the circle in them", () => {
    const stages = Array.from({ length: 5_000 }, (_, index) => `FROM s${index - 1} AS s${index}`);
    expect(read(stages.join("\n")).used.size).toBe(5_000);
    const circle = [stages[0], "COPY --from=s4999 /f /", ...stages.slice(1)].join("\n");
    expect(() => read(circle)).toThrow("circular dependency detected");
    expect(() => read("FROM a\n".repeat(10_001))).toThrow("more than 10000 instructions");
  });

  test("puts contexts before stages and images, in any spelling", () => {
    const contexts = new Map<string, NamedContext>([
      ["alpine", { kind: "image", reference: "other" }],
      ["one", { kind: "folder", path: "/x" }],
      ["two", { kind: "stage", name: "first" }],
    ]);
    const text = `FROM docker.io/library/alpine:latest AS first
FROM b AS one
FROM two
COPY --from=one /f /
COPY --from=TWO /g /`;
    const dockerfile = parseDockerfile(text);
    const { stages, used } = plan(dockerfile, {
      buildArgs: {},
      platformArgs: {},
      target: "",
      contexts,
    });
    expect(stages.map(({ context }) => context?.kind)).toEqual(["image", undefined, "stage"]);
    expect(stages[2]!.base).toBe(0);
    expect([...used].sort()).toEqual([0, 2]);
    const early = () =>
      plan(parseDockerfile("FROM two"), { buildArgs: {}, platformArgs: {}, target: "", contexts });
    expect(early).toThrow('there is no earlier stage "first"');
  });

  test("expands FROM with arguments, given ones first, and the platform's", () => {
    const image = (text: string, buildArgs = {}) => read(text, "", buildArgs).stages[0]!;
    expect(image(file).image).toBe("base:1.0");
    expect(image(file, { TAG: "2" }).image).toBe("base:2");
    expect(image("FROM --platform=$TARGETPLATFORM x-$TARGETARCH")).toMatchObject({
      image: "x-arm64",
      platform: "linux/arm64",
    });
  });

  const bad: [text: string, target: string, problem: string][] = [
    ["", "", "file with no instructions"],
    ["# only a comment", "", "file with no instructions"],
    ["RUN x\nFROM a", "", "on line 1: no build stage in current context"],
    ["ARG a", "", "no build stage in current context"],
    ["FROM $NONE", "", "base name ($NONE) should not be blank"],
    ["FROM a AS one", "tow", 'target stage "tow" could not be found'],
  ];
  test.each(bad)("refuses %j with target %j", (text, target, problem) => {
    expect(() => read(text, target)).toThrow(problem);
  });
});
