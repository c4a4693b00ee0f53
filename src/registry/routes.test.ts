import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { mirrorsOf, placeOf } from "./client-routes.ts";
import { joinSettings, parseTable, readTable } from "./routes-file.ts";

const table = (value: unknown) => parseTable(Buffer.from(JSON.stringify(value)), "registries.json");
const place = (text: string) => {
  const [domain = "", ...path] = text.split("/");
  return { domain, path: path.join("/") };
};
const shown = ({ domain, path }: { domain: string; path: string }) => `${domain}/${path}`;

const { routes } = table({
  default: "hub.lan:5000",
  rewrites: {
    "old.example.com": "new.example.com",
    "old.example.com/team/": "new.example.com/people/team",
    "docker.io/library/golang": "registry.lan/base/go",
  },
  registries: { "new.example.com": { mirrors: ["http://near.lan:5000/cache", "far.lan"] } },
});

test.each([
  ["docker.io/library/busybox", "hub.lan:5000/busybox"],
  ["docker.io/team/app", "hub.lan:5000/team/app"],
  ["docker.io/library/golang", "registry.lan/base/go"],
  ["old.example.com/x", "new.example.com/x"],
  ["old.example.com/team/x/y", "new.example.com/people/team/x/y"],
  ["old.example.com/teams/x", "new.example.com/teams/x"],
  ["other.example.com/x", "other.example.com/x"],
])("placeOf() leads %s to %s", (from, to) => {
  expect(shown(placeOf(place(from), routes))).toBe(to);
});

test("placeOf() leaves names alone where there is no table", () => {
  expect(shown(placeOf(place("docker.io/library/a"), table({}).routes))).toBe(
    "docker.io/library/a",
  );
});

test("mirrorsOf() gives them in their order, with what stands in front of the path", () => {
  const found = mirrorsOf(place("new.example.com/a/b"), routes).map(shown);
  expect(found).toEqual(["near.lan:5000/cache/a/b", "far.lan/a/b"]);
  expect(mirrorsOf(place("old.example.com/a"), routes)).toEqual([]);
});

describe("parseTable() refuses", () => {
  test.each([
    [{ registeries: {} }, 'did you mean "registries"?'],
    [{ registries: { "a.lan": { mirror: [] } } }, 'did you mean "mirrors"?'],
    [{ registries: { "a.lan": { mirrors: "b.lan" } } }, "it is not a list"],
    [{ registries: { "a.lan": { mirrors: ["a.lan"] } } }, "cannot be its own mirror"],
    [{ registries: { "a.lan": { mirrors: ["ftp://b.lan"] } } }, "is not [http[s]://]HOST"],
    [{ registries: { "a.lan": { mirrors: ["https://me:pw@b.lan"] } } }, "is not [http[s]://]HOST"],
    [{ registries: { "a.lan/team": {} } }, "without a path"],
    [{ registries: { "index.docker.io": {} } }, 'Docker Hub is named "docker.io" here'],
    [{ registries: { "a.lan": { username: "x" } } }, "username and password go together"],
    [{ registries: { "a.lan": { insecure: "yes" } } }, "neither true nor false"],
    [{ default: "registry" }, "neither a dot nor a port"],
    [{ default: "https://a.lan" }, "leave out https://"],
    [{ rewrites: { "a.lan/": "a.lan" } }, "it leads to itself"],
    [{ rewrites: { "a.lan/UPPER": "b.lan" } }, "is not HOST[:PORT][/PATH]"],
  ])("%j", (value, why) => {
    expect(() => table(value)).toThrow(why);
    expect(() => table(value)).toThrow("registries.json");
  });
});

test("readTable() wants passwords to be read by nobody else, and the file that was named", () => {
  const folder = mkdtempSync("/tmp/lading-routes-");
  try {
    const path = `${folder}/registries.json`;
    expect(() => readTable(path, false)).toThrow("there is no such file");
    expect(readTable(path, true).insecure).toEqual([]);
    writeFileSync(path, '{"registries":{"a.lan":{"username":"u","password":"p"}}}');
    chmodSync(path, 0o644);
    expect(() => readTable(path, false)).toThrow("others may read the passwords in it");
    chmodSync(path, 0o600);
    expect(readTable(path, false).routes.credentials.get("a.lan")).toEqual({
      username: "u",
      password: "p",
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("joinSettings() puts the flag's mirrors of Docker Hub before the file's", () => {
  const file = table({ registries: { "docker.io": { mirrors: ["b.lan"] } } });
  const flags = { insecure: ["c.lan"], hubMirrors: ["http://a.lan:5000/"] };
  const joined = joinSettings(file, flags);
  expect(joined.insecure).toEqual(["c.lan", "a.lan:5000"]);
  const hub = joined.routes.mirrors.get("docker.io")!.map(({ domain }) => domain);
  expect(hub).toEqual(["a.lan:5000", "b.lan"]);
  expect(() => joinSettings(file, { ...flags, hubMirrors: ["a lan"] })).toThrow(
    'Cannot use the mirror "a lan"',
  );
});
