import { headers, parseWireDigest } from "./protocol.ts";
import { Refusal, refusing } from "./refusal.ts";
import { empty, withVersion } from "./server-answer.ts";
import type { Call, Tell } from "./server-call.ts";
import { unknownBlob } from "./store-blobs.ts";
import type { RegistryStore } from "./store-open.ts";

type Parts = { readonly store: RegistryStore; readonly tell: Tell };

/** GET, HEAD and DELETE of `/v2/<name>/blobs/<digest>`. */
export async function answerBlob(
  { store, tell }: Parts,
  { name, digest: text }: { name: string; digest: string },
  { request, who, peer }: Call,
): Promise<Response> {
  const digest = await refusing(digestCodes, () => parseWireDigest(text));
  const repository = store.names.find(name);
  const event = { kind: "blob", repository: name, digest, who: who.name, peer } as const;
  if (request.method === "DELETE") {
    store.blobs.hide(store.names.need(name), digest);
    tell({ ...event, action: "delete" });
    return empty(202);
  }
  const row = store.blobs.find(repository, digest);
  if (repository === undefined || !row) throw unknownBlob(digest);
  // A file that is gone or cut is not here: whoever pushes sends it again, and that mends it.
  if ((await store.content.size(digest)) !== row.sizeBytes) throw unknownBlob(digest);
  const fields = withVersion({
    "Content-Type": "application/octet-stream",
    "Content-Disposition": "attachment",
    "Accept-Ranges": "bytes",
    "Cache-Control": "max-age=31536000",
    ETag: `"${digest}"`,
    [headers.contentDigest]: digest,
  });
  if (request.method === "HEAD") {
    if (who.may(name, "push")) store.blobs.touch(repository, digest, row);
    return new Response(null, { headers: { ...fields, "Content-Length": String(row.sizeBytes) } });
  }
  if (request.headers.get("If-None-Match") === `"${digest}"`) {
    return new Response(null, { status: 304, headers: fields });
  }
  tell({ ...event, action: "pull", sizeBytes: row.sizeBytes });
  const range = rangeOf(request, row.sizeBytes);
  if (store.content.link) {
    return empty(307, {
      ...fields,
      Location: store.content.link(digest),
      "Cache-Control": "no-store",
    });
  }
  const { first, last } = range ?? { first: 0, last: row.sizeBytes - 1 };
  return new Response(store.content.body(digest, range), {
    status: range ? 206 : 200,
    headers: {
      ...fields,
      "Content-Length": String(last - first + 1),
      ...(range ? { "Content-Range": `bytes ${first}-${last}/${row.sizeBytes}` } : {}),
    },
  });
}

export const digestCodes = { invalid: "DIGEST_INVALID", unsupported: "DIGEST_INVALID" } as const;

/**
 * The part that `Range` asks for; undefined: the whole. Several parts at once get the whole.
 * https://www.rfc-editor.org/rfc/rfc9110#name-range @throws Refusal RANGE_INVALID
 */
function rangeOf(request: Request, sizeBytes: number) {
  const text = request.headers.get("Range");
  const match = text === null ? null : /^bytes=(\d{0,15})-(\d{0,15})$/.exec(text.trim());
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const isSuffix = match[1] === "";
  const first = isSuffix ? Math.max(0, sizeBytes - Number(match[2])) : Number(match[1]);
  const end = isSuffix || match[2] === "" ? sizeBytes - 1 : Number(match[2]);
  const last = Math.min(end, sizeBytes - 1);
  if (first >= sizeBytes || last < first) {
    throw new Refusal("RANGE_INVALID", `Cannot give ${text}: the blob has ${sizeBytes} bytes`, {
      headers: { "Content-Range": `bytes */${sizeBytes}` },
    });
  }
  return { first, last };
}
