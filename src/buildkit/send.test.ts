import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Call, GrpcClient, serveGrpc } from "./grpc.ts";
import { fileStat, packet, packetType } from "./messages.ts";
import { sendFolder } from "./send.ts";
import type { Session } from "./session.ts";

const method = "/moby.filesync.v1.FileSend/DiffCopy";

/** A folder, and a client that takes it as `take` says. */
async function sending(take: (call: Call) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "lading-send-"));
  const root = join(folder, "root");
  mkdirSync(join(root, "deep"), { recursive: true });
  writeFileSync(join(folder, "secret"), "of the host");
  writeFileSync(join(root, "deep", "file"), "x".repeat(100_000), { mode: 0o640 });
  symlinkSync("../secret", join(root, "link"));
  const server = createServer((socket) => serveGrpc(socket, new Map([[method, take]])));
  await new Promise<void>((resolve) => server.listen(join(folder, "socket"), () => resolve()));
  const socket = await new Promise<Socket>((resolve) => {
    const made = connect(join(folder, "socket"), () => resolve(made));
  });
  const client = new GrpcClient(socket);
  const session: Session = { client, methods: new Set([method]), sharedKey: "" };
  try {
    await sendFolder(session, root, 0);
  } finally {
    client.close();
    server.close();
    rmSync(folder, { recursive: true });
  }
}

async function stats(call: Call): Promise<ReturnType<typeof fileStat.decode>[]> {
  const found = [];
  for (;;) {
    const { value } = await call.messages.next();
    const { stat } = packet.decode(value!);
    if (stat.length === 0) return found;
    found.push(fileStat.decode(stat));
  }
}

test("sendFolder() tells what is there, and sends a file that is asked for", async () => {
  let told: unknown[] = [];
  let bytes = 0;
  await sending(async (call) => {
    const found = await stats(call);
    told = found.map(({ path, mode, size, linkName }) => [path, mode, size, linkName]);
    await call.write(packet.encode({ type: packetType.request, id: 1 }));
    for (;;) {
      const { value } = await call.messages.next();
      const { data } = packet.decode(value!);
      if (data.length === 0) break;
      bytes += data.length;
    }
    await call.write(packet.encode({ type: packetType.end }));
    expect(packet.decode((await call.messages.next()).value!).type).toBe(packetType.end);
  });
  expect(told).toEqual([
    ["deep", 2 ** 31 + 0o755, 0, ""],
    ["deep/file", 0o640, 100_000, ""],
    ["link", 2 ** 27 + 0o777, 0, "../secret"],
  ]);
  expect(bytes).toBe(100_000);
});

test("sendFolder() sends nothing of what a link leads to", async () => {
  const sent = sending(async (call) => {
    await stats(call);
    await call.write(packet.encode({ type: packetType.request, id: 2 }));
    for await (const message of call.messages) {
      expect(packet.decode(message).type).not.toBe(packetType.data);
    }
  });
  await expect(sent).rejects.toThrow(/asked for what there is not/);
});
