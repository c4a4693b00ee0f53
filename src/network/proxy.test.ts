import { afterAll, expect, test } from "bun:test";
import { connect, createServer, type Server } from "node:net";
import { type Listening, listenTcp, listenUdp } from "./proxy.ts";

const closing: { close(): unknown }[] = [];
afterAll(() => {
  for (const one of closing) one.close();
});

const target = (port: number) => ({ hostname: "127.0.0.1", port });
async function serve(handle: Parameters<typeof createServer>[1]): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, handle);
  closing.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}
function proxy(port: number, hostname = "::1"): Listening {
  const listening = listenTcp({ hostname, port: 0, target: target(port) });
  closing.push(listening);
  return listening;
}

/** Sends all, says that it is all, and reads to the end; slowly when asked to. */
function talk(port: number, bytes: Buffer, slowly = false): Promise<Buffer> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const socket = connect({ host: "::1", port, allowHalfOpen: true }, () => socket.end(bytes));
    socket.on("data", (part: Buffer) => {
      parts.push(part);
      if (!slowly) return;
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    });
    socket.on("error", () => resolve(Buffer.from("reset")));
    socket.on("end", () => resolve(Buffer.concat(parts)));
  });
}
const pattern = (size: number) => Buffer.alloc(size, "0123456789abcdef-");

test("listenTcp() carries bytes both ways, and the end of each way by itself", async () => {
  const port = await serve((socket) => {
    let size = 0;
    socket.on("data", (part: Buffer) => {
      size += part.length;
    });
    socket.on("end", () => socket.end(`got ${size}`));
  });
  const answer = await talk(proxy(port).port, pattern(100_000));
  expect(answer.toString()).toBe("got 100000");
});

test("listenTcp() loses nothing where a reader is slower than a writer", async () => {
  const sent = pattern(8_000_000);
  const port = await serve((socket) => socket.end(sent));
  expect((await talk(proxy(port).port, Buffer.alloc(0), true)).equals(sent)).toBe(true);
  const echo = await serve((socket) => socket.pipe(socket));
  expect((await talk(proxy(echo).port, sent, true)).equals(sent)).toBe(true);
});

test("listenTcp() closes the connection where nobody listens behind it", async () => {
  const port = await serve(() => {});
  closing.pop()!.close();
  expect(await talk(proxy(port).port, Buffer.from("x"))).toEqual(Buffer.from("reset"));
});

test("listenTcp() throws when the port is taken, and keeps [::] and 0.0.0.0 apart", () => {
  const door = { hostname: "::", port: 0, target: target(1) };
  const first = listenTcp(door);
  closing.push(first);
  expect(() => listenTcp({ ...door, port: first.port })).toThrow(
    expect.objectContaining({ code: "EADDRINUSE" }),
  );
  const second = listenTcp({ ...door, hostname: "0.0.0.0", port: first.port });
  expect(second.port).toBe(first.port);
  second.close();
});

test("listenUdp() answers each client with what is for it", async () => {
  const server = await Bun.udpSocket({
    hostname: "127.0.0.1",
    socket: { data: (own, data, port, address) => void own.send(`re ${data}`, port, address) },
  });
  closing.push(server);
  const listening = await listenUdp({ hostname: "::1", port: 0, target: target(server.port) });
  closing.push(listening);
  const ask = async (text: string) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const client = await Bun.udpSocket({
      hostname: "::1",
      socket: { data: (_own, data) => resolve(data.toString()) },
    });
    closing.push(client);
    client.send(text, listening.port, "::1");
    return await promise;
  };
  expect(await Promise.all([ask("a"), ask("b"), ask("c")])).toEqual(["re a", "re b", "re c"]);
});
