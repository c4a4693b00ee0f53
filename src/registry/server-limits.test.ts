import { expect, test } from "bun:test";
import { digestOf } from "../oci/mod.ts";
import { openAccess } from "./access.ts";
import { parseConfig } from "./config.ts";
import { codeOf, onEachStorage, openLaboratory } from "./laboratory.ts";
import { limitRate } from "./server-limits.ts";
import { serveRegistry } from "./server-open.ts";
import { compilePolicy, defaultPolicy } from "./server-policy.ts";

const policyOf = (config: object) =>
  compilePolicy(parseConfig(Buffer.from(JSON.stringify(config)), "c.json"));

onEachStorage(
  "a repository's quota holds, whichever way blobs come, and many at once",
  async (openLaboratory) => {
    const policy = policyOf({ quotas: [{ repositories: ["small/**"], bytesMax: 1_000 }] });
    await using lab = await openLaboratory({ parts: { policy } });
    const push = (text: string, name = "small/app") =>
      lab.call("POST", `/v2/${name}/blobs/uploads/?digest=${digestOf(text)}`, { body: text });
    const texts = ["a", "b", "c", "d"].map((letter) => letter.repeat(400));
    const begun = await Promise.all(
      texts.map(() => lab.call("POST", "/v2/small/app/blobs/uploads/")),
    );
    const ends = await Promise.all(
      begun.map((answer, at) => {
        const url = `${answer.headers.get("Location")}?digest=${digestOf(texts[at]!)}`;
        return lab.call("PUT", url, { body: texts[at]! });
      }),
    );
    expect(ends.map(({ status }) => status).toSorted()).toEqual([201, 201, 413, 413]);
    expect(await codeOf(await push("e".repeat(400)))).toBe("413 SIZE_INVALID");
    expect((await push("e".repeat(400), "large/app")).status).toBe(201);
    const mount = `/v2/small/app/blobs/uploads/?mount=${digestOf("e".repeat(400))}&from=large/app`;
    expect(await codeOf(await lab.call("POST", mount))).toBe("413 SIZE_INVALID");
    expect((await push("f".repeat(200))).status).toBe(201);
    const manifest = await lab.push.manifest("small/app", "v1", {
      mediaType: "x",
      pad: "p".repeat(900),
    });
    expect(manifest.answer.status).toBe(415);
  },
);

test("a manifest counts for its repository's quota", async () => {
  const policy = policyOf({ quotas: [{ repositories: ["**"], bytesMax: 400 }] });
  await using lab = await openLaboratory({ parts: { policy } });
  const pushed = lab.push.image("a", "v1", "one");
  await expect(pushed).rejects.toThrow("403");
});

test("immutable tags of the configuration are set once, in the repositories that match", async () => {
  const policy = policyOf({ immutable: [{ repositories: ["releases/*"], tags: ["v*"] }] });
  await using lab = await openLaboratory({ parts: { policy } });
  for (const name of ["releases/app", "team/app"]) {
    await lab.push.image(name, "v1", "one");
    await lab.push.image(name, "latest", "one");
    await lab.push.image(name, "latest", "two");
  }
  await lab.push.image("releases/app", "v1", "one"); // the same again
  await expect(lab.push.image("releases/app", "v1", "two")).rejects.toThrow("403");
  await lab.push.image("team/app", "v1", "two");
  const gone = await lab.call("DELETE", "/v2/releases/app/manifests/v1");
  expect(await codeOf(gone)).toBe("403 DENIED");
});

test("who waits for our work is not cut off as idle", async () => {
  await using lab = await openLaboratory();
  const admit = async () => {
    await Bun.sleep(6_000); // Bun looks for idle clients every four seconds
    return openAccess.identify({} as never);
  };
  const tell = () => {};
  const parts = { store: lab.store, access: { ...openAccess, admit }, policy: defaultPolicy, tell };
  const tcp = serveRegistry(parts, { host: "127.0.0.1", port: 0, idleSeconds: 1 });
  const answers = await Promise.all([
    fetch(`${tcp.address}/v2/a/blobs/uploads/`, { method: "POST" }),
    fetch(`${tcp.address}/v2/a/blobs/uploads/none`, { method: "PUT", body: "" }),
    fetch(`${tcp.address}/lading/registry/gc`, { method: "POST" }),
  ]);
  expect(answers.map(({ status }) => status)).toEqual([202, 404, 403]);
  await tcp.close({ timeoutMs: 0 });
}, 30_000);

test("limitRate() lets a client save up five seconds, and each client on its own", () => {
  const limit = limitRate(2);
  for (let count = 0; count < 10; count++) limit("one");
  expect(() => limit("one")).toThrow("more than 2 requests a second");
  limit("two");
});

test("bodies over their bounds are refused, and what is not asked for is not read", async () => {
  await using lab = await openLaboratory();
  const large = "x".repeat(5 << 20);
  const put = await lab.call("PUT", "/v2/a/manifests/v1", { body: large });
  expect(await codeOf(put)).toBe("413 SIZE_INVALID");
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(1 << 16)),
  });
  const streamed = await lab.call("PUT", "/v2/a/manifests/v1", { body: endless });
  expect(await codeOf(streamed)).toBe("413 SIZE_INVALID");
  expect((await lab.call("POST", "/lading/registry/gc", { body: large })).status).toBe(403);
  expect((await lab.call("GET", `/v2/${"a/".repeat(5_000)}tags/list`)).status).toBe(404);
});
