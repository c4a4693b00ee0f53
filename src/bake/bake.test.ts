import { describe, expect, test } from "bun:test";
import { chooseTargets, printed, readModel } from "./bake.ts";
import { callFunction } from "./functions.ts";
import { evaluate } from "./hcl-evaluate.ts";
import { parseHcl } from "./hcl-parse.ts";
import type { Value } from "./values.ts";

function model(text: string, environment: Record<string, string> = {}, name = "docker-bake.hcl") {
  return readModel([{ name, text }], { environment, builtIns: {} });
}

function value(text: string, names: Record<string, Value> = {}): Value {
  const expression = parseHcl(`v = ${text}`, "f.hcl").attributes.get("v")!;
  return evaluate(expression, {
    variable: (name) => names[name],
    call: callFunction,
    tick: () => undefined,
  });
}

describe("expressions", () => {
  const cases: [text: string, expected: Value][] = [
    ["1 + 2 * 3 - -4", 11],
    ["(1 + 2) * 3 % 4", 1],
    ['"a" == "a" && 1 < 2 || false', true],
    ["!true ? 1 : 2", 2],
    ['"x${1 + 1}y$${z}"', "x2y${z}"],
    ['"tab\\t\\u00e9"', "tab\té"],
    ['"%{ if n > 1 }many%{ else }one%{ endif }"', "many"],
    ['"%{ for x in list ~} <${x}> %{~ endfor }"', "<a><b>"],
    ["list[1]", "b"],
    ["map.k.l", 1],
    ['map["k"]["l"]', 1],
    ["items[*].n", [1, 2]],
    ["items.*.n", [1, 2]],
    ["[for i, x in list : upper(x) if i > 0]", ["B"]],
    ["{for k, v in map : upper(k) => v.l}", { K: 1 }],
    ["{for x in items : x.g => x.n...}", { g: [1, 2] }],
    ['{ a = 1, "b" : 2\n (list[0]) = 3 }', { a: 3, b: 2 }],
    ["[1, [2,\n 3],\n]", [1, [2, 3]]],
    ["<<EOT\nline ${n}\nEOT", "line 2\n"],
    ["<<-EOT\n    a\n      b\n    EOT", "a\n  b\n"],
    ['try(map.none, "else")', "else"],
    ["can(map.none)", false],
    ["max(list2...)", 9],
    ["/* c */ 1 # end", 1],
  ];
  const names = {
    n: 2,
    list: ["a", "b"],
    list2: [1, 9],
    map: { k: { l: 1 } },
    items: [
      { n: 1, g: "g" },
      { n: 2, g: "g" },
    ],
  };
  for (const [text, expected] of cases) {
    test(`${JSON.stringify(text)} is ${JSON.stringify(expected)}`, () => {
      expect(value(text, names)).toEqual(expected);
    });
  }

  const wrong: [text: string, why: string][] = [
    ["nope", 'f.hcl:1: there is no variable "nope"'],
    ["nope()", 'there is no function "nope"'],
    ["list[7]", "has nothing at 7"],
    ['"a" + 1', "expected a number"],
    ['"open', "expected"],
    ["[1 2]", 'expected ","'],
    ["<<EOT\nx", "does not end with EOT"],
    [`${"[".repeat(200)}`, "nested too deeply"],
  ];
  for (const [text, why] of wrong) {
    test(`${text.slice(0, 20)} is refused`, () => expect(() => value(text, names)).toThrow(why));
  }
});

describe("functions", () => {
  const cases: [text: string, expected: Value][] = [
    ['join(",", ["a"], ["b"])', "a,b"],
    ['split(",", "a,b")', ["a", "b"]],
    ['replace("a.b.c", ".", "-")', "a-b-c"],
    ['regex_replace("v1.2", "v(\\\\d+)", "${1}x$${1}")', "1x1.2"],
    ['regex("(\\\\w)(\\\\d)", "a1")', ["a", "1"]],
    ['format("%s-%03d-%q-%.1f%%", "a", 7, "q", 1.25)', 'a-007-"q"-1.3%'],
    ['formatlist("%s!", ["a", "b"])', ["a!", "b!"]],
    ['trimprefix("v1", "v")', "1"],
    ["range(3)", [0, 1, 2]],
    ["chunklist([1,2,3], 2)", [[1, 2], [3]]],
    ["flatten([[1],[2,[3]]])", [1, 2, 3]],
    ["merge({a=1}, {b=2})", { a: 1, b: 2 }],
    ['lookup({a=1}, "b", 3)', 3],
    [
      "setproduct([1,2],[3])",
      [
        [1, 3],
        [2, 3],
      ],
    ],
    ['jsondecode("{\\"a\\":[1]}").a[0]', 1],
    ['sha256("")', "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ['sanitize("a/b:c")', "a_b_c"],
    ['substr("hello", 1, 3)', "ell"],
    ['coalesce("", null, "x")', "x"],
  ];
  for (const [text, expected] of cases) {
    test(`${text} is ${JSON.stringify(expected)}`, () => {
      expect(value(text.replace('"${1}x$${1}"', '"$${1}x$${1}"'))).toEqual(expected);
    });
  }
});

describe("readModel()", () => {
  test("joins variables, functions, inheritance and a matrix", () => {
    const { targets, groups } = model(
      `variable "V" { default = "1" }
function "name" {
  params = [n]
  variadic_params = rest
  result = "\${n}:\${join("-", rest)}"
}
target "base" { args = { A = "a", B = "b" }, }
target "app" {
  inherits = ["base"]
  args = { B = "own", V = V }
  name = "app-\${x}"
  matrix = { x = ["one", "two"] }
  tags = [name("app", x, V)]
  output = [{ type = "oci", dest = "a,b" }]
}
target "other" { tags = target.base.args.A == "a" ? ["yes"] : [] }`.replace('"b" }, }', '"b" }\n}'),
      { V: "2" },
    );
    expect(groups.get("app")).toEqual(["app-one", "app-two"]);
    expect(targets.get("app-two")).toEqual({
      args: { A: "a", B: "own", V: "2" },
      tags: ["app:two-2"],
      output: ['type=oci,"dest=a,b"'],
    });
    expect(targets.get("other")).toEqual({ tags: ["yes"] });
  });

  test("reads JSON with templates, and types of variables from the environment", () => {
    const json = `{"variable":{"N":{"default":1},"L":{"type":"list(string)"}},
"target":{"a":{"tags":["t:\${N + 1}"],"platforms":"\${L}"}}}`;
    const { targets } = model(json, { N: "4", L: "linux/amd64,linux/arm64" }, "docker-bake.json");
    expect(targets.get("a")).toEqual({ tags: ["t:5"], platforms: ["linux/amd64", "linux/arm64"] });
  });

  test("reads the services of a Compose file", () => {
    const text = `
services:
  web.app:
    image: web:\${TAG:-dev}
    build:
      context: ./web
      dockerfile: D
      args: [A=1, B]
      additional_contexts: { lib: ../lib, db: "service:db" }
      secrets: [token]
      x-bake: { platforms: [linux/arm64], tags: extra }
  db:
    build: db
  cache: { image: redis }
secrets: { token: { file: t.txt } }
`;
    const { targets, groups } = model(text, {}, "sub/compose.yaml");
    expect(groups.get("default")).toEqual(["web_app", "db"]);
    expect(targets.get("web_app")).toEqual({
      context: "sub/web",
      dockerfile: "D",
      contexts: { lib: "lib", db: "target:db" },
      args: { A: "1", B: null },
      secret: ["id=token,src=sub/t.txt"],
      tags: ["extra"],
      platforms: ["linux/arm64"],
    });
    expect(targets.get("db")).toEqual({ context: "sub/db" });
  });

  const wrong: [text: string, why: string][] = [
    ['target "a" { tagz = [] }', 'docker-bake.hcl:1: a target has no attribute "tagz"'],
    ['target "a" { tags = "x" }', "tags must be a list of strings, not a string"],
    ['target "a" { inherits = ["b"] }', "failed to find target b"],
    ['target "a" { inherits = ["a"] }', "infinite loop: a inherits a"],
    [
      'variable "A" { default = B }\nvariable "B" { default = A }\ntarget "x" { tags = [A] }',
      "needs itself",
    ],
    ['tarkit "a" {}', 'there is no block "tarkit"'],
    ['target "a b" {}', 'invalid name "a b"'],
    ['target "a" { matrix = { x = [1] } }', "a target with a matrix needs a name"],
    [
      'variable "N" {\n default = 1\n validation {\n condition = N > 1\n error_message = "too small"\n }\n}',
      "too small",
    ],
  ];
  for (const [text, why] of wrong) {
    test(`refuses ${text.slice(0, 40)}`, () => expect(() => model(text)).toThrow(why));
  }
});

describe("chooseTargets()", () => {
  const text = `group "default" { targets = ["all"] }
group "all" { targets = ["a", "b"] }
target "a" {
  tags = ["a"]
  contexts = { c = "target:c" }
}
target "b" { args = { X = "1" } }
target "c" {}`;

  test("follows groups and needs, and --set changes what matches", () => {
    const bake = chooseTargets(
      model(text),
      [],
      ["*.args.X=2", "a.tags=x", "a.tags=y", "b.tags+=z"],
    );
    expect([...bake.targets.keys()]).toEqual(["c", "a", "b"]);
    expect(bake.targets.get("a")).toEqual({
      tags: ["x", "y"],
      contexts: { c: "target:c" },
      args: { X: "2" },
    });
    expect(bake.targets.get("b")).toEqual({ args: { X: "2" }, tags: ["z"] });
    expect(printed(chooseTargets(model(text), ["b"], []))).toEqual({
      group: { default: { targets: ["b"] } },
      target: { b: { context: ".", dockerfile: "Dockerfile", args: { X: "1" } } },
    });
  });

  test("refuses what is not there", () => {
    expect(() => chooseTargets(model(text), ["aal"], [])).toThrow("failed to find target aal");
    expect(() => chooseTargets(model(text), [], ["zz.tags=x"])).toThrow(
      "could not find any target",
    );
    expect(() => chooseTargets(model(text), [], ["a.args=x"])).toThrow("args needs a key");
    expect(() => chooseTargets(model(text), [], ["a.tgs=x"])).toThrow('no attribute "tgs"');
  });
});
