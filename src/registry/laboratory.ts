import { Database } from "bun:sqlite";
import { test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { type BlobStore, openContentStore, openS3Store } from "../content/mod.ts";
import { openS3Laboratory } from "../content/s3-laboratory.ts";
import { blobPath, type Digest, digestOf, mediaTypes } from "../oci/mod.ts";
import { openAccess } from "./access.ts";
import type { RegistryEvent } from "./server-call.ts";
import { serveRegistry } from "./server-open.ts";
import { defaultPolicy } from "./server-policy.ts";
import type { ServerParts } from "./server-protocol.ts";
import { openRegistryStore, type StoreBounds } from "./store-open.ts";

/** A registry for tests: of its own folder, on a port of its own, ended by `await using`. */
export async function openLaboratory({
  bounds = {},
  parts = {},
  directory = mkdtempSync("/tmp/lading-registry-"),
  storage,
}: {
  bounds?: Partial<StoreBounds>;
  parts?: Partial<ServerParts>;
  directory?: string;
  storage?: Bucket;
} = {}) {
  mkdirSync(directory, { recursive: true });
  const database = new Database(`${directory}/lading.db`, { create: true });
  database.run("PRAGMA journal_mode = WAL");
  const content: BlobStore = storage
    ? await openS3Store(storage.storage)
    : await openContentStore({ directory: `${directory}/content` });
  const store = await openRegistryStore({
    database,
    content,
    directory: `${directory}/registry`,
    bounds,
  });
  const events: RegistryEvent[] = [];
  const tell = (event: RegistryEvent) => void events.push(event);
  const all = { store, access: openAccess, policy: defaultPolicy, tell, ...parts };
  const server = serveRegistry(all, { host: "127.0.0.1", port: 0 });
  const call = (method: string, path: string, init: RequestInit = {}) =>
    fetch(path.startsWith("http") ? path : `${server.address}${path}`, { method, ...init });
  const stop = async () => {
    await server.close({ timeoutMs: 1_000 });
    database.close();
  };
  return {
    ...{ store, server, events, call, directory, stop },
    ...behind(directory, storage),
    push: pushing(call),
    async [Symbol.asyncDispose]() {
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

type Bucket = Awaited<ReturnType<typeof openS3Laboratory>>;

/** What a test does to stored bytes behind the registry's back. */
function behind(directory: string, storage: Bucket | undefined) {
  const stored = (digest: Digest) => storage?.objects.get(blobPath(digest));
  const pathOf = (digest: Digest) =>
    storage ? (stored(digest)?.path ?? "/absent") : `${directory}/content/${blobPath(digest)}`;
  return {
    damage(digest: Digest, text: string): void {
      writeFileSync(pathOf(digest), text);
      storage?.objects.set(blobPath(digest), { ...stored(digest)!, sizeBytes: text.length });
    },
    makeOlder(digest: Digest, ms: number): void {
      const at = new Date(Date.now() - ms);
      const object = stored(digest);
      if (object) storage?.objects.set(blobPath(digest), { ...object, modified: at });
      else if (existsSync(pathOf(digest))) utimesSync(pathOf(digest), at, at);
    },
  };
}

/** A test for each place where a registry may keep its blobs. */
export function onEachStorage(
  name: string,
  task: (open: typeof openLaboratory) => Promise<void>,
): void {
  test(`${name} (disk)`, () => task(openLaboratory));
  test(`${name} (S3)`, async () => {
    await using storage = openS3Laboratory();
    await task((options) => openLaboratory({ ...options, storage }));
  });
}

export type Laboratory = Awaited<ReturnType<typeof openLaboratory>>;

type Calling = (method: string, path: string, init?: RequestInit) => Promise<Response>;

function pushing(call: Calling) {
  const blob = async (name: string, text: string | Uint8Array): Promise<Digest> => {
    const digest = digestOf(text);
    const path = `/v2/${name}/blobs/uploads/?digest=${digest}`;
    const { status } = await call("POST", path, { body: text as string });
    if (status !== 201) throw new Error(`pushing a blob: ${status}`);
    return digest;
  };
  const manifest = async (name: string, reference: string, value: object) => {
    const body = JSON.stringify(value);
    const type = (value as { mediaType?: string }).mediaType ?? mediaTypes.ociManifest;
    const path = `/v2/${name}/manifests/${reference || digestOf(body)}`;
    const answer = await call("PUT", path, { body, headers: { "Content-Type": type } });
    return { answer, digest: digestOf(body), size: Buffer.byteLength(body), mediaType: type };
  };
  /** An image of a config and of one layer for each text. */
  const image = async (name: string, reference: string, ...layers: string[]) => {
    const config = `{"made":${JSON.stringify(layers)}}`;
    for (const text of [config, ...layers]) await blob(name, text);
    const pushed = await manifest(name, reference, imageOf(config, layers));
    if (pushed.answer.status !== 201) throw new Error(`pushing an image: ${pushed.answer.status}`);
    return pushed;
  };
  return { blob, manifest, image };
}

/** A manifest of these parts. */
export function imageOf(config: string, layers: readonly string[], more: object = {}) {
  const part = (mediaType: string, text: string) => ({
    mediaType,
    digest: digestOf(text),
    size: Buffer.byteLength(text),
  });
  return {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: part(mediaTypes.ociConfig, config),
    layers: layers.map((text) => part(mediaTypes.ociLayer, text)),
    ...more,
  };
}

/** The code of an answer that refuses. */
export async function codeOf(answer: Response): Promise<string> {
  const { errors } = (await answer.json()) as { errors: { code: string }[] };
  return `${answer.status} ${errors[0]?.code}`;
}
