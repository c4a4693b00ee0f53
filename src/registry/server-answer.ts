import { apiVersion, headers } from "./protocol.ts";
import type { Refusal } from "./refusal.ts";

type Fields = Record<string, string>;

/** The protocol's headers; what is served is never run by a browser. */
export function withVersion(fields: Fields = {}): Fields {
  return { [headers.apiVersion]: apiVersion, "X-Content-Type-Options": "nosniff", ...fields };
}

export function empty(status: number, fields: Fields = {}): Response {
  return new Response(null, { status, headers: withVersion({ "Content-Length": "0", ...fields }) });
}

export function json(value: unknown, fields: Fields = {}, status = 200): Response {
  const type = { "Content-Type": "application/json" };
  return new Response(JSON.stringify(value), {
    status,
    headers: withVersion({ ...type, ...fields }),
  });
}

/** `{"errors":[{code, message, detail}]}` */
export function refused(refusal: Refusal, method: string): Response {
  const { wire: code, hint, detail, status } = refusal;
  const message = hint ? `${refusal.message}. ${hint}` : refusal.message;
  const body = JSON.stringify({ errors: [{ code, message, detail: detail ?? null }] });
  return new Response(method === "HEAD" ? null : body, {
    status,
    headers: withVersion({
      "Content-Type": "application/json",
      ...(method === "HEAD" ? { "Content-Length": String(Buffer.byteLength(body)) } : {}),
      ...refusal.headers,
    }),
  });
}

/** `Link: <…>; rel="next"` when there is more. */
export function nextLink(path: string, fields: Record<string, string>): Fields {
  return { Link: `<${path}?${new URLSearchParams(fields)}>; rel="next"` };
}

/** The bytes of a body, at most `sizeBytesMax`; `tooLong` makes the error. */
export async function readBody(
  request: Request,
  sizeBytesMax: number,
  tooLong: () => Error,
): Promise<Uint8Array> {
  if (Number(request.headers.get("Content-Length") ?? 0) > sizeBytesMax) throw tooLong();
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of request.body ?? []) {
    sizeBytes += part.length;
    if (sizeBytes > sizeBytesMax) throw tooLong();
    parts.push(part);
  }
  return Buffer.concat(parts);
}
