import { describe, expect, test } from "bun:test";
import { checkDockerfile, findingText, readCheckDirective, refuseFindings } from "./checks.ts";
import { compileIgnore } from "./ignore.ts";
import { parseDockerfile } from "./parse.ts";
import { plan } from "./stages.ts";

/** Findings in a Dockerfile whose base images have no variables but PATH. */
const found = (text: string, ignored: string[] = []) => {
  const dockerfile = parseDockerfile(text);
  const facts = {
    plan: plan(dockerfile, { buildArgs: {}, platformArgs: {}, target: "" }),
    environmentOf: () => ["PATH"],
    ignore: compileIgnore(ignored),
  };
  return checkDockerfile(dockerfile, facts).map(
    ({ check, range }) => `${check}:${range.start.line}`,
  );
};

const cases: readonly [check: string, text: string, line: number][] = [
  ["StageNameCasing", "FROM a AS Base", 1],
  ["FromAsCasing", "FROM a as base", 1],
  ["FromAsCasing", "from a AS base", 1],
  ["ConsistentInstructionCasing", "FROM a\nRun x\nRUN y", 2],
  ["ConsistentInstructionCasing", "from a\nrun x\nRUN y", 3],
  ["DuplicateStageName", "FROM a AS b\nFROM c AS b", 2],
  ["ReservedStageName", "FROM a AS scratch", 1],
  ["ReservedStageName", "FROM a AS context", 1],
  ["JSONArgsRecommended", "FROM a\nCMD x y", 2],
  ["JSONArgsRecommended", "FROM a\nENTRYPOINT x y", 2],
  ["MaintainerDeprecated", "FROM a\nMAINTAINER me", 2],
  ["UndefinedArgInFrom", "ARG A\nFROM a:$A-${B}", 2],
  ["WorkdirRelativePath", "FROM a\nRUN x\nWORKDIR app", 3],
  ["MultipleInstructionsDisallowed", 'FROM a\nCMD ["a"]\nCMD ["b"]', 2],
  ["MultipleInstructionsDisallowed", "FROM a\nHEALTHCHECK CMD a\nHEALTHCHECK NONE", 2],
  ["LegacyKeyValueFormat", "FROM a\nENV name some=value", 2],
  ["LegacyKeyValueFormat", "FROM a\nLABEL name value", 2],
  ["RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM a", 1],
  ["FromPlatformFlagConstDisallowed", "FROM --platform=linux/arm64 a", 1],
  ["SecretsUsedInArgOrEnv", "FROM a\nARG NPM_TOKEN", 2],
  ["SecretsUsedInArgOrEnv", "FROM a\nENV DB_PASSWORD=x", 2],
  ["ExposeProtoCasing", "FROM a\nEXPOSE 80/TCP", 2],
  ["NoEmptyContinuation", "FROM a\nRUN x \\\n\n  y", 3],
  ["UndefinedVar", "FROM a\nCOPY $x /", 2],
  ["UndefinedVar", "FROM a AS b\nENV x=1\nFROM b\nENV y=$x z=$y", 4],
  ["UndefinedVar", "FROM a\nARG x=$z", 2],
  ["UndefinedVar", "FROM a\nRUN --mount=target=/$x cat /y", 2],
  ["InvalidDefaultArgInFrom", "ARG T\nFROM a:$T", 2],
  ["InvalidDefaultArgInFrom", "ARG I=a::b\nFROM ${I}", 2],
  ["ExposeInvalidFormat", "FROM a\nEXPOSE 127.0.0.1:80:80", 2],
];

describe("checkDockerfile()", () => {
  test.each(cases)("finds %s alone in %j on line %d", (check, text, line) => {
    expect(found(text)).toEqual([`${check}:${line}`]);
  });

  test.each([
    "FROM a AS base\nFROM base AS two",
    'FROM a\nCMD ["x"]',
    'FROM a\nSHELL ["/bin/bash", "-c"]\nCMD x',
    "FROM a\nHEALTHCHECK CMD x y",
    'FROM a AS b\nCMD ["x"]\nFROM b\nCMD ["y"]',
    "FROM --platform=$BUILDPLATFORM a",
    "FROM --platform=linux/arm64 a AS build-arm64",
    "ARG TAG=1\nFROM a:${TAG:-2}",
    "FROM a AS b\nWORKDIR /app\nWORKDIR x\nFROM b\nWORKDIR y",
    "FROM a\nWORKDIR $PATH/app",
    "FROM a\nENV PUBLIC_KEY=x MONKEY=y KEYBOARD=z",
    'FROM a\nENV a="b c" d=e\nLABEL "x y"=z',
    "FROM a\nARG PORT\nEXPOSE 80/tcp $PORT 8000-8010/udp",
    "FROM a\nENV PATH=$PATH:/x\nRUN echo $any\nCOPY ${y:-z} /",
    "ARG T=1\nFROM a:$T\nARG T\nLABEL t=$T",
    "FROM a\nARG x\nENV y=$x\nWORKDIR $y",
    "FROM a AS unused\nCOPY $x /\nFROM a",
    "# anything\nFROM a\n# anything\nARG x",
  ])("finds nothing in %j", (text) => {
    expect(found(text)).toEqual([]);
  });

  test("suggests what a variable may have been", () => {
    const text = "ARG VERSION\nFROM a:${VERSIN}\nENV NAME=x\nLABEL n=$NAM";
    const dockerfile = parseDockerfile(text);
    const facts = { plan: undefined as never, environmentOf: () => [] };
    const planned = {
      ...facts,
      plan: plan(dockerfile, { buildArgs: {}, platformArgs: {}, target: "" }),
    };
    expect(checkDockerfile(dockerfile, planned).map(({ message }) => message)).toEqual([
      "FROM argument 'VERSIN' is not declared (did you mean VERSION?)",
      "Usage of undefined variable '$NAM' (did you mean $NAME?)",
    ]);
  });

  test("finds what is copied although the ignore file leaves it out", () => {
    const copied = (word: string) =>
      found(`FROM a\nCOPY ${word} /x/`, ["out", "!out/but", "*.log"]);
    expect(copied("out")).toEqual(["CopyIgnoredFile:2"]);
    expect(copied("a.log")).toEqual(["CopyIgnoredFile:2"]);
    expect(copied("in . out/but *.log")).toEqual([]);
    expect(found("FROM a\nADD http://x/a.log /", ["*.log"])).toEqual([]);
    expect(found("FROM a AS b\nFROM a\nCOPY --from=b out /", ["out"])).toEqual([]);
  });

  test("looks at descriptions only when that is asked for", () => {
    const text = "# bla\nFROM a AS b\n# other\nARG x\n# y is good\nARG y";
    expect(found(text)).toEqual([]);
    const all = ["InvalidDefinitionDescription:2", "InvalidDefinitionDescription:4"];
    expect(
      found(`# check=experimental=all\n${text}`).map((each) =>
        each.replace(/\d$/, (n) => `${Number(n) - 1}`),
      ),
    ).toEqual(all);
  });

  test("leaves out what the check directive names, in any case", () => {
    const text = "FROM a\nMAINTAINER me\nWORKDIR x";
    expect(found(`# check=skip=maintainerdeprecated\n${text}`)).toEqual(["WorkdirRelativePath:4"]);
    expect(found(`# check=skip=all\n${text}`)).toEqual([]);
  });

  test("tells no more than a hundred findings, none with a value", () => {
    const text = `FROM a\n${"ENV A_TOKEN=hidden-value\n".repeat(500)}`;
    const findings = checkDockerfile(parseDockerfile(text));
    expect(findings).toHaveLength(100);
    expect(findings.map(findingText).join()).not.toContain("hidden-value");
  });
});

describe("refuseFindings()", () => {
  const refuse = (text: string) => {
    const dockerfile = parseDockerfile(text);
    refuseFindings(dockerfile, checkDockerfile(dockerfile));
  };

  test("fails with rules, texts and lines when the directive says error=true", () => {
    const text = "# check=error=true\nFROM a\nMAINTAINER me";
    expect(() => refuse(text)).toThrow(/rules: MaintainerDeprecated\n.*\(line 3\)$/);
  });

  test("does nothing without it, without findings, or when all are skipped", () => {
    refuse("FROM a\nMAINTAINER me");
    refuse("# check=error=true\nFROM a");
    refuse("# check=skip=MaintainerDeprecated;error=true\nFROM a\nMAINTAINER me");
  });
});

test("readCheckDirective() reads names and error, with white space", () => {
  const { skip, isError } = readCheckDirective("skip=A, B ; error=TRUE");
  expect([[...skip], isError]).toEqual([["a", "b"], true]);
});
