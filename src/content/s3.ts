import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { Failure, Gate } from "../base/mod.ts";
import {
  algorithmOf,
  blobPath,
  type Digest,
  DigestHasher,
  digestBy,
  isDigest,
  isDigestOf,
} from "../oci/mod.ts";
import { expect, hashFile } from "./ingest.ts";
import type { BlobStore, Listed, Part } from "./types.ts";

/** Where blobs are kept beside the disk. */
export interface Storage {
  readonly bucket: string;
  /** Before each key: empty, or with a slash at its end. */
  readonly prefix: string;
  readonly endpoint?: string;
  readonly region?: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** Clients get blobs from there themselves, by signed addresses. */
  readonly redirects: boolean;
}

/** The least that S3 takes; more where there would be more parts than it takes. */
const partBytesMin = 5 << 20;
const partsMax = 9_000;
const partsAtOnce = 2;
const sendsAtOnce = 2;
const sendsWaitingMax = 1_000;
const retries = 3;
const answerTimeoutMs = 60_000;
/** Below 100 kB/s nobody waits for. */
const slowestBytesPerMs = 100;
const linkSeconds = 1_200;
const keysPerList = 1_000;

/**
 * Parses `s3://BUCKET/PREFIX?endpoint=…&region=…&credentials=FILE&redirect=1`. Keys come from the file, in
 * the form of `~/.aws/credentials`, or from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
 * @throws Failure "invalid"
 */
export function parseStorage(
  text: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Storage {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "s3:" || !/^[a-z0-9][a-z0-9.-]{1,62}$/.test(url.hostname)) {
    throw invalid(text, "it is no address as s3://BUCKET/PREFIX");
  }
  if (url.username || url.password || url.hash) throw invalid(text, "keys do not belong into it");
  const query = url.searchParams;
  for (const name of query.keys()) {
    if (["endpoint", "region", "credentials", "redirect"].includes(name)) continue;
    throw invalid(text, `"${name}" is none of endpoint, region, credentials and redirect`);
  }
  const endpoint = query.get("endpoint");
  if (endpoint !== null && !(URL.canParse(endpoint) && /^https?:\/\//.test(endpoint))) {
    throw invalid(text, `its endpoint "${endpoint}" is no web address`);
  }
  const prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, "");
  const region = query.get("region") ?? env.AWS_REGION;
  return {
    bucket: url.hostname,
    prefix: prefix === "" ? "" : `${prefix}/`,
    ...(endpoint === null ? {} : { endpoint: endpoint.replace(/\/+$/, "") }),
    ...(region ? { region } : {}),
    ...keysFor(text, query.get("credentials"), env),
    redirects: query.get("redirect") === "1",
  };
}

type Keys = Pick<Storage, "accessKeyId" | "secretAccessKey" | "sessionToken">;

function keysFor(
  text: string,
  path: string | null,
  env: Readonly<Record<string, string | undefined>>,
): Keys {
  const from = path === null ? env : keysInFile(text, path);
  const accessKeyId = from.AWS_ACCESS_KEY_ID;
  const secretAccessKey = from.AWS_SECRET_ACCESS_KEY;
  const sessionToken = from.AWS_SESSION_TOKEN;
  if (!accessKeyId || !secretAccessKey) {
    throw new Failure("invalid", `Cannot use storage "${text}": there are no keys for it`, {
      hint: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file: credentials=PATH",
    });
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
}

/** `aws_access_key_id = …`, one a line, in the part `[default]` or before any. */
function keysInFile(text: string, path: string): Record<string, string> {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (cause) {
    throw new Failure("invalid", `Cannot read the keys in "${path}"`, { cause });
  }
  const found: Record<string, string> = {};
  let part = "default";
  for (const line of content.split("\n").map((each) => each.trim())) {
    part = /^\[(.*)\]$/.exec(line)?.[1] ?? part;
    const match = /^(aws_[a-z_]+)\s*=\s*(\S+)$/.exec(line);
    if (match && part === "default") found[match[1]!.toUpperCase()] = match[2]!;
  }
  if (Object.keys(found).length === 0) throw invalid(text, `"${path}" holds no keys`);
  return found;
}

function invalid(text: string, why: string): Failure {
  return new Failure("invalid", `Cannot use storage "${text}": ${why}`, {
    hint: "As s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION",
  });
}

/**
 * Opens a store in a bucket of an S3-compatible service: keys are `<prefix>blobs/sha256/<hex>`. A blob
 * becomes visible with the last of its parts; of one that was cut off nothing is seen, and the service
 * removes its parts when its owner says so (a lifecycle rule). With `ownerPath`, where a name for the
 * owner is kept, nobody else opens the same place: each would take the other's blobs for nobody's.
 * @throws Failure "unavailable" | "denied" — the bucket cannot be listed; "conflict" — another's
 */
export async function openS3Store(
  storage: Storage,
  { ownerPath, timeoutMs = answerTimeoutMs }: { ownerPath?: string; timeoutMs?: number } = {},
): Promise<BlobStore> {
  const { bucket, endpoint, region, accessKeyId, secretAccessKey, sessionToken } = storage;
  const client = new Bun.S3Client({
    ...{ bucket, accessKeyId, secretAccessKey, retry: retries },
    ...(endpoint ? { endpoint } : {}),
    ...(region ? { region } : {}),
    ...(sessionToken ? { sessionToken } : {}),
  });
  const store = new S3Store(client, storage, timeoutMs);
  await store.list().next();
  if (ownerPath !== undefined) await store.claim(ownerPath);
  return store;
}

class S3Store implements BlobStore {
  readonly #client: Bun.S3Client;
  readonly #prefix: string;
  readonly #bucket: string;
  readonly #timeoutMs: number;
  /** Each has its parts in memory. */
  readonly #sends = new Gate(sendsAtOnce, sendsWaitingMax);
  readonly link?: (digest: Digest) => string;

  constructor(client: Bun.S3Client, { prefix, bucket, redirects }: Storage, timeoutMs: number) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#prefix = prefix;
    this.#bucket = bucket;
    if (redirects) {
      this.link = (digest) => client.presign(this.#key(digest), { expiresIn: linkSeconds });
    }
  }

  /** @throws Failure "conflict" */
  async claim(ownerPath: string): Promise<void> {
    if (!existsSync(ownerPath)) writeFileSync(ownerPath, crypto.randomUUID(), { mode: 0o600 });
    const owner = readFileSync(ownerPath, "utf8");
    const key = `${this.#prefix}owner`;
    const found = await this.#asking("look for the owner", "of blobs", async () => {
      if (await this.#client.exists(key)) return await this.#client.file(key).text();
      await this.#client.write(key, owner);
      return owner;
    });
    if (found === owner) return;
    const place = `s3://${this.#bucket}/${this.#prefix}`;
    throw new Failure("conflict", `Cannot keep blobs in "${place}": another registry does`, {
      hint: "Give each registry a prefix of its own",
    });
  }

  async put(
    bytes: AsyncIterable<Uint8Array>,
    { expected, sizeBytesMax }: { expected?: Digest; sizeBytesMax: number },
  ): Promise<{ digest: Digest; sizeBytes: number }> {
    // Small ones alone come this way: whole in memory, so that their digest is known before any is sent.
    const parts: Uint8Array[] = [];
    let sizeBytes = 0;
    for await (const part of bytes) {
      sizeBytes += part.length;
      if (sizeBytes > sizeBytesMax) {
        throw new Failure("exhausted", `Cannot store the blob: it is over ${sizeBytesMax} bytes`);
      }
      parts.push(new Uint8Array(part));
    }
    const whole = Buffer.concat(parts);
    const digest = digestBy(expected ? algorithmOf(expected) : "sha256", whole);
    expect(expected, digest);
    await this.#asking("store", digest, () => this.#client.write(this.#key(digest), whole));
    return { digest, sizeBytes };
  }

  async adopt(path: string, options: { expected?: Digest; trusted?: true }): Promise<Digest> {
    const file = await open(path, "r");
    let sizeBytes: number;
    let digest = options.trusted ? options.expected : undefined;
    try {
      digest ??= await hashFile(file, options.expected && algorithmOf(options.expected));
      expect(options.expected, digest);
      sizeBytes = (await file.stat()).size;
    } finally {
      await file.close();
    }
    if ((await this.size(digest)) !== sizeBytes) await this.#send(path, digest, sizeBytes);
    await rm(path);
    return digest;
  }

  async #send(path: string, digest: Digest, sizeBytes: number): Promise<void> {
    const partSize = Math.max(partBytesMin, Math.ceil(sizeBytes / partsMax));
    const options = { partSize, queueSize: partsAtOnce, retry: retries };
    const timeoutMs = this.#timeoutMs + sizeBytes / slowestBytesPerMs;
    const send = async () => {
      await this.#client.write(this.#key(digest), Bun.file(path), options);
    };
    await this.#sends.run(() => this.#asking("store", digest, send, timeoutMs));
    const found = await this.size(digest);
    if (found === sizeBytes) return;
    const why = `${found ?? "none"} of ${sizeBytes} bytes arrived`;
    throw new Failure("unavailable", `Cannot store blob ${digest} in "${this.#bucket}": ${why}`);
  }

  async size(digest: Digest): Promise<number | undefined> {
    return await this.#asking("look at", digest, async () => {
      try {
        return (await this.#client.stat(this.#key(digest))).size;
      } catch (error) {
        if (isAbsent(error)) return undefined;
        throw error;
      }
    });
  }

  body(digest: Digest, part?: Part): ReadableStream<Uint8Array> {
    const file = this.#client.file(this.#key(digest));
    return (part ? file.slice(part.first, part.last + 1) : file).stream();
  }

  async *read(digest: Digest): AsyncGenerator<Uint8Array, void> {
    const hasher = new DigestHasher(algorithmOf(digest));
    if ((await this.size(digest)) === undefined) throw absent(digest);
    for await (const part of this.body(digest)) {
      hasher.update(part);
      yield part;
    }
    if (hasher.digest() !== digest) throw damaged(digest);
  }

  async bytes(digest: Digest, sizeBytesMax: number): Promise<Uint8Array> {
    const size = await this.size(digest);
    if (size === undefined) throw absent(digest);
    if (size > sizeBytesMax) {
      const why = `it has ${size} bytes, the bound is ${sizeBytesMax}`;
      throw new Failure("exhausted", `Cannot read blob ${digest}: ${why}`);
    }
    const bytes = await this.#asking("read", digest, () =>
      this.#client.file(this.#key(digest)).bytes(),
    );
    if (!isDigestOf(digest, bytes)) throw damaged(digest);
    return bytes;
  }

  async remove(digest: Digest): Promise<void> {
    await this.#asking("remove", digest, async () => {
      await this.#client.delete(this.#key(digest)).catch((error) => {
        if (!isAbsent(error)) throw error;
      });
    });
  }

  async *list(): AsyncGenerator<Listed, void> {
    const prefix = `${this.#prefix}blobs/`;
    for (let after: string | undefined; ; ) {
      const startAfter = after === undefined ? {} : { startAfter: after };
      const page = await this.#asking("list", "the bucket", () =>
        this.#client.list({ prefix, maxKeys: keysPerList, ...startAfter }),
      );
      const found = page.contents ?? [];
      for (const { key, size = 0, lastModified } of found) {
        const digest = key.slice(prefix.length).replace("/", ":");
        if (!isDigest(digest)) continue;
        const modifiedMs = lastModified === undefined ? Date.now() : Date.parse(lastModified);
        yield { digest, sizeBytes: size, modifiedMs, isShared: false };
      }
      after = found.at(-1)?.key;
      if (!page.isTruncated || after === undefined) return;
    }
  }

  #key(digest: Digest): string {
    return `${this.#prefix}${blobPath(digest)}`;
  }

  /** What the service refuses, in our words; never with the keys. */
  async #asking<Value>(
    verb: string,
    what: string,
    task: () => Promise<Value>,
    timeoutMs = this.#timeoutMs,
  ): Promise<Value> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const why = `no answer within ${Math.round(timeoutMs / 1000)} seconds`;
      const message = `Cannot ${verb} ${what} in "${this.#bucket}": ${why}`;
      late.reject(new Failure("unavailable", message));
    }, timeoutMs);
    const asked = task();
    asked.catch(() => {}); // whoever waits sees it; after the time-out nobody does
    try {
      return await Promise.race([asked, late.promise]);
    } catch (cause) {
      if (cause instanceof Failure) throw cause;
      const { code = "", message = "" } = cause as { code?: string; message?: string };
      // Later it is the registry's own trouble, and no answer to whoever asks it for a blob.
      const isDenied =
        verb === "list" && /AccessDenied|InvalidAccessKey|SignatureDoesNotMatch/.test(code);
      const isSilent = message === "an unexpected error has occurred"; // of the connection
      const said = isSilent ? ": the service cannot be reached" : message && `: ${message}`;
      const why = `${code}${said}`.slice(0, 300);
      throw new Failure(
        isDenied ? "denied" : "unavailable",
        `Cannot ${verb} ${what} in "${this.#bucket}": ${why}`,
        { cause },
      );
    } finally {
      clearTimeout(timer);
    }
  }
}

function isAbsent(error: unknown): boolean {
  const { code } = error as { code?: string };
  return code === "NoSuchKey" || code === "ENOENT" || code === "NotFound";
}

function absent(digest: Digest): Failure {
  return new Failure("not_found", `Cannot read blob ${digest}: it is not in the store`);
}

function damaged(digest: Digest): Failure {
  return new Failure(
    "corrupt",
    `Cannot trust blob ${digest}: its bytes have changed in the bucket`,
  );
}
