/** Sharing through the official docker client: pull and push against Debian's docker-registry. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, TestEngine, whyNot as whyNoEngine } from "./engine.ts";
import { FaultProxy, PeerRegistry, whyNoPeer } from "./registry-peer.ts";

const whyNot = whyNoEngine ?? whyNoPeer;

describe.skipIf(whyNot !== undefined)(
  `pull and push${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;
    let peer: PeerRegistry;
    let at: string;
    const ok = (...args: string[]) => engine.ok(args);
    const run = (...args: string[]) => engine.docker(args);

    beforeAll(async () => {
      engine = await TestEngine.open("registry");
      peer = await PeerRegistry.open();
      at = peer.address;
      await engine.importBusybox();
    });
    afterAll(async () => {
      await peer.close();
      expect(await engine.close()).toEqual([]);
    });

    /** An image of layers of noise, which does not compress. */
    async function buildNoise(name: string, layers: number, bytes: number): Promise<void> {
      const context = join(engine.folder, "noise");
      mkdirSync(context, { recursive: true });
      const lines = ["FROM busybox"];
      for (let count = 0; count < layers; count++) {
        writeFileSync(join(context, `noise-${count}`), randomBytes(bytes));
        lines.push(`COPY noise-${count} /noise-${count}`);
      }
      writeFileSync(join(context, "Dockerfile"), lines.join("\n"));
      await ok("build", "-q", "-t", name, context);
    }

    /** Nothing of it stays here, but in the registry. */
    async function forget(...names: string[]): Promise<void> {
      await ok("rmi", "-f", ...names);
      await ok("builder", "prune", "-af");
    }

    const rawManifest = async (name: string) =>
      (await command(["skopeo", "inspect", "--raw", "--tls-verify=false", `docker://${name}`]))
        .stdout;
    const digestOf = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;
    const repoDigest = async (name: string) =>
      (await ok("inspect", "-f", "{{index .RepoDigests 0}}", name)).split("@")[1];

    test("an image that was built here is pushed, pulled again, and is the same", async () => {
      const name = `${at}/team/app:1`;
      await engine.docker(["build", "-t", name, "-"], {
        input: 'FROM busybox\nRUN echo one > /one\nCMD ["cat", "/one"]\n',
      });
      const id = await ok("inspect", "-f", "{{.Id}}", name);
      const pushed = await ok("push", name);
      expect(pushed).toContain(`The push refers to repository [${at}/team/app]`);
      const digest = /1: digest: (sha256:[0-9a-f]{64}) size: \d+/.exec(pushed)?.[1];
      expect(digest).toBe(digestOf(await rawManifest(name)));
      expect(await ok("push", name)).toMatch(/Layer already exists[\s\S]*Layer already exists/);
      await forget(name);
      const pulled = await ok("pull", name);
      expect(pulled).toContain("1: Pulling from team/app");
      expect(pulled).toContain(": Pull complete");
      expect(pulled).toContain(`Digest: ${digest}`);
      expect(pulled).toContain(`Status: Downloaded newer image for ${name}`);
      expect(await ok("pull", name)).toContain(`Status: Image is up to date for ${name}`);
      expect(await ok("inspect", "-f", "{{.Id}}", name)).toBe(id);
      expect(await repoDigest(name)).toBe(digest!);
      expect(await ok("run", "--rm", name)).toBe("one");
      await forget(name);
      expect((await run("run", "--rm", `${at}/team/app@${digest}`)).stdout).toBe("one\n");
      await forget(`${at}/team/app@${digest}`);
    });

    test("a pull and a push to another repository keep the digest, and mount the layers", async () => {
      const [first, second] = [`${at}/move/from:1`, `${at}/move/to:2`];
      await buildNoise(first, 1, 100_000);
      await ok("push", first);
      await forget(first);
      await ok("pull", first);
      await ok("tag", first, second);
      expect(await ok("push", second)).toContain("Mounted from move/from");
      expect(await rawManifest(second)).toBe(await rawManifest(first));
      await forget(first, second);
    });

    test("errors are Docker's", async () => {
      const missing = await run("pull", `${at}/no/such:1`);
      expect(missing.code).toBe(1);
      expect(missing.stderr).toContain(`manifest for ${at}/no/such:1 not found: manifest unknown`);
      const closed = await run("pull", "127.0.0.1:1/x");
      expect(closed.stderr).toContain("connect: connection refused");
      const absent = await run("push", `${at}/not/here`);
      expect(absent.stderr).toContain("An image does not exist locally with the tag");
      const ran = await run("run", "--rm", `${at}/no/such:1`);
      expect(ran.code).toBe(125);
    });

    test("all tags of a repository come and go", async () => {
      for (const tag of ["1", "2", "3"]) await ok("tag", "busybox", `${at}/many:${tag}`);
      expect((await ok("push", "-a", `${at}/many`)).match(/digest: sha256/g)).toHaveLength(3);
      await ok("rmi", `${at}/many:1`, `${at}/many:2`, `${at}/many:3`);
      await ok("pull", "-a", `${at}/many`);
      const tags = await ok("images", "--format", "{{.Tag}}", `${at}/many`);
      expect(tags.split("\n").sort()).toEqual(["1", "2", "3"]);
      await ok("rmi", `${at}/many:1`, `${at}/many:2`, `${at}/many:3`);
    });

    test("a private registry refuses, and then admits", async () => {
      const guarded = await PeerRegistry.open({ alice: "secret" });
      try {
        const name = `${guarded.address}/app:1`;
        await ok("tag", "busybox", name);
        expect((await run("push", name)).stderr).toContain("unauthorized");
        const login = (password: string) =>
          engine.docker(["login", guarded.address, "-u", "alice", "--password-stdin"], {
            input: password,
          });
        expect((await login("wrong")).stderr).toContain("unauthorized");
        expect((await login("secret")).stdout).toContain("Login Succeeded");
        await ok("push", name);
        await ok("rmi", name);
        await ok("pull", name);
        await ok("rmi", name);
        const built = await engine.docker(["build", "-"], { input: `FROM ${name}\nRUN true\n` });
        expect(built.code).toBe(0);
        await ok("rmi", name);
        await ok("logout", guarded.address);
        const refused = await run("pull", name);
        expect(refused.stderr).toContain(`pull access denied for ${guarded.address}/app`);
      } finally {
        await guarded.close();
      }
    });

    test("an image of two platforms keeps its digest from pull to push", async () => {
      const layout = join(engine.folder, "layout");
      const digest = writeLayout(layout);
      const name = `${at}/two:1`;
      const copied = await command([
        "skopeo",
        "copy",
        "--all",
        "--dest-tls-verify=false",
        `oci:${layout}:1`,
        `docker://${name}`,
      ]);
      expect(copied.stderr).toBe("");
      expect(digestOf(await rawManifest(name))).toBe(digest);
      await ok("pull", name);
      expect(await repoDigest(name)).toBe(digest);
      const copy = `${at}/two-again:1`;
      await ok("tag", name, copy);
      await ok("pull", "--platform", "linux/arm64", name);
      expect(await ok("inspect", "-f", "{{.Architecture}}", name)).toBe("arm64");
      await ok("push", copy);
      expect(digestOf(await rawManifest(copy))).toBe(digest);
      const wrong = await run("pull", "--platform", "linux/s390x", name);
      expect(wrong.stderr).toContain("no matching manifest for linux/s390x");
      await ok("rmi", "-f", name, copy);
    });

    test("platforms that were built here and joined leave for another registry as one index", async () => {
      const other = await PeerRegistry.open();
      try {
        const name = `${at}/joined`;
        for (const platform of ["amd64", "arm64"]) {
          const context = join(engine.folder, `joined-${platform}`);
          mkdirSync(context);
          writeFileSync(join(context, "platform"), platform);
          writeFileSync(join(context, "Dockerfile"), "FROM scratch\nCOPY platform /\n");
          const tag = `${name}:${platform}`;
          await ok("build", "-q", "--platform", `linux/${platform}`, "-t", tag, context);
          await ok("push", "-q", tag);
        }
        const lading = (...args: string[]) => engine.lading(["manifest", ...args]);
        await lading("create", `${name}:1`, `${name}:amd64`, `${name}:arm64`);
        const digest = (await lading("push", "--purge", `${name}:1`)).stdout
          .trim()
          .split("\n")
          .at(-1);
        await ok("pull", `${name}:1`);
        const copy = `${other.address}/joined:1`;
        await ok("tag", `${name}:1`, copy);
        await ok("push", copy);
        expect(digestOf(await rawManifest(copy))).toBe(digest!);
        await ok("rmi", "-f", copy, `${name}:1`, `${name}:amd64`, `${name}:arm64`);
      } finally {
        await other.close();
      }
    });

    test("registry copy brings all platforms to another registry by digest; rm removes it", async () => {
      const other = await PeerRegistry.open();
      try {
        const layout = join(engine.folder, "layout-copy");
        const digest = writeLayout(layout);
        const [from, to] = [`${at}/copied:1`, `${other.address}/copy:2`];
        const flags = ["--all", "--dest-tls-verify=false"];
        await command(["skopeo", "copy", ...flags, `oci:${layout}:1`, `docker://${from}`]);
        const copied = await engine.lading(["registry", "copy", from, to]);
        expect(copied.stdout).toBe(`${other.address}/copy@${digest}\n`);
        expect(digestOf(await rawManifest(to))).toBe(digest);
        expect((await engine.lading(["registry", "tags", to])).stdout).toBe("2\n");
        expect((await engine.lading(["registry", "ls", other.address])).stdout).toBe("copy\n");
        const inspected = await engine.lading(["manifest", "inspect", to]);
        expect(JSON.parse(inspected.stdout).manifests).toHaveLength(2);
        const removed = await engine.lading(["registry", "rm", `${other.address}/copy@${digest}`]);
        expect(removed.code).toBe(0);
        expect(await rawManifest(to)).toBe("");
      } finally {
        await other.close();
      }
    });

    test("ten pulls at once fetch each layer once", async () => {
      const proxy = await FaultProxy.open(peer.port);
      try {
        const name = `${at}/ten:1`;
        await buildNoise(name, 3, 2_000_000);
        await ok("push", name);
        await forget(name);
        const through = `${proxy.address}/ten:1`;
        const pulls = await Promise.all(Array.from({ length: 10 }, () => run("pull", through)));
        expect(pulls.map(({ code }) => code)).toEqual(Array(10).fill(0));
        // Three layers of noise, busybox is here, and ten times the small things.
        expect(proxy.receivedBytes).toBeLessThan(6_000_000 + 300_000);
        expect(await ok("run", "--rm", through, "wc", "-c", "/noise-2")).toContain("2000000");
        await forget(through);
      } finally {
        proxy.close();
      }
    });

    test("a connection that breaks again and again is gone on with, both ways", async () => {
      const proxy = await FaultProxy.open(peer.port);
      try {
        const name = `${proxy.address}/broken:1`;
        await buildNoise(name, 2, 3_000_000);
        proxy.cutAfterBytes = 1_000_000;
        proxy.cuts = 12;
        await ok("push", name);
        expect(proxy.cuts).toBeLessThan(12);
        await forget(name);
        // A reset would take along what is in the sockets, which nobody can count.
        Object.assign(proxy, { cutsGently: true, cuts: 12, receivedBytes: 0 });
        await ok("pull", name);
        expect(proxy.cuts).toBeLessThan(12);
        // Each byte that came counts: 6 MB are fetched, and the heads of some more answers.
        expect(proxy.receivedBytes).toBeLessThan(7_000_000);
        expect(await ok("run", "--rm", name, "wc", "-c", "/noise-1")).toContain("3000000");
        await forget(name);
      } finally {
        proxy.close();
      }
    });

    test("a pull goes on where a killed engine left it", async () => {
      const proxy = await FaultProxy.open(peer.port);
      try {
        const name = `${proxy.address}/killed:1`;
        const size = 8_000_000;
        await buildNoise(name, 1, size);
        await ok("push", name);
        await forget(name);
        proxy.receivedBytes = 0;
        proxy.bytesPerSecond = 8_000_000;
        const pulling = run("pull", name);
        while (proxy.receivedBytes < size / 2) await Bun.sleep(10);
        await engine.crash();
        expect((await pulling).code).not.toBe(0);
        proxy.bytesPerSecond = undefined;
        const before = proxy.receivedBytes;
        await ok("pull", name);
        expect(proxy.receivedBytes - before).toBeLessThan(size * 0.75);
        expect(await ok("run", "--rm", name, "wc", "-c", "/noise-0")).toContain(String(size));
        await forget(name);
      } finally {
        proxy.close();
      }
    });
  },
);

/** An OCI layout with one image for two platforms; gives the digest of its index. */
function writeLayout(folder: string): string {
  mkdirSync(join(folder, "blobs/sha256"), { recursive: true });
  const put = (bytes: Uint8Array | string, mediaType: string) => {
    const hex = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(folder, "blobs/sha256", hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: Buffer.byteLength(bytes) };
  };
  const type = (name: string) => `application/vnd.oci.image.${name}`;
  const manifests = ["amd64", "arm64"].map((architecture) => {
    const tar = tarOf(`platform-${architecture}`);
    const layer = put(Bun.gzipSync(tar), type("layer.v1.tar+gzip"));
    const diffId = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
    const rootfs = { type: "layers", diff_ids: [diffId] };
    const config = put(
      JSON.stringify({ architecture, os: "linux", rootfs }),
      type("config.v1+json"),
    );
    const manifest = { schemaVersion: 2, mediaType: type("manifest.v1+json"), config };
    const descriptor = put(
      JSON.stringify({ ...manifest, layers: [layer], annotations: { for: architecture } }),
      type("manifest.v1+json"),
    );
    return { ...descriptor, platform: { architecture, os: "linux" } };
  });
  const index = { schemaVersion: 2, mediaType: type("index.v1+json"), manifests };
  const descriptor = put(JSON.stringify(index), type("index.v1+json"));
  const annotations = { "org.opencontainers.image.ref.name": "1" };
  writeFileSync(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(folder, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...descriptor, annotations }] }),
  );
  return descriptor.digest;
}

/** A tar with one file, which holds its own name. */
function tarOf(name: string): Uint8Array<ArrayBuffer> {
  const header = Buffer.alloc(512);
  const field = (text: string, offset: number) => header.write(text, offset, "latin1");
  field(name, 0);
  field("0000644\0", 100);
  field("0000000\0", 108);
  field("0000000\0", 116);
  field(`${name.length.toString(8).padStart(11, "0")}\0`, 124);
  field("00000000000\0", 136);
  field("        ", 148);
  field("0", 156);
  field("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  field(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const body = Buffer.alloc(512);
  body.write(name);
  return new Uint8Array(Buffer.concat([header, body, Buffer.alloc(1024)]));
}
