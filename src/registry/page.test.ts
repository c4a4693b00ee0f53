import { expect, test } from "bun:test";
import { mediaTypes } from "../oci/mod.ts";
import { basicAccess } from "./access-basic.ts";
import { Passwords } from "./access-passwords.ts";
import { compileRules } from "./access-rules.ts";
import { imageOf, openLaboratory } from "./laboratory.ts";
import { html } from "./page-html.ts";

test("html`` makes text of what is put in", () => {
  expect(html`<a href="${`"><script>`}">${html`<b>${"&'"}</b>`}</a>`.text).toBe(
    '<a href="&#34;&#62;&#60;script&#62;"><b>&#38;&#39;</b></a>',
  );
});

test("the page shows repositories, tags, platforms, layers, referrers and history, and deletes", async () => {
  await using lab = await openLaboratory();
  const { digest, size, mediaType } = await lab.push.image("team/app", "", "one");
  const platform = { architecture: "arm64", os: "linux" };
  const manifests = [{ digest, size, mediaType, platform }];
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
  const all = await lab.push.manifest("team/app", "v1", index);
  await lab.push.blob("team/app", "{}");
  const subject = { digest: all.digest, size: all.size, mediaType: all.mediaType };
  const hostile = "x/<script>alert(1)</script>";
  await lab.push.manifest("team/app", "", imageOf("{}", [], { artifactType: hostile, subject }));
  const get = async (path: string) => {
    const answer = await lab.call("GET", path);
    expect(answer.headers.get("Content-Security-Policy")).toContain("default-src 'none'");
    const text = await answer.text();
    expect(text).not.toContain("<script");
    return text;
  };
  expect(await get("/")).toContain('href="/?repository=team%2Fapp"');
  expect(await get("/?repository=team/app")).toContain("reference=v1");
  const tag = await get("/?repository=team/app&reference=v1");
  for (const part of [
    "linux/arm64",
    all.digest,
    "&#60;script&#62;",
    "anonymous",
    "Delete tag v1",
  ]) {
    expect(tag).toContain(part);
  }
  expect(await get(`/?repository=team/app&reference=${digest}`)).toContain("docker pull 127.0.0.1");
  expect(await get("/?repository=<script>")).toContain("no repository");
  expect((await lab.call("GET", "/?repository=absent")).status).toBe(404);
  const path = "/?repository=team/app&reference=v1";
  const elsewhere = { headers: { Origin: "https://elsewhere.example" } };
  expect((await lab.call("POST", path, elsewhere)).status).toBe(403);
  const gone = await lab.call("POST", path, { redirect: "manual" });
  expect(gone.status).toBe(303);
  expect((await lab.call("GET", path)).status).toBe(404);
});

test("the page shows what one may see, and deletes where one may", async () => {
  const hash = Bun.password.hashSync("a", { algorithm: "bcrypt", cost: 4 });
  const identify = compileRules([
    { repositories: ["public"], who: ["anonymous"], actions: ["pull"] },
    { repositories: ["**"], who: ["anna"], actions: ["push"] },
  ]);
  const access = basicAccess(new Passwords(() => new Map([["anna", hash]])), identify);
  await using plain = await openLaboratory();
  for (const name of ["public", "private"]) await plain.push.image(name, "v1", "one");
  await using lab = await openLaboratory({ parts: { store: plain.store, access } });
  const anna = { headers: { Authorization: `Basic ${btoa("anna:a")}` } };
  const text = async (path: string, init?: RequestInit) =>
    (await lab.call("GET", path, init)).text();
  expect(await text("/")).not.toContain("private");
  expect(await text("/")).toContain("public");
  expect(await text("/", anna)).toContain("private");
  const login = await lab.call("GET", "/?login=1");
  expect([login.status, login.headers.get("WWW-Authenticate")]).toEqual([
    401,
    'Basic realm="Lading registry"',
  ]);
  const path = "/?repository=private&reference=v1";
  expect((await lab.call("GET", path)).status).toBe(404);
  expect(await text(path, anna)).not.toContain("<form");
  expect((await lab.call("POST", path, anna)).status).toBe(403);
});
