import { afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { digestOf, mediaTypes } from "./oci/mod.ts";

const root = mkdtempSync("/tmp/lading-registry-history-");
let child: Bun.Subprocess | undefined;
afterEach(async () => {
  child?.kill("SIGKILL");
  await child?.exited;
  rmSync(root, { recursive: true, force: true });
});

const main = new URL("./main.ts", import.meta.url).pathname;
const hash = (password: string) =>
  Bun.password.hashSync(password, { algorithm: "bcrypt", cost: 4 });

async function serve(config: object): Promise<string> {
  writeFileSync(`${root}/config.json`, JSON.stringify(config));
  const words = ["--addr=127.0.0.1:0", `--data-root=${root}/data`, `--config=${root}/config.json`];
  const started = Bun.spawn([process.execPath, main, "registry", "serve", ...words], {
    stdout: "pipe",
  });
  child = started;
  for await (const part of started.stdout) {
    const address = /http:\/\/(\S+)/.exec(Buffer.from(part).toString())?.[1];
    if (address) return address;
  }
  throw new Error("it did not start");
}

/** The command line, logged in as `user`. */
async function lading(address: string, user: string | undefined, ...words: string[]) {
  const folder = `${root}/${user ?? "nobody"}`;
  mkdirSync(folder, { recursive: true });
  const auths = user ? { [address]: { auth: btoa(`${user}:${user}`) } } : {};
  writeFileSync(`${folder}/config.json`, JSON.stringify({ auths }));
  const ran = Bun.spawn([process.execPath, main, "registry", ...words], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, DOCKER_CONFIG: folder },
  });
  const [said, complaint] = await Promise.all([
    new Response(ran.stdout).text(),
    new Response(ran.stderr).text(),
  ]);
  return { code: await ran.exited, said, complaint };
}

test("log and undo work with a login, through tokens, and only for whom the rules allow", async () => {
  const address = await serve({
    users: { anna: hash("anna"), ben: hash("ben") },
    rules: [
      { repositories: ["**"], who: ["anna"], actions: ["push", "delete"] },
      { repositories: ["team/*"], who: ["users"], actions: ["pull"] },
    ],
  });
  const anna = { Authorization: `Basic ${btoa("anna:anna")}` };
  const url = `http://${address}/v2/team/app`;
  const put = async (text: string) => {
    const blob = digestOf("{}");
    await fetch(`${url}/blobs/uploads/?digest=${blob}`, {
      method: "POST",
      body: "{}",
      headers: anna,
    });
    const config = { mediaType: mediaTypes.ociConfig, digest: blob, size: 2 };
    const body = JSON.stringify({
      ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [] },
      annotations: { text },
    });
    const headers = { ...anna, "Content-Type": mediaTypes.ociManifest };
    expect((await fetch(`${url}/manifests/v1`, { method: "PUT", body, headers })).status).toBe(201);
    return digestOf(body);
  };
  const [first, second] = [await put("first"), await put("second")];
  const name = `${address}/team/app:v1`;
  const as = (user: string | undefined, ...words: string[]) => lading(address, user, ...words);

  const log = await as("ben", "log", name);
  expect(log.said.split("\n").map((line) => line.split("  ").at(-1))).toEqual([
    "DIGEST",
    second,
    first,
    "",
  ]);
  expect(log.said).toContain("anna");
  expect(await as("ben", "undo", name)).toMatchObject({
    code: 1,
    complaint: expect.stringContaining("denied"),
  });
  const hint = (right: string) =>
    `\nLog in as a user who may ${right} in team/app: lading login ${address}\n`;
  expect((await as("ben", "undo", name)).complaint).toEndWith(hint("push and delete"));
  expect((await as("ben", "rm", name)).complaint).toEndWith(hint("delete"));
  expect(await as(undefined, "log", name)).toMatchObject({ code: 1, said: "" });
  expect(await as("anna", "undo", name)).toMatchObject({ code: 0, said: `${name} is ${first}\n` });
  expect(await as("anna", "rm", name)).toMatchObject({ code: 0 });
  expect((await as("ben", "log", name)).said).toContain(`removed, was ${first}`);
  expect((await as("anna", "undo", name)).said).toBe(`${name} is ${first}\n`);
  expect((await as("anna", "undo", "--to", second, name)).said).toBe(`${name} is ${second}\n`);
  const { moves } = JSON.parse((await as("ben", "log", "--json", name)).said);
  expect(moves.length).toBe(6);

  const never = await as("anna", "undo", "--to", digestOf("other"), name);
  expect(never.complaint).toContain("has never been at");
  for (const words of [
    ["log"],
    ["log", name, name],
    ["undo", `${address}/a@${first}`],
    ["log", "--too", name],
  ]) {
    expect(await as("ben", ...words)).toMatchObject({
      code: 1,
      complaint: expect.stringContaining("--help"),
    });
  }
});
