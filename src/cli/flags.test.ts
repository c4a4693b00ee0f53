import { describe, expect, test } from "bun:test";
import { closest } from "../base/mod.ts";
import { type FlagTable, parseFlags } from "./flags.ts";

const table = {
  all: { kind: "bool", short: "a", about: "" },
  interactive: { kind: "bool", short: "i", about: "" },
  tty: { kind: "bool", short: "t", about: "" },
  proxy: { kind: "bool", default: true, about: "" },
  last: { kind: "int", short: "n", default: -1, about: "" },
  name: { kind: "string", about: "" },
  env: { kind: "list", short: "e", about: "" },
  memory: { kind: "bytes", short: "m", about: "" },
  swap: { kind: "endless", about: "" },
  interval: { kind: "duration", about: "" },
  cpus: { kind: "decimal", about: "" },
  old: { kind: "list", about: "", sameAs: "env" },
} as const satisfies FlagTable;

const read: [words: string[], flags: object, args: string[]][] = [
  [[], { all: false, last: -1, name: "", env: [], proxy: true }, []],
  [["-a"], { all: true }, []],
  [["-it"], { interactive: true, tty: true, all: false }, []],
  [["-itn5"], { interactive: true, tty: true, last: 5 }, []],
  [["-n", "5"], { last: 5 }, []],
  [["-n=5"], { last: 5 }, []],
  [["-n-1"], { last: -1 }, []],
  [["--last", "-1"], { last: -1 }, []],
  [["--last=7"], { last: 7 }, []],
  [["--name", "--all"], { name: "--all", all: false }, []],
  [["--name="], { name: "" }, []],
  [["--name=a=b"], { name: "a=b" }, []],
  [["--all=false"], { all: false }, []],
  [["--proxy=false"], { proxy: false }, []],
  [["--proxy", "false"], { proxy: true }, ["false"]],
  [["-e", "A=1", "--env", "B", "-eC"], { env: ["A=1", "B", "C"] }, []],
  [["--old", "A", "-e", "B"], { env: ["A", "B"] }, []],
  [["x", "-a", "y"], { all: true }, ["x", "y"]],
  [["x", "--", "-a"], { all: false }, ["x", "-a"]],
  [["-"], {}, ["-"]],
  [["-m", "512m", "--swap", "-1"], { memory: 512 << 20, swap: -1 }, []],
  [["--interval", "1m30s", "--cpus", ".5"], { interval: 90e9, cpus: 0.5 }, []],
];

describe("parseFlags()", () => {
  for (const [words, flags, args] of read) {
    test(`reads ${JSON.stringify(words)}`, () => {
      const parsed = parseFlags(words, table);
      expect(parsed.flags).toMatchObject(flags);
      expect(parsed.args).toEqual(args);
    });
  }

  test("leaves what follows the first argument alone when flags are not interspersed", () => {
    const { flags, args } = parseFlags(["-a", "busybox", "-i", "--x"], table, {
      interspersed: false,
    });
    expect(flags).toMatchObject({ all: true, interactive: false });
    expect(args).toEqual(["busybox", "-i", "--x"]);
  });

  test("tells which flags were given, by their own name", () => {
    expect([...parseFlags(["--old=x", "-n", "-1"], table).given]).toEqual(["env", "last"]);
  });

  const refused: [words: string[], message: string][] = [
    [["--foo"], "unknown flag: --foo"],
    [["--toString"], "unknown flag: --toString"],
    [["-x"], "unknown shorthand flag: 'x' in -x"],
    [["-axi"], "unknown shorthand flag: 'x' in -xi"],
    [["--last"], "flag needs an argument: --last"],
    [["-n"], "flag needs an argument: 'n' in -n"],
    [["-an"], "flag needs an argument: 'n' in -n"],
    [
      ["-n", "x"],
      `invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax`,
    ],
    [
      ["--all=x"],
      `invalid argument "x" for "-a, --all" flag: strconv.ParseBool: parsing "x": invalid syntax`,
    ],
    [["-m", "x"], `invalid argument "x" for "-m, --memory" flag: invalid size: 'x'`],
    [["-m", "-1"], `invalid argument "-1" for "-m, --memory" flag: invalid size: '-1'`],
    [
      ["--interval=5"],
      `invalid argument "5" for "--interval" flag: time: missing unit in duration "5"`,
    ],
  ];
  for (const [words, message] of refused) {
    test(`refuses ${JSON.stringify(words)}`, () => {
      expect(() => parseFlags(words, table)).toThrow(message);
    });
  }
});

const guesses: [typed: string, best: string | undefined][] = [
  ["psx", "ps"],
  ["rn", "run"],
  ["inspcet", "inspect"],
  ["imgaes", "images"],
  ["netw", "network"],
  ["xyzzy", undefined],
  ["q", undefined],
];
for (const [typed, best] of guesses) {
  test(`closest() guesses ${best} for ${typed}`, () => {
    const words = ["ps", "run", "inspect", "images", "network", "rm"];
    expect(closest(typed, words)).toBe(best);
  });
}
