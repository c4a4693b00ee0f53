import { describe, expect, test } from "bun:test";
import { buildIn, expectClean, openWorld } from "./fakes.ts";
import type { BuildRequest } from "./types.ts";

/** The message of a build that must fail, and leave nothing behind. */
async function failureOf(
  text: string,
  given: Partial<BuildRequest> & { exitCode?: number } = {},
): Promise<string> {
  await using at = await openWorld();
  const { exitCode = 0, ...request } = given;
  at.command = () => exitCode;
  const error = await buildIn(at, text, { tags: ["tagged"], ...request }).then(
    () => new Error("the build succeeded"),
    (reason: Error) => reason,
  );
  expectClean(at);
  expect(at.names.has("tagged")).toBe(false);
  return error.message;
}

describe("build() fails", () => {
  test("with a command's exit code and line", async () => {
    expect(await failureOf("FROM base\n\nRUN false \\\n  && true", { exitCode: 3 })).toBe(
      [
        "The command '/bin/sh -c false   && true' returned a non-zero code: 3",
        " --> Dockerfile:3:1",
        "  |",
        "3 | RUN false \\",
        "  | ^^^^^^^^^^^",
      ].join("\n"),
    );
  });

  test("with the exit code as a number, too", async () => {
    await using at = await openWorld();
    at.command = () => 42;
    const failed = buildIn(at, "FROM base AS a\nRUN x\nFROM a\nRUN y");
    await expect(failed).rejects.toMatchObject({ exitCode: 42, code: "invalid" });
  });

  const cases: [text: string, problem: string, given?: Partial<BuildRequest>][] = [
    ["", "the Dockerfile (Dockerfile) cannot be empty"],
    [
      "# check=error=true\nFROM base\nMAINTAINER me",
      "lint violation found for rules: MaintainerDeprecated",
    ],
    ["FROM gone", "No such image: gone\n --> Dockerfile:1:1"],
    ["FROM base\nCOPY --from=gone /a /", "No such image: gone\n --> Dockerfile:2:1"],
    [
      "FROM base\nCOPY nofile /",
      "COPY failed: file not found in build context or excluded by .dockerignore: stat nofile: file does not exist\n --> Dockerfile:2:6",
    ],
    ["FROM base\nCOPY ../x /", "forbidden path outside the build context"],
    ["FROM base\nCOPY --chmod=9 Dockerfile /", "invalid chmod parameter: '9'"],
    ["FROM base\nEXPOSE 80-70", "invalid containerPort: 80-70\n --> Dockerfile:2:1"],
    ["FROM base\nSTOPSIGNAL NO", "invalid signal: NO"],
    ["FROM base\nENV a=${x:?needed}", "x: needed\n --> Dockerfile:2:1"],
    ["FROM base\nCOPY http://x/y /", "source can't be a URL for COPY"],
    ["FROM base\nADD https://x/y.git /", "Cannot fetch https://x/y.git"],
    ["FROM base\nRUN --mount=type=ssh,required x", "ssh agent default: not found"],
    ["FROM base\nRUN --security=insecure x", "security.insecure is not allowed"],
    ["FROM base\nRUN --security=other x", 'security "other" is not valid'],
    ["FROM base\nRUN --device=v.org/c=d x", "device is not allowed"],
    [
      "FROM base\nRUN --device=v.org/c=d,required x",
      "device v.org/c=d is requested by the build but not available",
      { allow: ["device"] },
    ],
    [
      "FROM base",
      "invalid ulimit type: no",
      { limits: { ulimits: [{ name: "no", soft: 1, hard: 1 }] } },
    ],
    ["FROM base", "cpuset cpus: invalid format", { limits: { cpus: "a" } }],
    ["FROM base\nRUN --mount=type=secret,id=s,required x", "secret s: not found"],
    ["FROM base\nRUN --network=host x", "network.host is not allowed"],
    ["FROM base\nUSER nobody\nRUN x", "unable to find user nobody: no matching entries"],
    ["FROM base", "Cannot locate specified Dockerfile: other", { dockerfile: { path: "other" } }],
    [
      "FROM base",
      "forbidden path outside the build context",
      { dockerfile: { path: "../Dockerfile" } },
    ],
    ["FROM base", "does not match the specified platform", { platform: "linux/s390x" }],
  ];
  const filled = cases.map(([text, problem, given = {}]) => [text, problem, given] as const);
  test.each(filled)("on %j: %s", async (text, problem, given) => {
    expect(await failureOf(text, given)).toContain(problem);
  });

  test("when it is cancelled: the command is killed, only finished steps stay", async () => {
    await using at = await openWorld();
    const abort = new AbortController();
    at.command = async ({ spec, killed }) => {
      if (spec.process.args.at(-1) !== "slow") return 0;
      abort.abort();
      await killed;
      return 137;
    };
    const text = "FROM base\nRUN quick\nRUN slow";
    await expect(buildIn(at, text, { signal: abort.signal })).rejects.toThrow("Build cancelled");
    expectClean(at);
    at.command = () => 0;
    await buildIn(at, text);
    expect(at.ran).toEqual(["quick", "slow", "slow"]);
  });

  test("in one stage and stops the others", async () => {
    await using at = await openWorld();
    at.command = async ({ spec, killed }) => {
      if (spec.process.args.at(-1) === "bad") return 9;
      await killed;
      return 137;
    };
    const text = "FROM base AS a\nRUN wait\nFROM base AS b\nRUN bad\nFROM a\nCOPY --from=b / /";
    await expect(buildIn(at, text)).rejects.toThrow("returned a non-zero code: 9");
    expectClean(at);
  });

  const hints: [text: string, hint: string, given?: Partial<BuildRequest>][] = [
    ["FROM base AS build\nFROM bild", "Did you mean the stage build?"],
    ["FROM base AS build\nFROM base\nCOPY --from=biuld /a /", "Did you mean the stage build?"],
    ["FROM base\nCOPY Dockerfil /", "Did you mean Dockerfile?"],
    ["FROM base", "Did you mean Dockerfile?", { dockerfile: { path: "Dockrfile" } }],
    [
      "FROM base\nRUN --mount=type=secret,id=tokn,required x",
      "The build was given token: did you mean that?",
      { secrets: new Map([["token", new Uint8Array()]]) },
    ],
    ["FROM base\nRUN --mount=type=cach,target=/x y", "Did you mean cache?"],
    ["FROM base\nCOPY --form=x /a /", "Did you mean --from?"],
    ["FROM base\nRUNN x", "Did you mean RUN?"],
  ];
  const all = hints.map(([text, hint, given = {}]) => [text, hint, given] as const);
  test.each(all)("on %j and suggests: %s", async (text, hint, given) => {
    await using world = await openWorld();
    await expect(buildIn(world, text, given)).rejects.toMatchObject({ hint });
  });

  test("and marks the word that is at fault, in the line where it stands", async () => {
    const text = "FROM base\nCOPY a \\\n  nofile /";
    await using world = await openWorld();
    await expect(buildIn(world, text, { files: { a: "" } })).rejects.toThrow(
      " --> Dockerfile:3:3\n  |\n3 |   nofile /\n  |   ^^^^^^",
    );
  });

  test("and tells what the ignore file leaves out", async () => {
    const files = { ".dockerignore": "*.log", "a.log": "" };
    await using world = await openWorld();
    await expect(buildIn(world, "FROM base\nCOPY a.log /", { files })).rejects.toMatchObject({
      hint: ".dockerignore leaves it out",
    });
  });
});
