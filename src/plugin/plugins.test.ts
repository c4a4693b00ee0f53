import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { servePlugin } from "./laboratory.ts";
import { locate } from "./locate.ts";
import { openPlugins } from "./plugins.ts";

function openFolder() {
  const folder = mkdtempSync("/tmp/lading-plugin-");
  const folders = { sockets: `${folder}/run`, specs: [`${folder}/etc`] };
  for (const one of [folders.sockets, ...folders.specs]) mkdirSync(one);
  return {
    folder,
    folders,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

test("get() activates a plugin at a socket and call() speaks with it", async () => {
  using place = openFolder();
  using plugin = servePlugin(
    { folder: place.folders.sockets, name: "store", kinds: ["VolumeDriver"] },
    {
      "VolumeDriver.Get": ({ Name }) => ({ Volume: { Name }, Err: "" }),
      "VolumeDriver.Create": () => ({ Err: "disk is full" }),
      "VolumeDriver.Remove": () => {
        throw new Error("in use");
      },
    },
  );
  const plugins = openPlugins(place.folders);
  const found = await plugins.get("store", "VolumeDriver");
  expect(await found.call("VolumeDriver.Get", { Name: "a" })).toEqual({
    Volume: { Name: "a" },
    Err: "",
  });
  expect(plugin.calls).toEqual([{ method: "VolumeDriver.Get", body: { Name: "a" } }]);
  await expect(found.call("VolumeDriver.Create", {})).rejects.toThrow("disk is full");
  await expect(found.call("VolumeDriver.Remove", {})).rejects.toThrow("in use");
  await expect(found.call("VolumeDriver.Path", {})).rejects.toThrow("404 page not found");
  await expect(plugins.get("store", "NetworkDriver")).rejects.toMatchObject({ code: "not_found" });
  expect(plugins.names()).toEqual(["store"]);
  expect(plugins.known("VolumeDriver").map(({ name }) => name)).toEqual(["store"]);
});

test("get() finds plugins by their .spec and .json files, and over TCP", async () => {
  using place = openFolder();
  const handshake = () => Response.json({ Implements: ["IpamDriver"] });
  using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: handshake });
  const [specs = ""] = place.folders.specs;
  writeFileSync(`${specs}/one.spec`, `tcp://127.0.0.1:${server.port}\n`);
  const json = { Name: "two", Addr: `http://127.0.0.1:${server.port}` };
  writeFileSync(`${specs}/two.json`, JSON.stringify(json));
  const plugins = openPlugins(place.folders);
  for (const name of ["one", "two"]) {
    expect((await plugins.get(name, "IpamDriver")).implements).toEqual(["IpamDriver"]);
  }
  expect(plugins.names()).toEqual(["one", "two"]);
});

test("get() finds a plugin that came back after it was gone", async () => {
  using place = openFolder();
  const at = { folder: place.folders.sockets, name: "store" };
  const plugins = openPlugins(place.folders);
  const first = servePlugin({ ...at, kinds: ["VolumeDriver"] }, {});
  const found = await plugins.get("store", "VolumeDriver");
  first[Symbol.dispose]();
  await expect(found.call("VolumeDriver.List")).rejects.toMatchObject({ code: "unavailable" });
  rmSync(`${at.folder}/store.sock`, { force: true });
  using _again = servePlugin({ ...at, kinds: ["NetworkDriver"] }, {});
  expect((await plugins.get("store", "NetworkDriver")).implements).toEqual(["NetworkDriver"]);
});

test("call() bounds what a plugin sends and how long it takes", async () => {
  using place = openFolder();
  using _plugin = servePlugin(
    { folder: place.folders.sockets, name: "bad", kinds: ["VolumeDriver"] },
    {
      "VolumeDriver.List": () => "x".repeat(5_000_000),
      "VolumeDriver.Get": () => [1],
      "VolumeDriver.Path": () => Bun.sleepSync(300),
    },
  );
  const found = await openPlugins(place.folders).get("bad", "VolumeDriver");
  await expect(found.call("VolumeDriver.List")).rejects.toMatchObject({ code: "corrupt" });
  await expect(found.call("VolumeDriver.Get")).rejects.toMatchObject({ code: "corrupt" });
});

test("call() gives up when a plugin does not answer", async () => {
  using place = openFolder();
  const path = `${place.folders.sockets}/mute.sock`;
  using _mute = Bun.listen({ unix: path, socket: { data() {} } });
  const { promise } = Promise.withResolvers<Response>();
  using server = Bun.serve({
    unix: `${place.folders.sockets}/slow.sock`,
    fetch: ({ url }) =>
      url.endsWith("Activate") ? Response.json({ Implements: ["VolumeDriver"] }) : promise,
  });
  const slow = await openPlugins(place.folders).get("slow", "VolumeDriver");
  await expect(slow.call("VolumeDriver.List", {}, { timeoutMs: 50 })).rejects.toMatchObject({
    code: "timeout",
  });
  await server.stop(true);
});

const wrongNames = ["", "../x", "a/b", ".x", "a\0b", `${"x".repeat(200)}`, "absent"];
test.each(wrongNames)("get() knows no plugin called %p", async (name) => {
  using place = openFolder();
  const plugins = openPlugins(place.folders);
  await expect(plugins.get(name, "VolumeDriver")).rejects.toMatchObject({ code: "not_found" });
});

test("locate() refuses a file that is no address", () => {
  using place = openFolder();
  const [specs = ""] = place.folders.specs;
  writeFileSync(`${specs}/a.spec`, "ftp://x");
  writeFileSync(`${specs}/b.json`, "{");
  writeFileSync(
    `${specs}/c.json`,
    JSON.stringify({ Addr: "https://x", TLSConfig: { CAFile: "/no" } }),
  );
  for (const name of ["a", "b", "c"]) {
    expect(() => locate(name, place.folders)).toThrow(expect.objectContaining({ code: "invalid" }));
  }
});
