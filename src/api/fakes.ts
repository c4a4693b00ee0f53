/** Small stores for the tests of this folder: they keep what they are told, and touch nothing. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { Failure } from "../base/mod.ts";
import type { Builder } from "../build/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import type {
  Attachment,
  Container,
  ContainerState,
  CreateRequest,
  Engine,
  EngineEvent,
} from "../engine/mod.ts";
import type { Image, ImageStore } from "../image/mod.ts";
import type { Endpoint, Network, NetworkStore, Sandbox } from "../network/mod.ts";
import type { Digest } from "../oci/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import type { Volume, VolumeStore } from "../volume/mod.ts";
import { type Client, connect } from "./client.ts";
import type { Context } from "./context.ts";
import { Fields } from "./fields.ts";
import { parseCreate } from "./parse-container.ts";
import { serveApi } from "./server.ts";

export const imageId = `sha256:${"ab".repeat(32)}` as Digest;
const layerId = `sha256:${"cd".repeat(32)}` as Digest;

/** A store whose missing functions fail by name. */
function partial<T extends object>(what: string, parts: Partial<T>): T {
  return new Proxy(parts as T, {
    get: (target, name, receiver) => {
      if (Reflect.has(target, name)) return Reflect.get(target, name, receiver);
      return () => {
        throw new Failure("unsupported", `The fake ${what} has no ${String(name)}`);
      };
    },
  });
}

export const image: Image = {
  id: imageId,
  config: {
    architecture: "amd64",
    os: "linux",
    created: "2024-05-18T13:01:02.123456789Z",
    config: { Cmd: ["sh"], Env: ["PATH=/bin"], Labels: { made: "here" } },
    rootfs: { type: "layers", diff_ids: [layerId] },
    history: [{ created: "2024-05-18T13:01:02Z", created_by: "ADD rootfs", comment: "imported" }],
  },
  tags: ["busybox:latest"],
  repoDigests: [],
  sizeBytes: 4_000_000,
  lastTaggedMs: 1_716_000_000_000,
};

export const network: Network = {
  id: "12".repeat(32),
  name: "bridge",
  created: "2024-05-18T13:01:02.123456789Z",
  predefined: true,
  driver: "bridge",
  internal: false,
  attachable: false,
  enableIPv4: true,
  enableIPv6: false,
  subnets: [{ subnet: "172.17.0.0/16", gateway: "172.17.0.1" }],
  options: {},
  labels: {},
};

const endpoint: Endpoint = {
  network: "bridge",
  networkId: network.id,
  networkName: "bridge",
  endpointId: "34".repeat(32),
  interfaceName: "eth0",
  address: "172.17.0.2",
  prefix: 16,
  gateway: "172.17.0.1",
  address6: "",
  prefix6: 0,
  gateway6: "",
  mac: "02:42:ac:11:00:02",
  dnsNames: [],
};

export function containerFrom(id: string, request: CreateRequest, state = running): Container {
  return {
    id,
    name: request.name ?? "made_up",
    created: "2024-05-18T13:01:02.123456789Z",
    imageId,
    imageName: request.config.Image,
    path: request.config.Cmd?.[0] ?? "sh",
    args: request.config.Cmd?.slice(1) ?? [],
    config: request.config,
    hostConfig: request.hostConfig,
    endpoints: request.endpoints,
    mounts: [],
    state,
    restartCount: 0,
    manuallyStopped: false,
    execIds: [],
    logDirectory: "/var/lib/lading/logs",
  };
}

export const running: ContainerState = {
  status: "running",
  pid: 4242,
  exitCode: 0,
  error: "",
  oomKilled: false,
  startedAt: "2024-05-18T13:01:03.123456789Z",
  finishedAt: "0001-01-01T00:00:00Z",
};

/** A container's process that echoes stdin to stdout, and tells how much it got on stderr. */
async function echo(attachment: Attachment): Promise<void> {
  let size = 0;
  for await (const bytes of attachment.input ?? []) {
    size += (bytes as Buffer).length;
    await attachment.output({ stream: 1, timeNs: 0n, bytes: bytes as Buffer });
  }
  const bytes = Buffer.from(`got ${size}\n`);
  await attachment.output({ stream: 2, timeNs: 0n, bytes });
}

export function fakeEngine(containers: Container[]): Engine & { emitted: EngineEvent[] } {
  const emitted: EngineEvent[] = [];
  const resolve = (name: string): Container => {
    const bare = name.replace(/^\//, "");
    const found = containers.find((each) => each.id.startsWith(bare) || each.name === bare);
    if (!found) throw new Failure("not_found", `No such container: ${name}`);
    return found;
  };
  const sandbox: Sandbox = {
    containerId: "",
    netnsPath: "/run/lading/netns/x",
    endpoints: [endpoint],
    ports: [{ containerPort: 80, protocol: "tcp", hostIp: "0.0.0.0", hostPort: 8080 }],
    hostsPath: "/h",
    hostnamePath: "/n",
    resolvConfPath: "/r",
  };
  let listed: readonly Container[] = [];
  const engine = partial<Engine>("engine", {
    list: () => {
      const isSame = listed.length === containers.length;
      if (!isSame || listed.some((each, at) => each !== containers[at])) listed = [...containers];
      return listed;
    },
    resolve,
    sandbox: (id) => (resolve(id).state.status === "running" ? sandbox : undefined),
    endpoints: () => [endpoint],
    create: async (request) => {
      const id = String(containers.length + 1).padStart(64, "0");
      containers.push(containerFrom(id, request));
      return { id, warnings: [] };
    },
    start: async () => {
      throw new Failure("not_modified", "it runs");
    },
    wait: (_id, _condition, signal) =>
      new Promise((done, reject) => {
        const timer = setTimeout(() => done({ exitCode: 7 }), 50);
        signal.addEventListener("abort", () => {
          clearTimeout(timer);
          reject(new Failure("unavailable", "aborted"));
        });
      }),
    lastExit: () => undefined,
    attach: (_id, _request, attachment) => echo(attachment),
    logs: async function* (_id, { follow, signal }) {
      yield { stream: 1, timeNs: 1_716_037_262_000_000_001n, bytes: Buffer.from("one\ntw") };
      yield { stream: 1, timeNs: 1_716_037_263_000_000_002n, bytes: Buffer.from("o\n") };
      yield { stream: 2, timeNs: 1_716_037_264_000_000_003n, bytes: Buffer.from("err\n") };
      if (!follow || signal?.aborted) return;
      await new Promise((done) => signal?.addEventListener("abort", done));
    },
    size: async () => 1234,
    removeImage: async () => [{ untagged: "busybox:latest" }, { deleted: imageId }],
    imageUsers: () => [],
    emit: (event) => void emitted.push({ ...event, timeNs: 5n }),
    events: async function* () {
      yield* emitted;
    },
  });
  return Object.assign(engine, { emitted });
}

export function fakeImages(): ImageStore {
  const images = [image];
  const find = (name: string) =>
    images.find((each) => each.id === name || each.tags.some((tag) => tag.split(":")[0] === name));
  return partial<ImageStore>("image store", {
    list: () => images,
    find,
    resolve: (name) => {
      const found = find(name);
      if (!found) throw new Failure("not_found", `No such image: ${name}`, { hint: "Load it" });
      return found;
    },
    history: () => [
      { id: imageId, entry: image.config.history![0]!, sizeBytes: 4_000_000, tags: image.tags },
    ],
    tag: () => {},
    onEvent: () => {},
    save: async function* () {
      yield Buffer.from("a tar");
    },
    load: async (path, { report }) => {
      const size = (await Bun.file(path).arrayBuffer()).byteLength;
      if (size === 0) throw new Failure("corrupt", "Cannot load the archive: it is empty");
      report({ status: "Loading layer", id: "cdcdcdcdcdcd", progress: { current: size } });
      if (size === 13) throw new Failure("corrupt", "Cannot load the archive: unlucky");
      return [{ image, tags: image.tags }];
    },
  });
}

export function fakeContext(directory: string, containers: Container[]) {
  const volume: Volume = {
    name: "data",
    driver: "local",
    createdAt: "2024-05-18T13:01:02Z",
    mountpoint: "/v/data",
    scope: "local",
    labels: {},
    options: {},
    anonymous: false,
  };
  const networks = [network];
  return {
    engine: fakeEngine(containers),
    images: fakeImages(),
    builder: partial<Builder>("builder", { cache: () => [] }),
    networks: partial<NetworkStore>("network store", {
      list: () => networks,
      resolve: (name) => {
        const found = networks.find((each) => each.name === name || each.id === name);
        if (!found) throw new Failure("not_found", `network ${name} not found`);
        return found;
      },
      endpointsOf: () => new Map([["0".repeat(64), { name: "web", endpoint }]]),
      create: async (spec) => ({ ...network, ...spec, predefined: false }),
    }),
    volumes: partial<VolumeStore>("volume store", {
      list: () => [volume],
      get: () => volume,
      inspect: async () => volume,
      refresh: async () => [],
      create: async () => ({ ...volume, name: "fresh" }),
      usersOf: () => [],
      usage: async () => 99,
    }),
    content: partial<ContentStore>("content store", {}),
    snapshots: partial<SnapshotStore>("snapshot store", {
      folders: () => undefined,
      layerFolder: () => undefined,
      layers: () => [{ diffId: layerId, sizeBytes: 4_000_000, origin: "archive" }],
      layer: () => ({ diffId: layerId, sizeBytes: 4_000_000, origin: "archive" }),
    }),
    info: { version: "0.1.0", dataRoot: "/var/lib/lading" },
    directory,
  } satisfies Context;
}

/** The request that a body like this becomes. */
export function requestFrom(body: unknown, name = ""): CreateRequest {
  return parseCreate(new Fields(body, ""), { name, platform: "", minor: 51 });
}

/** A server on a socket of its own, with a client; all of it goes at the end of the test. */
export async function serveFakes(containers: Container[] = []) {
  const folder = await mkdtemp(`${tmpdir()}/lading-api-`);
  const socketPath = `${folder}/api.sock`;
  const context = fakeContext(`${folder}/spool`, containers);
  const server = await serveApi({ ...context, listen: [{ unixPath: socketPath }] });
  const client: Client = connect({ host: `unix://${socketPath}` });
  return {
    client,
    context,
    server,
    socketPath,
    [Symbol.asyncDispose]: async () => {
      client.close();
      await server.close(0);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
