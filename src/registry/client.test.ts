import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { digestOf } from "../oci/mod.ts";
import { parseChallenge } from "./client-challenge.ts";
import { endpointsOf, isInsecure } from "./client-host.ts";
import { openRegistryClient } from "./client-open.ts";
import { retryAfterMs } from "./client-retry.ts";
import { fetchToken, isRelated } from "./client-token.ts";

type Handler = (request: Request, url: URL) => Response | Promise<Response>;
const servers: Bun.Server<undefined>[] = [];
const signal = new AbortController().signal;
const alice = { username: "alice", password: "secret" };

function serve(handler: Handler): { address: string; seen: { path: string; auth: string }[] } {
  const seen: { path: string; auth: string }[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const url = new URL(request.url);
      const auth = request.headers.get("authorization") ?? "";
      seen.push({ path: `${request.method} ${url.pathname}${url.search}`, auth });
      return handler(request, url);
    },
  });
  servers.push(server);
  return { address: `127.0.0.1:${server.port}`, seen };
}

afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop(true);
});

const at = (domain: string, credentials = {}) =>
  openRegistryClient().repository({ domain, path: "team/app" }, { credentials });
const manifest = Buffer.from('{"schemaVersion":2}');
const digest = digestOf(manifest);
const root = (url: URL) => url.pathname === "/v2/";
const unauthorized = (challenge: string) =>
  new Response("", { status: 401, headers: { "WWW-Authenticate": challenge } });

describe("parseChallenge()", () => {
  test.each([
    [
      'Bearer realm="https://a/t",service="s"',
      { kind: "bearer", realm: "https://a/t", service: "s" },
    ],
    ["bearer realm=https://a/t", { kind: "bearer", realm: "https://a/t", service: "" }],
    ['Basic realm="x, Bearer y"', { kind: "basic" }],
    [
      'Basic realm="x", Bearer realm="https://a/t"',
      { kind: "bearer", realm: "https://a/t", service: "" },
    ],
    ['Bearer scope="a,b", realm="q\\"q"', { kind: "bearer", realm: 'q"q', service: "" }],
    ["Negotiate", undefined],
    ["Bearer", undefined],
    [`Bearer ${"a".repeat(10_000)}`, undefined],
  ])("%s", (header, expected) => {
    expect(parseChallenge(header)).toEqual(expected as ReturnType<typeof parseChallenge>);
  });
});

describe("isRelated()", () => {
  test.each([
    ["auth.docker.io", "registry-1.docker.io", true],
    ["gitlab.com", "registry.gitlab.com", true],
    ["127.0.0.1:5001", "127.0.0.1:5000", true],
    ["auth.ghcr.io", "ghcr.io", true],
    ["evil.io", "ghcr.io", false],
    ["evildocker.io", "registry-1.docker.io", false],
    ["127.0.0.2", "127.0.0.1", false],
    ["10.0.0.1", "9.0.0.1", false],
  ])("%s of %s: %p", (realm, registry, expected) => {
    expect(isRelated(new URL(`https://${realm}/t`), new URL(`https://${registry}`))).toBe(expected);
  });
});

test("isInsecure() is this host, and what was named", () => {
  const named = ["reg.test:5000", "plain.test", "10.1.0.0/16"];
  const insecure = [
    "localhost:1",
    "127.3.2.1",
    "[::1]:5",
    "reg.test:5000",
    "plain.test:7",
    "10.1.9.9:80",
  ];
  expect(insecure.map((address) => isInsecure(address, named))).toEqual(insecure.map(() => true));
  const secure = ["reg.test:5001", "10.2.0.1", "docker.io", "127.evil.test", "localhost.evil.test"];
  expect(secure.map((address) => isInsecure(address, named))).toEqual(secure.map(() => false));
  expect(endpointsOf("docker.io", { certificateFolders: [] })).toEqual([
    { origin: "https://registry-1.docker.io", tls: {} },
  ]);
});

test("retryAfterMs() is bounded", () => {
  expect(retryAfterMs("2")).toBe(2000);
  expect(retryAfterMs("999999999")).toBe(30_000);
  expect(retryAfterMs(new Date(0).toUTCString())).toBe(0);
  expect(retryAfterMs("soon")).toBeUndefined();
  expect(retryAfterMs(null)).toBeUndefined();
});

describe("a token", () => {
  const bearer = (address: string) => `Bearer realm="http://${address}/token",service="reg"`;

  test("is fetched with the credentials for the scope, used again, and renewed when refused", async () => {
    let valid = "t1";
    let given = 0;
    const registry = serve((request, url): Response => {
      if (url.pathname === "/token")
        return Response.json({ token: `t${++given}`, expires_in: 300 });
      if (request.headers.get("authorization") === `Bearer ${valid}`) return new Response(manifest);
      return unauthorized(bearer(registry.address));
    });
    const repository = at(registry.address, alice);
    expect((await repository.manifest("1", signal)).descriptor.digest).toBe(digest);
    await repository.manifest("1", signal);
    expect(given).toBe(1);
    valid = "t2";
    await repository.manifest("1", signal);
    expect(given).toBe(2);
    const tokens = registry.seen.filter(({ path }) => path.startsWith("GET /token"));
    expect(tokens[0]!.path).toContain("scope=repository%3Ateam%2Fapp%3Apull");
    expect(tokens[0]!.path).toContain("service=reg");
    expect(tokens[0]!.auth).toBe(`Basic ${btoa("alice:secret")}`);
  });

  test("is not asked for any more where the registry wants none since", async () => {
    let isOpen = false;
    const registry = serve((request, url): Response => {
      if (url.pathname === "/token")
        return isOpen
          ? Response.json({ errors: [{ code: "UNSUPPORTED" }] }, { status: 404 })
          : Response.json({ token: "t" });
      if (isOpen || request.headers.get("authorization")) return new Response(manifest);
      return unauthorized(bearer(registry.address));
    });
    const client = openRegistryClient();
    const of = (path: string) =>
      client.repository({ domain: registry.address, path }, { credentials: {} });
    await of("team/app").manifest("1", signal);
    isOpen = true;
    // Another repository needs another token.
    expect((await of("team/other").manifest("1", signal)).descriptor.digest).toBe(digest);
  });

  test("is fetched with a refresh token when there is one", async () => {
    let form = "";
    const registry = serve(async (request, url): Promise<Response> => {
      if (url.pathname === "/token") {
        form = await request.text();
        return Response.json({ access_token: "a" });
      }
      if (request.headers.get("authorization")) return new Response(manifest);
      return unauthorized(bearer(registry.address));
    });
    await at(registry.address, { identityToken: "refresh" }).manifest("1", signal);
    expect(Object.fromEntries(new URLSearchParams(form))).toEqual({
      grant_type: "refresh_token",
      refresh_token: "refresh",
      service: "reg",
      scope: "repository:team/app:pull",
      client_id: "lading",
    });
  });

  test("is not asked for with credentials where a realm points to another host", async () => {
    const registry = serve(() => unauthorized('Bearer realm="http://127.9.9.9:9/token"'));
    const failing = at(registry.address, alice).manifest("1", signal);
    await expect(failing).rejects.toThrow("it sends logins to 127.9.9.9:9");
    await expect(failing).rejects.toMatchObject({ code: "denied" });
  });

  test("is not asked for without TLS where the registry has it, nor from what is no address", async () => {
    const registry = new URL("https://reg.example.com");
    const about = { service: "", scopes: [], credentials: alice, registry, tls: {}, signal };
    for (const realm of ["http://reg.example.com/token", "file:///etc/passwd", "token", ""]) {
      const failing = fetchToken({ ...about, realm });
      await expect(failing).rejects.toThrow("Cannot log in to reg.example.com: its realm is");
    }
  });

  test("that never comes is a Failure that names the host", async () => {
    for (const answer of ["{", "[]", "null", '{"token":7}', '{"token":"a\\r\\nb"}']) {
      const registry = serve((_, url) =>
        url.pathname === "/token" ? new Response(answer) : unauthorized(bearer(registry.address)),
      );
      await expect(at(registry.address).manifest("1", signal)).rejects.toThrow(
        `Cannot use the answer of the token server ${registry.address}`,
      );
    }
  });
});

test("Basic credentials go to the registry, and not along with a redirect to elsewhere", async () => {
  const elsewhere = serve(() => new Response("blob"));
  const registry = serve((request) => {
    if (!request.headers.get("authorization")) return unauthorized('Basic realm="x"');
    return Response.redirect(`http://${elsewhere.address}/data`, 307);
  });
  const { stream } = await at(registry.address, alice).blob(digest, { signal });
  expect(Buffer.concat(await Array.fromAsync(stream(100))).toString()).toBe("blob");
  expect(elsewhere.seen).toEqual([{ path: "GET /data", auth: "" }]);
  expect(registry.seen.at(-1)!.auth).toStartWith("Basic ");
});

describe("a registry that", () => {
  test.each([
    ["redirects in circles", () => Response.redirect("/v2/again", 302), "redirects too often"],
    [
      "redirects to a file",
      () => new Response("", { status: 302, headers: { Location: "file:///etc/passwd" } }),
      'redirects to "file:"',
    ],
    [
      "gives another manifest than its header says",
      () => new Response(manifest, { headers: { "Docker-Content-Digest": digestOf("x") } }),
      "Cannot trust the manifest",
    ],
    ["sends a manifest without end", () => endless(), "over 4194304 bytes"],
    [
      "has no such manifest",
      () =>
        Response.json(
          { errors: [{ code: "MANIFEST_UNKNOWN", message: "no\u001b[2Jpe" }] },
          { status: 404 },
        ),
      "manifest unknown: no [2Jpe",
    ],
    ["answers with a page", () => new Response("<html>", { status: 404 }), "received status 404"],
  ])("%s", async (_, answer, message) => {
    const registry = serve((__, url) => (root(url) ? new Response("{}") : answer()));
    await expect(at(registry.address).manifest("1", signal)).rejects.toThrow(message);
  });

  test("gives other bytes than the digest that was asked for", async () => {
    const registry = serve((_, url) => new Response(root(url) ? "{}" : "other"));
    await expect(at(registry.address).manifest(digest, signal)).rejects.toMatchObject({
      code: "corrupt",
    });
  });

  test("is busy is asked again, when it says", async () => {
    let count = 0;
    const registry = serve((_, url) => {
      if (root(url)) return new Response("{}");
      const answers = [429, 503, 500];
      const status = answers[count++];
      return status
        ? new Response("", { status, headers: { "Retry-After": "0" } })
        : new Response(manifest);
    });
    expect((await at(registry.address).manifest("1", signal)).descriptor.digest).toBe(digest);
    expect(count).toBe(4);
  });

  test("stays busy is given up", async () => {
    const registry = serve((_, url) =>
      root(url)
        ? new Response("{}")
        : new Response("", { status: 429, headers: { "Retry-After": "0" } }),
    );
    const failing = at(registry.address).manifest("1", signal);
    await expect(failing).rejects.toThrow("toomanyrequests");
    expect(registry.seen.length).toBe(6);
  });

  test("cannot do ranges gives the blob from its start", async () => {
    const registry = serve((_, url) => new Response(root(url) ? "{}" : "whole"));
    const { offset } = await at(registry.address).blob(digest, { from: 3, signal });
    expect(offset).toBe(0);
  });

  test("lists tags over pages, on its own host alone", async () => {
    const registry = serve((_, url) => {
      if (root(url)) return new Response("{}");
      const last = url.searchParams.get("last");
      const next = last ? "<http://127.9.9.9/v2/x>" : "</v2/team/app/tags/list?last=b>";
      return Response.json(
        { tags: last ? ["c"] : ["a", "b", 7] },
        { headers: { Link: `${next}; rel="next"` } },
      );
    });
    expect(await at(registry.address).tags(signal)).toEqual(["a", "b", "c"]);
  });

  test("wants an upload elsewhere gets it there without the credentials", async () => {
    const elsewhere = serve(async (request) => {
      await request.arrayBuffer();
      return new Response("", {
        status: request.method === "PATCH" ? 202 : 201,
        headers: { Location: "/up?a=b" },
      });
    });
    const registry = serve((request, url) => {
      if (!request.headers.get("authorization")) return unauthorized('Basic realm="x"');
      if (root(url)) return new Response("{}");
      return new Response("", {
        status: 202,
        headers: { Location: `http://${elsewhere.address}/up` },
      });
    });
    async function* read() {
      yield manifest;
    }
    await at(registry.address, alice).upload({ digest, sizeBytes: manifest.length, read, signal });
    expect(elsewhere.seen).toEqual([
      { path: "PATCH /up", auth: "" },
      { path: `PUT /up?a=b&digest=${encodeURIComponent(digest)}`, auth: "" },
    ]);
  });
});

function endless(): Response {
  const piece = new Uint8Array(1 << 20);
  return new Response(
    new ReadableStream({
      async pull(controller) {
        await Bun.sleep(0);
        controller.enqueue(piece);
      },
    }),
  );
}

describe("TLS", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync("/tmp/lading-tls-");
    for (const name of ["right", "wrong"]) {
      const made = Bun.spawnSync([
        "openssl",
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
        ...["-days", "2", "-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"],
        ...["-keyout", `${folder}/${name}.key`, "-out", `${folder}/${name}.crt`],
      ]);
      if (!made.success) throw new Error(made.stderr.toString());
    }
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** A registry with TLS, asked by a client that has these files for it. */
  function ask(files: Readonly<Record<string, string>>, more: object = {}) {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: Bun.file(`${folder}/right.crt`), key: Bun.file(`${folder}/right.key`), ...more },
      fetch: (request) => new Response(root(new URL(request.url)) ? "{}" : manifest),
    });
    servers.push(server);
    const domain = `127.0.0.1:${server.port}`;
    mkdirSync(`${folder}/${domain}`);
    for (const [name, from] of Object.entries(files)) {
      copyFileSync(`${folder}/${from}`, `${folder}/${domain}/${name}`);
    }
    const client = openRegistryClient({ certificateFolders: [folder] });
    return client.repository({ domain, path: "x" }, { credentials: {} }).manifest("1", signal);
  }

  test("is used on this host too, where nobody vouches for it", async () => {
    expect((await ask({})).descriptor.digest).toBe(digest);
  });

  test("is checked with the CA that stands in certs.d", async () => {
    expect((await ask({ "ca.crt": "right.crt" })).descriptor.digest).toBe(digest);
    const failing = ask({ "ca.crt": "wrong.crt" });
    await expect(failing).rejects.toMatchObject({ code: "denied" });
    await expect(failing).rejects.toThrow("failed to verify certificate");
  });

  test("is found where the registry has got it since", async () => {
    const answer = (request: Request) => new Response(root(new URL(request.url)) ? "{}" : manifest);
    const open = (more: object, port = 0) =>
      Bun.serve({ hostname: "127.0.0.1", port, ...more, fetch: answer });
    const plain = open({});
    const port = plain.port!;
    const domain = `127.0.0.1:${port}`;
    const client = openRegistryClient({ certificateFolders: [] });
    const asked = client.repository({ domain, path: "x" }, { credentials: {} });
    await asked.manifest("1", signal);
    await plain.stop(true);
    const files = { cert: Bun.file(`${folder}/right.crt`), key: Bun.file(`${folder}/right.key`) };
    servers.push(open({ tls: files }, port));
    expect((await asked.manifest("1", signal)).descriptor.digest).toBe(digest);
  });

  test("shows a client certificate, and says when half of it is missing", async () => {
    const pair = { "client.cert": "right.crt", "client.key": "right.key" };
    const wants = {
      ca: Bun.file(`${folder}/right.crt`),
      requestCert: true,
      rejectUnauthorized: true,
    };
    expect((await ask(pair, wants)).descriptor.digest).toBe(digest);
    await expect(ask({ "client.cert": "right.crt" })).rejects.toThrow("client.key is missing");
  });

  test("is what failed, not the plain request after it", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (bytes) => {
        const isGreeting = bytes[0] === 0x16;
        socket.end(isGreeting ? "" : "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const domain = `127.0.0.1:${(server.address() as { port: number }).port}`;
      const client = openRegistryClient({ certificateFolders: [] });
      const asked = client.repository({ domain, path: "x" }, { credentials: {} });
      await expect(asked.manifest("1", signal)).rejects.toThrow(`Get "https://${domain}/v2/": `);
    } finally {
      server.close();
    }
  });
});
