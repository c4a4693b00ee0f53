import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { keyVariable, openVault, passphraseVariable, vaultPath } from "./credential-vault.ts";

let folder: string;
const program = `${import.meta.dir}/../../bin/docker-credential-lading`;

beforeEach(() => {
  folder = mkdtempSync("/tmp/lading-vault-");
  process.env[keyVariable] = `${folder}/keys/key`;
});
afterEach(() => {
  delete process.env[keyVariable];
  delete process.env[passphraseVariable];
  rmSync(folder, { recursive: true, force: true });
});

const bob = { username: "bob", secret: "hard to guess" };

async function stored(address = "a.test") {
  using vault = await openVault(folder);
  await vault.store(address, bob);
}

function run(verb: string, input: string) {
  const env = { ...process.env, DOCKER_CONFIG: folder };
  const ran = Bun.spawnSync([program, verb], { env, stdin: Buffer.from(input) });
  return { code: ran.exitCode, out: ran.stdout.toString().trim() };
}

test("a vault gives back what it was given, to its owner alone, and shows nothing of it", async () => {
  await stored();
  using vault = await openVault(folder);
  expect(await vault.get("a.test")).toEqual(bob);
  expect(await vault.get("b.test")).toBeUndefined();
  expect(await vault.list()).toEqual({ "a.test": "bob" });
  const bytes = readFileSync(vaultPath(folder)).toString("latin1");
  expect(bytes).not.toContain("bob");
  expect(bytes).not.toContain("hard");
  for (const path of [vaultPath(folder), `${folder}/keys/key`]) {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  }
  expect(vault.erase("a.test")).toBe(true);
  expect(vault.erase("a.test")).toBe(false);
});

test("a vault does not open with another key, nor with a key that others may read", async () => {
  await stored();
  chmodSync(`${folder}/keys/key`, 0o640);
  await expect(openVault(folder)).rejects.toThrow("others may read it");
  rmSync(`${folder}/keys/key`);
  await expect(openVault(folder)).rejects.toThrow("stored with another key");
});

test("a vault opens with its passphrase, and with nothing else", async () => {
  process.env[passphraseVariable] = "correct horse";
  await stored();
  expect(readdirSync(folder)).not.toContain("keys");
  {
    using vault = await openVault(folder);
    expect(await vault.get("a.test")).toEqual(bob);
  }
  process.env[passphraseVariable] = "wrong horse";
  await expect(openVault(folder)).rejects.toThrow("stored with another key");
  delete process.env[passphraseVariable];
  await expect(openVault(folder)).rejects.toThrow("locked by a passphrase");
});

test("a row that was moved to another address does not open", async () => {
  await stored();
  using database = new Database(vaultPath(folder));
  database.run("UPDATE secrets SET address = 'evil.test'");
  await expect(openVault(folder)).rejects.toThrow("credentials for evil.test");
});

test("docker-credential-lading speaks the protocol, and twenty at once lose nothing", async () => {
  const entry = { ServerURL: "https://index.docker.io/v1/", Username: "bob", Secret: "s" };
  expect(run("store", JSON.stringify(entry))).toEqual({ code: 0, out: "" });
  expect(JSON.parse(run("get", `${entry.ServerURL}\n`).out)).toEqual(entry);
  expect(JSON.parse(run("list", "").out)).toEqual({ [entry.ServerURL]: "bob" });
  expect(run("erase", entry.ServerURL).code).toBe(0);
  const absent = { code: 1, out: "credentials not found in native keychain" };
  expect(run("get", entry.ServerURL)).toEqual(absent);
  expect(run("store", '{"ServerURL":""}')).toEqual({
    code: 1,
    out: "no credentials server URL",
  });
  expect(run("store", "{").out).toContain("not JSON");
  rmSync(folder, { recursive: true });
  const env = { ...process.env, DOCKER_CONFIG: folder };
  const storing = Array.from({ length: 20 }, (_, at) => {
    const stdin = Buffer.from(JSON.stringify({ ...entry, ServerURL: `${at}.test` }));
    return Bun.spawn([program, "store"], { env, stdin }).exited;
  });
  expect(new Set(await Promise.all(storing))).toEqual(new Set([0]));
  using vault = await openVault(folder);
  expect(Object.keys(await vault.list()).length).toBe(20);
});
