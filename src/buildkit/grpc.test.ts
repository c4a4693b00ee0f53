import { expect, test } from "bun:test";
import { createServer, connect as dial, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../base/mod.ts";
import { GrpcClient, type Methods, serveGrpc, unary } from "./grpc.ts";

async function pair(methods: Methods): Promise<{ client: GrpcClient; close: () => void }> {
  const path = join(tmpdir(), `grpc-${process.pid}-${Math.random()}`);
  const server = createServer((socket) => serveGrpc(socket, methods));
  await new Promise<void>((resolve) => server.listen(path, () => resolve()));
  const socket = await new Promise<Socket>((resolve) => {
    const made = dial(path, () => resolve(made));
  });
  const client = new GrpcClient(socket);
  const close = () => {
    client.close();
    server.close();
  };
  return { client, close };
}

test("serveGrpc() and GrpcClient carry a question, an answer and metadata", async () => {
  let metadata: unknown;
  const reply = unary((request, call) => {
    metadata = call.metadata["x-words"];
    return Buffer.from(`got ${Buffer.from(request)}`);
  });
  const { client, close } = await pair(new Map([["/a/B", reply]]));
  expect(String(Buffer.from(await client.ask("/a/B", Buffer.from("this"))))).toBe("got this");
  const call = client.open("/a/B", { "x-words": ["one, two", "three"] });
  await call.write(Buffer.from("x"));
  call.end();
  for await (const _ of call.messages);
  expect(String(metadata)).toContain("three");
  close();
});

test("GrpcClient throws the server's reason, and an unknown method is refused", async () => {
  const refuse = unary(() => {
    throw new Failure("not_found", "no sécret: 100%");
  });
  const { client, close } = await pair(new Map([["/a/B", refuse]]));
  const rejected = await client.ask("/a/B", Buffer.from("")).catch((error: Failure) => error);
  expect(rejected).toMatchObject({ code: "internal", message: "no sécret: 100%" });
  const unknown = await client.ask("/a/C", Buffer.from("")).catch((error: Failure) => error);
  expect(unknown).toMatchObject({ code: "unsupported" });
  close();
});

test("GrpcClient and serveGrpc() stream both ways, megabytes and at once", async () => {
  const echo: Methods = new Map([
    [
      "/a/Echo",
      async (call) => {
        for await (const message of call.messages) await call.write(message);
      },
    ],
  ]);
  const { client, close } = await pair(echo);
  const one = async (letter: string) => {
    const call = client.open("/a/Echo");
    const block = Buffer.alloc(100_000, letter);
    const sending = (async () => {
      for (let count = 0; count < 40; count++) await call.write(block);
      call.end();
    })();
    let bytes = 0;
    for await (const message of call.messages) {
      expect(message[0]).toBe(letter.charCodeAt(0));
      bytes += message.length;
    }
    await sending;
    return bytes;
  };
  expect(await Promise.all(["a", "b", "c"].map(one))).toEqual([4_000_000, 4_000_000, 4_000_000]);
  close();
});
