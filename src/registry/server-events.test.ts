import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { basicAccess } from "./access-basic.ts";
import { Passwords } from "./access-passwords.ts";
import { compileRules } from "./access-rules.ts";
import { Hooks } from "./hook-queue.ts";
import { codeOf, openLaboratory } from "./laboratory.ts";
import { Audit } from "./server-audit.ts";
import type { RefusedAccess, RegistryEvent } from "./server-call.ts";
import { limitRate } from "./server-limits.ts";
import { Metrics } from "./server-metrics.ts";

const event: RegistryEvent = {
  action: "push",
  kind: "manifest",
  repository: "team/a",
  tag: "v1",
  who: "anna",
  peer: "127.0.0.1",
};

test("what happens is told: push, pull, mount, delete", async () => {
  await using lab = await openLaboratory();
  const { digest } = await lab.push.image("a", "v1", "one");
  await lab.call("GET", "/v2/a/manifests/v1");
  await lab.call("HEAD", "/v2/a/manifests/v1");
  await lab.call("DELETE", "/v2/a/manifests/v1");
  await lab.call("DELETE", `/v2/a/manifests/${digest}`);
  const told = lab.events.map(({ action, kind, tag }) => `${action} ${kind} ${tag ?? ""}`);
  expect(told).toEqual([
    "push blob ",
    "push blob ",
    "push manifest v1",
    "pull manifest v1",
    "delete tag v1",
    "delete manifest ",
  ]);
});

test("webhooks are signed, sent again until taken, in order, also after a restart", async () => {
  await using lab = await openLaboratory();
  const { database } = lab.store;
  const taken: { tag: string; signature: string | null; expected: string }[] = [];
  let isDown = true;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      if (isDown) return new Response(null, { status: 503 });
      const body = await request.text();
      const expected = `sha256=${createHmac("sha256", "secret").update(body).digest("hex")}`;
      const { tag } = JSON.parse(body) as { tag: string };
      taken.push({ tag, signature: request.headers.get("X-Lading-Signature"), expected });
      return new Response(null, { status: 204 });
    },
  });
  const url = `http://127.0.0.1:${server.port}/`;
  const rules = [{ url, secret: "secret", events: ["push"], repositories: ["team/*"] }];
  const first = new Hooks(database, rules);
  first.tell({ ...event, tag: "v1" });
  first.tell({ ...event, repository: "other/a" });
  first.tell({ ...event, action: "pull" });
  first.tell({ ...event, tag: "v2" });
  const waiting = () =>
    database.query("SELECT max(attempts) AS tries, count(*) AS count FROM registry_hook").get() as {
      tries: number | null;
      count: number;
    };
  while (waiting().tries === 0) await Bun.sleep(5);
  first.close();
  expect(waiting().count).toBe(2);
  isDown = false;
  database.run("UPDATE registry_hook SET due_ms = 0");
  const second = new Hooks(database, rules);
  while (waiting().count > 0) await Bun.sleep(5);
  second.close();
  await server.stop(true);
  expect(taken.map(({ tag }) => tag)).toEqual(["v1", "v2"]);
  for (const { signature, expected } of taken) expect(signature).toBe(expected);
});

test("the audit log holds one line for each event, in order", async () => {
  await using lab = await openLaboratory();
  const path = `${lab.directory}/audit.log`;
  const audit = new Audit(path);
  for (let at = 0; at < 100; at++) audit.tell({ ...event, tag: `v${at}` });
  await audit.close();
  audit.tell({ ...event, tag: "line\nbreak" });
  await audit.close();
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  expect(lines.length).toBe(101);
  expect(JSON.parse(lines[42]!)).toMatchObject({ ...event, tag: "v42" });
});

test("who is refused is told, but not each client that asks how to log in", async () => {
  const refused: RefusedAccess[] = [];
  const hash = Bun.password.hashSync("a", { algorithm: "bcrypt", cost: 4 });
  const rules = [{ repositories: ["team/*"], who: ["anna"], actions: ["pull" as const] }];
  const access = basicAccess(new Passwords(() => new Map([["anna", hash]])), compileRules(rules));
  const tellRefused = (one: RefusedAccess) => void refused.push(one);
  await using lab = await openLaboratory({ parts: { access, tellRefused } });
  const as = (pair: string) => ({ headers: { Authorization: `Basic ${btoa(pair)}` } });
  expect((await lab.call("GET", "/v2/")).status).toBe(401);
  expect((await lab.call("GET", "/v2/", as("anna:guess"))).status).toBe(401);
  expect((await lab.call("DELETE", "/v2/team/app/manifests/v1", as("anna:a"))).status).toBe(403);
  expect((await lab.call("GET", "/v2/", as("anna:a"))).status).toBe(200);
  const about = { action: "refuse", claims: "anna", peer: "127.0.0.1" };
  expect(refused).toMatchObject([
    { ...about, code: "UNAUTHORIZED", path: "/v2/", method: "GET" },
    { ...about, code: "DENIED", path: "/v2/team/app/manifests/v1", method: "DELETE" },
  ]);
  expect(JSON.stringify(refused)).not.toContain("guess");
});

test("metrics count requests and events", async () => {
  const metrics = new Metrics();
  await using lab = await openLaboratory({
    parts: { metrics, tell: (each) => metrics.event(each) },
  });
  await lab.push.image("a", "v1", "12345");
  await lab.call("GET", "/v2/a/manifests/absent");
  await lab.call("BREW", "/v2/");
  const text = await (await lab.call("GET", "/metrics")).text();
  expect(text).toContain('lading_registry_requests_total{method="GET",code="404"} 1');
  expect(text).toContain('lading_registry_requests_total{method="POST",code="201"} 2');
  expect(text).toContain('lading_registry_events_total{action="push",kind="manifest"} 1');
  expect(text).toContain("lading_registry_manifests 1\n");
  expect(await (await lab.call("GET", "/lading/health")).json()).toEqual({ status: "ok" });
});

test("a client that asks too often is told to wait", async () => {
  await using lab = await openLaboratory({ parts: { limitRate: limitRate(2) } });
  const codes: number[] = [];
  for (let at = 0; at < 11; at++) codes.push((await lab.call("GET", "/v2/")).status);
  expect(codes.slice(0, 10)).toEqual(Array(10).fill(200));
  const answer = await lab.call("GET", "/v2/");
  expect(answer.headers.get("Retry-After")).toBe("1");
  expect(await codeOf(answer)).toBe("429 TOOMANYREQUESTS");
  expect((await lab.call("GET", "/lading/health")).status).toBe(200);
});
