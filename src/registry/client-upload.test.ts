import { expect, test } from "bun:test";
import { digestOf } from "../oci/mod.ts";
import { openRegistryClient } from "./client-open.ts";

test("an upload goes on when the registry starts anew in the middle of it", async () => {
  const text = "0123456789";
  const digest = digestOf(text);
  const signal = AbortSignal.timeout(60_000);
  let has = "";
  let port = 0;
  let server: Bun.Server<undefined> | undefined;
  const location = { Location: "/v2/a/blobs/uploads/1" };
  const answer = async (request: Request): Promise<Response> => {
    const { method } = request;
    if (method === "HEAD") return new Response(null, { status: 404 });
    if (method === "GET" && request.url.endsWith("/v2/")) return new Response("{}");
    if (method === "POST") return new Response("", { status: 202, headers: location });
    if (method === "GET") {
      const headers = { ...location, Range: `0-${has.length - 1}` };
      return new Response(null, { status: 204, headers });
    }
    if (method === "PATCH" && has === "") {
      has = (await request.text()).slice(0, 4);
      server?.stop(true);
      setTimeout(start, 500); // the first question after the break finds nobody
      return new Response("", { status: 503 });
    }
    has += await request.text();
    return new Response("", { status: method === "PATCH" ? 202 : 201, headers: location });
  };
  const start = () => {
    server = Bun.serve({ hostname: "127.0.0.1", port, fetch: answer });
    port = server.port!;
  };
  start();
  try {
    const about = { domain: `127.0.0.1:${port}`, path: "a" };
    const repository = openRegistryClient({}).repository(about, { credentials: {} });
    async function* read(offset: number) {
      yield Buffer.from(text.slice(offset));
    }
    await repository.upload({ digest, sizeBytes: text.length, read, signal });
    expect(has).toBe(text);
  } finally {
    server?.stop(true);
  }
});

test("a registry that is in trouble when a blob is looked for tells the upload why", async () => {
  const registry = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch({ method, url }) {
      if (url.endsWith("/v2/")) return new Response("{}");
      const headers = { "Retry-After": "0" };
      if (method === "HEAD") return new Response(null, { status: 503, headers });
      const errors = [{ code: "UNSUPPORTED", message: "Cannot push: it is a copy" }];
      return Response.json({ errors }, { status: 405 });
    },
  });
  try {
    const about = { domain: `127.0.0.1:${registry.port}`, path: "a" };
    const repository = openRegistryClient({}).repository(about, { credentials: {} });
    const signal = AbortSignal.timeout(60_000);
    const digest = digestOf("x");
    expect(await repository.hasBlob(digest, signal)).toBe(false);
    async function* read() {
      yield Buffer.from("x");
    }
    const failing = repository.upload({ digest, sizeBytes: 1, read, signal });
    await expect(failing).rejects.toThrow("Cannot push: it is a copy");
  } finally {
    registry.stop(true);
  }
});
