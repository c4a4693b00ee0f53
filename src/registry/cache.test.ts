import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { digestOf, mediaTypes } from "../oci/mod.ts";
import { openCache } from "./cache-open.ts";
import { codeOf, imageOf, type Laboratory, openLaboratory } from "./laboratory.ts";

/** A registry that copies `upstream` as `hub/…`. */
async function openCopy(url: string) {
  const lab = await openLaboratory();
  const rules = [{ prefix: "hub/", url }];
  const cache = await openCache(lab.store, { rules, directory: lab.directory });
  const copy = await openLaboratory({ parts: { store: lab.store, cache } });
  return {
    ...{ lab: copy, store: lab.store, folder: `${lab.directory}/cache` },
    async [Symbol.asyncDispose]() {
      cache.close();
      await copy[Symbol.asyncDispose]();
      await lab[Symbol.asyncDispose]();
    },
  };
}

async function pull({ call }: Laboratory, name: string, reference: string): Promise<string[]> {
  const manifest = await call("GET", `/v2/${name}/manifests/${reference}`);
  if (manifest.status !== 200) throw new Error(await codeOf(manifest));
  const { config, layers } = (await manifest.json()) as ReturnType<typeof imageOf>;
  const texts: string[] = [];
  for (const { digest } of [config, ...layers]) {
    const blob = await call("GET", `/v2/${name}/blobs/${digest}`);
    const bytes = await blob.bytes();
    expect(digestOf(bytes)).toBe(digest);
    texts.push(Buffer.from(bytes).toString());
  }
  return texts.slice(1);
}

test("an image comes from elsewhere once, and is served while that is down", async () => {
  await using upstream = await openLaboratory();
  const big = "layer ".repeat(200_000);
  const { digest } = await upstream.push.image("team/app", "v1", "one", big);
  await using at = await openCopy(upstream.server.address);
  expect(await pull(at.lab, "hub/team/app", "v1")).toEqual(["one", big]);
  const pulls = () => upstream.events.filter(({ action }) => action === "pull").length;
  const before = pulls();
  expect(before).toBe(4);
  expect(await pull(at.lab, "hub/team/app", "v1")).toEqual(["one", big]);
  expect(await pull(at.lab, "hub/team/app", digest)).toEqual(["one", big]);
  expect(pulls()).toBe(before);
  expect(readdirSync(at.folder)).toEqual([]);
  await upstream.stop();
  expect(await pull(at.lab, "hub/team/app", digest)).toEqual(["one", big]);
  const put = await at.lab.call("POST", "/v2/hub/team/app/blobs/uploads/");
  expect(await codeOf(put)).toBe("405 UNSUPPORTED");
});

test("many clients cause one fetch of each thing", async () => {
  await using upstream = await openLaboratory();
  const big = "many ".repeat(500_000);
  await upstream.push.image("app", "v1", big);
  await using at = await openCopy(upstream.server.address);
  const pulls = Array.from({ length: 10 }, () => pull(at.lab, "hub/app", "v1"));
  for (const texts of await Promise.all(pulls)) expect(texts).toEqual([big]);
  expect(upstream.events.filter(({ action }) => action === "pull").length).toBe(3);
});

test("a tag that moved elsewhere moves here; one that is gone is not found", async () => {
  await using upstream = await openLaboratory();
  await upstream.push.image("app", "v1", "one");
  await using first = await openCopy(upstream.server.address);
  await pull(first.lab, "hub/app", "v1");
  await upstream.push.image("app", "v1", "two");
  const rules = [{ prefix: "hub/", url: upstream.server.address }];
  const directory = first.folder.replace(/\/cache$/, "");
  const again = await openCache(first.store, { rules, directory }); // it has asked nobody lately
  await again.bringManifest("hub/app", "v1");
  again.close();
  expect(await pull(first.lab, "hub/app", "v1")).toEqual(["two"]);
  await expect(pull(first.lab, "hub/app", "absent")).rejects.toThrow("404 MANIFEST_UNKNOWN");
  const absent = await first.lab.call("GET", `/v2/hub/app/blobs/${digestOf("absent")}`);
  expect(await codeOf(absent)).toBe("404 BLOB_UNKNOWN");
});

test("a tag is served as it is here when the registry elsewhere has had enough of us, or is down", async () => {
  await using upstream = await openLaboratory();
  await upstream.push.image("app", "v1", "one");
  let isTired = false;
  const front = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      if (isTired) return new Response(null, { status: 429, headers: { "Retry-After": "60" } });
      const { pathname, search } = new URL(request.url);
      return fetch(`${upstream.server.address}${pathname}${search}`, request);
    },
  });
  await using first = await openCopy(front.url.origin);
  await pull(first.lab, "hub/app", "v1");
  const rules = [{ prefix: "hub/", url: front.url.origin }];
  const directory = first.folder.replace(/\/cache$/, "");
  isTired = true;
  for (const end of [() => {}, () => front.stop(true)]) {
    await end();
    const cache = await openCache(first.store, { rules, directory }); // it has asked nobody lately
    await using lab = await openLaboratory({ parts: { store: first.store, cache } });
    expect(await pull(lab, "hub/app", "v1")).toEqual(["one"]);
    const absent = await lab.call("GET", "/v2/hub/app/manifests/v2");
    expect(await codeOf(absent)).toBe("503 UNAVAILABLE");
    cache.close();
  }
});

test("a registry that lies is not believed: nothing wrong is stored or given as whole", async () => {
  const right = "right ".repeat(50_000);
  const wrong = "wrong ".repeat(50_000);
  const digest = digestOf(right);
  let bodies = [wrong];
  const liar = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/v2/") return Response.json({});
      if (pathname.includes("/blobs/")) return new Response(bodies.shift() ?? right);
      const headers = { "Content-Type": mediaTypes.ociManifest };
      return new Response(JSON.stringify(imageOf("{}", ["x"])), { headers });
    },
  });
  await using at = await openCopy(`http://127.0.0.1:${liar.port}`);
  const path = `/v2/hub/app/blobs/${digest}`;
  const given = await at.lab
    .call("GET", path)
    .then((answer) => answer.text())
    .catch(() => "broken");
  expect(given).toBe("broken");
  expect(await Array.fromAsync(at.store.content.list())).toEqual([]);
  expect(readdirSync(at.folder)).toEqual([]);
  expect(await (await at.lab.call("GET", path)).text()).toBe(right);
  bodies = [];
  const other = await at.lab.call("GET", `/v2/hub/app/manifests/${digestOf("another")}`);
  expect(await codeOf(other)).toBe("503 UNAVAILABLE");
  await liar.stop(true);
});
