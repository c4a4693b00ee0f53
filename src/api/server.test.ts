import { expect, test } from "bun:test";
import { statSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { containerFrom, requestFrom, serveFakes } from "./fakes.ts";
import { serveApi } from "./server.ts";

const web = () =>
  containerFrom("a".repeat(64), requestFrom({ Image: "busybox", Cmd: ["cat"] }, "web"));
const terminal = () =>
  containerFrom("b".repeat(64), requestFrom({ Image: "busybox", Tty: true }, "term"));

/** Sends bytes as they are, and gives everything that comes back until the end. */
function exchangeRaw(path: string, ...parts: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ path, allowHalfOpen: true });
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes.toString("latin1");
    });
    socket.on("end", () => {
      socket.destroy();
      resolve(answer);
    });
    socket.on("error", reject);
    for (const part of parts) socket.write(part);
    socket.end();
  });
}

const get = (target: string, headers = "") =>
  `GET ${target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n${headers}\r\n`;

test("_ping answers GET and HEAD with the headers that clients read", async () => {
  await using served = await serveFakes();
  const answer = await exchangeRaw(served.socketPath, get("/_ping"));
  expect(answer).toStartWith("HTTP/1.1 200 OK\r\n");
  expect(answer).toContain("Api-Version: 1.51\r\n");
  expect(answer).toContain("Builder-Version: 1\r\n");
  expect(answer).toContain("Ostype: linux\r\n");
  expect(answer).toEndWith("\r\n\r\nOK");
  const headers = await served.client.system.ping();
  expect(headers.get("api-version")).toBe("1.51");
  expect(headers.get("docker-experimental")).toBe("false");
});

test("a list shows a change at once, however often it was asked for before", async () => {
  const containers = [web()];
  await using served = await serveFakes(containers);
  const names = async () =>
    (await served.client.containers.list({ all: true })).map((each) => each.Names[0]);
  expect(await names()).toEqual(["/web"]);
  expect(await names()).toEqual(["/web"]);
  containers[0] = { ...containers[0]!, name: "renamed" };
  expect(await names()).toEqual(["/renamed"]);
  containers.push(terminal());
  expect(await names()).toHaveLength(2);
  expect(await served.client.containers.list({ all: true, limit: 1 })).toHaveLength(1);
});

test("routes answer what is not there in Docker's words", async () => {
  await using served = await serveFakes();
  const cases: [target: string, status: number, message: string][] = [
    ["/v1.51/nothing", 404, "page not found"],
    ["/nothing", 404, "page not found"],
    ["/v1.51/containers/x/nothing", 404, "page not found"],
    ["/v1.52/_ping", 400, "client version 1.52 is too new. Maximum supported API version is 1.51"],
    [
      "/v1.20/_ping",
      400,
      "client version 1.20 is too old. Minimum supported API version is 1.21, " +
        "please upgrade your client to a newer version",
    ],
    ["/v1.24/containers/x/json", 404, "No such container: x"],
    ["/images/x/json", 404, "No such image: x. Load it"],
    ["/containers/%zz/json", 400, "Cannot read the request's path: malformed escape"],
    ["/containers/json?filters=%7B%22odd%22%3A%5B%22x%22%5D%7D", 400, "invalid filter 'odd'"],
    ["/__proto__", 404, "page not found"],
    ["/constructor", 404, "page not found"],
  ];
  for (const [target, status, message] of cases) {
    const answer = await exchangeRaw(served.socketPath, get(target));
    expect(answer).toStartWith(`HTTP/1.1 ${status} `);
    const body = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
    expect(body.message).toBe(message);
  }
});

test("a request in HTTP/1.0 is answered in HTTP/1.0, without chunks", async () => {
  await using served = await serveFakes([web()]);
  const ask = (target: string) => exchangeRaw(served.socketPath, `GET ${target} HTTP/1.0\r\n\r\n`);
  expect(await ask("/v1.21/containers/x/json")).toStartWith("HTTP/1.0 404 Not Found\r\n");
  const events = await ask("/v1.21/events?since=0&until=1");
  expect(events).toStartWith("HTTP/1.0 200 OK\r\n");
  expect(events).not.toContain("Transfer-Encoding");
});

test("a target in absolute form is its path, with and without a host", async () => {
  await using served = await serveFakes();
  for (const target of ["http://d/v1.51/_ping", "http:/_ping", "https://d:1/_ping?x=http://e/f"]) {
    expect(await exchangeRaw(served.socketPath, get(target))).toStartWith("HTTP/1.1 200 OK\r\n");
  }
  const absent = await exchangeRaw(served.socketPath, get("http:_ping"));
  expect(absent).toStartWith("HTTP/1.1 404 Not Found\r\n");
});

test("a node outside a swarm says so", async () => {
  await using served = await serveFakes();
  const paths = ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"];
  for (const path of paths) {
    await expect(served.client.request("GET", path)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("This node is not a swarm manager."),
    });
  }
  const plugins = await served.client.request("GET", "/plugins");
  expect(await plugins.json<unknown[]>()).toEqual([]);
});

test("requests on one connection are answered in order, also when sent at once", async () => {
  await using served = await serveFakes([web()]);
  const answer = await exchangeRaw(
    served.socketPath,
    "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\nGET /containers/web/json HTTP/1.1\r\nHost: d\r\n\r\n",
    get("/version"),
  );
  const bodies = answer.split("HTTP/1.1 200 OK").slice(1);
  expect(bodies).toHaveLength(3);
  expect(bodies[0]).toEndWith("OK");
  expect(bodies[1]).toContain('"Name":"/web"');
  expect(bodies[2]).toContain('"ApiVersion":"1.51"');
});

test("version and info name a release of Docker to compare with, and Lading's behind it", async () => {
  await using served = await serveFakes();
  const version = await served.client.system.version();
  expect(version.Version).toBe("28.3.0+lading.0.1.0");
  const [engine, lading] = version.Components;
  expect([engine?.Name, engine?.Version]).toEqual(["Engine", "28.3.0+lading.0.1.0"]);
  expect([lading?.Name, lading?.Version]).toEqual(["Lading", "0.1.0"]);
  expect((await served.client.system.info()).ServerVersion).toBe("28.3.0+lading.0.1.0");
  // What semver.org, Go's and Python's parsers take, and what leaves order to the part before it.
  expect(Bun.semver.satisfies(version.Version, ">=20.10.0 <29")).toBe(true);
  const ping = await exchangeRaw(served.socketPath, get("/_ping"));
  expect(ping).toContain("Server: Lading/0.1.0 (linux)\r\n");
});

test("a request may come byte by byte", async () => {
  await using served = await serveFakes();
  const body = '{"Image":"busybox"}';
  const text =
    "POST /containers/create HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n" +
    `Content-Length: ${body.length}\r\n\r\n${body}`;
  const answer = await exchangeRaw(served.socketPath, ...text);
  expect(answer).toStartWith("HTTP/1.1 201 Created");
});

test("malformed heads are refused and the connection ends", async () => {
  await using served = await serveFakes();
  const heads = [
    "nonsense\r\n\r\n",
    "GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
    "POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
    `GET / HTTP/1.1\r\nA: ${"x".repeat(1 << 20)}`,
  ];
  for (const head of heads) {
    expect(await exchangeRaw(served.socketPath, head)).toStartWith("HTTP/1.1 400 Bad Request");
  }
});

test("create refuses bodies that are no JSON object of its kind", async () => {
  await using served = await serveFakes();
  const cases: [body: string, type: string, message: string | RegExp][] = [
    ["", "application/json", "invalid JSON: got EOF while reading request body"],
    ["{", "application/json", /^invalid JSON: /],
    ["[]", "application/json", "invalid JSON: cannot unmarshal array into value of type object"],
    [
      "{}",
      "text/plain",
      "unsupported Content-Type header (text/plain): must be 'application/json'",
    ],
    [
      '{"HostConfig":{"Memory":"6m"}}',
      "application/json",
      "invalid JSON: cannot unmarshal string into field HostConfig.Memory of type int64",
    ],
  ];
  for (const [body, type, message] of cases) {
    const answer = await exchangeRaw(
      served.socketPath,
      `POST /containers/create HTTP/1.1\r\nConnection: close\r\nContent-Type: ${type}\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    expect(answer).toStartWith("HTTP/1.1 400 ");
    const said = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n"))).message;
    if (typeof message === "string") expect(said).toBe(message);
    else expect(said).toMatch(message);
  }
});

test("a body over its bound is refused before it is all read", async () => {
  await using served = await serveFakes();
  const answer = await exchangeRaw(
    served.socketPath,
    "POST /containers/create HTTP/1.1\r\nContent-Type: application/json\r\n" +
      `Content-Length: ${1 << 30}\r\n\r\n`,
    " ".repeat(17 << 20),
  );
  expect(answer).toStartWith("HTTP/1.1 400 ");
  expect(answer).toContain("its body is over");
});

test("Expect: 100-continue is answered before the body comes", async () => {
  await using served = await serveFakes();
  const answer = await exchangeRaw(
    served.socketPath,
    "POST /images/load HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n" +
      "Transfer-Encoding: chunked\r\n\r\n",
    "5\r\nabcde\r\n0\r\n\r\n",
  );
  expect(answer).toStartWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n");
  expect(answer).toContain("Loaded image: busybox:latest");
});

test("attach by upgrade carries stdin, half-close and both streams", async () => {
  await using served = await serveFakes([web()]);
  const stream = await served.client.containers.attach("web", {
    stream: true,
    stdin: true,
    stdout: true,
    stderr: true,
  });
  expect(stream.isMultiplexed).toBe(true);
  const sent = Buffer.alloc(3 << 20, "0123456789abcdef");
  const sending = stream.write(sent).then(() => stream.closeWrite());
  const got: Record<number, Buffer[]> = { 1: [], 2: [] };
  for await (const { stream: number, bytes } of stream.output()) {
    got[number]!.push(Buffer.from(bytes));
  }
  await sending;
  expect(Buffer.concat(got[1]!).equals(sent)).toBe(true);
  expect(Buffer.concat(got[2]!).toString()).toBe(`got ${sent.length}\n`);
});

test("attach to a terminal is raw", async () => {
  await using served = await serveFakes([terminal()]);
  const stream = await served.client.containers.attach("term", { stream: true, stdin: true });
  expect(stream.isMultiplexed).toBe(false);
  await stream.write("hello");
  stream.closeWrite();
  let text = "";
  for await (const { bytes } of stream.output()) text += Buffer.from(bytes).toString();
  expect(text).toBe("hellogot 5\n");
});

test("attach without an Upgrade header is 200 and raw bytes from there on", async () => {
  await using served = await serveFakes([terminal()]);
  const answer = await exchangeRaw(
    served.socketPath,
    "POST /v1.24/containers/term/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\n\r\nhello",
  );
  expect(answer).toStartWith("HTTP/1.1 200 OK\r\n");
  expect(answer).toContain("Content-Type: application/vnd.docker.raw-stream\r\n");
  expect(answer).toEndWith("\r\n\r\nhellogot 5\n");
});

test("attach without an Upgrade header takes stdin as a chunked body, too", async () => {
  await using served = await serveFakes([terminal()]);
  const answer = await exchangeRaw(
    served.socketPath,
    "POST /containers/term/attach?stream=1&stdin=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
  );
  expect(answer).toEndWith("\r\n\r\nhellogot 5\n");
});

test("a body with a length is no input of an attach", async () => {
  await using served = await serveFakes([web()]);
  const options = '{"stream":true,"stdin":true}';
  const answer = await exchangeRaw(
    served.socketPath,
    `POST /containers/web/attach?stream=1&stdin=1 HTTP/1.1\r\nContent-Length: ${options.length}\r\n\r\n`,
    options,
    "hello",
  );
  expect(answer).toContain("hello");
  expect(answer).not.toContain("stdin");
});

test("wait sends its head at once and the exit code later", async () => {
  await using served = await serveFakes([web()]);
  const { exit } = await served.client.containers.wait("web");
  expect(await exit).toEqual({ StatusCode: 7 });
});

test("logs have a time before each line, though a line comes in two chunks", async () => {
  await using served = await serveFakes([web()]);
  const { framesOf } = await import("./client.ts");
  const reply = await served.client.containers.logs("web", {
    stdout: true,
    stderr: true,
    timestamps: true,
  });
  const got: Record<number, string> = { 1: "", 2: "" };
  for await (const { stream, bytes } of framesOf(reply))
    got[stream] += Buffer.from(bytes).toString();
  expect(got[1]).toBe("2024-05-18T13:01:02.000000001Z one\n2024-05-18T13:01:02.000000001Z two\n");
  expect(got[2]).toBe("2024-05-18T13:01:04.000000003Z err\n");
});

test("details come before each line of a log, after its time", async () => {
  const { logWriter } = await import("./log-lines.ts");
  let text = "";
  const output = {
    write: async (bytes: Uint8Array | string) => void (text += Buffer.from(bytes).toString()),
    line: async () => undefined,
  };
  const options = { isTty: true, timestamps: true, details: "a=b " };
  const write = logWriter(output, options);
  await write({ stream: 1, timeNs: 1n, bytes: Buffer.from("one\ntwo\n") });
  const time = "1970-01-01T00:00:00.000000001Z";
  expect(text).toBe(`${time} a=b one\n${time} a=b two\n`);
});

test("an image has the fields that clients of each version read unasked", async () => {
  await using served = await serveFakes([web()]);
  const inspect = async (version: string) => {
    const answer = await exchangeRaw(served.socketPath, get(`/${version}/images/busybox/json`));
    return JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
  };
  expect((await inspect("v1.51")).Config).toMatchObject({ Volumes: null, OnBuild: null, User: "" });
  expect((await inspect("v1.51")).ContainerConfig).toBeUndefined();
  const compose = await fetch("http://d/v1.51/images/busybox/json", {
    unix: served.socketPath,
    headers: { "User-Agent": "docker-compose/1.29.2 docker-py/5.0.3 Linux/6.1" },
  });
  expect(await compose.json()).toMatchObject({
    ContainerConfig: { Volumes: null, Cmd: ["sh"], Labels: { made: "here" } },
  });
  const old = await inspect("v1.35");
  expect(old.Config).toMatchObject({ Hostname: "", Tty: false, Volumes: null });
  expect(old.ContainerConfig.Volumes).toBeNull();
  expect(old.VirtualSize).toBe(old.Size);
});

test("a client that goes away ends what it followed", async () => {
  await using served = await serveFakes([web()]);
  const aborted = new AbortController();
  const query = { stdout: true, follow: true };
  const reply = await served.client.containers.logs("web", query, aborted.signal);
  const reading = (async () => {
    for await (const _ of reply.bytes()) aborted.abort();
  })();
  await reading.catch(() => {});
  // The server closes without its grace: nothing is left that keeps it open.
  await served.server.close(5_000);
  expect(aborted.signal.aborted).toBe(true);
});

test("load tells progress, then what was loaded; an error after the first line is a line", async () => {
  await using served = await serveFakes();
  const load = async (text: string) => {
    const body = (async function* () {
      yield Buffer.from(text);
    })();
    const lines = [];
    for await (const line of await served.client.images.load(body)) lines.push(line);
    return lines;
  };
  expect(await load("a tar")).toEqual([
    { status: "Loading layer", progressDetail: { current: 5 }, id: "cdcdcdcdcdcd" },
    { stream: "Loaded image: busybox:latest\n" },
  ]);
  expect((await load("thirteen byte")).at(-1)).toEqual({
    errorDetail: { message: "Cannot load the archive: unlucky" },
    error: "Cannot load the archive: unlucky",
  });
  await expect(load("")).rejects.toMatchObject({ message: "Cannot load the archive: it is empty" });
});

test("pull says that there are no registries", async () => {
  await using served = await serveFakes();
  await expect(
    served.client.images.pull({ fromImage: "busybox", tag: "latest" }),
  ).rejects.toMatchObject({
    code: "unsupported",
    hint: "Images come in by load, import and build",
  });
});

test("the socket is for root and the group alone, and a live one is not replaced", async () => {
  await using served = await serveFakes();
  expect(statSync(served.socketPath).mode & 0o777).toBe(0o660);
  const again = serveApi({ ...served.context, listen: [{ unixPath: served.socketPath }] });
  await expect(again).rejects.toMatchObject({ code: "conflict" });
  expect((await served.client.system.version()).ApiVersion).toBe("1.51");
});

test("events carry all digits of their time", async () => {
  await using served = await serveFakes();
  const timeNs = 1_716_037_262_123_456_789n;
  served.context.engine.emitted.push({
    type: "container",
    action: "start",
    actor: { id: "x", attributes: { image: "busybox", name: "web" } },
    timeNs,
  });
  const answer = await exchangeRaw(served.socketPath, get("/events?until=1"));
  expect(answer).toContain('"timeNano":1716037262123456789}');
  expect(answer).toContain('"status":"start","id":"x","from":"busybox"');
});

test("attach over a WebSocket carries bytes both ways and ends with a close frame", async () => {
  await using served = await serveFakes([web()]);
  const { connect } = await import("./client.ts");
  const tcp = await serveApi({ ...served.context, listen: [{ host: "127.0.0.1", port: 0 }] });
  const address = tcp.addresses[0]!;
  const socket = new WebSocket(
    `${address.replace("tcp", "ws")}/v1.51/containers/web/attach/ws?stream=1&stdin=1&stdout=1`,
  );
  socket.binaryType = "arraybuffer";
  let text = "";
  const closed = new Promise((resolve) => {
    socket.onclose = resolve;
  });
  socket.onmessage = ({ data }) => {
    text += Buffer.from(data as ArrayBuffer).toString();
    if (text.length === 70_005) socket.close();
  };
  socket.onopen = () => {
    socket.send("hello");
    socket.send("x".repeat(70_000));
  };
  await closed;
  const client = connect({ host: address });
  expect((await client.system.version()).ApiVersion).toBe("1.51");
  client.close();
  await tcp.close(0);
  expect(text).toBe(`hello${"x".repeat(70_000)}`);
});

test("a client that cuts its body off ends its own connection alone", async () => {
  await using served = await serveFakes([web()]);
  const cut = (path: string) =>
    exchangeRaw(served.socketPath, `POST ${path} HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc`);
  // One handler does not read the body, the other does.
  expect(await cut("/containers/web/start")).toStartWith("HTTP/1.1 304 ");
  expect(await cut("/images/load")).toStartWith("HTTP/1.1 400 ");
  expect((await served.client.system.version()).ApiVersion).toBe("1.51");
});
