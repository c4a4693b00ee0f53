import { expect, test } from "bun:test";
import { digestOf } from "../oci/mod.ts";
import { codeOf, type Laboratory, onEachStorage, openLaboratory } from "./laboratory.ts";

const text = "0123456789".repeat(3);
const digest = digestOf(text);

async function begin({ call }: Laboratory, name = "a/b"): Promise<string> {
  const answer = await call("POST", `/v2/${name}/blobs/uploads/`);
  expect(answer.status).toBe(202);
  expect(answer.headers.get("Range")).toBe("0-0");
  return answer.headers.get("Location")!;
}

const chunk = (part: string, range: string): RequestInit => ({
  body: part,
  headers: { "Content-Range": range, "Content-Type": "application/octet-stream" },
});

async function blobText({ call }: Laboratory, name = "a/b"): Promise<string> {
  return await (await call("GET", `/v2/${name}/blobs/${digest}`)).text();
}

onEachStorage(
  "an upload takes chunks in order and ends with the digest",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const at = await begin(lab);
    const first = await lab.call("PATCH", at, chunk(text.slice(0, 10), "0-9"));
    expect([first.status, first.headers.get("Range")]).toEqual([202, "0-9"]);
    const status = await lab.call("GET", at);
    expect([status.status, status.headers.get("Range")]).toEqual([204, "0-9"]);
    expect((await lab.call("PATCH", at, chunk(text.slice(10, 20), "10-19"))).status).toBe(202);
    const end = await lab.call("PUT", `${at}?digest=${digest}`, chunk(text.slice(20), "20-29"));
    expect(end.status).toBe(201);
    expect(end.headers.get("Location")).toBe(`/v2/a/b/blobs/${digest}`);
    expect(end.headers.get("Docker-Content-Digest")).toBe(digest);
    expect(await blobText(lab)).toBe(text);
    expect(await codeOf(await lab.call("GET", at))).toBe("404 BLOB_UPLOAD_UNKNOWN");
  },
);

onEachStorage("a chunk out of order is 416 and says where to go on", async (openLaboratory) => {
  await using lab = await openLaboratory();
  const at = await begin(lab);
  await lab.call("PATCH", at, chunk(text.slice(0, 10), "0-9"));
  for (const range of ["0-9", "11-19", "x", "10-9"]) {
    const answer = await lab.call("PATCH", at, chunk(text.slice(10, 20), range));
    expect([range, answer.status, answer.headers.get("Range")]).toEqual([range, 416, "0-9"]);
  }
  const short = await lab.call("PATCH", at, chunk(text.slice(10, 20), "10-30"));
  expect(await codeOf(short)).toBe("400 SIZE_INVALID");
});

onEachStorage("an upload is taken whole by POST and by POST with PUT", async (openLaboratory) => {
  await using lab = await openLaboratory();
  const whole = await lab.call("POST", `/v2/a/b/blobs/uploads/?digest=${digest}`, { body: text });
  expect(whole.status).toBe(201);
  const at = await begin(lab, "c");
  expect((await lab.call("PUT", `${at}?digest=${digest}`, { body: text })).status).toBe(201);
  expect(await blobText(lab, "c")).toBe(text);
  const none = await begin(lab, "c");
  const empty = digestOf("");
  expect((await lab.call("PUT", `${none}?digest=${empty}`)).status).toBe(201);
  expect((await lab.call("HEAD", `/v2/c/blobs/${empty}`)).headers.get("Content-Length")).toBe("0");
});

onEachStorage(
  "bytes that hash to something else are not stored, and the upload is over",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const at = await begin(lab);
    const other = await lab.call("PUT", `${at}?digest=${digest}`, { body: "other" });
    expect(await codeOf(other)).toBe("400 DIGEST_INVALID");
    expect((await lab.call("GET", at)).status).toBe(404);
    const path = `/v2/a/b/blobs/uploads/?digest=${digest}`;
    expect(await codeOf(await lab.call("POST", path, { body: "other" }))).toBe(
      "400 DIGEST_INVALID",
    );
    expect((await lab.call("HEAD", `/v2/a/b/blobs/${digest}`)).status).toBe(404);
    expect(await Array.fromAsync(lab.store.content.list())).toEqual([]);
  },
);

onEachStorage(
  "an upload is cancelled, and belongs to its repository alone",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const at = await begin(lab);
    await lab.push.blob("other", "x");
    const foreign = at.replace("/a/b/", "/other/");
    expect((await lab.call("GET", foreign)).status).toBe(404);
    expect((await lab.call("PUT", `${foreign}?digest=${digest}`, { body: text })).status).toBe(404);
    expect((await lab.call("DELETE", at)).status).toBe(204);
    expect((await lab.call("PATCH", at, { body: "x" })).status).toBe(404);
  },
);

onEachStorage(
  "a blob is mounted from another repository, else an upload begins",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    await lab.push.blob("a/b", text);
    const mount = (from: string) =>
      lab.call("POST", `/v2/c/blobs/uploads/?mount=${digest}${from}`).then(({ status }) => status);
    expect((await lab.call("GET", `/v2/c/blobs/${digest}`)).status).toBe(404);
    expect(await mount("&from=absent")).toBe(202);
    expect(await mount("&from=../etc")).toBe(202);
    expect(await mount("")).toBe(202);
    expect(await mount("&from=a/b")).toBe(201);
    expect(await blobText(lab, "c")).toBe(text);
    expect(await mount("")).toBe(201);
  },
);

onEachStorage("an upload goes on after the registry has started again", async (openLaboratory) => {
  await using lab = await openLaboratory();
  const at = await begin(lab);
  await lab.call("PATCH", at, chunk(text.slice(0, 10), "0-9"));
  await lab.stop();
  const again = await openLaboratory({ directory: lab.directory });
  const path = `${again.server.address}${at}`;
  expect((await again.call("GET", path)).headers.get("Range")).toBe("0-9");
  const rest = { body: text.slice(10) };
  expect((await again.call("PUT", `${path}?digest=${digest}`, rest)).status).toBe(201);
  expect(await blobText(again)).toBe(text);
  await again.stop();
});

onEachStorage(
  "what came of a broken chunk stays, and the upload goes on there",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const at = await begin(lab);
    const { hostname, port } = new URL(lab.server.address);
    const half = "x".repeat(100_000);
    await new Promise<void>((resolve) => {
      void Bun.connect({
        hostname,
        port: Number(port),
        socket: {
          open(socket) {
            socket.write(
              `PATCH ${at} HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n${half}`,
            );
            setTimeout(() => socket.end(), 100);
          },
          close: () => resolve(),
          data() {},
        },
      });
    });
    const expected = `0-${half.length - 1}`;
    let range: string | null = null;
    for (let attempt = 0; attempt < 100 && range !== expected; attempt++) {
      await Bun.sleep(10);
      range = (await lab.call("GET", at)).headers.get("Range");
    }
    expect(range).toBe(expected);
    const all = digestOf(`${half}end`);
    expect((await lab.call("PUT", `${at}?digest=${all}`, { body: "end" })).status).toBe(201);
  },
);

onEachStorage("uploads are bounded in number for each client", async (openLaboratory) => {
  await using lab = await openLaboratory({ bounds: { uploadsPerClientMax: 2 } });
  const one = await begin(lab);
  await begin(lab);
  const third = await lab.call("POST", "/v2/a/b/blobs/uploads/");
  expect(third.headers.get("Retry-After")).not.toBeNull();
  expect(await codeOf(third)).toBe("429 TOOMANYREQUESTS");
  await lab.call("DELETE", one);
  await begin(lab);
});

onEachStorage("a blob over the bound is refused, said or not", async (openLaboratory) => {
  const policy = { blobBytesMax: () => 20, isImmutable: () => false };
  await using lab = await openLaboratory({ parts: { policy } });
  const at = await begin(lab);
  expect((await lab.call("PATCH", at, { body: text })).status).toBe(413);
  const unsaid = new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from(text));
      controller.close();
    },
  });
  const path = `/v2/a/b/blobs/uploads/?digest=${digest}`;
  expect((await lab.call("POST", path, { body: unsaid })).status).toBe(413);
  expect((await lab.call("PATCH", at, { body: "fits" })).headers.get("Range")).toBe("0-3");
});

for (const [path, code] of [
  ["/v2/a/b/blobs/uploads/?digest=sha256:xyz", "400 DIGEST_INVALID"],
  [`/v2/a/b/blobs/uploads/?digest=sha512:${"0".repeat(64)}`, "400 DIGEST_INVALID"],
  ["/v2/a/b/blobs/uploads/?mount=nothing&from=c", "400 DIGEST_INVALID"],
  ["/v2/A/blobs/uploads/", "400 NAME_INVALID"],
  ["/v2/a//b/blobs/uploads/", "400 NAME_INVALID"],
  [`/v2/${"a".repeat(256)}/blobs/uploads/`, "400 NAME_INVALID"],
] as const) {
  test(`POST ${path.slice(0, 60)} is ${code}`, async () => {
    await using lab = await openLaboratory();
    expect(await codeOf(await lab.call("POST", path, { body: text }))).toBe(code);
  });
}

onEachStorage(
  "many pushes of one blob at once all succeed, and it is stored once",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const big = Buffer.alloc(3_000_000, "many");
    await Promise.all(Array.from({ length: 16 }, (_, at) => lab.push.blob(`r${at % 4}`, big)));
    expect((await Array.fromAsync(lab.store.content.list())).length).toBe(1);
  },
);
