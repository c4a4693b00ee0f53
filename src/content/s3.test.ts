import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { digestOf } from "../oci/mod.ts";
import { blobStoreContract, streamOf } from "./contract.ts";
import { openS3Store, parseStorage } from "./s3.ts";
import { openS3Laboratory } from "./s3-laboratory.ts";

let lab: ReturnType<typeof openS3Laboratory>;
let folder: string;
beforeAll(() => {
  lab = openS3Laboratory();
  folder = mkdtempSync("/tmp/lading-s3-test-");
});
afterAll(async () => {
  await lab[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

let count = 0;
const open = () => openS3Store({ ...lab.storage, prefix: `store ${count++}/` });

blobStoreContract("S3 store", {
  open,
  scratch: async () => mkdtempSync(`${folder}/scratch-`),
  damage: async (_, digest) => {
    for (const [key, stored] of lab.objects) {
      if (key.endsWith(digest.slice(7))) await writeFile(stored.path, "HELLO");
    }
  },
});

test("S3 store: adopt() sends a large file in parts, and nothing is seen before the last", async () => {
  const store = await open();
  const bytes = Buffer.alloc(20 << 20, "large");
  await writeFile(`${folder}/large`, bytes);
  const expected = digestOf(bytes);
  lab.told.length = 0;
  await store.adopt(`${folder}/large`, { expected, trusted: true });
  expect(lab.told.filter((line) => line.includes("partNumber")).length).toBe(4);
  expect(await store.size(expected)).toBe(bytes.length);
  const part = new Response(store.body(expected, { first: 5, last: 9 }));
  expect(await part.text()).toBe("large");
  expect(lab.uploads.size).toBe(0);
  lab.told.length = 0;
  await writeFile(`${folder}/large`, bytes);
  await store.adopt(`${folder}/large`, { expected, trusted: true });
  expect(lab.told.map((line) => line.split(" ")[0])).toEqual(["HEAD"]); // it is there
});

test("S3 store: a service that fails for long is told as unavailable, and a moment of it is not", async () => {
  const store = await open();
  await writeFile(`${folder}/part`, Buffer.alloc(6 << 20));
  lab.failing.requests = 1_000;
  const adopted = store.adopt(`${folder}/part`, {});
  await expect(adopted).rejects.toMatchObject({ code: "unavailable" });
  expect(await Bun.file(`${folder}/part`).exists()).toBe(true);
  lab.failing.requests = 0;
  await store.adopt(`${folder}/part`, {});
});

test("S3 store: link() gives an address that opens without keys, and only as it was signed", async () => {
  const store = await openS3Store({ ...lab.storage, prefix: "linked/", redirects: true });
  const { digest } = await store.put(streamOf("hello"), { sizeBytesMax: 9 });
  const url = store.link!(digest);
  expect(await (await fetch(url)).text()).toBe("hello");
  expect((await fetch(url.replace("Expires=1200", "Expires=9200"))).status).toBe(403);
});

test("openS3Store() waits for a service only so long", async () => {
  const silent = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Promise(() => {}) });
  const storage = { ...lab.storage, endpoint: silent.url.origin };
  await expect(openS3Store(storage, { timeoutMs: 50 })).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("no answer within"),
  });
  await silent.stop(true);
});

test("openS3Store() refuses wrong keys and an absent bucket", async () => {
  const wrong = { ...lab.storage, secretAccessKey: "guess" };
  await expect(openS3Store(wrong)).rejects.toMatchObject({ code: "denied" });
  const elsewhere = { ...lab.storage, bucket: "other" };
  await expect(openS3Store(elsewhere)).rejects.toThrow('Cannot list the bucket in "other"');
});

test("parseStorage() reads addresses, and keys from the environment or a file", () => {
  const env = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "key", AWS_REGION: "eu-1" };
  const keys = { accessKeyId: "id", secretAccessKey: "key" };
  expect(parseStorage("s3://images", env)).toEqual({
    ...{ bucket: "images", prefix: "", region: "eu-1", ...keys, redirects: false },
  });
  const file = `${folder}/keys`;
  writeFileSync(
    file,
    "[other]\naws_access_key_id = x\n[default]\naws_access_key_id = id\naws_secret_access_key=key\n",
  );
  const query = `endpoint=http://127.0.0.1:9000/&region=x&redirect=1&credentials=${file}`;
  expect(parseStorage(`s3://images/a/b?${query}`, {})).toEqual({
    ...{ bucket: "images", prefix: "a/b/", endpoint: "http://127.0.0.1:9000", region: "x" },
    ...{ ...keys, redirects: true },
  });
  for (const [text, why] of [
    ["http://images", "no address"],
    ["s3://", "no address"],
    ["s3://id:key@images", "keys do not belong"],
    ["s3://images?end=x", '"end" is none of'],
    ["s3://images?endpoint=127.0.0.1", "no web address"],
    ["s3://images?credentials=/absent", "Cannot read the keys"],
  ] as const) {
    expect(() => parseStorage(text, env)).toThrow(why);
  }
  expect(() => parseStorage("s3://images", {})).toThrow("there are no keys");
});
