import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { buildIn, openWorld, type World } from "./fakes.ts";
import { applyPolicy, parseSourcePolicy, policyImage } from "./source-policy.ts";

const policy = (...rules: object[]) => parseSourcePolicy(JSON.stringify({ rules }));
const image = (name: string) => `docker-image://docker.io/library/${name}`;

describe("applyPolicy()", () => {
  test("denies what the last rule on it denies", () => {
    const rules = policy(
      { action: "DENY", selector: { identifier: "docker-image://*" } },
      { action: "ALLOW", selector: { identifier: image("base:*") } },
    );
    expect(policyImage(rules, "base")).toBe("base");
    expect(() => policyImage(rules, "other:1")).toThrow(
      'source "docker-image://docker.io/library/other:1" denied by policy',
    );
  });

  test("converts, with what a * matched, and again", () => {
    const rules = policy(
      {
        action: "CONVERT",
        selector: { identifier: image("*:latest") },
        updates: { identifier: image("$1:1.0") },
      },
      {
        action: "CONVERT",
        selector: { identifier: image("a:1.0"), matchType: "EXACT" },
        updates: { identifier: "docker-image://registry.example.org/a:1.0" },
      },
    );
    expect(policyImage(rules, "a")).toBe("registry.example.org/a:1.0");
    expect(policyImage(rules, "b")).toBe("b:1.0");
    expect(policyImage(rules, "b:2")).toBe("b:2");
  });

  test("ends circles", () => {
    const turn = (from: string, to: string) => ({
      action: "CONVERT",
      selector: { identifier: from },
      updates: { identifier: to },
    });
    const rules = policy(turn("x", "y"), turn("y", "x"));
    expect(() => applyPolicy(rules, { identifier: "x", attributes: {} })).toThrow("for ever");
  });

  test.each([
    ["{", "it is no JSON"],
    ['{"rules":1}', "rules are a list"],
    ['{"rules":[{"action":"MAYBE","selector":{"identifier":"x"}}]}', 'action "MAYBE"'],
    ['{"rules":[{"action":"DENY"}]}', "rule 0 selects nothing"],
    [
      '{"rules":[{"action":"DENY","selector":{"identifier":"x","matchType":"REGEX"}}]}',
      "no regular",
    ],
  ])("refuses %s: %s", (text, problem) => {
    expect(() => parseSourcePolicy(text)).toThrow(problem);
  });
});

describe("a build", () => {
  let world: World;
  let server: ReturnType<typeof Bun.serve>;
  beforeAll(async () => {
    world = await openWorld();
    world.image("base:1", {}, { Env: ["X=1"] });
    server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("x") });
  });
  afterAll(async () => {
    await server.stop(true);
    await world[Symbol.asyncDispose]();
  });

  test("keeps to it: images, files and repositories", async () => {
    const url = `http://127.0.0.1:${server.port}/f`;
    const build = (text: string, ...rules: object[]) =>
      buildIn(world, text, { sourcePolicy: policy(...rules) });
    const deny = (identifier: string) => ({ action: "DENY", selector: { identifier } });
    const moved = {
      action: "CONVERT",
      selector: { identifier: image("wanted:latest") },
      updates: { identifier: image("base:1") },
    };
    expect((await build("FROM wanted", moved)).config.Env).toContain("X=1");
    await expect(build("FROM base", deny("docker-image:*"))).rejects.toThrow("denied by policy");
    await expect(build(`FROM base\nADD ${url} /`, deny("http://*"))).rejects.toThrow("denied");
    const git = "FROM base\nADD https://h.example/r.git#v1 /";
    await expect(build(git, deny("git://h.example/*"))).rejects.toThrow(
      'source "git://h.example/r.git#v1" denied by policy',
    );
    const checksum = `sha256:${"0".repeat(64)}`;
    const pinned = {
      action: "CONVERT",
      selector: { identifier: url },
      updates: { attrs: { "http.checksum": checksum } },
    };
    await expect(build(`FROM base\nADD ${url} /`, pinned)).rejects.toThrow("digest mismatch");
  });
});
