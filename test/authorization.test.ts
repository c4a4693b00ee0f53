/** Authorisation plugins through the docker client. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import { servePlugin, type TestPlugin } from "../src/plugin/laboratory.ts";
import { TestEngine, whyNot } from "./engine.ts";

setDefaultTimeout(60_000);

const name = `lading-authz-${process.pid}`;
const folder = "/run/docker/plugins";

/** Allows all but what it is told by words in the request's body or the answer's. */
function serve(): TestPlugin {
  const text = (body: unknown) => Buffer.from(String(body ?? ""), "base64").toString();
  return servePlugin(
    { folder, name, kinds: ["authz"] },
    {
      "AuthZPlugin.AuthZReq": ({ RequestBody }) => {
        const isForbidden = text(RequestBody).includes("forbidden");
        return isForbidden ? { Allow: false, Msg: "not here" } : { Allow: true };
      },
      "AuthZPlugin.AuthZRes": ({ ResponseBody }) => ({
        Allow: !text(ResponseBody).includes("hidden"),
        Msg: "not to be seen",
      }),
    },
  );
}

describe.skipIf(whyNot !== undefined)(`authz${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let plugin: TestPlugin;
  beforeAll(async () => {
    plugin = serve();
    engine = await TestEngine.open("authz", [`--authorization-plugin=${name}`]);
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
    plugin[Symbol.dispose]();
    rmSync(`${folder}/${name}.sock`, { force: true });
  });
  const post = (path: string, init: RequestInit) =>
    fetch(`http://engine${path}`, {
      method: "POST",
      ...init,
      unix: engine.host.slice("unix://".length),
    } as RequestInit);

  test("a plugin sees each request, and what it denies does not happen", async () => {
    expect(await engine.ok(["run", "--rm", "busybox", "echo", "fine"])).toBe("fine");
    const seen = plugin.calls.find(({ body }) =>
      /containers\/create/.test(String(body["RequestUri"])),
    );
    expect(seen?.body).toMatchObject({ RequestMethod: "POST", User: "" });
    expect(seen?.body["RequestHeaders"]).toMatchObject({ "Content-Type": "application/json" });
    const { code, stderr } = await engine.docker(["volume", "create", "forbidden"]);
    expect([code, stderr.trim()]).toEqual([
      1,
      `Error response from daemon: authorization denied by plugin ${name}: not here`,
    ]);
    expect(await engine.ok(["volume", "ls", "-q"])).toBe("");
    expect(await engine.ok(["info", "-f", "{{.Plugins.Authorization}}"])).toBe(`[${name}]`);
  });

  test("no wording of a request hides its body", async () => {
    const body = JSON.stringify({ Name: "forbidden" });
    const chunked = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(body));
        controller.close();
      },
    });
    for (const init of [
      { body: chunked, headers: { "Content-Type": "application/json" } },
      { body, headers: { "Content-Type": "application/x-tar" } },
      { body, headers: { "Content-Type": "text/plain" } },
    ]) {
      expect((await post("/v1.44/volumes/create", init)).status).toBe(403);
    }
    const long = JSON.stringify({ Name: "forbidden", Labels: { a: "x".repeat(1 << 20) } });
    const headers = { "Content-Type": "application/json" };
    expect((await post("/volumes/create", { body: long, headers })).status).toBe(400);
    expect(await engine.ok(["volume", "ls", "-q"])).toBe("");
  });

  test("an answer that is denied is not sent", async () => {
    await engine.docker(["volume", "create", "hidden"]);
    const { code, stdout, stderr } = await engine.docker(["volume", "ls", "-q"]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("not to be seen");
    await engine.ok(["volume", "rm", "hidden"]);
  });

  test("while the plugin is gone nothing is allowed, and after that as before", async () => {
    plugin[Symbol.dispose]();
    const refused = await engine.docker(["ps"]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`plugin ${name} failed with error`);
    plugin = serve();
    expect(await engine.ok(["ps", "-q"])).toBe("");
  });
});
