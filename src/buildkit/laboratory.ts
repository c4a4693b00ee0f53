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

/** Blobs by their digests. */
export type Blobs = Map<string, Buffer>;

export interface Offer {
  readonly folders: ReadonlyMap<string, Files>;
  /** The same for all sessions of a folder. */
  readonly sharedKey?: string;
  /** Is told the paths of the files that were asked for. */
  readonly asked?: string[];
  readonly secrets?: ReadonlyMap<string, string>;
  /** What builds may read of and write to. */
  readonly stores?: ReadonlyMap<string, Blobs>;
  /** What an address of `http://buildkit-session/NAME` uploads. */
  readonly uploads?: ReadonlyMap<string, Uint8Array>;
}

type Typed = readonly [type: string, attributes: Readonly<Record<string, string>>];

/** What a build asks for beside its options. */
export interface More {
  readonly outputs?: readonly Typed[];
  readonly cacheTo?: readonly Typed[];
  readonly inputs?: ReadonlyMap<string, Uint8Array>;
  /** Rules as [action, identifier]. */
  readonly policy?: readonly (readonly [action: number, identifier: string])[];
  /** Runs between the build and its end, with the graph that stands for its result. */
  readonly before?: (definition: Uint8Array) => Promise<void>;
}

export interface Outcome {
  readonly id: string;
  readonly log: string;
  readonly answer: string;
  readonly told: ReadonlyMap<string, string>;
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

const controlPath = "/moby.buildkit.v1.Control";

export class Laboratory implements Disposable {
  readonly control: GrpcClient;
  readonly session: string;
  /** What builds sent to the client's files, by the number of the output. */
  readonly files: ReadonlyMap<string, Uint8Array[]>;
  readonly #socket: Socket;

  private constructor(
    socket: Socket,
    control: GrpcClient,
    offered: { session: string; files: ReadonlyMap<string, Uint8Array[]> },
  ) {
    this.#socket = socket;
    this.control = control;
    this.session = offered.session;
    this.files = offered.files;
  }

  received(output = "0"): Buffer {
    return Buffer.concat(this.files.get(output) ?? []);
  }

  static async open(socketPath: string, offer: Offer): Promise<Laboratory> {
    const session = `test-${Math.random().toString(36).slice(2)}`;
    const files = new Map<string, Uint8Array[]>();
    const methods = methodsOf(offer, files);
    const named = [...methods.keys()].map((each) => `X-Docker-Expose-Session-Grpc-Method: ${each}`);
    const headers = [
      `X-Docker-Expose-Session-Uuid: ${session}`,
      `X-Docker-Expose-Session-Sharedkey: ${offer.sharedKey ?? ""}`,
      ...named,
    ];
    const socket = await upgrade(socketPath, "/session", headers);
    serveGrpc(socket, methods);
    const control = new GrpcClient(await upgrade(socketPath, "/grpc"));
    return new Laboratory(socket, control, { session, files });
  }

  /** Builds by the gateway, as buildx does, and gives the image's ID and what was told. */
  async build(
    options: ReadonlyMap<string, string>,
    name: string,
    exporter = "moby",
    more: More = {},
  ): Promise<Outcome> {
    const ref = `ref${Math.random().toString(36).slice(2)}`;
    const { outputs = [[exporter, exporter === "moby" ? { name } : {}]] } = more;
    const [solving, telling] = this.#begin(ref, outputs, more);
    const { inputs = new Map() } = more;
    const request = messages.gatewaySolveRequest;
    const asked = request.encode({ frontend: "dockerfile.v0", options, inputs });
    const outcome = await this.#bridge("Solve", ref, asked).catch((error) => error);
    const failure = outcome instanceof Failure ? outcome : undefined;
    const { result } = messages.gatewaySolveResponse.decode(failure ? new Uint8Array() : outcome);
    const found = messages.gatewayResult.decode(result);
    if (!failure) await more.before?.(messages.gatewayRef.decode(found.ref).definition);
    await this.#end(ref, failure);
    const { exporterResponse: told } = messages.solveResponse.decode(await solving);
    const answer = Buffer.from(found.metadata.get("result.json") ?? []).toString();
    const id = told.get("containerimage.config.digest") ?? "";
    return { id, log: await telling, answer, told };
  }

  /** Looks into a file of a source elsewhere, as clients do for what they are to read before they build. */
  async look(definition: Uint8Array, path: string): Promise<string> {
    const ref = `ref${Math.random().toString(36).slice(2)}`;
    const [solving] = this.#begin(ref, [], {});
    const asked = messages.gatewaySolveRequest.encode({ definition });
    try {
      const { result } = messages.gatewaySolveResponse.decode(
        await this.#bridge("Solve", ref, asked),
      );
      const { id } = messages.gatewayRef.decode(messages.gatewayResult.decode(result).ref);
      const read = messages.readFileRequest.encode({ ref: id, path });
      const { data } = messages.readFileAnswer.decode(await this.#bridge("ReadFile", ref, read));
      return Buffer.from(data).toString();
    } finally {
      await this.#end(ref, undefined);
      await solving;
    }
  }

  #begin(ref: string, outputs: readonly Typed[], { cacheTo = [], policy = [] }: More) {
    const typed = ([type, given]: Typed) =>
      messages.exporter.encode({ type, attributes: new Map(Object.entries(given)) });
    const rules = policy.map(([action, identifier]) => {
      const selector = messages.policySelector.encode({ identifier });
      return messages.policyRule.encode({ action, selector });
    });
    const request = messages.solveRequest.encode({
      ref,
      session: this.session,
      exporters: outputs.map(typed),
      cache: messages.cacheOptions.encode({ exports: cacheTo.map(typed) }),
      sourcePolicy: messages.policy.encode({ rules }),
    });
    const solving = this.control.ask(`${controlPath}/Solve`, request);
    const telling = this.#log(`${controlPath}/Status`, ref);
    // Each is awaited later; until then neither may end the test.
    for (const each of [solving, telling]) each.catch(() => {});
    return [solving, telling] as const;
  }

  async #end(ref: string, failure: Failure | undefined): Promise<void> {
    const error = failure && messages.rpcStatus.encode({ code: 2, message: failure.message });
    await this.#bridge("Return", ref, messages.returnRequest.encode(error ? { error } : {}));
  }

  async #bridge(method: string, ref: string, request: Uint8Array): Promise<Uint8Array> {
    const call = this.control.open(`/moby.buildkit.v1.frontend.LLBBridge/${method}`, {
      "buildkit-controlapi-buildid": ref,
    });
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
      const { vertexes, logs, warnings } = messages.statusResponse.decode(bytes);
      for (const each of warnings) {
        text += `${Buffer.from(messages.vertexWarning.decode(each).short)}\n`;
      }
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

function methodsOf(offer: Offer, files: Map<string, Uint8Array[]>): Methods {
  const { secrets, stores, uploads } = offer;
  const content = "/containerd.services.content.v1.Content";
  const storeOf = ({ metadata }: Call): Blobs => {
    const found = stores?.get(String(metadata["buildkit-attachable-store-id"]));
    if (found) return found;
    throw new Failure("not_found", "no such store");
  };
  return new Map([
    [
      "/moby.filesync.v1.FileSend/DiffCopy",
      async (call: Call) => {
        const parts: Uint8Array[] = [];
        files.set(String(call.metadata["buildkit-attachable-exporter-id"]), parts);
        for await (const bytes of call.messages) {
          parts.push(messages.bytesMessage.decode(bytes).data);
        }
      },
    ],
    ["/moby.filesync.v1.FileSync/DiffCopy", (call: Call) => sendFolder(call, offer)],
    [
      "/moby.buildkit.secrets.v1.Secrets/GetSecret",
      unary((request) => {
        const found = secrets?.get(messages.secretRequest.decode(request).id);
        if (found === undefined) throw new Failure("not_found", "no such secret");
        return messages.secretResponse.encode({ data: Buffer.from(found) });
      }),
    ],
    [
      "/moby.upload.v1.Upload/Pull",
      async (call: Call) => {
        const found = uploads?.get(String(call.metadata["urlpath"]).slice(1));
        if (!found) throw new Failure("not_found", "no such upload");
        await call.write(messages.bytesMessage.encode({ data: found }));
      },
    ],
    [
      `${content}/Read`,
      unary((request, call) => {
        const data = storeOf(call).get(messages.contentRead.decode(request).digest);
        if (!data) throw new Failure("not_found", "no such blob");
        return messages.contentReadAnswer.encode({ data });
      }),
    ],
    [`${content}/Write`, (call: Call) => takeBlob(call, storeOf(call))],
  ]);
}

/** The store's side of a write: each message is answered, the last one ends it. */
async function takeBlob(call: Call, store: Blobs): Promise<void> {
  const parts: Uint8Array[] = [];
  for await (const bytes of call.messages) {
    const { action, data, expected } = messages.contentWrite.decode(bytes);
    if (data.length > 0) parts.push(Buffer.from(data));
    if (action === 2) store.set(expected, Buffer.concat(parts));
    await call.write(messages.contentWrite.encode({ action }));
    if (action === 2) return;
  }
}

/** The sender's side of a transfer: all that is there, then what is asked for. */
async function sendFolder(call: Call, { folders, asked }: Offer): Promise<void> {
  const { packet, packetType, fileStat } = messages;
  const folder = folders.get(String(call.metadata["dir-name"])) ?? new Map();
  const include = call.metadata["include-patterns"];
  const wanted = include === undefined ? undefined : String(include).split(/,\s*/);
  const left = String(call.metadata["exclude-patterns"] ?? "").split(/,\s*/);
  const files = [...folder].filter(
    ([path]) => (wanted?.includes(path) ?? true) && !left.includes(path),
  );
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
    const [path = "", text = ""] = files[id] ?? [];
    asked?.push(path);
    if (text !== "") await tell({ type: packetType.data, id, data: Buffer.from(text) });
    await tell({ type: packetType.data, id });
  }
}
