/**
 * Folders of blobs that a client keeps and serves on its session: OCI layouts, and caches in them.
 * The protocol is that of https://github.com/containerd/containerd (api/services/content/v1).
 */
import { readTar, writeTar } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import type { CacheSource } from "../build/mod.ts";
import { type Descriptor, type Digest, digestOf, parseDigest, parseIndex } from "../oci/mod.ts";
import type { OpenCall } from "./grpc.ts";
import { contentRead, contentReadAnswer, contentWrite } from "./messages.ts";
import type { Session } from "./session.ts";

const service = "/containerd.services.content.v1.Content";
const chunkBytes = 1 << 20;
const manifestBytesMax = 4 << 20;
const blobBytesMax = 16 * 2 ** 30;
const blobsMax = 10_000;
const [stat, data, commit] = [0, 1, 2] as const;

export class ClientStore {
  readonly #session: Session;
  readonly #id: string;
  readonly #signal: AbortSignal;

  /** `id` is the client's: `local:FOLDER`, `oci:NAME`, `export`. The build's signal ends what goes on. */
  constructor({ session, signal }: { session: Session; signal: AbortSignal }, id: string) {
    this.#session = session;
    this.#id = id;
    this.#signal = signal;
  }

  #open(method: string): OpenCall {
    const path = `${service}/${method}`;
    if (!this.#session.methods.has(path)) {
      throw new Failure("invalid", `The client has no store "${this.#id.slice(0, 200)}"`);
    }
    const header = /^[ -~]*$/.test(this.#id) ? this.#id : encodeURIComponent(this.#id);
    const call = this.#session.client.open(path, { "buildkit-attachable-store-id": header });
    const stop = () => call.cancel();
    this.#signal.addEventListener("abort", stop);
    if (this.#signal.aborted) stop();
    const cancel = () => {
      this.#signal.removeEventListener("abort", stop);
      stop();
    };
    return { ...call, cancel };
  }

  /** A blob's bytes as they come: to be verified. @throws Failure "not_found" */
  async *read(digest: Digest, bytesMax: number): AsyncGenerator<Uint8Array, void> {
    const call = this.#open("Read");
    try {
      await call.write(contentRead.encode({ digest }));
      call.end();
      let left = bytesMax;
      for await (const message of call.messages) {
        const part = contentReadAnswer.decode(message).data;
        left -= part.length;
        if (left < 0) throw new Failure("exhausted", `The client's ${digest} is too large`);
        yield part;
      }
    } finally {
      call.cancel();
    }
  }

  /** A small blob whole. @throws Failure "not_found" | "exhausted" | "corrupt" */
  async bytes(digest: Digest): Promise<Buffer> {
    const whole = Buffer.concat(await Array.fromAsync(this.read(digest, manifestBytesMax)));
    if (digestOf(whole) === digest) return whole;
    throw new Failure("corrupt", `The client sent other bytes than ${digest}`);
  }

  /** Stores a blob; one that is there already is fine. */
  async write(digest: string, total: number, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const call = this.#open("Write");
    const tell = async (message: Parameters<typeof contentWrite.encode>[0]) => {
      await call.write(contentWrite.encode(message));
      const answer = await call.messages.next();
      if (answer.done) throw new Failure("unavailable", "The client ended the call");
    };
    const about = { ref: `lading-${digest}`, total, expected: digest };
    try {
      await tell({ action: stat, ...about });
      let offset = 0;
      for await (const part of bytes) {
        for (let at = 0; at < part.length; at += chunkBytes) {
          const chunk = part.subarray(at, at + chunkBytes);
          await tell({ action: data, ...about, offset, data: chunk });
          offset += chunk.length;
        }
      }
      await tell({ action: commit, ...about, offset });
    } catch (error) {
      if (!(error instanceof Failure && error.code === "conflict")) throw error;
    } finally {
      call.cancel();
    }
  }

  /** Stores the blobs of an OCI layout that is a tar; gives what its index names. */
  async writeLayout(tar: AsyncIterable<Uint8Array>): Promise<Descriptor> {
    let root: Descriptor | undefined;
    for await (const { header, body } of readTar(tar)) {
      const [, hex] = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(header.path) ?? [];
      if (hex) await this.write(`sha256:${hex}`, header.sizeBytes, body);
      else if (header.path === "index.json") {
        root = parseIndex(Buffer.concat(await Array.fromAsync(body))).manifests[0];
      }
    }
    if (root) return root;
    throw new Failure("internal", "A layout without an index was made");
  }

  /** What stands under a digest, with all that it names, as an OCI layout in a tar. */
  async *readLayout(root: Digest): AsyncGenerator<Uint8Array, void> {
    const manifests = new Map<Digest, Buffer>();
    const blobs = new Map<Digest, Descriptor>();
    const first = await this.#walk(root, { manifests, blobs });
    const file = (path: string, body: Buffer) => ({ header: { path, mode: 0o644 }, body });
    const read = (digest: Digest, size: number) => this.read(digest, size);
    function* entries() {
      for (const [digest, bytes] of manifests) yield file(pathOf(digest), bytes);
      for (const { digest, size } of blobs.values()) {
        const header = { path: pathOf(digest), mode: 0o644, sizeBytes: size };
        yield { header, body: read(digest, size) };
      }
      const index = { schemaVersion: 2, manifests: [first] };
      yield file("index.json", Buffer.from(JSON.stringify(index)));
      yield file("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
    }
    yield* writeTar(entries());
  }

  async #walk(
    digest: Digest,
    found: { manifests: Map<Digest, Buffer>; blobs: Map<Digest, Descriptor> },
  ): Promise<{ mediaType: string; digest: Digest; size: number }> {
    const bytes = await this.bytes(digest);
    found.manifests.set(digest, bytes);
    if (found.manifests.size + found.blobs.size > blobsMax) {
      throw new Failure("exhausted", "The client's layout names too many blobs");
    }
    const value = named(bytes);
    for (const each of value.manifests ?? []) {
      const child = parseDigest(String(each.digest));
      if (!found.manifests.has(child)) await this.#walk(child, found);
    }
    for (const each of [...(value.config ? [value.config] : []), ...(value.layers ?? [])]) {
      const child = parseDigest(String(each.digest));
      const size = Number(each.size);
      if (!(Number.isSafeInteger(size) && size >= 0 && size <= blobBytesMax)) {
        throw new Failure("corrupt", `Cannot read the client's layout: ${child} has no size`);
      }
      found.blobs.set(child, { mediaType: String(each.mediaType), digest: child, size });
    }
    return { mediaType: String(value.mediaType ?? ""), digest, size: bytes.length };
  }

  /** A cache under a digest, of which a build reads what it needs. */
  cacheSource(root: Digest): CacheSource {
    return {
      manifest: () => this.bytes(root),
      blob: async ({ digest, size }) => this.read(digest, size),
    };
  }
}

const pathOf = (digest: Digest) => `blobs/sha256/${digest.slice("sha256:".length)}`;

interface Named {
  readonly mediaType?: unknown;
  readonly manifests?: readonly { readonly digest?: unknown }[];
  readonly config?: Blob;
  readonly layers?: readonly Blob[];
}
interface Blob {
  readonly mediaType?: unknown;
  readonly digest?: unknown;
  readonly size?: unknown;
}

function named(bytes: Buffer): Named {
  let value: Named | null;
  try {
    value = JSON.parse(bytes.toString());
  } catch (cause) {
    throw new Failure("corrupt", "Cannot read the client's layout: no JSON", { cause });
  }
  const isList = (each: unknown) => each === undefined || Array.isArray(each);
  if (value && isList(value.manifests) && isList(value.layers)) return value;
  throw new Failure("corrupt", "Cannot read the client's layout: it has no list");
}
