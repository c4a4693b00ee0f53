import { expect, test } from "bun:test";
import { connect } from "node:net";
import { containerFrom, image, requestFrom, serveFakes } from "./fakes.ts";

/** The status, the `Location`, and the message of an answer to a request sent as it is. */
async function ask(path: string, method: string, target: string, body?: string) {
  const socket = connect({ path });
  const type = body === undefined ? "" : "Content-Type: application/json\r\n";
  const length = `Content-Length: ${body?.length ?? 0}\r\n`;
  socket.end(`${method} ${target} HTTP/1.1\r\nHost: d\r\n${type}${length}\r\n${body ?? ""}`);
  const parts: Buffer[] = await Array.fromAsync(socket);
  const answer = Buffer.concat(parts).toString();
  const json = /\{"message":.*\}/.exec(answer)?.[0];
  return {
    status: Number(answer.split(" ")[1]),
    location: /^Location: (.*)\r$/m.exec(answer)?.[1],
    message: json && (JSON.parse(json) as { message: string }).message,
  };
}

test("route() sends a path with empty or dotted words to the path that it means", async () => {
  await using served = await serveFakes();
  const cases: [target: string, location: string | undefined][] = [
    ["/v1.51/containers//json", "/v1.51/containers/json"],
    ["//_ping?x=//", "/_ping?x=//"],
    ["/v1.51/containers/../info", "/v1.51/info"],
    ["/v1.51/./_ping", "/v1.51/_ping"],
    ["/v1.51/_ping?path=/a/../b", undefined],
    ["/v1.51/images/.a/json", undefined],
    ["http://d/v1.51/_ping", undefined],
  ];
  for (const [target, location] of cases) {
    const answer = await ask(served.socketPath, "GET", target);
    expect([target, answer.location]).toEqual([target, location]);
    expect(answer.status === 301).toBe(location !== undefined);
  }
});

test("route() answers OPTIONS for any path, and networks also below their folder", async () => {
  await using served = await serveFakes();
  expect((await ask(served.socketPath, "OPTIONS", "/v1.51/containers/json")).status).toBe(200);
  expect((await ask(served.socketPath, "OPTIONS", "/v9.99/info")).status).toBe(400);
  expect((await ask(served.socketPath, "GET", "/v1.51/networks/")).status).toBe(200);
});

test("what contradicts itself or cannot be understood is refused", async () => {
  await using served = await serveFakes([containerFrom("a".repeat(64), requestFrom({}, "web"))]);
  const filters = (value: object) => `filters=${encodeURIComponent(JSON.stringify(value))}`;
  const cases: [method: string, target: string, message: string][] = [
    ["GET", "/containers/web/stats?one-shot=1", "cannot have stream=true and one-shot=true"],
    ["GET", "/events?since=5&until=1", "`since` time cannot be after `until` time"],
    ["POST", `/images/prune?${filters({ dangling: ["foo"] })}`, "invalid filter 'dangling=[foo]'"],
    ["POST", `/v1.41/volumes/prune?${filters({ all: ["foo"] })}`, "invalid filter 'all=[foo]'"],
  ];
  for (const [method, target, message] of cases) {
    expect(await ask(served.socketPath, method, target)).toMatchObject({ status: 400, message });
  }
  // Filters of events to come are nobody's here, as in Docker.
  const later = `/events?until=1&${filters({ odd: ["x"] })}`;
  expect((await ask(served.socketPath, "GET", later)).status).toBe(200);
  const create = await ask(served.socketPath, "POST", "/containers/create", '{"Image":true}');
  expect(create.message).toBe(
    "invalid JSON: cannot unmarshal bool into field Image of type string",
  );
});

test("a tag of its own replaces that of the name", async () => {
  await using served = await serveFakes();
  const tagged: string[] = [];
  Object.assign(served.context.images, { tag: (_: string, name: string) => tagged.push(name) });
  for (const query of [
    "repo=a/b:3&tag=4",
    "repo=host:5000/b&tag=4",
    "repo=b:3",
    "repo=host:5000/b",
  ]) {
    const target = `/images/busybox/tag?${query}`;
    expect((await ask(served.socketPath, "POST", target)).status).toBe(201);
  }
  expect(tagged).toEqual(["a/b:4", "host:5000/b:4", "b:3", "host:5000/b"]);
});

test("clients of older versions get the fields that they read", async () => {
  await using served = await serveFakes();
  const json = async (target: string) => {
    const answer = await fetch(`http://d${target}`, { unix: served.socketPath });
    return (await answer.json()) as Record<string, unknown> & Record<string, unknown>[];
  };
  expect(await json("/v1.41/info")).toMatchObject({ BridgeNfIptables: true });
  expect(await json("/v1.50/info")).not.toHaveProperty("BridgeNfIptables");
  const listed = { RepoTags: ["busybox:latest"], RepoDigests: [] };
  expect((await json("/v1.41/images/json"))[0]).toMatchObject(listed);
  Object.assign(served.context.images, { list: () => [{ ...image, tags: [] }] });
  const bare = { RepoTags: ["<none>:<none>"], RepoDigests: ["<none>@<none>"] };
  expect((await json("/v1.41/images/json"))[0]).toMatchObject(bare);
  expect((await json("/v1.43/images/json"))[0]).toMatchObject({ RepoTags: [], RepoDigests: [] });
});
