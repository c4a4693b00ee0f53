import { expect, test } from "bun:test";
import { openS3Laboratory } from "../content/s3-laboratory.ts";
import { digestOf } from "../oci/mod.ts";
import { codeOf, openLaboratory } from "./laboratory.ts";

test("while the bucket fails nothing is said to be absent, and an upload ends when it is back", async () => {
  await using storage = openS3Laboratory();
  await using lab = await openLaboratory({ storage });
  const { digest } = await lab.push.image("a", "v1", "kept");
  const blob = Buffer.alloc(6 << 20, "large");
  const begun = await lab.call("POST", "/v2/a/blobs/uploads/");
  const path = begun.headers.get("Location")!;
  expect((await lab.call("PATCH", path, { body: blob })).status).toBe(202);

  storage.failing.requests = 1_000;
  const end = `${path}?digest=${digestOf(blob)}`;
  expect(await codeOf(await lab.call("PUT", end))).toBe("503 UNAVAILABLE");
  const kept = `/v2/a/blobs/${digestOf("kept")}`;
  for (const method of ["GET", "HEAD"]) expect((await lab.call(method, kept)).status).toBe(503);
  expect((await lab.call("GET", `/v2/a/manifests/${digest}`)).status).toBe(200); // from memory

  storage.failing.requests = 0;
  expect((await lab.call("PUT", end)).status).toBe(201); // without sending the bytes again
  const got = await lab.call("GET", `/v2/a/blobs/${digestOf(blob)}`);
  expect(digestOf(await got.bytes())).toBe(digestOf(blob));
  expect(await (await lab.call("GET", kept)).text()).toBe("kept");
});

test("with redirects, clients get blobs from the bucket, whole and in parts, by a signed address", async () => {
  await using s3 = openS3Laboratory();
  const storage = { ...s3, storage: { ...s3.storage, redirects: true } };
  await using lab = await openLaboratory({ storage });
  const digest = await lab.push.blob("a", "hello");
  const path = `/v2/a/blobs/${digest}`;
  const answer = await lab.call("GET", path, { redirect: "manual" });
  expect([answer.status, answer.headers.get("Docker-Content-Digest")]).toEqual([307, digest]);
  const to = new URL(answer.headers.get("Location")!);
  expect([to.origin, to.searchParams.get("X-Amz-Expires")]).toEqual([s3.storage.endpoint!, "1200"]);
  expect(to.href).not.toContain(s3.keys.secretAccessKey);
  expect(await (await lab.call("GET", path)).text()).toBe("hello");
  const part = await lab.call("GET", path, { headers: { Range: "bytes=1-3" } });
  expect([part.status, await part.text()]).toEqual([206, "ell"]);
  const head = await lab.call("HEAD", path, { redirect: "manual" });
  expect([head.status, head.headers.get("Content-Length")]).toEqual([200, "5"]);
});
