import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeNamespace, openNamespace, runAny, withinNamespace } from "../sys/mod.ts";
import {
  encodeAnswer,
  encodeQuery,
  encodeRefusal,
  readQuestion,
  recordType,
  responseCode,
} from "./dns-message.ts";
import {
  inside,
  type Laboratory,
  leftovers,
  networkSpec,
  openLaboratory,
  outsideAddress,
  sandboxSpec,
} from "./laboratory.ts";
import type { NetworkStore, Sandbox } from "./types.ts";

/** Asks 127.0.0.11 in the sandbox; the response code and the records' last bytes. */
async function ask(sandbox: Sandbox, name: string, type: number = recordType.a) {
  const namespace = openNamespace(sandbox.netnsPath);
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const opening = withinNamespace(namespace, () => ({
    socket: Bun.udpSocket({
      connect: { hostname: "127.0.0.11", port: 53 },
      socket: { data: (_socket, data) => resolve(Buffer.from(data)) },
    }),
  }));
  const socket = await opening.socket;
  socket.send(encodeQuery(4711, name, type));
  const timer = setTimeout(() => resolve(Buffer.alloc(12)), 5_000);
  const reply = await promise;
  clearTimeout(timer);
  socket.close();
  closeNamespace(namespace);
  expect(reply.readUInt16BE(0)).toBe(4711);
  return { code: reply[3]! & 15, count: reply.readUInt16BE(6), last: [...reply.subarray(-4)] };
}

/** What the C library makes of a name in the sandbox, with the sandbox's own files. */
async function getent(sandbox: Sandbox, name: string): Promise<string> {
  const { resolvConfPath: resolv, hostsPath: hosts, netnsPath } = sandbox;
  const script =
    'mount --bind "$0" /etc/resolv.conf && mount --bind "$1" /etc/hosts && getent hosts "$2"';
  const shell = ["unshare", "--mount", "sh", "-c", script, resolv, hosts, name];
  const { stdout } = await runAny(["nsenter", `--net=${netnsPath}`, ...shell], {
    timeoutMs: 20_000,
  });
  return new TextDecoder().decode(stdout).trim().replaceAll(/\s+/g, " ");
}

describe.skipIf(process.getuid?.() !== 0)("names at 127.0.0.11", () => {
  let laboratory: Laboratory;
  let store: NetworkStore;
  let web: Sandbox;
  let client: Sandbox;
  const closing: { close(): void }[] = [];
  /** What the server outside was asked for. */
  const asked: string[] = [];

  beforeAll(async () => {
    laboratory = await openLaboratory();
    store = await laboratory.open();
    await store.create(networkSpec("back"));
    await store.create(networkSpec("front", { enableIPv6: true }));
    web = await store.open(
      sandboxSpec({
        containerName: "Web",
        endpoints: [{ network: "back", aliases: ["www"] }, { network: "front" }],
      }),
    );
    const endpoints = [{ network: "back" }];
    client = await store.open(
      sandboxSpec({ containerName: "client", endpoints, dns: [outsideAddress] }),
    );
    const data = (own: Bun.udp.Socket<"buffer">, query: Buffer, port: number, from: string) => {
      const question = readQuestion(query)!;
      asked.push(question.name);
      const isKnown = ["far.example", "kept.example"].includes(question.name);
      const reply = isKnown
        ? encodeAnswer(query, question, [Buffer.of(203, 0, 113, 9)])
        : encodeRefusal(query, responseCode.name);
      own.send(reply, port, from);
    };
    const server = withinNamespace(laboratory.outside, () => ({
      socket: Bun.udpSocket({ hostname: outsideAddress, port: 53, socket: { data } }),
    }));
    closing.push(await server.socket);
  });

  afterAll(async () => {
    for (const one of closing) one.close();
    for (const { containerId } of [web, client]) await store.close(containerId);
    await store.shutdown();
    const left = await leftovers();
    await laboratory[Symbol.asyncDispose]();
    expect(left).toBe("");
  });

  const address = () => web.endpoints[0]!.address;

  test("a container answers to its name, its aliases, its short ID and name.network", async () => {
    const last = address().split(".").map(Number);
    for (const name of ["web", "WEB", "www", web.containerId.slice(0, 12), "web.back"]) {
      expect(await ask(client, name)).toEqual({ code: 0, count: 1, last });
    }
  });

  test("a name without an address of the kind asked for exists, without a record", async () => {
    expect(await ask(client, "web", recordType.aaaa)).toMatchObject({ code: 0, count: 0 });
    expect(await ask(web, "web", recordType.aaaa)).toMatchObject({ code: 0, count: 1 });
  });

  test("names of networks that are not shared go to the server outside", async () => {
    expect(await ask(client, "web.front")).toMatchObject({ code: responseCode.name });
    expect(await ask(client, "far.example")).toMatchObject({ count: 1, last: [203, 0, 113, 9] });
  });

  test("an answer from outside is kept, so that the next one does not wait for it", async () => {
    asked.length = 0;
    for (let at = 0; at < 5; at++) {
      expect(await ask(client, "kept.example")).toMatchObject({ count: 1, last: [203, 0, 113, 9] });
    }
    expect(asked.filter((name) => name === "kept.example")).toEqual(["kept.example"]);
  });

  test("addresses of our networks that nobody has stay with us", async () => {
    asked.length = 0;
    const name = `${address().split(".").toSpliced(3, 1, "250").reverse().join(".")}.in-addr.arpa`;
    expect(await ask(client, name, recordType.ptr)).toMatchObject({ code: responseCode.name });
    expect(asked).toEqual([]);
  });

  test("a container without a way out hears that there is no other name", async () => {
    await store.create(networkSpec("shut", { internal: true }));
    const shut = await store.open(
      sandboxSpec({ endpoints: [{ network: "shut" }], dns: [outsideAddress] }),
    );
    expect(await ask(shut, "far.example")).toMatchObject({ code: responseCode.name });
    await store.close(shut.containerId);
  });

  test("more addresses than a datagram holds come over TCP, to any client", async () => {
    const many = await Promise.all(
      Array.from({ length: 40 }, () =>
        store.open(sandboxSpec({ endpoints: [{ network: "back", aliases: ["crowd"] }] })),
      ),
    );
    const { resolvConfPath: resolv, netnsPath } = client;
    const script = 'mount --bind "$0" /etc/resolv.conf && getent ahostsv4 crowd | grep -c STREAM';
    const shell = ["unshare", "--mount", "sh", "-c", script, resolv];
    const { stdout } = await runAny(["nsenter", `--net=${netnsPath}`, ...shell], {
      timeoutMs: 20_000,
    });
    expect(new TextDecoder().decode(stdout).trim()).toBe("40");
    for (const { containerId } of many) await store.close(containerId);
  });

  test("the C library finds names and addresses through it", async () => {
    expect(await getent(client, "web")).toBe(`${address()} web`);
    expect(await getent(client, address())).toBe(`${address()} Web.back`);
    expect(await getent(client, "far.example")).toBe("203.0.113.9 far.example");
    expect(await getent(client, "nowhere.example")).toBe("");
  });

  test("the server answers over TCP", async () => {
    const query = encodeQuery(7, "web", recordType.a);
    const hex = Buffer.concat([Buffer.of(0, query.length), query]).toString("hex");
    const script = `exec 3<>/dev/tcp/127.0.0.11/53; printf '${hex.replaceAll(/../g, "\\x$&")}' >&3; timeout 2 head -c ${query.length + 18} <&3 | od -An -tu1 -v`;
    const { stdout } = await runAny(
      ["nsenter", `--net=${client.netnsPath}`, "bash", "-c", script],
      { timeoutMs: 10_000 },
    );
    const bytes = new TextDecoder().decode(stdout).trim().split(/\s+/).map(Number);
    expect(bytes.slice(-4)).toEqual(address().split(".").map(Number));
  });

  test("a container may serve names itself on port 53 of all addresses", async () => {
    laboratory.spawn(["nsenter", `--net=${web.netnsPath}`, "busybox", "nc", "-l", "-p", "53"]);
    await Bun.sleep(50);
    expect(await inside(web.netnsPath, ["netstat", "-lnt"])).toMatch(/(0\.0\.0\.0|::):53 /);
  });

  test("rename() changes the name that a container answers to", async () => {
    store.rename(web.containerId, "webber");
    expect(await ask(client, "webber")).toMatchObject({ code: 0, count: 1 });
    expect(await ask(client, "web")).toMatchObject({ code: responseCode.name });
    store.rename(web.containerId, "Web");
  });

  test("connect() to a network with names brings the server with it", async () => {
    const late = await store.open(sandboxSpec({ containerName: "late" }));
    await store.connect(late.containerId, { network: "back" });
    expect(await ask(late, "web")).toMatchObject({ code: 0, count: 1 });
    expect(await ask(client, "late")).toMatchObject({ code: 0, count: 1 });
    expect(await getent(late, "web")).toContain(address());
    await store.close(late.containerId);
    expect(await ask(client, "late")).toMatchObject({ code: responseCode.name });
  });
});
