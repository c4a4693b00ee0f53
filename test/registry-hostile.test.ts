/** Registries that lie: each answer that Docker's client gets is an error that says of what and of whom. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { TestEngine, whyNot } from "./engine.ts";

const timeoutMs = 60_000;
const sha256 = (bytes: Uint8Array) =>
  `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;

interface Lie {
  /** The layer's descriptor, and how its blob is answered. */
  readonly descriptor: { readonly digest: string; readonly size: number };
  readonly diffId: string;
  readonly count?: number;
  readonly answer: () => Response;
}

const gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
const piece = new Uint8Array(64 << 10);

/** 64 members of 32 MiB of zeros: 2 GiB out of 2 MB. */
function bomb(): Lie {
  const member = Bun.gzipSync(new Uint8Array(32 << 20), { level: 9, library: "libdeflate" });
  const bytes = Buffer.concat(Array(64).fill(member));
  const descriptor = { digest: sha256(bytes), size: bytes.length };
  return { descriptor, diffId: sha256(piece), answer: () => new Response(bytes) };
}

/** As many bytes as one takes, a piece each time it is asked for one. */
function endless(): Lie {
  const descriptor = { digest: sha256(piece), size: 1_000_000 };
  const body = () =>
    new ReadableStream({
      async pull(controller) {
        await Bun.sleep(1);
        controller.enqueue(piece);
      },
    });
  return { descriptor, diffId: sha256(piece), answer: () => new Response(body()) };
}

/** Never the last byte, whoever asks from where. */
function short(): Lie {
  const bytes = Bun.gzipSync(new Uint8Array(1000));
  const descriptor = { digest: sha256(bytes), size: bytes.length };
  return { descriptor, diffId: sha256(bytes), answer: () => new Response(bytes.slice(0, -1)) };
}

function manyLayers(): Lie {
  const descriptor = { digest: sha256(piece), size: piece.length };
  const answer = () => new Response(piece);
  return { descriptor, diffId: sha256(piece), count: 10_000, answer };
}

function serve(lie: Lie) {
  const count = lie.count ?? 1;
  const diff_ids = Array(count).fill(lie.diffId);
  const rootfs = { type: "layers", diff_ids };
  const config = Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux", rootfs }));
  const layer = { mediaType: gzip, ...lie.descriptor };
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const about = { mediaType: "application/vnd.oci.image.config.v1+json", size: config.length };
  const manifest = JSON.stringify({
    ...{ schemaVersion: 2, mediaType, config: { ...about, digest: sha256(config) } },
    layers: Array(count).fill(layer),
  });
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/v2/") return new Response("{}");
      if (pathname.includes("/manifests/")) {
        return new Response(manifest, { headers: { "Content-Type": mediaType } });
      }
      return pathname.endsWith(sha256(config)) ? new Response(config) : lie.answer();
    },
  });
}

describe.skipIf(whyNot !== undefined)(`hostile registries${whyNot ? `: ${whyNot}` : ""}`, () => {
  let engine: TestEngine;

  beforeAll(async () => {
    engine = await TestEngine.open("reghostile");
  }, timeoutMs);

  afterAll(async () => {
    expect(await engine?.close()).toEqual([]);
  }, timeoutMs);

  /** What a pull could have left. */
  const left = () =>
    ["snapshot/ingest", "content/ingest", "image/partial"].flatMap((name) =>
      readdirSync(`${engine.dataRoot}/${name}`),
    );
  /** Who unpacks hears that the blob is none a moment after whoever pulls. */
  async function expectNothingLeft(): Promise<void> {
    for (let count = 0; count < 200 && left().length > 0; count++) await Bun.sleep(50);
    expect(left()).toEqual([]);
  }
  const blobs = () => readdirSync(`${engine.dataRoot}/content/blobs/sha256`);

  test.each([
    ["a gzip bomb", bomb, "bytes behind its end"],
    ["a body without end", endless, "over 1000000 bytes"],
    ["a manifest of 10,000 layers", manyLayers, "more than 500"],
  ] as const)(
    "%s is refused with its digest and its host, and nothing of it stays",
    async (_, make, why) => {
      const lie = make();
      using server = serve(lie);
      const host = `127.0.0.1:${server.port}`;
      const { code, stderr } = await engine.docker(["pull", `${host}/lie:1`]);
      expect(code).toBe(1);
      expect(stderr).toContain(why);
      if (!lie.count) expect(stderr).toContain(lie.descriptor.digest);
      expect(stderr).toContain(host);
      await expectNothingLeft();
      expect(blobs()).not.toContain(lie.descriptor.digest.slice(7));
      expect(await engine.ok(["images", "-aq"])).toBe("");
    },
    timeoutMs,
  );

  test(
    "a body that always ends too soon is given up, and what came of it is kept for the next try alone",
    async () => {
      const lie = short();
      using server = serve(lie);
      const host = `127.0.0.1:${server.port}`;
      const { code, stderr } = await engine.docker(["pull", `${host}/lie:1`]);
      expect(code).toBe(1);
      expect(stderr).toContain(`Cannot download ${lie.descriptor.digest} from ${host}`);
      expect(left()).toEqual([lie.descriptor.digest.slice(7)]);
      expect(blobs()).not.toContain(lie.descriptor.digest.slice(7));
      expect(await engine.ok(["images", "-aq"])).toBe("");
    },
    timeoutMs,
  );

  test("the engine stayed below 150 MB in all of that", () => {
    const status = readFileSync(`/proc/${engine.pid}/status`, "utf8");
    expect(Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) / 1024).toBeLessThan(150);
  });
});
