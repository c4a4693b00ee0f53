/** What config.json says about commands, by the requests that they send. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { FakeEngine, runAgainst } from "./fake-engine.ts";

const id = "a".repeat(64);
let engine: FakeEngine;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/lading-config-`);
  engine = new FakeEngine(({ path, method }) => {
    if (path === "/containers/create") return { status: 201, json: { Id: id, Warnings: [] } };
    if (path === "/containers/x/exec") return { status: 201, json: { Id: id } };
    if (path.endsWith("/json") && method === "GET") {
      return { json: path === "/containers/x/json" ? { Id: id, State: {}, Config: {} } : [] };
    }
    if (path === "/networks") return { json: [] };
    if (path === "/volumes") return { json: { Volumes: [], Warnings: [] } };
    if (path.endsWith("/prune")) return { json: { SpaceReclaimed: 0 } };
    return undefined;
  });
});
afterAll(() => {
  engine.close();
  rmSync(folder, { recursive: true });
});

async function run(config: unknown, argv: readonly string[]) {
  const text = typeof config === "string" ? config : JSON.stringify(config);
  writeFileSync(`${folder}/config.json`, text);
  engine.asked.length = 0;
  const ran = await runAgainst(engine, argv, { env: { DOCKER_CONFIG: folder } });
  return { ...ran, asked: engine.asked.at(-1) };
}

const proxies = {
  default: { httpProxy: "http://p:1", noProxy: "localhost" },
  "tcp://elsewhere:2375": { httpProxy: "http://other" },
};

test("proxies are variables of containers, in both spellings, under what was given", async () => {
  const create = ["create", "-e", "http_proxy=mine", "-e", "X=1", "busybox"];
  const { asked } = await run({ proxies }, create);
  const { Env } = JSON.parse(asked!.body) as { Env: string[] };
  expect(Env).toEqual([
    "HTTP_PROXY=http://p:1",
    "NO_PROXY=localhost",
    "no_proxy=localhost",
    "http_proxy=mine",
    "X=1",
  ]);
  const own = { ...proxies, [engine.host]: { httpsProxy: "http://here" } };
  const ours = await run({ proxies: own }, ["create", "busybox"]);
  expect(JSON.parse(ours.asked!.body).Env).toEqual([
    "HTTPS_PROXY=http://here",
    "https_proxy=http://here",
  ]);
});

test("formats hold for listings without one, and not with --quiet", async () => {
  const formats = ["psFormat", "imagesFormat", "networksFormat", "volumesFormat"];
  const config = Object.fromEntries(formats.map((key) => [key, `table ${key}`]));
  for (const [argv, key] of [
    [["ps"], "psFormat"],
    [["container", "ls"], "psFormat"],
    [["images"], "imagesFormat"],
    [["network", "ls"], "networksFormat"],
    [["volume", "ls"], "volumesFormat"],
  ] as const) {
    expect((await run(config, argv)).out).toBe(`${key}\n`);
    expect((await run(config, [...argv, "-q"])).out).toBe("");
    expect((await run(config, [...argv, "--format", "table own"])).out).toBe("own\n");
  }
});

test("detachKeys and HttpHeaders go with the requests", async () => {
  const headers = { "X-Who": "me", "User-Agent": "another" };
  const config = { detachKeys: "ctrl-e,e", HttpHeaders: headers };
  await run(config, ["exec", "-d", "x", "true"]);
  const asked = engine.asked.find(({ path }) => path === "/containers/x/exec")!;
  expect(JSON.parse(asked.body).DetachKeys).toBe("ctrl-e,e");
  expect(asked.head).toContain("\r\nX-Who: me");
  expect(asked.head).not.toContain("another");
  await run(config, ["exec", "-d", "--detach-keys", "ctrl-f", "x", "true"]);
  const given = engine.asked.find(({ path }) => path === "/containers/x/exec")!;
  expect(JSON.parse(given.body).DetachKeys).toBe("ctrl-f");
});

test("pruneFilters hold for each prune, but for what was said to the contrary", async () => {
  const config = { pruneFilters: ["label!=keep", "label=a=b", "odd"] };
  const { asked } = await run(config, ["container", "prune", "-f", "--filter", "until=1h"]);
  expect(JSON.parse(asked!.query.get("filters")!)).toEqual({
    until: ["1h"],
    "label!": ["keep"],
    label: ["a=b"],
  });
  const other = await run(config, ["network", "prune", "-f", "--filter", "label=keep"]);
  expect(JSON.parse(other.asked!.query.get("filters")!)).toEqual({ label: ["keep", "a=b"] });
});

test("a file that is no JSON says nothing, and a key of a wrong type is named", async () => {
  expect((await run('{"psFormat": ', ["ps", "-q"])).code).toBe(0);
  const wrong = await run({ psFormat: 1 }, ["ps"]);
  expect([wrong.code, wrong.errors]).toEqual([
    1,
    expect.stringContaining('Cannot use "psFormat" in config.json: it takes a string'),
  ]);
});

test("an older engine is spoken to in the version that it names, a newer one in ours", async () => {
  const old = new FakeEngine(({ head, path }) => {
    const message = "client version 1.51 is too new. Maximum supported API version is 1.41";
    if (head.includes(" /v1.51/")) return { status: 400, json: { message } };
    return path === "/containers/json" ? { json: [] } : undefined;
  });
  try {
    expect((await runAgainst(old, ["ps", "-q"])).code).toBe(0);
    expect(old.asked.map(({ head }) => head.split(" ")[1]!.split("?")[0])).toEqual([
      "/v1.51/containers/json",
      "/v1.41/containers/json",
    ]);
    const fixed = await runAgainst(old, ["ps", "-q"], { env: { DOCKER_API_VERSION: "1.51" } });
    expect(fixed.errors).toContain("is too new");
  } finally {
    old.close();
  }
});
