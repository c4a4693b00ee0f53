import { createHash, createHmac } from "node:crypto";
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { Storage } from "./s3.ts";

const keys = { accessKeyId: "LABORATORY", secretAccessKey: "laboratory/secret" } as const;
const partBytesMin = 5 << 20;

interface Stored {
  readonly path: string;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly modified: Date;
}

type Asked = { readonly request: Request; readonly url: URL; readonly key: string };

/**
 * An S3 service for tests, strict where ours could be wrong: it checks each signature, takes parts only
 * from 5 MB on, and shows an object when it is complete. `fail` makes the next requests fail.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/
 */
export function openS3Laboratory(bucket = "bucket") {
  const folder = mkdtempSync("/tmp/lading-s3-");
  const objects = new Map<string, Stored>();
  const uploads = new Map<string, Map<number, Stored>>();
  const told: string[] = [];
  const failing = { requests: 0 };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    maxRequestBodySize: 1 << 30,
    async fetch(request) {
      const url = new URL(request.url);
      const [, host, ...rest] = url.pathname.split("/");
      told.push(
        `${request.method} ${url.pathname}${url.search && "?"}${[...url.searchParams.keys()]}`,
      );
      if (failing.requests-- > 0) return refuse(503, "SlowDown");
      if (!isSigned(request, url)) return refuse(403, "SignatureDoesNotMatch");
      if (host !== bucket) return refuse(404, "NoSuchBucket");
      return await answer({ request, url, key: decodeURIComponent(rest.join("/")) });
    },
  });

  async function keep(request: Request): Promise<Stored> {
    const path = `${folder}/${crypto.randomUUID()}`;
    const bytes = await request.bytes();
    await Bun.write(path, bytes);
    const etag = `"${createHash("md5").update(bytes).digest("hex")}"`;
    return { path, sizeBytes: bytes.length, etag, modified: new Date() };
  }

  async function answer({ request, url, key }: Asked): Promise<Response> {
    const { method } = request;
    const query = url.searchParams;
    if (key === "") return list(query);
    if (query.has("uploads") && method === "POST") {
      const id = crypto.randomUUID();
      uploads.set(id, new Map());
      return xml(`<InitiateMultipartUploadResult><Bucket>${bucket}</Bucket><Key>${key}</Key>
        <UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
    }
    const id = query.get("uploadId");
    if (id !== null) return await answerPart({ request, url, key }, id);
    if (method === "PUT") {
      const stored = await keep(request);
      objects.set(key, stored);
      return new Response(null, { headers: { ETag: stored.etag } });
    }
    if (method === "DELETE") {
      objects.delete(key);
      return new Response(null, { status: 204 });
    }
    return give(request, objects.get(key));
  }

  async function answerPart({ request, url, key }: Asked, id: string): Promise<Response> {
    const parts = uploads.get(id);
    if (!parts) return refuse(404, "NoSuchUpload");
    if (request.method === "PUT") {
      const stored = await keep(request);
      parts.set(Number(url.searchParams.get("partNumber")), stored);
      return new Response(null, { headers: { ETag: stored.etag } });
    }
    uploads.delete(id);
    if (request.method === "DELETE") return new Response(null, { status: 204 });
    const named = [...(await request.text()).matchAll(/<PartNumber>(\d+)<[\s\S]*?<ETag>(.*?)</g)];
    const chosen = named.map(([, number]) => parts.get(Number(number)));
    const isWhole = named.every(([, , etag], at) => {
      return chosen[at]?.etag.replaceAll('"', "") === etag!.replaceAll(/"|&quot;|&#34;/g, "");
    });
    if (named.length === 0 || !isWhole) return refuse(400, "InvalidPart");
    if (chosen.slice(0, -1).some((part) => part!.sizeBytes < partBytesMin)) {
      return refuse(400, "EntityTooSmall");
    }
    const path = `${folder}/${crypto.randomUUID()}`;
    for (const part of chosen) appendFileSync(path, readFileSync(part!.path));
    const sizeBytes = chosen.reduce((sum, part) => sum + part!.sizeBytes, 0);
    objects.set(key, { path, sizeBytes, etag: `"${id}-${named.length}"`, modified: new Date() });
    return xml(`<CompleteMultipartUploadResult><Key>${key}</Key></CompleteMultipartUploadResult>`);
  }

  function list(query: URLSearchParams): Response {
    const [prefix, after] = [query.get("prefix") ?? "", query.get("start-after") ?? ""];
    const count = Number(query.get("max-keys") ?? 1_000);
    const all = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const shown = all.slice(0, count).map((key) => {
      const { sizeBytes, modified, etag } = objects.get(key)!;
      return `<Contents><Key>${key}</Key><LastModified>${modified.toISOString()}</LastModified>
        <ETag>${etag}</ETag><Size>${sizeBytes}</Size></Contents>`;
    });
    return xml(`<ListBucketResult><Name>${bucket}</Name><KeyCount>${shown.length}</KeyCount>
      <IsTruncated>${all.length > count}</IsTruncated>${shown.join("")}</ListBucketResult>`);
  }

  const storage: Storage = {
    ...keys,
    bucket,
    prefix: "",
    endpoint: `${server.url.origin}`,
    redirects: false,
  };
  return {
    ...{ storage, objects, uploads, told, failing, keys },
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function give({ method, headers }: Request, stored: Stored | undefined): Response {
  if (!stored) return refuse(404, "NoSuchKey");
  const fields = { ETag: stored.etag, "Last-Modified": stored.modified.toUTCString() };
  if (method === "HEAD") {
    return new Response(null, { headers: { ...fields, "Content-Length": `${stored.sizeBytes}` } });
  }
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.get("Range") ?? "");
  const file = Bun.file(stored.path);
  if (!range) return new Response(file, { headers: fields });
  const [first, last] = [
    Number(range[1]),
    Math.min(Number(range[2] || Infinity), stored.sizeBytes - 1),
  ];
  if (first > last) return refuse(416, "InvalidRange");
  const contentRange = `bytes ${first}-${last}/${stored.sizeBytes}`;
  return new Response(file.slice(first, last + 1), {
    status: 206,
    headers: { ...fields, "Content-Range": contentRange },
  });
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, and the query's form */
function isSigned(request: Request, url: URL): boolean {
  const header = request.headers.get("Authorization") ?? "";
  const inQuery = url.searchParams.get("X-Amz-Signature");
  const field = (name: string) => new RegExp(`${name}=([^, ]+)`).exec(header)?.[1] ?? "";
  const query = (name: string) => url.searchParams.get(`X-Amz-${name}`) ?? "";
  const credential = inQuery ? query("Credential") : field("Credential");
  const signed = inQuery ? query("SignedHeaders") : field("SignedHeaders");
  const date = inQuery ? query("Date") : (request.headers.get("X-Amz-Date") ?? "");
  const payload = inQuery
    ? "UNSIGNED-PAYLOAD"
    : (request.headers.get("X-Amz-Content-SHA256") ?? "");
  const [id, ...scope] = credential.split("/");
  if (id !== keys.accessKeyId || scope.length !== 4 || !signed.split(";").includes("host"))
    return false;
  const at = Date.parse(date.replace(/(....)(..)(..T..)(..)(..Z)/, "$1-$2-$3:$4:$5"));
  const ageSeconds = (Date.now() - at) / 1000;
  if (!(ageSeconds > -60 && ageSeconds < (inQuery ? Number(query("Expires")) : 900))) return false;
  const names = [...new Set(url.search.slice(1).split("&").filter(Boolean))]
    .filter((pair) => !pair.startsWith("X-Amz-Signature="))
    .map((pair) => (pair.includes("=") ? pair : `${pair}=`))
    .sort();
  const canonical = [
    request.method,
    url.pathname,
    names.join("&"),
    ...signed.split(";").map((name) => `${name}:${(request.headers.get(name) ?? "").trim()}`),
    "",
    signed,
    payload,
  ].join("\n");
  const hash = createHash("sha256").update(canonical).digest("hex");
  const text = ["AWS4-HMAC-SHA256", date, scope.join("/"), hash].join("\n");
  const hmac = (key: string | Buffer, data: string) =>
    createHmac("sha256", key).update(data).digest();
  const key = scope.reduce<string | Buffer>(hmac, `AWS4${keys.secretAccessKey}`);
  return hmac(key, text).toString("hex") === (inQuery ?? field("Signature"));
}

function xml(text: string): Response {
  return new Response(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`, {
    headers: { "Content-Type": "application/xml" },
  });
}

function refuse(status: number, code: string): Response {
  const text = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  return new Response(text, { status, headers: { "Content-Type": "application/xml" } });
}
