/** A registry in the engine's own process: `lading daemon --registry`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxTar, command, lading, TestEngine, whyNot } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(
  `a registry beside the engine${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;
    let at: string;
    const ok = (...args: string[]) => engine.ok(args);

    beforeAll(async () => {
      using free = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
      at = `127.0.0.1:${free.port}`;
      free.stop(true);
      engine = await TestEngine.open("beside", [`--registry=${at}`]);
      await engine.importBusybox();
    });
    afterAll(async () => {
      expect(await engine.close()).toEqual([]);
    });

    const upkeep = (...words: string[]) =>
      command([lading, "registry", ...words, "--data-root", engine.dataRoot]);
    const engines = () => join(engine.dataRoot, "content/blobs/sha256");
    const registrys = () => join(engine.dataRoot, "registry/content/blobs/sha256");
    const here = (folder: string, hex: string) => existsSync(join(folder, hex));

    async function build(name: string, bytes = 100_000): Promise<void> {
      const context = join(engine.folder, "context");
      mkdirSync(context, { recursive: true });
      writeFileSync(join(context, "noise"), randomBytes(bytes));
      writeFileSync(join(context, "Dockerfile"), "FROM busybox\nCOPY noise /noise\n");
      await ok("build", "-q", "-t", name, context);
    }

    /** Hex digits of the layers' blobs. */
    async function layersOf(name: string): Promise<string[]> {
      const [path, tag] = name.slice(at.length + 1).split(":");
      const accept = {
        Accept:
          "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
      };
      const answer = await fetch(`http://${at}/v2/${path}/manifests/${tag}`, { headers: accept });
      const { layers } = (await answer.json()) as { layers: { digest: string }[] };
      return layers.map(({ digest }) => digest.slice("sha256:".length));
    }

    test("what is pushed and pulled is one file on the disk, and each side removes only its own", async () => {
      const name = `${at}/team/app:1`;
      await build(name);
      await ok("push", "-q", name);
      await ok("rmi", "-f", name, "busybox");
      await ok("builder", "prune", "-af");
      expect(await ok("run", "--rm", name, "wc", "-c", "/noise")).toContain("100000");
      const layers = await layersOf(name);
      expect(layers.length).toBe(2);
      for (const hex of layers) {
        const [mine, theirs] = [engines(), registrys()].map((folder) =>
          statSync(join(folder, hex)),
        );
        expect([mine?.ino, mine?.nlink]).toEqual([theirs?.ino, 2]);
      }
      const digest = (await ok("inspect", "-f", "{{index .RepoDigests 0}}", name)).split("@")[1];

      expect(
        (await fetch(`http://${at}/v2/team/app/manifests/${digest}`, { method: "DELETE" })).status,
      ).toBe(202);
      const dry = await upkeep("gc", "--grace", "0s", "--history", "0s", "--dry-run", "--explain");
      expect(dry.stdout).toMatch(
        new RegExp(`blob sha256:${layers[1]} .*its room stays taken, the engine has it`),
      );
      const gc = await upkeep("gc", "--grace", "0s", "--history", "0s");
      expect(gc.stdout).toMatch(/gone: 4 blobs of \d+ bytes \(\d+ of them the engine has\)/);
      expect(gc).toMatchObject({ code: 0, stdout: expect.stringContaining("gone: 4 blobs") });
      expect(layers.map((hex) => [here(registrys(), hex), here(engines(), hex)])).toEqual([
        [false, true],
        [false, true],
      ]);
      expect(await ok("push", name)).toContain(digest!); // from what the engine kept
      for (const hex of layers) expect(statSync(join(registrys(), hex)).nlink).toBe(2);

      await ok("rmi", "-f", name);
      expect(layers.map((hex) => [here(registrys(), hex), here(engines(), hex)])).toEqual([
        [true, false],
        [true, false],
      ]);
      expect(await ok("run", "--rm", name, "wc", "-c", "/noise")).toContain("100000");
      await ok("tag", name, "busybox");
    });

    test("an image known by sha512 is pulled, run, saved, loaded and pushed as it is", async () => {
      const hash = (bytes: string | Uint8Array, how = "sha512") =>
        `${how}:${createHash(how).update(bytes).digest("hex")}`;
      const type = (what: string) => `application/vnd.oci.image.${what}`;
      const url = `http://${at}/v2/team/long`;
      const blob = async (mediaType: string, body: string | Uint8Array<ArrayBuffer>) => {
        const digest = hash(body);
        const answer = await fetch(`${url}/blobs/uploads/?digest=${digest}`, {
          method: "POST",
          body,
        });
        expect(answer.status).toBe(201);
        return { mediaType, digest, size: Buffer.byteLength(body) };
      };
      const tar = new Uint8Array(Buffer.concat([busyboxTar(), Buffer.alloc(1024)])); // no other's layer
      const rootfs = { type: "layers", diff_ids: [hash(tar, "sha256")] };
      const about = { architecture: process.arch === "x64" ? "amd64" : "arm64", os: "linux" };
      const config = JSON.stringify({ ...about, config: { Cmd: ["echo", "long"] }, rootfs });
      const manifest = JSON.stringify({
        ...{ schemaVersion: 2, mediaType: type("manifest.v1+json") },
        config: await blob(type("config.v1+json"), config),
        layers: [await blob(type("layer.v1.tar"), tar)],
      });
      const digest = hash(manifest);
      const headers = { "Content-Type": type("manifest.v1+json") };
      const put = await fetch(`${url}/manifests/${digest}?tag=v1`, {
        method: "PUT",
        body: manifest,
        headers,
      });
      expect(put.status).toBe(201);
      const name = `${at}/team/long`;
      expect(await ok("run", "--rm", `${name}:v1`)).toBe("long");
      expect(await ok("inspect", "-f", "{{.Id}} {{index .RepoDigests 0}}", `${name}:v1`)).toBe(
        `${hash(config, "sha256")} ${name}@${digest}`,
      );
      const archive = join(engine.folder, "long.tar");
      await ok("save", "-o", archive, `${name}:v1`);
      await ok("rmi", `${name}:v1`);
      await ok("load", "-i", archive);
      await ok("tag", `${name}:v1`, `${at}/team/again:v1`);
      expect(await ok("push", `${at}/team/again:v1`)).toContain(`v1: digest: ${digest} `);
      const copied = await engine.lading(["registry", "copy", `${name}:v1`, `${at}/team/copy:v1`]);
      expect(copied.stdout).toBe(`${at}/team/copy@${digest}\n`);
      for (const path of ["team/again", "team/copy"]) {
        const there = await fetch(`http://${at}/v2/${path}/manifests/v1`, { method: "HEAD" });
        expect(there.headers.get("Docker-Content-Digest")).toBe(digest);
        const other = await fetch(`http://${at}/v2/${path}/manifests/${hash(manifest, "sha256")}`);
        expect(other.status).toBe(404);
      }
      await ok("pull", `${name}@${digest}`);
      expect(await ok("run", "--rm", `${name}@${digest}`)).toBe("long");
    });

    test("kill -9 in the middle of pushes: both go on with what they have, and the next push ends", async () => {
      const name = `${at}/team/large:1`;
      await build(name, 40_000_000);
      const pushes = Promise.all([
        engine.docker(["push", name]),
        Bun.sleep(150).then(() => engine.end("SIGKILL")),
      ]);
      expect((await pushes)[0].code).not.toBe(0);
      await engine.start();
      expect((await upkeep("fsck")).stdout).toContain("damaged: 0");
      expect(await ok("push", name)).toContain("digest: sha256:");
      const again = `${at}/team/app:1`;
      expect(await ok("pull", again)).toContain("Image is up to date");
      expect(readdirSync(join(engine.dataRoot, "registry/uploads"))).toEqual([]);
      expect((await upkeep("fsck")).code).toBe(0);
    });

    test("the data root is one engine's: no other registry serves it, and gc works on it when nobody does", async () => {
      const other = await command([
        lading,
        "registry",
        "serve",
        "--addr=127.0.0.1:0",
        `--data-root=${engine.dataRoot}`,
      ]);
      expect([other.code, other.stderr]).toEqual([
        1,
        expect.stringContaining("another process uses this data root"),
      ]);
      await engine.end();
      expect((await upkeep("gc", "--dry-run")).stdout).toContain("would go: 0 blobs");
      await engine.start();
      expect(await ok("pull", `${at}/team/app:1`)).toContain("Image is up to date");
    });
  },
);
