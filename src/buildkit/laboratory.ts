/** A client of the protocol for tests: it serves files and secrets on a session, and builds as buildx does. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../base/mod.ts";
import { type Call, GrpcClient, type Methods, serveGrpc, unary } from "./grpc.ts";
import * as messages from "./messages.ts";

/** Files by their paths: `a/b.txt`; what ends in `/` is a folder. */
export type Files = ReadonlyMap<string, string>;

export interface Offer {
  readonly folders: ReadonlyMap<string, Files>;
  readonly secrets?: ReadonlyMap<string, string>;
}

/**
 * Asks for another protocol on a connection of the API's, and waits for the 101. What comes right behind it
 * belongs to that protocol, whose code wants a socket of its own: the two are joined.
 */
export async function upgrade(
  socketPath: string,
  path: string,
  headers: readonly string[] = [],
): Promise<Socket> {
  const [ours, theirs] = await socketPair();
  const api = connect(socketPath);
  const lines = [`POST ${path} HTTP/1.1`, "Host: api", "Connection: Upgrade", "Upgrade: h2c"];
  api.write(`${[...lines, ...headers].join("\r\n")}\r\n\r\n`);
  await new Promise<void>((resolve, reject) => {
    api.once("error", reject);
    api.once("data", (bytes: Buffer) => {
      const end = bytes.indexOf("\r\n\r\n") + 4;
      if (!bytes.subarray(0, end).toString().startsWith("HTTP/1.1 101"))
        reject(new Error(`${bytes}`));
      if (end < bytes.length) theirs.write(bytes.subarray(end));
      api.pipe(theirs).pipe(api);
      resolve();
    });
  });
  for (const [one, other] of [
    [api, theirs],
    [theirs, api],
  ] as const) {
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
  }
  return ours;
}

async function socketPair(): Promise<[Socket, Socket]> {
  const path = join(tmpdir(), `lading-pair-${process.pid}-${Math.random()}`);
  const { promise, resolve } = Promise.withResolvers<Socket>();
  const server = createServer(resolve).listen(path);
  await once(server, "listening");
  const one = connect(path);
  const pair: [Socket, Socket] = [one, await promise];
  server.close();
  return pair;
}

export class Laboratory implements Disposable {
  readonly control: GrpcClient;
  readonly session: string;
  /** What builds sent to the client's file. */
  readonly received: Uint8Array[];
  readonly #socket: Socket;

  private constructor(
    socket: Socket,
    control: GrpcClient,
    offered: { session: string; received: Uint8Array[] },
  ) {
    this.#socket = socket;
    this.control = control;
    this.session = offered.session;
    this.received = offered.received;
  }

  static async open(socketPath: string, offer: Offer): Promise<Laboratory> {
    const session = `test-${Math.random().toString(36).slice(2)}`;
    const received: Uint8Array[] = [];
    const methods = methodsOf(offer, received);
    const named = [...methods.keys()].map((each) => `X-Docker-Expose-Session-Grpc-Method: ${each}`);
    const headers = [`X-Docker-Expose-Session-Uuid: ${session}`, ...named];
    const socket = await upgrade(socketPath, "/session", headers);
    serveGrpc(socket, methods);
    const control = new GrpcClient(await upgrade(socketPath, "/grpc"));
    return new Laboratory(socket, control, { session, received });
  }

  /** Builds by the gateway, as buildx does, and gives the image's ID and what was told. */
  async build(
    options: ReadonlyMap<string, string>,
    name: string,
    exporter = "moby",
  ): Promise<{ id: string; log: string; answer: string }> {
    const ref = `ref${Math.random().toString(36).slice(2)}`;
    const control = "/moby.buildkit.v1.Control";
    const bridge = "/moby.buildkit.v1.frontend.LLBBridge";
    const request = messages.solveRequest.encode({
      ref,
      session: this.session,
      exporter,
      exporterAttributes: new Map(exporter === "moby" ? [["name", name]] : []),
    });
    const solving = this.control.ask(`${control}/Solve`, request);
    const telling = this.#log(`${control}/Status`, ref);
    // Each is awaited below; until then neither may end the test.
    for (const each of [solving, telling]) each.catch(() => {});
    const asked = messages.gatewaySolveRequest.encode({ frontend: "dockerfile.v0", options });
    const outcome = await this.#bridge(`${bridge}/Solve`, ref, asked).catch((error) => error);
    const error =
      outcome instanceof Failure
        ? messages.rpcStatus.encode({ code: 2, message: outcome.message })
        : undefined;
    await this.#bridge(
      `${bridge}/Return`,
      ref,
      messages.returnRequest.encode(error ? { error } : {}),
    );
    const { exporterResponse } = messages.solveResponse.decode(await solving);
    const { result } = messages.gatewaySolveResponse.decode(error ? new Uint8Array() : outcome);
    const answer = messages.gatewayResult.decode(result).metadata.get("result.json") ?? [];
    const id = exporterResponse.get("containerimage.config.digest") ?? "";
    return { id, log: await telling, answer: Buffer.from(answer).toString() };
  }

  async #bridge(path: string, ref: string, request: Uint8Array): Promise<Uint8Array> {
    const call = this.control.open(path, { "buildkit-controlapi-buildid": ref });
    await call.write(request);
    call.end();
    let found = new Uint8Array();
    for await (const message of call.messages) found = new Uint8Array(message);
    return found;
  }

  async #log(path: string, ref: string): Promise<string> {
    const call = this.control.open(path);
    await call.write(messages.statusRequest.encode({ ref }));
    call.end();
    let text = "";
    for await (const bytes of call.messages) {
      const { vertexes, logs } = messages.statusResponse.decode(bytes);
      for (const each of vertexes) {
        const { name, cached, completed } = messages.vertex.decode(each);
        if (completed.length > 0) text += `${name}${cached ? " CACHED" : ""}\n`;
      }
      for (const each of logs) text += Buffer.from(messages.vertexLog.decode(each).msg).toString();
    }
    return text;
  }

  [Symbol.dispose](): void {
    this.control.close();
    this.#socket.destroy();
  }
}

function methodsOf({ folders, secrets }: Offer, received: Uint8Array[]): Methods {
  return new Map([
    [
      "/moby.filesync.v1.FileSend/DiffCopy",
      async (call: Call) => {
        for await (const bytes of call.messages)
          received.push(messages.bytesMessage.decode(bytes).data);
      },
    ],
    ["/moby.filesync.v1.FileSync/DiffCopy", (call: Call) => sendFolder(call, folders)],
    [
      "/moby.buildkit.secrets.v1.Secrets/GetSecret",
      unary((request) => {
        const found = secrets?.get(messages.secretRequest.decode(request).id);
        if (found === undefined) throw new Failure("not_found", "no such secret");
        return messages.secretResponse.encode({ data: Buffer.from(found) });
      }),
    ],
  ]);
}

/** The sender's side of a transfer: all that is there, then what is asked for. */
async function sendFolder(call: Call, folders: ReadonlyMap<string, Files>): Promise<void> {
  const { packet, packetType, fileStat } = messages;
  const folder = folders.get(String(call.metadata["dir-name"])) ?? new Map();
  const include = call.metadata["include-patterns"];
  const wanted = include === undefined ? undefined : String(include).split(/,\s*/);
  const files = [...folder].filter(([path]) => wanted?.includes(path) ?? true);
  const tell = (message: Parameters<typeof packet.encode>[0]) => call.write(packet.encode(message));
  for (const [path, text] of files) {
    const isFolder = path.endsWith("/");
    const mode = isFolder ? 2 ** 31 + 0o755 : 0o644;
    const stat = {
      path: path.replace(/\/$/, ""),
      mode,
      size: isFolder ? 0 : Buffer.byteLength(text),
    };
    await tell({ type: packetType.stat, stat: fileStat.encode(stat) });
  }
  await tell({ type: packetType.stat });
  for await (const bytes of call.messages) {
    const { type, id } = packet.decode(bytes);
    if (type === packetType.end) return await tell({ type: packetType.end });
    const text = files[id]?.[1] ?? "";
    if (text !== "") await tell({ type: packetType.data, id, data: Buffer.from(text) });
    await tell({ type: packetType.data, id });
  }
}
