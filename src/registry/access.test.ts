import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { openRegistryAccess } from "./access-open.ts";
import { parseHtpasswd } from "./access-passwords.ts";
import { openToken, signToken } from "./access-signature.ts";
import { parseConfig } from "./config.ts";
import { compileGlobs } from "./glob.ts";
import { codeOf, openLaboratory } from "./laboratory.ts";

const hash = (password: string) =>
  Bun.password.hashSync(password, { algorithm: "bcrypt", cost: 4 });
const basic = (name: string, password: string) => ({
  headers: { Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}` },
});
const bearer = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } });

async function openWith(value: object, htpasswd?: string) {
  const directory = mkdtempSync("/tmp/lading-registry-access-");
  const config = parseConfig(Buffer.from(JSON.stringify(value)), "test.json");
  const file = htpasswd === undefined ? undefined : `${directory}/htpasswd`;
  if (file !== undefined) writeFileSync(file, htpasswd ?? "");
  const access = openRegistryAccess({ config, htpasswd: file, directory });
  const lab = await openLaboratory({ parts: { access } });
  return {
    ...{ lab, file, directory },
    async [Symbol.asyncDispose]() {
      await lab[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true });
    },
  };
}

const config = {
  users: { anna: hash("a"), ben: hash("b") },
  robots: {
    ci: { password: hash("c"), rules: [{ repositories: ["team/*"], actions: ["push"] }] },
  },
  rules: [
    { repositories: ["public/**"], who: ["anonymous"], actions: ["pull"] },
    { repositories: ["**"], who: ["anna"], actions: ["push", "delete"] },
    { repositories: ["team/**"], who: ["users"], actions: ["pull"] },
  ],
};

describe("with a password file alone", () => {
  test("all but its users are refused, with a Basic challenge", async () => {
    await using at = await openWith({}, `# people\nanna:${hash("a")}\n`);
    const { call } = at.lab;
    for (const path of ["/v2/", "/v2/_catalog", "/v2/a/tags/list"]) {
      const answer = await call("GET", path);
      expect(answer.headers.get("WWW-Authenticate")).toStartWith("Basic realm=");
      expect(await codeOf(answer)).toBe("401 UNAUTHORIZED");
      for (const wrong of [basic("anna", "x"), basic("nobody", "a"), basic("anna", "")]) {
        expect((await call("GET", path, wrong)).status).toBe(401);
      }
    }
    expect((await call("GET", "/v2/", basic("anna", "a"))).status).toBe(200);
    expect((await call("POST", "/v2/a/blobs/uploads/", basic("anna", "a"))).status).toBe(202);
    expect((await call("POST", "/v2/a/blobs/uploads/")).status).toBe(401);
  });

  test("a changed file holds soon, for remembered passwords too", async () => {
    await using at = await openWith({}, `anna:${hash("a")}\n`);
    const status = async (name: string, password: string) =>
      (await at.lab.call("GET", "/v2/", basic(name, password))).status;
    expect(await status("anna", "a")).toBe(200);
    writeFileSync(at.file!, `anna:${hash("new")}\nben:${hash("b")}\n`);
    utimesSync(at.file!, new Date(0), new Date(0));
    for (let attempt = 0; attempt < 300 && (await status("anna", "new")) !== 200; attempt += 10) {
      await Bun.sleep(100);
    }
    expect([await status("anna", "new"), await status("ben", "b")]).toEqual([200, 200]);
    expect(await status("anna", "a")).toBe(401);
  });

  test("guesses are bounded", async () => {
    await using at = await openWith({}, `anna:${hash("a")}\n`);
    const codes = new Set<number>();
    for (let guess = 0; guess < 35; guess++) {
      codes.add((await at.lab.call("GET", "/v2/", basic("anna", `x${guess}`))).status);
    }
    expect([...codes]).toEqual([401, 429]);
  });

  test("hashes that break easily are refused at the start", () => {
    for (const line of ["anna:$apr1$x$y", "anna:{SHA}x=", "anna:plain", "anna", ":x"]) {
      expect(() => parseHtpasswd(line, "f")).toThrow("line 1");
    }
  });
});

describe("with rules", () => {
  const token = async (
    at: Awaited<ReturnType<typeof openWith>>,
    scope: string,
    who?: RequestInit,
  ) => {
    const path = `/lading/token?service=lading&scope=${scope}`;
    const answer = await at.lab.call("GET", path, who ?? {});
    expect(answer.status).toBe(200);
    return ((await answer.json()) as { token: string }).token;
  };

  test("the challenge says where a token is got, and for what", async () => {
    await using at = await openWith(config);
    const challenge = async (method: string, path: string) =>
      (await at.lab.call(method, path)).headers.get("WWW-Authenticate");
    const realm = `Bearer realm="${at.lab.server.address}/lading/token",service="lading"`;
    expect(await challenge("GET", "/v2/")).toBe(realm);
    expect(await challenge("POST", "/v2/a/b/blobs/uploads/")).toBe(
      `${realm},scope="repository:a/b:pull,push"`,
    );
    expect(await challenge("GET", "/v2/_catalog")).toBe(`${realm},scope="registry:catalog:*"`);
  });

  test("a private repository refuses, and then admits", async () => {
    await using at = await openWith(config);
    const path = "/v2/private/app/tags/list";
    const status = async (init: RequestInit) => (await at.lab.call("GET", path, init)).status;
    const scope = "repository:private/app:pull,push";
    expect(await status({})).toBe(401);
    expect(await status(bearer(await token(at, scope)))).toBe(401);
    expect(await status(bearer(await token(at, scope, basic("ben", "b"))))).toBe(401);
    expect(await status(basic("ben", "b"))).toBe(403);
    expect(await status(bearer(await token(at, scope, basic("anna", "a"))))).toBe(404);
    expect(await status(basic("anna", "a"))).toBe(404);
  });

  test("a token opens what it names, for what it names", async () => {
    await using at = await openWith(config);
    const { call } = at.lab;
    const mine = bearer(await token(at, "repository:team/x:pull,push", basic("ci", "c")));
    expect((await call("POST", "/v2/team/x/blobs/uploads/", mine)).status).toBe(202);
    expect((await call("POST", "/v2/team/y/blobs/uploads/", mine)).status).toBe(401);
    expect((await call("DELETE", "/v2/team/x/manifests/v1", mine)).status).toBe(401);
    const more = bearer(await token(at, "repository:team/x:*", basic("ci", "c")));
    expect((await call("DELETE", "/v2/team/x/manifests/v1", more)).status).toBe(401);
    const deep = bearer(await token(at, "repository:team/x/y:push,pull", basic("ci", "c")));
    expect((await call("POST", "/v2/team/x/y/blobs/uploads/", deep)).status).toBe(401);
  });

  test("public repositories are pulled without a name, and the catalog shows no others", async () => {
    await using at = await openWith(config);
    const { call, push, store } = at.lab;
    const add = (name: string) => store.names.ensure(name);
    for (const name of ["public/a", "private/b"]) add(name);
    const anna = basic("anna", "a");
    expect(push).toBeDefined();
    for (const name of ["public/a", "private/b"]) {
      const body = JSON.stringify({ schemaVersion: 2, manifests: [] });
      const headers = {
        ...anna.headers,
        "Content-Type": "application/vnd.oci.image.index.v1+json",
      };
      const put = await call("PUT", `/v2/${name}/manifests/v1`, { body, headers });
      expect(put.status).toBe(201);
    }
    const pull = bearer(await token(at, "repository:public/a:pull"));
    expect((await call("GET", "/v2/public/a/manifests/v1", pull)).status).toBe(200);
    const catalog = async (who?: RequestInit) => {
      const init = bearer(await token(at, "registry:catalog:*", who));
      return await (await call("GET", "/v2/_catalog", init)).json();
    };
    expect(await catalog()).toEqual({ repositories: ["public/a"] });
    expect(await catalog(anna)).toEqual({ repositories: ["private/b", "public/a"] });
  });

  test("a refresh token gives access tokens, until the password changes", async () => {
    await using at = await openWith({ rules: config.rules }, `anna:${hash("a")}\n`);
    const { call } = at.lab;
    const form = (fields: Record<string, string>) => ({ body: new URLSearchParams(fields) });
    const scope = "repository:x:pull";
    const got = await call(
      "POST",
      "/lading/token",
      form({
        grant_type: "password",
        username: "anna",
        password: "a",
        access_type: "offline",
        scope,
      }),
    );
    const { refresh_token } = (await got.json()) as { refresh_token: string };
    const refresh = (text: string) =>
      call(
        "POST",
        "/lading/token",
        form({ grant_type: "refresh_token", refresh_token: text, scope }),
      );
    const next = (await (await refresh(refresh_token)).json()) as { access_token: string };
    expect((await call("GET", "/v2/x/tags/list", bearer(next.access_token))).status).toBe(404);
    expect((await call("GET", "/v2/x/tags/list", bearer(refresh_token))).status).toBe(401);
    expect((await refresh(next.access_token)).status).toBe(401);
    const wrong = { grant_type: "password", username: "anna", password: "x" };
    expect((await call("POST", "/lading/token", form(wrong))).status).toBe(401);
    writeFileSync(at.file!, `anna:${hash("other")}\n`);
    utimesSync(at.file!, new Date(0), new Date(0));
    for (let left = 50; left > 0 && (await refresh(refresh_token)).status !== 401; left--) {
      await Bun.sleep(100);
    }
    expect((await refresh(refresh_token)).status).toBe(401);
  });
});

test("openToken() takes no token that is over, altered, or signed otherwise", () => {
  const key = Buffer.alloc(32, 1);
  const now = Math.floor(Date.now() / 1000);
  const claims = { kind: "access", sub: "anna", iat: now, exp: now + 60 } as const;
  const token = signToken(claims, key);
  expect(openToken(token, key)).toEqual(claims);
  expect(openToken(token, Buffer.alloc(32, 2))).toBeUndefined();
  expect(openToken(signToken({ ...claims, exp: now }, key), key)).toBeUndefined();
  const [head, body, signature] = token.split(".");
  const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString("base64url");
  for (const bad of [
    `${none}.${body}.`,
    `${none}.${body}.${signature}`,
    `${head}.${Buffer.from('{"sub":"root"}').toString("base64url")}.${signature}`,
    `${head}.${body}`,
    "",
    "..",
  ]) {
    expect(openToken(bad, key)).toBeUndefined();
  }
});

for (const [glob, yes, no] of [
  ["**", ["", "a", "a/b/c"], []],
  ["team/*", ["team/a", "team/a.b"], ["team", "team/a/b", "xteam/a"]],
  ["team/**", ["team/a", "team/a/b"], ["team", "teams/a"]],
  ["v1.*", ["v1.2"], ["v1x2", "v10"]],
] as const) {
  test(`the glob ${glob}`, () => {
    const matches = compileGlobs([glob]);
    expect(yes.filter(matches)).toEqual([...yes]);
    expect(no.filter(matches)).toEqual([]);
  });
}

for (const [text, why] of [
  ["{", "not JSON"],
  [`{"user":{}}`, "user: no such field"],
  [`{"users":{"anna":"plain"}}`, "users.anna: it is not a bcrypt"],
  [`{"users":{"anonymous":"x"}}`, "cannot be a user"],
  [`{"rules":[{"who":["a"],"actions":["pul"]}]}`, "rules[0].actions[0]: it is none of pull"],
  [`{"limits":{"graceMinutes":-1}}`, "negative"],
  [`{"upstreams":[{"prefix":"Hub","url":"https://x"}]}`, "start of names"],
  [`{"webhooks":[{"url":"file:///etc"}]}`, "not a web address"],
] as const) {
  test(`the configuration ${text} is refused`, () => {
    expect(() => parseConfig(Buffer.from(text), "c.json")).toThrow(why);
  });
}
