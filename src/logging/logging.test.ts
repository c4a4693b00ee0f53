import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { bindDatagrams, readAvailable } from "../sys/mod.ts";
import { parseAddress } from "./address.ts";
import { forward, type SourceChunk } from "./forward.ts";
import { chunked } from "./gelf.ts";
import { fieldName, openJournal } from "./journald.ts";
import { type Line, LineSplitter, lineBytesMax } from "./lines.ts";
import { checkOptions, parseBytes } from "./options.ts";
import { encodeEntry } from "./plugin.ts";
import { Queue } from "./queue.ts";
import { attributesOf, type Subject, tagOf } from "./subject.ts";
import { facilityOf, formatOf } from "./syslog.ts";

const subject: Subject = {
  id: "0123456789abcdef".repeat(4),
  name: "web",
  imageId: `sha256:${"a".repeat(64)}`,
  imageName: "busybox",
  command: "sh -c true",
  created: "2026-01-01T00:00:00Z",
  env: ["FOO=1", "BAR=2", "EMPTY"],
  labels: { tier: "front", "com.example": "x" },
  hostname: "host",
  logDirectory: "/nowhere",
};
const text = (lines: readonly Line[]) => lines.map(({ bytes }) => Buffer.from(bytes).toString());

test("LineSplitter cuts each stream for itself, over chunks", () => {
  const splitter = new LineSplitter();
  expect(text(splitter.push(1, 1n, Buffer.from("a\nb")))).toEqual(["a"]);
  expect(text(splitter.push(2, 2n, Buffer.from("err\n\n")))).toEqual(["err", ""]);
  const saved = JSON.parse(JSON.stringify(splitter.save()));
  const next = new LineSplitter(saved);
  expect(next.push(1, 3n, Buffer.from("c\nd"))).toEqual([
    { stream: 1, timeNs: 1n, bytes: Buffer.from("bc") },
  ]);
  expect(text(next.flush())).toEqual(["d"]);
  expect(next.flush()).toEqual([]);
});

test("LineSplitter sends a line that is too long in parts that belong together", () => {
  const splitter = new LineSplitter();
  const long = Buffer.alloc(lineBytesMax * 2 + 10, "x");
  const lines = splitter.push(1, 1n, Buffer.concat([long, Buffer.from("\nnext\n")]));
  expect(lines.map(({ bytes }) => bytes.length)).toEqual([lineBytesMax, lineBytesMax, 10, 4]);
  const parts = lines.map(({ part }) => part);
  expect(parts.map((part) => part?.ordinal)).toEqual([1, 2, 3, undefined]);
  expect(parts.map((part) => part?.isLast)).toEqual([false, false, true, undefined]);
  expect(new Set(parts.slice(0, 3).map((part) => part?.id)).size).toBe(1);
});

test("checkOptions() refuses what a driver does not know, in Docker's words", () => {
  const cases: [string, Record<string, string>, string][] = [
    ["nosuch", {}, "no log driver named 'nosuch' is registered"],
    ["syslog", { foo: "1" }, "unknown log opt 'foo' for syslog log driver"],
    ["gelf", {}, "gelf-address is a required parameter"],
    ["gelf", { "gelf-address": "http://x:1" }, "the scheme is one of"],
    ["gelf", { "gelf-address": "tcp://x:1", "gelf-compression-type": "gzip" }, "only supported"],
    ["gelf", { "gelf-address": "udp://x:1", "gelf-compression-level": "10" }, "unknown value"],
    ["syslog", { "syslog-address": "tcp://x:99999" }, "host:port"],
    ["syslog", { "syslog-format": "x" }, "unknown value"],
    ["fluentd", { "fluentd-async": "maybe" }, "truth value"],
    ["fluentd", { "fluentd-retry-wait": "-1" }, "invalid duration"],
    ["json-file", { mode: "x" }, "logging mode not supported: x"],
    ["json-file", { "max-buffer-size": "1m" }, "only supported with 'mode=non-blocking'"],
    ["local", { mode: "non-blocking", "max-buffer-size": "x" }, "error parsing option"],
  ];
  for (const [driver, options, why] of cases) {
    expect(() => checkOptions(driver, options)).toThrow(why);
  }
  checkOptions("journald", { tag: "x", mode: "non-blocking", "max-buffer-size": "2m" });
});

test("parseAddress() takes Docker's forms", () => {
  expect(parseAddress("syslog", {})).toBeUndefined();
  const tls = parseAddress("syslog", { "syslog-address": "tcp+tls://[::1]:6514" });
  expect(tls).toEqual({ kind: "tls", host: "::1", port: 6514 });
  const port = parseAddress("syslog", { "syslog-address": "udp://h" });
  expect(port).toEqual({ kind: "udp", host: "h", port: 514 });
  const bare = parseAddress("fluentd", { "fluentd-address": "h:1" });
  expect(bare).toEqual({ kind: "tcp", host: "h", port: 1 });
  expect(parseBytes("1.5k")).toBe(1536);
  expect(parseBytes("k")).toBeUndefined();
});

test("tagOf() and attributesOf() read the container", () => {
  expect(tagOf(subject, {})).toBe("0123456789ab");
  expect(tagOf(subject, { tag: "{{.ImageName}}/{{.Name}}/{{.ImageID}}" })).toBe(
    "busybox/web/aaaaaaaaaaaa",
  );
  expect(() => tagOf(subject, { tag: "{{.Nosuch}}" })).toThrow("invalid log opt tag");
  expect(attributesOf(subject, { labels: "tier,absent", env: "FOO" })).toEqual({
    tier: "front",
    FOO: "1",
  });
  expect(attributesOf(subject, { "labels-regex": "^com", "env-regex": "^B" })).toEqual({
    "com.example": "x",
    BAR: "2",
  });
  expect(() => attributesOf(subject, { "env-regex": "(" })).toThrow("env-regex");
  expect(fieldName("__com.example-1")).toBe("COM_EXAMPLE_1");
});

test("formatOf() writes each format of syslog", () => {
  const line: Line = { stream: 2, timeNs: 1_700_000_000_123_456_789n, bytes: Buffer.from("hi") };
  const how = { tag: "t", facility: facilityOf({ "syslog-facility": "local1" }), host: "h" };
  const write = (format: string) => formatOf({ "syslog-format": format }, how)(line).toString();
  const pid = process.pid;
  expect(write("")).toMatch(new RegExp(`^<139>Nov 1[45] \\d\\d:\\d\\d:20 t\\[${pid}\\]: hi\\n$`));
  expect(write("rfc3164")).toContain(` h t[${pid}]: hi\n`);
  expect(write("rfc5424")).toBe(`<139>1 2023-11-14T22:13:20Z h t ${pid} t - hi\n`);
  expect(write("rfc5424micro")).toContain("22:13:20.123456Z");
  expect(() => facilityOf({ "syslog-facility": "nosuch" })).toThrow("invalid syslog facility");
});

test("chunked() cuts a long GELF message into datagrams", () => {
  const [head, second] = chunked(Buffer.alloc(2_000, 1));
  expect([...head!.subarray(0, 2), head![10], head![11]]).toEqual([0x1e, 0x0f, 0, 2]);
  expect(head!.length + second!.length).toBe(2_000 + 24);
  expect(() => chunked(Buffer.alloc(1 << 20))).toThrow("too long");
});

test("openJournal() writes the journal's own protocol, and says when there is none", async () => {
  const folder = mkdtempSync(`${tmpdir()}/lading-journal-`);
  const path = `${folder}/socket`;
  await expect(openJournal(subject, {}, path)).rejects.toThrow("journald is not enabled");
  const socket = bindDatagrams(path);
  try {
    const journal = await openJournal(subject, { tag: "t", labels: "tier" }, path);
    await journal.send([{ stream: 2, timeNs: 1n, bytes: Buffer.from("a\rb") }]);
    const bytes = Buffer.allocUnsafeSlow(4096);
    const entry = bytes.toString("utf8", 0, readAvailable(socket, bytes) as number).split("\n");
    expect(entry).toContain("MESSAGE=a\rb");
    expect(entry).toContain("PRIORITY=3");
    expect(entry).toContain("CONTAINER_NAME=web");
    expect(entry).toContain("SYSLOG_IDENTIFIER=t");
    expect(entry).toContain("TIER=front");
    journal.close();
  } finally {
    closeSync(socket);
    rmSync(folder, { recursive: true });
  }
});

test("Queue drops what has no room while nobody takes", async () => {
  let go = () => {};
  const all = new Promise<void>((resolve) => {
    go = resolve;
  });
  async function* source() {
    for (let at = 0; at < 10; at++) yield { at, sizeBytes: 10 };
    go();
  }
  const queue = new Queue<{ at: number; sizeBytes: number }>(25);
  const items = queue.fill(source());
  const first = await items.next();
  await all;
  const rest = [first.value?.at];
  for await (const { at } of items) rest.push(at);
  expect(rest.length + queue.dropped).toBe(10);
  expect(queue.dropped).toBeGreaterThan(0);
  expect(rest[0]).toBe(0);
});

/** A server that drops its first connection after the first bytes. */
async function flakyServer(onBytes: (bytes: Buffer, count: number) => void) {
  let count = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const number = ++count;
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      onBytes(Buffer.from(bytes), number);
      if (number === 1) socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { port: (server.address() as { port: number }).port, close };
}

test("forward() connects again when the server goes, and another goes on where it ended", async () => {
  const folder = mkdtempSync(`${tmpdir()}/lading-forward-`);
  let received = "";
  const server = await flakyServer((bytes) => {
    received += bytes.toString();
  });
  const options = {
    "syslog-address": `tcp://127.0.0.1:${server.port}`,
    "syslog-format": "rfc5424",
    "fluentd-retry-wait": "1ms",
  };
  const places: unknown[] = [];
  const chunks: SourceChunk[] = ["one\ntw", "o\n", "three\n"].map((bytes, at) => ({
    stream: 1,
    timeNs: 1n,
    bytes: Buffer.from(bytes),
    next: at + 1,
  }));
  async function* read(place: unknown) {
    places.push(place);
    for (const chunk of chunks.slice(Number(place ?? 0), places.length === 1 ? 2 : 3)) {
      yield chunk;
      await Bun.sleep(5); // the server's end of the connection takes a moment to be seen
    }
  }
  const source = { driver: "syslog", options, subject, file: `${folder}/forwarded`, read };
  try {
    for (let run = 0; run < 2; run++) {
      const forwarding = await forward(source, { isResumed: false });
      forwarding.begin();
      await forwarding.done;
    }
    while (!received.includes("three")) await Bun.sleep(5);
    expect(places).toEqual([undefined, 2]);
    for (const line of ["one", "two", "three"]) expect(received).toContain(` - ${line}\n`);
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
});

test("forward() refuses to begin when nobody listens, unless it is to connect later", async () => {
  const options = { "fluentd-address": "127.0.0.1:1" };
  async function* read() {}
  const source = { driver: "fluentd", subject, file: "/nosuch/file", read };
  await expect(forward({ ...source, options }, { isResumed: false })).rejects.toThrow(
    "connection refused",
  );
  const later = { ...options, "fluentd-async": "true" };
  const forwarding = await forward({ ...source, options: later }, { isResumed: false });
  forwarding.stop();
  await forwarding.done;
});

test("encodeEntry() writes a LogEntry of protocol buffers behind its length", () => {
  const line = { stream: 2, timeNs: 300n, bytes: Buffer.from("hi") } as const;
  expect(Buffer.from(encodeEntry(line)).toString("hex")).toBe(
    "0000000f" + "0a06737464657272" + "10ac02" + "1a026869",
  );
  const part = { id: "a", ordinal: 1, isLast: false };
  expect(Buffer.from(encodeEntry({ ...line, part })).toString("hex")).toBe(
    "0000001a" +
      "0a06737464657272" +
      "10ac02" +
      "1a026869" +
      "2001" +
      "2a07" +
      "0800" +
      "120161" +
      "1801",
  );
});
