import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { keyVariable } from "./credential-vault.ts";
import {
  allAuths,
  dropAuth,
  keepAuth,
  readConfig,
  registryAuth,
  writeConfig,
} from "./credentials.ts";

let folder: string;
const path = process.env["PATH"];

/** A program that keeps its secrets in a file: one line for each, address and JSON. */
const program = `#!/bin/sh
store="$(dirname "$0")/secrets"; touch "$store"; input="$(cat)"
case $1 in
get) grep -F "\\"$input\\"" "$store" || { echo "credentials not found in native keychain"; exit 1; } ;;
store) echo "$input" >> "$store" ;;
erase) grep -vF "\\"$input\\"" "$store" > "$store.new"; mv "$store.new" "$store" ;;
list) printf '{"kept.test":"bob"}' ;;
esac
`;

beforeAll(() => {
  folder = mkdtempSync("/tmp/lading-credentials-");
  writeFileSync(`${folder}/docker-credential-test`, program);
  chmodSync(`${folder}/docker-credential-test`, 0o755);
  process.env["PATH"] = `${folder}:${path}`;
});
beforeEach(() => {
  rmSync(`${folder}/secrets`, { force: true });
  rmSync(`${folder}/config.json`, { force: true });
});
afterAll(() => {
  process.env["PATH"] = path;
  rmSync(folder, { recursive: true });
});

const bob = { username: "bob", password: "se:cret", serveraddress: "kept.test" };

test("keepAuth() keeps a secret in the file when that is asked for, for its owner alone", async () => {
  expect(await keepAuth(bob, { folder, isPlain: true })).toBeUndefined();
  expect(await registryAuth("kept.test/app:1", folder)).toEqual(bob);
  expect(await registryAuth("other.test/app", folder)).toBeUndefined();
  expect(await dropAuth("kept.test", folder)).toBe(true);
  expect(await dropAuth("kept.test", folder)).toBe(false);
  expect(await registryAuth("kept.test/app:1", folder)).toBeUndefined();
});

test("keepAuth() gives the secret to the program that the configuration names", async () => {
  writeConfig({ credsStore: "test" }, folder);
  expect(await keepAuth(bob, { folder })).toBe("test");
  expect(readFileSync(`${folder}/config.json`, "utf8")).not.toContain("cret");
  expect(readConfig(folder).auths).toEqual({ "kept.test": {} });
  expect(await registryAuth("kept.test/app", folder)).toEqual(bob);
  expect(await registryAuth("other.test/app", folder)).toBeUndefined();
  expect(await allAuths(folder)).toEqual({ "kept.test": bob });
  expect(await dropAuth("kept.test", folder)).toBe(true);
  expect(await registryAuth("kept.test/app", folder)).toBeUndefined();
});

test("keepAuth() gives the secret to our own program when there is no other", async () => {
  const key = `${folder}/key`;
  process.env[keyVariable] = key;
  try {
    writeConfig({ auths: { "kept.test": { auth: btoa("bob:old") } } }, folder);
    expect(await keepAuth(bob, { folder })).toBe("lading");
    expect(readFileSync(`${folder}/config.json`, "utf8")).not.toContain(btoa("bob:old"));
    expect(readConfig(folder)).toEqual({
      auths: { "kept.test": {} },
      credHelpers: { "kept.test": "lading" },
    });
    expect(await registryAuth("kept.test/app", folder)).toEqual(bob);
    expect(await allAuths(folder)).toEqual({ "kept.test": bob });
    expect(await keepAuth(bob, { folder, isPlain: true })).toBeUndefined();
    expect(readConfig(folder).credHelpers).toEqual({});
    await keepAuth(bob, { folder });
    expect(await dropAuth("kept.test", folder)).toBe(true);
    expect(readConfig(folder)).toEqual({ auths: {}, credHelpers: {} });
    expect(await registryAuth("kept.test/app", folder)).toBeUndefined();
    writeConfig({ credsStore: "test" }, folder);
    await expect(keepAuth(bob, { folder, isPlain: true })).rejects.toThrow("test keeps them");
  } finally {
    delete process.env[keyVariable];
  }
});

test("registryAuth() takes a refresh token as such, and the program of one registry alone", async () => {
  writeConfig(
    { credHelpers: { "kept.test": "test" }, auths: { "plain.test": { auth: btoa("a:b") } } },
    folder,
  );
  const token = { serveraddress: "kept.test", identitytoken: "t" };
  await keepAuth(token, { folder });
  expect(await registryAuth("kept.test/app", folder)).toEqual(token);
  expect(await registryAuth("plain.test/app", folder)).toMatchObject({
    username: "a",
    password: "b",
  });
});

test("registryAuth() names the program that is missing, and runs no path", async () => {
  for (const credsStore of ["no-such-program", "../evil"]) {
    writeConfig({ credsStore }, folder);
    await expect(registryAuth("kept.test/app", folder)).rejects.toMatchObject({
      code: "unavailable",
    });
  }
});
