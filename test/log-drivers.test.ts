/** Log drivers through the docker client, against servers of the test's own. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { gunzipSync } from "node:zlib";
import { servePlugin } from "../src/plugin/laboratory.ts";
import { TestEngine, whyNot } from "./engine.ts";

/** A TCP server that keeps what it is sent. */
class Listener {
  text = "";
  readonly #sockets = new Set<Socket>();
  readonly #server: Server = createServer((socket) => {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      this.text += bytes.toString("latin1");
    });
  });

  async listen(port = 0): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return (this.#server.address() as { port: number }).port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await isTrue()) return;
    await Bun.sleep(25);
  }
  throw new Error(`It never came to this: ${what}`);
}

describe.skipIf(whyNot !== undefined)(`log drivers${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await TestEngine.open("logd");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });
  const opts = (options: Record<string, string>) =>
    Object.entries(options).flatMap(([key, value]) => ["--log-opt", `${key}=${value}`]);

  test("syslog gets each line with its tag, and docker logs works beside it", async () => {
    const server = new Listener();
    const address = `tcp://127.0.0.1:${await server.listen()}`;
    const options = opts({
      "syslog-address": address,
      tag: "{{.Name}}",
      "syslog-format": "rfc5424",
    });
    await engine.ok(
      ["run", "--name", "sys", "--log-driver", "syslog", ...options, "busybox", "sh", "-c"].concat(
        "echo out; echo err >&2",
      ),
    );
    await until("both lines", () => / - out\n/.test(server.text) && / - err\n/.test(server.text));
    expect(server.text).toMatch(/^<30>1 \S+ \S+ sys \d+ sys - out$/m);
    expect(server.text).toMatch(/^<27>1 \S+ \S+ sys \d+ sys - err$/m);
    expect(await engine.ok(["logs", "sys"])).toContain("out");
    await engine.ok(["rm", "sys"]);
    server.close();
  });

  test("no line is lost when the server and the engine die", async () => {
    const first = new Listener();
    const port = await first.listen();
    const options = opts({
      "syslog-address": `tcp://127.0.0.1:${port}`,
      "syslog-format": "rfc5424",
    });
    const count = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i.; sleep 0.02; done";
    await engine.ok(
      ["run", "-d", "--name", "keep", "--log-driver", "syslog", ...options, "busybox"].concat([
        "sh",
        "-c",
        count,
      ]),
    );
    await until("the first line", () => first.text.includes("line 1."));
    first.close();
    await engine.crash();
    await engine.ok(["wait", "keep"]);
    const second = new Listener();
    await second.listen(port);
    await until("the last line", () => second.text.includes("line 60."));
    // What the first server had in its buffers when it died, only it knows.
    const seen = first.text + second.text;
    const lost = Array.from({ length: 60 }, (_, at) => at + 1).filter(
      (number) => !seen.includes(` line ${number}.`),
    );
    expect(lost.length).toBeLessThanOrEqual(2);
    await engine.ok(["rm", "keep"]);
    second.close();
  }, 30_000);

  test("fluentd and gelf get what they expect", async () => {
    const fluentd = new Listener();
    const port = await fluentd.listen();
    const labels = ["-l", "tier=front", "-e", "FOO=bar"];
    const more = { labels: "tier", env: "FOO" };
    const fluent = opts({ ...more, "fluentd-address": `127.0.0.1:${port}`, tag: "t.{{.ID}}" });
    await engine.ok([
      "run",
      "--rm",
      ...labels,
      "--log-driver",
      "fluentd",
      ...fluent,
      "busybox",
      "echo",
      "hello",
    ]);
    await until("a record", () => fluentd.text.includes("hello"));
    for (const part of ["container_id", "container_name", "tier", "front", "FOO", "stdout"]) {
      expect(fluentd.text).toContain(part);
    }
    fluentd.close();

    const gelf = createSocket("udp4");
    const messages: Uint8Array[] = [];
    gelf.on("message", (message) => messages.push(message));
    await new Promise<void>((resolve) => gelf.bind(0, "127.0.0.1", resolve));
    const address = `udp://127.0.0.1:${gelf.address().port}`;
    await engine.ok(
      [
        "run",
        "--rm",
        ...labels,
        "--log-driver",
        "gelf",
        ...opts({ ...more, "gelf-address": address }),
      ].concat(["busybox", "echo", "hi"]),
    );
    await until("a datagram", () => messages.length > 0);
    expect(JSON.parse(gunzipSync(messages[0]!).toString())).toMatchObject({
      version: "1.1",
      short_message: "hi",
      level: 6,
      _tier: "front",
      _FOO: "bar",
      _image_name: "busybox",
      _command: "echo hi",
    });
    gelf.close();
  });

  test("a server that is away refuses the start, unless it may come later", async () => {
    const driver = [
      "--rm",
      "--log-driver",
      "fluentd",
      ...opts({ "fluentd-address": "127.0.0.1:1" }),
    ];
    const refused = await engine.docker(["run", ...driver, "busybox", "true"]);
    expect(refused.stderr).toContain("failed to initialize logging driver: dial tcp 127.0.0.1:1");
    expect(refused.code).toBe(125);
    const later = opts({ "fluentd-async": "true" });
    expect(await engine.ok(["run", ...driver, ...later, "busybox", "echo", "x"])).toContain("x");
  });

  test("rotation never breaks logs -f", async () => {
    const options = opts({ "max-size": "20k", "max-file": "2" });
    const write = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo a line with the number $i; done";
    await engine.ok([
      "run",
      "-d",
      "--name",
      "rot",
      ...options,
      "busybox",
      "sh",
      "-c",
      `sleep 0.3; ${write}`,
    ]);
    const followed = await engine.docker(["logs", "-f", "rot"]);
    const lines = followed.stdout.trim().split("\n");
    expect(lines).toHaveLength(4000);
    expect(lines.at(-1)).toBe("a line with the number 4000");
    await engine.ok(["rm", "rot"]);
  });

  test("a plugin gets each line through a FIFO, and docker logs works beside it", async () => {
    const name = `lading-log-${process.pid}`;
    const folder = "/run/docker/plugins";
    const read: Promise<Uint8Array>[] = [];
    const plugin = servePlugin(
      { folder, name, kinds: ["LogDriver"] },
      {
        "LogDriver.StartLogging": ({ File }) => {
          const reader = Bun.spawn(["cat", String(File)], { stdin: "ignore", stdout: "pipe" });
          read.push(new Response(reader.stdout).bytes());
        },
        "LogDriver.StopLogging": () => ({}),
      },
    );
    try {
      const options = ["--log-driver", name, ...opts({ anything: "goes" })];
      const script = "echo one; echo two >&2; head -c 20000 /dev/zero | tr '\\0' x";
      await engine.ok(["run", "--name", "plugged", ...options, "busybox", "sh", "-c", script]);
      await until("StopLogging", () => plugin.calls.length === 2);
      const [start, stop] = plugin.calls.map(({ body }) => body);
      expect(start).toMatchObject({
        Info: { ContainerName: "/plugged", Config: { anything: "goes" } },
      });
      expect(stop).toEqual({ File: start!["File"] });
      const entries = entriesOf(Buffer.from((await read[0])!));
      expect(entries.map((entry) => entry.subarray(0, 8).toString("latin1")).sort()).toEqual([
        "\n\x06stderr",
        ...Array(3).fill("\n\x06stdout"),
      ]);
      expect(entries.some((entry) => entry.includes("\x1a\x03one"))).toBe(true);
      expect(await engine.ok(["logs", "plugged"])).toContain("one\n");
    } finally {
      plugin[Symbol.dispose]();
      rmSync(`${folder}/${name}.sock`, { force: true });
    }
    await engine.ok(["rm", "-f", "plugged"]);
    const { stderr } = await engine.docker([
      "run",
      "--rm",
      "--log-driver",
      name,
      "busybox",
      "true",
    ]);
    expect(stderr).toContain(`no log driver named '${name}' is registered`);
  });
});

/** What stands behind lengths of four bytes. */
function entriesOf(bytes: Buffer): Buffer[] {
  if (bytes.length === 0) return [];
  const end = 4 + bytes.readUInt32BE(0);
  return [bytes.subarray(4, end), ...entriesOf(bytes.subarray(end))];
}
