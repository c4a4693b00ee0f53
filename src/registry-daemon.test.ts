import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { openS3Laboratory } from "./content/s3-laboratory.ts";
import { digestOf } from "./oci/mod.ts";

const roots: string[] = [];
const children: Bun.Subprocess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
});

function temporaryRoot(): string {
  const root = mkdtempSync("/tmp/lading-registry-daemon-");
  roots.push(root);
  return root;
}

const main = new URL("./main.ts", import.meta.url).pathname;

async function serve(root: string, ...words: string[]) {
  const child = Bun.spawn(
    [
      process.execPath,
      main,
      "registry",
      "serve",
      "--addr",
      "127.0.0.1:0",
      "--data-root",
      root,
      ...words,
    ],
    { stdout: "pipe", stderr: "pipe" },
  );
  children.push(child);
  let said = "";
  for await (const part of child.stdout) {
    said += Buffer.from(part).toString();
    if (said.includes("\n")) break;
  }
  const address = /^lading registry \S+ accepts requests on (http:\S+)\n$/.exec(said)?.[1];
  if (address === undefined)
    throw new Error(`it said ${said}${await new Response(child.stderr).text()}`);
  return { child, address };
}

async function runUpkeep(...words: string[]) {
  const child = Bun.spawn([process.execPath, main, "registry", ...words], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const streams = [child.stdout, child.stderr].map((stream) => new Response(stream).text());
  const [said, complaint] = await Promise.all(streams);
  return { said, complaint, code: await child.exited };
}

/** A body that comes in pieces, with pauses, so that it can be cut anywhere. */
function slowly(bytes: Uint8Array, pieces: number): ReadableStream<Uint8Array> {
  const size = Math.ceil(bytes.length / pieces);
  let at = 0;
  return new ReadableStream({
    async pull(controller) {
      await Bun.sleep(5);
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, (at += size)));
    },
  });
}

test("an upload survives kill -9 of the registry and goes on where it was", async () => {
  const root = temporaryRoot();
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const blob = Buffer.concat(Array.from({ length: 200 }, () => bytes)); // 12 MB
  const digest = digestOf(blob);
  const first = await serve(root);
  const begun = await fetch(`${first.address}/v2/a/blobs/uploads/`, { method: "POST" });
  const path = begun.headers.get("Location")!;
  const cut = fetch(`${first.address}${path}`, { method: "PATCH", body: slowly(blob, 100) });
  await Bun.sleep(250);
  first.child.kill("SIGKILL");
  await expect(cut).rejects.toThrow();
  await first.child.exited;

  const { address } = await serve(root);
  const status = await fetch(`${address}${path}`);
  const have = Number(status.headers.get("Range")!.split("-")[1]) + 1;
  expect(have).toBeGreaterThan(100_000);
  expect(have).toBeLessThan(blob.length);
  const end = await fetch(`${address}${path}?digest=${digest}`, {
    method: "PUT",
    body: blob.subarray(have),
    headers: { "Content-Range": `${have}-${blob.length - 1}` },
  });
  expect(end.status).toBe(201);
  const got = await fetch(`${address}/v2/a/blobs/${digest}`);
  expect(digestOf(await got.bytes())).toBe(digest);
});

test("eight pushes at once, kill -9 among them: nothing wrong is kept, and the next try succeeds", async () => {
  const root = temporaryRoot();
  const layers = Array.from({ length: 8 }, (_, at) => Buffer.alloc(2_000_000, `layer ${at} `));
  const push = async (address: string, name: string) => {
    for (const layer of layers) {
      const url = `${address}/v2/${name}/blobs/uploads/?digest=${digestOf(layer)}`;
      const { status } = await fetch(url, { method: "POST", body: slowly(layer, 4) });
      if (status !== 201) throw new Error(`${status}`);
    }
  };
  const pushAll = (address: string) =>
    Promise.allSettled(Array.from({ length: 8 }, (_, who) => push(address, `r${who}`)));
  const first = await serve(root);
  const cut = pushAll(first.address);
  await Bun.sleep(200);
  first.child.kill("SIGKILL");
  expect((await cut).every(({ status }) => status === "rejected")).toBe(true);
  await first.child.exited;

  const second = await serve(root);
  const during = await runUpkeep("fsck", "--data-root", root);
  expect([during.code, during.said]).toEqual([0, expect.stringContaining("damaged: 0")]);
  const all = await pushAll(second.address);
  expect(all.map(({ status }) => status)).toEqual(Array(8).fill("fulfilled"));
  expect(readdirSync(`${root}/content/blobs/sha256`).length).toBe(8);
  expect(readdirSync(`${root}/registry/uploads`)).toEqual([]);
  second.child.kill("SIGTERM");
  expect(await second.child.exited).toBe(0);
  const after = await runUpkeep("fsck", "--data-root", root);
  expect(after.said).toBe("checked: 8 blobs of 16000000 bytes; damaged: 0\n");
  const gc = await runUpkeep("gc", "--data-root", root, "--grace", "0s", "--explain");
  expect(gc.said).toContain("gone: 8 blobs of 16000000 bytes");
});

test("a data root serves one registry at a time", async () => {
  const root = temporaryRoot();
  await serve(root);
  await expect(serve(root)).rejects.toThrow(
    `Cannot open a registry in "${root}": another process uses this data root\nGive this one its own`,
  );
});

test("gc and fsck refuse a folder without a registry, and make none there", async () => {
  const root = temporaryRoot();
  for (const work of ["gc", "fsck"]) {
    const { complaint, code } = await runUpkeep(work, "--data-root", root);
    expect({ complaint, code }).toMatchObject({ code: 1 });
    expect(complaint).toStartWith(`lading: Cannot find a registry in "${root}"`);
  }
  expect(readdirSync(root)).toEqual([]);
});

test("serve refuses the data root of an engine", async () => {
  const root = temporaryRoot();
  await Bun.write(`${root}/lading.db`, "");
  await expect(serve(root)).rejects.toThrow("it is the data root of an engine");
  expect(readdirSync(root)).toEqual(["lading.db"]);
});

test("a registry with its blobs in a bucket survives kill -9, and nobody else takes the bucket", async () => {
  await using s3 = openS3Laboratory();
  const { storage, keys } = s3;
  const keyFile = `${temporaryRoot()}/keys`;
  await Bun.write(
    keyFile,
    `aws_access_key_id=${keys.accessKeyId}\naws_secret_access_key=${keys.secretAccessKey}\n`,
  );
  const at = `s3://${storage.bucket}/images?endpoint=${storage.endpoint}&credentials=${keyFile}`;
  const root = temporaryRoot();
  const first = await serve(root, "--storage", at);
  const blob = Buffer.alloc(30 << 20, crypto.randomUUID());
  const digest = digestOf(blob);
  const push = (address: string, body: Bun.BodyInit) =>
    fetch(`${address}/v2/a/blobs/uploads/?digest=${digest}`, { method: "POST", body });
  const cut = push(first.address, blob);
  while (s3.uploads.size === 0) await Bun.sleep(1); // on its way into the bucket
  first.child.kill("SIGKILL");
  await expect(cut).rejects.toThrow();
  await first.child.exited;
  expect([...s3.objects.keys()]).toEqual(["images/owner"]);

  const second = await serve(root); // it knows its bucket
  expect((await fetch(`${second.address}/v2/a/blobs/${digest}`)).status).toBe(404);
  expect((await push(second.address, blob)).status).toBe(201);
  const got = await fetch(`${second.address}/v2/a/blobs/${digest}`);
  expect(digestOf(await got.bytes())).toBe(digest);
  expect(readdirSync(`${root}/registry/uploads`)).toEqual([]);

  await expect(serve(temporaryRoot(), "--storage", at)).rejects.toThrow("another registry does");
  second.child.kill("SIGTERM");
  await second.child.exited;
  await expect(serve(root, "--storage", at.replace("images", "other"))).rejects.toThrow(
    `this registry has its own in "s3://bucket/images"`,
  );
  const gc = await runUpkeep("gc", "--data-root", root, "--grace", "0s");
  expect(gc.said).toContain(`gone: 1 blob of ${blob.length} bytes`);
  expect([...s3.objects.keys()]).toEqual(["images/owner"]);
});

test("each command says which file it could not use, and why", async () => {
  const root = temporaryRoot();
  const serving = ["registry", "serve", "--addr=127.0.0.1:0", `--data-root=${root}/data`];
  const absent = `${root}/nosuch`;
  const cases: [words: string[], said: string][] = [
    [[...serving, `--config=${absent}`], `read the configuration "${absent}": no such file`],
    [[...serving, `--config=${root}`], `read the configuration "${root}": is a directory`],
    [[...serving, `--htpasswd=${absent}`], `read the password file "${absent}": no such file`],
    [
      [...serving, `--tls-cert=${absent}`, "--tls-key=x"],
      `read the certificate "${absent}": no such file`,
    ],
    [["registry", "serve", "--data-root=/proc/x"], 'make the data root "/proc/x": no such file'],
    [["daemon", `--config-file=${absent}`], `read the settings in "${absent}": no such file`],
    [
      ["registry", "copy", `docker-archive:${absent}`, "localhost:1/x"],
      `read the archive "${absent}": no such file`,
    ],
    [
      ["registry", "copy", `docker-archive:${root}`, "localhost:1/x"],
      `read the archive "${root}": is a directory`,
    ],
  ];
  for (const [words, said] of cases) {
    const child = Bun.spawn([process.execPath, main, ...words], { stderr: "pipe" });
    expect(await new Response(child.stderr).text()).toStartWith(`lading: Cannot ${said}`);
    expect(await child.exited).toBe(1);
  }
});
