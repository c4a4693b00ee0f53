import { describe, expect, test } from "bun:test";
import { parseTemplate, Row, runTemplate } from "./template.ts";

const data = {
  Name: "/one",
  State: { Status: "running", Running: true, Pid: 7, Dead: false, ExitCode: 0 },
  Args: ["a", "b"],
  Mounts: [
    { Type: "bind", Destination: "/x" },
    { Type: "volume", Destination: "/y" },
  ],
  Config: { Labels: { a: "b", "x.y": "z" }, Cmd: ["sleep", "1"], Volumes: null, Env: null },
  HostConfig: { PidsLimit: null, RestartPolicy: { Name: "no", MaximumRetryCount: 0 } },
  NetworkSettings: {
    Ports: { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }], "9/udp": null },
    Networks: { bridge: { IPAddress: "10.0.0.2" } },
  },
};

const rendered: [source: string, text: string][] = [
  ["plain", "plain"],
  ["{{.Name}}", "/one"],
  ["{{.State.Status}} {{.State.Running}} {{.State.Pid}}", "running true 7"],
  ["{{range .Mounts}}{{.Type}};{{end}}", "bind;volume;"],
  ["{{range $i, $m := .Mounts}}{{$i}}={{$m.Type}},{{end}}", "0=bind,1=volume,"],
  [
    "{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPAddress}}{{end}}",
    "bridge 10.0.0.2",
  ],
  ['{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"],
  ["{{range .Config.Env}}x{{else}}none{{end}}", "none"],
  ["{{with .Config}}{{.Cmd}}{{end}}", "[sleep 1]"],
  ["{{if .State.Running}}up{{else}}down{{end}}", "up"],
  ['{{if not .State.Running}}a{{else if eq .State.Status "running"}}b{{else}}c{{end}}', "b"],
  ['{{if and .State.Running (eq .Name "/one")}}yes{{end}}', "yes"],
  ["{{if or .State.Dead .State.ExitCode}}a{{else}}b{{end}}", "b"],
  ["{{or false .State.Running .Nope}}", "true"],
  ["{{json .Config.Labels}}", '{"a":"b","x.y":"z"}'],
  ['{{json "<&>"}}', '"\\u003c\\u0026\\u003e"'],
  ["{{json .Config.Volumes}} {{json .Config.Env}}", "null null"],
  ['{{.Config.Labels.a}} {{index .Config.Labels "x.y"}}', "b z"],
  ['{{.Config.Labels.nope}} [{{index .Config.Labels "nope"}}]', "<no value> []"],
  ["{{.Config.Volumes}} {{.Config.Env}} {{.HostConfig.PidsLimit}}", "map[] [] <nil>"],
  ["{{.HostConfig.RestartPolicy}} {{.Config.Labels}}", "{no 0} map[a:b x.y:z]"],
  ["{{.State.Health}} {{.Config.StopSignal}}|", "<nil> |"],
  ["{{len .Mounts}} {{len .Name}} {{len .Config.Labels}}", "2 4 2"],
  [
    '{{join .Args ":"}} {{split "a,b" ","}} {{upper "a"}} {{lower "A"}} {{title "ab cd"}}',
    "a:b [a b] A a Ab Cd",
  ],
  [
    '{{pad "x" 2 3}}|{{truncate "abcdef" 3}}|{{slice "abcdef" 1 3}}|{{slice .Args 1}}',
    "  x   |abc|bc|[b]",
  ],
  [
    '{{printf "%-6s|%5d|%05d|%q|%x|%t|%v|%.2f" .Name 7 7 "a" 255 true .Args 1.5}}',
    '/one  |    7|00007|"a"|ff|true|[a b]|1.50',
  ],
  [
    '{{printf "%d" "x"}} {{printf "%s"}} {{printf "a" 1}}',
    "%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)",
  ],
  ['{{println "a" 1}}{{print "a" 1 2 "b"}}', "a 1\na1 2b"],
  ["a  {{- .Name -}}  b", "a/oneb"],
  ["a {{/* note */}} b", "a  b"],
  ["a {{- /* note */ -}} b", "ab"],
  ["{{$x := .Name}}{{$x}}{{$x = 3}}{{$x}}", "/one3"],
  ["{{range .Args}}{{$.Name}}{{.}}{{end}}", "/onea/oneb"],
  ['{{`a\\n`}}{{"b\\tc\\""}}{{\'x\'}}', 'a\\nb\tc"120'],
  [
    "{{eq 1 1}}{{ne 1 2}}{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 2 2}}{{eq 3 1 2 3}}",
    "truetruetruetruefalsetruetrue",
  ],
  ['{{.Name | upper | printf "%s!"}}', "/ONE!"],
  ['{{range .Args}}{{if eq . "a"}}{{continue}}{{end}}{{.}}{{break}}{{end}}', "b"],
  ['{{define "t"}}<{{.}}>{{end}}{{template "t" .Name}}', "</one>"],
  ['{{block "b" .Name}}[{{.}}]{{end}}', "[/one]"],
  ['{{html "<a>"}} {{urlquery "a b"}}', "&lt;a&gt; a+b"],
  ["{{1.5}} {{0x10}} {{-3}} {{true}}", "1.5 16 -3 true"],
];

describe("runTemplate()", () => {
  for (const [source, text] of rendered) {
    test(`renders ${source}`, () => {
      expect(runTemplate(parseTemplate(source), data)).toBe(text);
    });
  }

  const refused: [source: string, message: string][] = [
    ["{{.Nope}}", `template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"`],
    [
      "{{.State.Nope}}",
      `template: :1:8: executing "" at <.State.Nope>: map has no entry for key "Nope"`,
    ],
    [
      "\n x {{.Name.Foo}}",
      `template: :2:10: executing "" at <.Name.Foo>: can't evaluate field Foo in type interface {}`,
    ],
    [
      "{{index .Args 5}}",
      `template: :1:2: executing "" at <index .Args 5>: error calling index: index out of range: 5`,
    ],
    ['{{lt "a" 1}}', "error calling lt: incompatible types for comparison"],
    ["{{len 3}}", "error calling len: len of type int"],
    ["{{nil}}", "nil is not a command"],
    ['{{template "x"}}', 'template "x" not defined'],
    ['{{define "x"}}{{template "x"}}{{end}}{{template "x"}}', "exceeded maximum template depth"],
  ];
  for (const [source, message] of refused) {
    test(`refuses ${JSON.stringify(source)}`, () => {
      expect(() => runTemplate(parseTemplate(source), data)).toThrow(message);
    });
  }
});

describe("parseTemplate() refuses", () => {
  const malformed: [source: string, message: string][] = [
    ["{{", "template: :1: unclosed action"],
    ["{{.Name", "template: :1: unclosed action"],
    ["{{.Name}", "template: :1: bad character U+007D '}'"],
    ['{{"abc}}', "template: :1: unterminated quoted string"],
    ["{{end}}", "template: :1: unexpected {{end}}"],
    ["{{if .Name}}", "template: :1: unexpected EOF"],
    ["a\n{{if}}x{{end}}", "template: :2: missing value for if"],
    ["{{foo .Name}}", `template: :1: function "foo" not defined`],
    ["{{$y}}", `template: :1: undefined variable "$y"`],
    ["{{range $i := .Args}}{{end}}{{$i}}", `template: :1: undefined variable "$i"`],
    ["{{(index .Args 0}}", "template: :1: unclosed left paren"],
  ];
  for (const [source, message] of malformed) {
    test(JSON.stringify(source), () => {
      expect(() => parseTemplate(source)).toThrow(message);
    });
  }
});

describe("runTemplate() over a Row", () => {
  const row = new Row(
    "*formatter.ContainerContext",
    new Map<string, () => unknown>([
      ["Names", () => "one"],
      ["ID", () => "841a"],
      ["Label", () => (name: unknown) => `<${name}>`],
    ]),
  );
  test("calls methods with arguments", () => {
    expect(runTemplate(parseTemplate('{{.ID}} {{.Label "a"}}'), row)).toBe("841a <a>");
  });
  test("shows every field as JSON, by name, without methods", () => {
    expect(runTemplate(parseTemplate("{{json .}}"), row)).toBe('{"ID":"841a","Names":"one"}');
  });
  test("names the Go type when a field is unknown", () => {
    const message = "can't evaluate field Foo in type *formatter.ContainerContext";
    expect(() => runTemplate(parseTemplate("{{.Foo}}"), row)).toThrow(message);
  });
});
