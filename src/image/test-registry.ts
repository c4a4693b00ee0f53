/** For tests of pull and push: a registry in memory, which misbehaves on request. */
import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { openContentStore } from "../content/mod.ts";
import type { RegistrySettings } from "../registry/mod.ts";
import { openSnapshotStore } from "../snapshot/mod.ts";
import { openImages } from "./mod.ts";
import type { Blob } from "./test-stores.ts";

export class MemoryRegistry implements Disposable {
  readonly manifests = new Map<string, Blob>();
  readonly blobs = new Map<string, Uint8Array>();
  /** Methods and paths, in order. */
  readonly seen: string[] = [];
  /** Answers in the registry's place. */
  intercept: (request: Request, path: string) => Response | undefined = () => undefined;
  readonly #uploads = new Map<string, Uint8Array>();
  readonly #server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => this.#answer(request),
  });

  get address(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  /** Puts an image, its manifest first, under a tag. */
  put(tag: string, [manifest, ...blobs]: readonly Blob[]): void {
    if (!manifest) throw new Error("an image has a manifest");
    this.manifests.set(tag, manifest);
    this.manifests.set(manifest.descriptor.digest, manifest);
    for (const { bytes, descriptor } of blobs) this.blobs.set(descriptor.digest, bytes);
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const path = url.pathname;
    this.seen.push(`${request.method} ${path}`);
    const given = this.intercept(request, path);
    if (given) return given;
    if (path === "/v2/") return new Response("{}");
    const [, kind, name = ""] = /\/(manifests|blobs\/uploads|blobs)\/(.*)$/.exec(path) ?? [];
    if (kind === "manifests") return await this.#manifest(request, name);
    if (kind === "blobs/uploads") return await this.#upload(request, url, name);
    const bytes = this.blobs.get(name);
    if (!bytes) return new Response("", { status: 404 });
    const from = Number(/bytes=(\d+)-/.exec(request.headers.get("range") ?? "")?.[1] ?? 0);
    const range = { "Content-Range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
    return from > 0
      ? new Response(bytes.slice(from), { status: 206, headers: range })
      : new Response(bytes.slice());
  }

  async #manifest(request: Request, reference: string): Promise<Response> {
    if (request.method === "PUT") {
      const bytes = new Uint8Array(await request.arrayBuffer());
      const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
      const mediaType = request.headers.get("content-type") ?? "";
      const blob = { bytes, descriptor: { mediaType, digest, size: bytes.length } } as Blob;
      this.manifests.set(reference, blob).set(digest, blob);
      return new Response("", { status: 201 });
    }
    const found = this.manifests.get(reference);
    if (!found) {
      const error = { code: "MANIFEST_UNKNOWN", message: "manifest unknown" };
      return Response.json({ errors: [error] }, { status: 404 });
    }
    const { mediaType, digest } = found.descriptor;
    const headers = { "Content-Type": mediaType, "Docker-Content-Digest": digest };
    return new Response(found.bytes.slice(), { headers });
  }

  async #upload(request: Request, url: URL, id: string): Promise<Response> {
    const name = id || String(this.#uploads.size + 1);
    const headers = { Location: `${url.pathname.replace(/[^/]*$/, "")}${name}` };
    const bytes = new Uint8Array(await request.arrayBuffer());
    if (request.method !== "PUT") {
      this.#uploads.set(name, bytes);
      return new Response("", { status: 202, headers });
    }
    this.blobs.set(url.searchParams.get("digest") ?? "", this.#uploads.get(name) ?? bytes);
    return new Response("", { status: 201 });
  }

  [Symbol.dispose](): void {
    void this.#server.stop(true);
  }
}

/** An image store with its ways to registries, in a folder that goes when it is disposed. */
export async function openTransfers(registries: RegistrySettings = {}) {
  const directory = mkdtempSync("/tmp/lading-transfer-");
  const database = new Database(":memory:");
  const content = await openContentStore({ directory: `${directory}/content` });
  const snapshots = await openSnapshotStore({ directory: `${directory}/snapshot`, database });
  const opened = { database, content, snapshots, directory: `${directory}/image`, registries };
  const { images, transfers } = await openImages(opened);
  const told: string[] = [];
  const options = {
    credentials: {},
    report: ({ status, id }: { status?: string; id?: string }) => {
      told.push(`${id ? `${id}: ` : ""}${status}`);
    },
    signal: new AbortController().signal,
  };
  return {
    content,
    directory,
    images,
    snapshots,
    transfers,
    told,
    options,
    pull: (name: string) => transfers.pull(name, options),
    push: (name: string) => transfers.push(name, options),
    [Symbol.dispose]() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
