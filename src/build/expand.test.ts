import { describe, expect, test } from "bun:test";
import { expand } from "./expand.ts";

const values: Record<string, string> = {
  a: "A",
  empty: "",
  path: "/x/y/z.tar.gz",
  two: "b c",
  n: "f.*o",
};
const run = (text: string, escaper = "\\") =>
  expand(text, { escape: escaper, lookup: (name) => values[name] });

const cases: [text: string, expected: string][] = [
  ["plain", "plain"],
  ["$a", "A"],
  ["${a}b", "Ab"],
  ["$ab", ""],
  ["$a-$a", "A-A"],
  ["\\$a", "$a"],
  ["'$a'", "$a"],
  ['"$a"', "A"],
  ['"\\$a \\" \\x"', '$a " \\x'],
  ["a\\ b", "a b"],
  ["$", "$"],
  ["a$/b", "a$/b"],
  ["${none}", ""],
  ["${none-w}", "w"],
  ["${empty-w}", ""],
  ["${empty:-w}", "w"],
  ["${a:-w}", "A"],
  ["${a+w}", "w"],
  ["${empty+w}", "w"],
  ["${empty:+w}", ""],
  ["${none+w}", ""],
  ["${a:?e}", "A"],
  ["${empty?e}", ""],
  ["${none:-${a}x}", "Ax"],
  ["${none:-'q $a'}", "q $a"],
  ["${path#*/}", "x/y/z.tar.gz"],
  ["${path//*/w}", "w"],
  ["${path//?/w}", "wwwwwwwwwwwww"],
  ["${path/*z/w}", "w"],
  ["${path//[xy]/w}", "/x/y/z.tar.gz"],
  ["${path##*/}", "z.tar.gz"],
  ["${path%.*}", "/x/y/z.tar"],
  ["${path%%.*}", "/x/y/z"],
  ["${path#nope}", "/x/y/z.tar.gz"],
  ["${path/\\/x/-}", "-/y/z.tar.gz"],
  ["${path//./_}", "/x/y/z_tar_gz"],
  ["${path/z*/end}", "/x/y/end"],
  ["${n#f.\\*}", "o"],
  ["${n#f?}", "*o"],
];

describe("expand()", () => {
  test.each(cases)("%s gives %s", (text, expected) => {
    expect(run(text).text).toBe(expected);
  });

  test("splits unquoted values into words and keeps quoted ones whole", () => {
    expect(run('$two "$two" x\\ y').words).toEqual(["b", "c", "b c", "x y"]);
  });

  test("uses the escape character of the directive", () => {
    expect(run("C:\\d`$a", "`").text).toBe("C:\\d$a");
  });

  test("names the variables without a value, but for those with a default", () => {
    expect([...run("$none ${other:-x} ${empty}").unset]).toEqual(["none"]);
  });

  const bad: [text: string, why: string][] = [
    ["${a", "missing '}'"],
    ["${}", "bad substitution"],
    ["${:a}", "bad substitution"],
    ["${a:=x}", "unsupported modifier (:=)"],
    ["${none:?gone}", "none: gone"],
    ["${none?}", "none: is not allowed to be unset"],
    ["${empty:?}", "empty: is not allowed to be empty"],
    ["'a", "matching single-quote"],
    ['"a', "matching double-quote"],
  ];
  test.each(bad)("refuses %s", (text, why) => {
    expect(() => run(text)).toThrow(why);
  });
});

describe("expand() stays small and quick", () => {
  const exhausted = (text: string, lookup: (name: string) => string | undefined) => {
    try {
      return expand(text, { escape: "\\", lookup }).text.length;
    } catch (error) {
      return (error as Error).message.slice(-60);
    }
  };
  const many = "a".repeat(3000);

  test.each([
    ["$a", "$a$a$a$a"],
    ["quotes", '"$a$a$a$a"'],
    ["a replacement", "${b//b/$a$a}"],
  ])("where %s would make the text too long", (_, text) => {
    const said = exhausted(text, (name) => (name === "a" ? "x".repeat(100_000) : "bbb"));
    expect(said).toContain("it is over 262144 characters");
  });

  test("where forms are nested without end", () => {
    const text = `${"${a:-".repeat(10_000)}${"}".repeat(10_000)}`;
    expect(exhausted(text, () => undefined)).toContain("nested too deep");
  });

  test("where a pattern has many stars, and nothing matches", () => {
    const stars = `${"a*".repeat(14)}b`;
    for (const form of ["#", "##", "%", "%%"]) {
      expect(exhausted(`\${v${form}${stars}}`, () => many)).toBe(3000);
    }
    expect(exhausted(`\${v//${stars}/x}`, () => many)).toBe(3000);
    expect(exhausted(`\${v%${"a*".repeat(4000)}b}`, () => many)).toContain("takes too long");
  });
});
