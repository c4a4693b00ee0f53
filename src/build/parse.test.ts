import { describe, expect, test } from "bun:test";
import { Failure } from "../base/mod.ts";
import { type Dockerfile, parseDockerfile } from "./parse.ts";

/** The instructions without their text and place. */
function actions(text: string): unknown[] {
  return parseDockerfile(text).instructions.map(
    ({ text: _, range: __, comments: ___, ...action }) => action,
  );
}

function failureOf(text: string): Failure {
  try {
    parseDockerfile(text);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("the Dockerfile was accepted");
}

const shell = (text: string) => ({ form: "shell", text, heredocs: [] });
const plainRun = { network: "default", security: "sandbox", devices: [] };
const copy = {
  kind: "copy",
  isAdd: false,
  documents: [],
  from: "",
  chown: "",
  chmod: "",
  checksum: "",
  link: false,
  parents: false,
  excludes: [],
};

const good: [name: string, text: string, expected: unknown[]][] = [
  ["FROM", "FROM busybox", [{ kind: "from", image: "busybox", name: "", platform: "" }]],
  [
    "FROM with everything, in any case",
    "from --platform=$BUILDPLATFORM golang:1.22 as Builder",
    [{ kind: "from", image: "golang:1.22", name: "builder", platform: "$BUILDPLATFORM" }],
  ],
  [
    "a shell RUN",
    "RUN echo hi && true",
    [{ kind: "run", command: shell("echo hi && true"), mounts: [], ...plainRun }],
  ],
  [
    "an exec RUN",
    'RUN ["echo", "a b"]',
    [
      {
        kind: "run",
        command: { form: "exec", args: ["echo", "a b"] },
        mounts: [],
        ...plainRun,
      },
    ],
  ],
  [
    "RUN with a test in brackets as shell",
    "RUN [ -f /x ]",
    [{ kind: "run", command: shell("[ -f /x ]"), mounts: [], ...plainRun }],
  ],
  [
    "continuation with comments and empty lines in between",
    "RUN a \\\n  # comment\n\n  b \\\n  && c",
    [{ kind: "run", command: shell("a   b   && c"), mounts: [], ...plainRun }],
  ],
  [
    "RUN with mounts and a network",
    'RUN --mount=type=cache,target=/c,sharing=locked --mount=src=x,dst=/y,rw --network=none "x"',
    [
      {
        kind: "run",
        command: shell('"x"'),
        mounts: [
          { type: "cache", options: { target: "/c", sharing: "locked" } },
          { type: "bind", options: { source: "x", target: "/y", readwrite: "true" } },
        ],
        ...plainRun,
        network: "none",
      },
    ],
  ],
  [
    "RUN with devices and security",
    "RUN --security=insecure --device=v.org/c=d --device=name=v.org/c,required x",
    [
      {
        kind: "run",
        command: shell("x"),
        mounts: [],
        network: "default",
        security: "insecure",
        devices: [
          { name: "v.org/c=d", required: false },
          { name: "v.org/c", required: true },
        ],
      },
    ],
  ],
  [
    "RUN with a heredoc",
    "RUN <<EOF\necho a\n  echo $b\nEOF\n",
    [
      {
        kind: "run",
        command: {
          form: "shell",
          text: "<<EOF",
          heredocs: [{ name: "EOF", expand: true, chomp: false, content: "echo a\n  echo $b\n" }],
        },
        mounts: [],
        ...plainRun,
      },
    ],
  ],
  ["COPY", "COPY a b /c/", [{ ...copy, sources: ["a", "b"], target: "/c/" }]],
  ["COPY in JSON form", 'COPY ["a b", "/c d"]', [{ ...copy, sources: ["a b"], target: "/c d" }]],
  [
    "COPY with flags",
    "COPY --from=build --chown=1:2 --chmod=755 --link --exclude=*.md --exclude=x a /b",
    [
      {
        ...copy,
        from: "build",
        chown: "1:2",
        chmod: "755",
        link: true,
        excludes: ["*.md", "x"],
        sources: ["a"],
        target: "/b",
      },
    ],
  ],
  [
    "COPY of two documents",
    "COPY <<a.txt <<-'b.txt' /d/\nA $x\na.txt\n\tB\n\tb.txt",
    [
      {
        ...copy,
        sources: [],
        target: "/d/",
        documents: [
          { name: "a.txt", expand: true, chomp: false, content: "A $x\n" },
          { name: "b.txt", expand: false, chomp: true, content: "\tB\n" },
        ],
      },
    ],
  ],
  [
    "ENV in both forms",
    'ENV a=1 b="two words" c=x\\ y\nENV d  all of it = here',
    [
      {
        kind: "env",
        pairs: [
          { name: "a", value: "1" },
          { name: "b", value: '"two words"' },
          { name: "c", value: "x\\ y" },
        ],
      },
      { kind: "env", pairs: [{ name: "d", value: "all of it = here" }] },
    ],
  ],
  [
    "ARG with several names",
    "ARG a b=1",
    [{ kind: "arg", args: [{ name: "a" }, { name: "b", value: "1" }] }],
  ],
  ["EXPOSE", "EXPOSE 80 443/udp", [{ kind: "expose", words: ["80", "443/udp"] }]],
  ["VOLUME in JSON form", 'VOLUME ["/a", "/b"]', [{ kind: "volume", words: ["/a", "/b"] }]],
  ["SHELL", 'SHELL ["bash", "-c"]', [{ kind: "shell", args: ["bash", "-c"] }]],
  ["MAINTAINER", "MAINTAINER A B <c@d>", [{ kind: "maintainer", name: "A B <c@d>" }]],
  ["ONBUILD", "ONBUILD RUN make", [{ kind: "onbuild", trigger: "RUN make" }]],
  [
    "ONBUILD with a heredoc",
    "ONBUILD RUN <<E\nx\nE",
    [{ kind: "onbuild", trigger: "RUN <<E\nx\nE" }],
  ],
  ["HEALTHCHECK NONE", "HEALTHCHECK none", [{ kind: "healthcheck", flags: {} }]],
  [
    "HEALTHCHECK with every flag",
    "HEALTHCHECK --interval=1m30s --timeout=3s --start-period=5s --start-interval=500ms --retries=4 CMD x y",
    [
      {
        kind: "healthcheck",
        command: shell("x y"),
        flags: {
          Interval: 90e9,
          Timeout: 3e9,
          StartPeriod: 5e9,
          StartInterval: 5e8,
          Retries: 4,
        },
      },
    ],
  ],
  [
    "the escape directive",
    "# escape=`\nCMD a `\n b\\",
    [{ kind: "cmd", command: shell("a  b\\") }],
  ],
  ["a byte order mark and CRLF", "\uFEFFUSER me\r\n", [{ kind: "user", word: "me" }]],
  [
    "an unknown directive as a comment",
    "# foo=bar\n# escape=`\nUSER a\\",
    [{ kind: "user", word: "a" }],
  ],
];

describe("parseDockerfile()", () => {
  test.each(good)("reads %s", (_, text, expected) => {
    expect(actions(text)).toEqual(expected as never[]);
  });

  test("keeps the place of each instruction", () => {
    const file: Dockerfile = parseDockerfile("# c\n\nFROM a\n  RUN b \\\n   c\n");
    expect(file.instructions.map(({ range }) => range)).toEqual([
      { start: { line: 3, column: 1 }, end: { line: 3, column: 6 } },
      { start: { line: 4, column: 3 }, end: { line: 5, column: 4 } },
    ]);
  });

  test("keeps the comments right above an instruction", () => {
    const file = parseDockerfile("# syntax=x\n# no\n\n# a one\n#  two\nFROM a\n# x\n\nRUN b");
    expect(file.instructions.map(({ comments }) => comments)).toEqual([["a one", "two"], []]);
  });

  test("reads the directives", () => {
    const { directives } = parseDockerfile(
      "# syntax = docker/dockerfile:1\n# check=skip=all\nFROM a",
    );
    const found = { syntax: "docker/dockerfile:1", check: "skip=all" };
    expect(directives).toEqual({ ...found, escape: "\\", lines: 2 });
  });
});

const bad: [text: string, problem: string, place: string, hint: string | undefined][] = [
  ["FROM a\n\nRUNN b", "on line 3: unknown instruction: RUNN", ":3:1\n", "Did you mean RUN?"],
  ["FROM a\nCOPY --form=b c d", "on line 2: unknown flag: form", ":2:6\n", "Did you mean --from?"],
  ["FROM a\nRUN --mont=x y", "unknown flag: mont", ":2:5\n", "Did you mean --mount?"],
  ["FROM a b", "FROM requires either one or three arguments", ":1:1\n", "FROM image [AS name]"],
  ["FROM a AS 1x", 'invalid name for build stage: "1x"', ":1:11\n", undefined],
  ["FROM a\nCOPY x", "COPY requires at least two arguments", ":2:1\n", undefined],
  [
    "FROM a\nCOPY x y z",
    "the destination must be a directory and end with a /",
    ":2:10\n",
    undefined,
  ],
  ["FROM a\nWORKDIR", "WORKDIR requires exactly one argument", ":2:1\n", undefined],
  ["FROM a\nENV x", "ENV must have two arguments", ":2:1\n", undefined],
  [
    "FROM a\nENV a=1 b c=2",
    'can\'t find = in "b"',
    ":2:9\n",
    "Put quotes around a value with spaces",
  ],
  [
    "FROM a\nSHELL bash",
    "SHELL requires the arguments to be in JSON form",
    ":2:1\n",
    'SHELL ["/bin/sh", "-c"]',
  ],
  ["FROM a\nONBUILD FROM b", "FROM isn't allowed as an ONBUILD trigger", ":2:9\n", undefined],
  [
    "FROM a\nRUN <<EOF\nx",
    "on line 2: unterminated heredoc",
    ":2:1\n",
    "Put a line that holds nothing but EOF at its end",
  ],
  ["# escape=x\nFROM a", "invalid escape token 'x'", ":1:1\n", undefined],
  [
    "# escape=`\n# escape=`\nFROM a",
    "only one escape parser directive can be used",
    ":2:1\n",
    undefined,
  ],
  [
    "FROM a\nRUN --mount=type=cahce,target=/x y",
    'unsupported mount type "cahce"',
    ":2:18\n",
    "Did you mean cache?",
  ],
  [
    "FROM a\nRUN --mount=type=cache,taget=/x y",
    "unexpected key 'taget'",
    ":2:24\n",
    "Did you mean target?",
  ],
  [
    "FROM a\nHEALTHCHECK --interval=5x CMD x",
    'invalid duration "5x" for --interval',
    ":2:24\n",
    "Write 30s or 1m30s",
  ],
  [
    "FROM a\nHEALTHCHECK FOO x",
    'Unknown type "FOO" in HEALTHCHECK',
    ":2:13\n",
    "HEALTHCHECK [flags] CMD command, or HEALTHCHECK NONE",
  ],
  [
    "FROM a\nRUN x \\\n  y \\\nCOPPY a b\nCOPPY",
    "on line 5: unknown instruction: COPPY",
    ":5:1\n",
    "Did you mean COPY?",
  ],
];

describe("parseDockerfile() refuses", () => {
  test.each(bad)("%j", (text, problem, place, hint) => {
    const { code, message, hint: told } = failureOf(text);
    expect(code).toBe("invalid");
    expect(message).toStartWith("dockerfile parse error on line ");
    expect(message).toContain(problem);
    expect(message).toContain(` --> Dockerfile${place}`);
    expect(told).toBe(hint);
  });

  test("and marks the word in its line", () => {
    expect(failureOf("FROM a\n\tCOPY --form=b c d").message.split("\n").slice(1)).toEqual([
      " --> Dockerfile:2:7",
      "  |",
      "2 | \tCOPY --form=b c d",
      "  | \t     ^^^^^^^^",
    ]);
  });
});
