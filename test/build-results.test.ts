/** Where builds go: archives, folders, registries; the same bytes each time, and `--verify`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, TestEngine, whyNot } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(
  `results of builds${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;
    let registry: ReturnType<typeof Bun.spawn>;
    const port = 20_000 + (process.pid % 20_000);

    beforeAll(async () => {
      engine = await TestEngine.open("results");
      await engine.importBusybox();
      const argv = ["registry", "serve", "--addr", `127.0.0.1:${port}`];
      const data = ["--data-root", join(engine.folder, "registry")];
      registry = Bun.spawn([lading, ...argv, ...data], { stdout: "ignore", stderr: "ignore" });
      await untilServed(`http://127.0.0.1:${port}/v2/`);
    });
    afterAll(async () => {
      registry.kill();
      await registry.exited;
      expect(await engine.close()).toEqual([]);
    });

    const lading = join(import.meta.dir, "../bin/lading");
    async function untilServed(url: string): Promise<void> {
      for (let count = 0; count < 100; count++) {
        if (
          await fetch(url).then(
            () => true,
            () => false,
          )
        )
          return;
        await Bun.sleep(50);
      }
      throw new Error(`nothing at ${url}`);
    }

    const text = `FROM busybox AS made
RUN mkdir /out && echo made > /out/f
FROM busybox
COPY --from=made /out /out
COPY file /file`;

    function context(name: string, dockerfile = text): string {
      const folder = join(engine.folder, name);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "Dockerfile"), dockerfile);
      writeFileSync(join(folder, "file"), "of the context");
      return folder;
    }

    async function build(...args: string[]) {
      const ran = await engine.lading(["build", ...args]);
      if (ran.code !== 0) throw new Error(`${ran.stdout}${ran.stderr}`);
      return ran.stdout;
    }

    const inLayout = (folder: string, digest: string) =>
      readFileSync(join(folder, "blobs/sha256", digest.slice("sha256:".length)));

    test("--verify says the same digest, or what differs and which line made it", async () => {
      const same = await engine.lading(["build", "--verify", "-t", "same", context("same")]);
      const id = await engine.ok(["inspect", "-f", "{{.Id}}", "same"]);
      expect(same.code).toBe(0);
      expect(same.stdout).toContain(`Verified: both builds made ${id}\n`);
      const clock =
        "FROM busybox AS made\nRUN mkdir /o && cat /proc/uptime > /o/now && echo 1 > /o/f\nFROM busybox\nCOPY --from=made /o /o";
      const other = await engine.lading([
        "build",
        "--verify",
        "-t",
        "not",
        context("clock", clock),
      ]);
      expect(other.code).toBe(1);
      expect(other.stderr).toContain("The build is not reproducible");
      expect(other.stderr).toContain("with 1 difference\n  o/now: content (Dockerfile:2 RUN mkdir");
      expect(other.stderr).not.toContain("o/f:");
      expect((await engine.docker(["inspect", "not"])).code).toBe(1);
    });

    test("go into a folder, into archives, to stdout, and into no store", async () => {
      const at = (name: string) => join(engine.folder, name);
      const before = await engine.ok(["images", "-aq"]);
      const outputs = [
        at("out"),
        `type=oci,dest=${at("oci.tar")}`,
        `type=tar,dest=${at("files.tar")}`,
      ];
      const metadata = ["--metadata-file", at("metadata"), "--iidfile", at("iid")];
      await build(...outputs.flatMap((each) => ["-o", each]), ...metadata, context("places"));
      expect(readFileSync(at("out/out/f"), "utf8")).toBe("made\n");
      expect(readFileSync(at("out/file"), "utf8")).toBe("of the context");
      expect(statSync(at("out/bin/busybox")).mode & 0o111).toBe(0o111);
      const { stdout } = await engine.lading(["build", "-o", "-", context("places")]);
      expect(stdout).toBe(readFileSync(at("files.tar"), "utf8"));
      const { "containerimage.config.digest": id } = JSON.parse(
        readFileSync(at("metadata"), "utf8"),
      );
      expect(readFileSync(at("iid"), "utf8")).toBe(id);
      expect(await engine.ok(["images", "-aq"])).toBe(before);
      // Elsewhere, later, without the cache: the same archive.
      await build("--no-cache", "-o", `type=oci,dest=${at("again.tar")}`, context("elsewhere"));
      expect(readFileSync(at("again.tar"))).toEqual(readFileSync(at("oci.tar")));
      const wrong = await engine.lading(["build", "-o", at("iid"), context("places")]);
      expect(wrong.stderr).toContain("is a file, not a folder");
    });

    test("have the compression, media types and annotations that were asked for", async () => {
      const layout = join(engine.folder, "layout");
      const keys = "compression=zstd,force-compression=true,annotation-manifest-descriptor.d=e";
      const output = `type=oci,tar=false,dest=${layout},${keys},name=some/app:1`;
      await build("--annotation", "a=b", "-o", output, context("zstd"));
      const [root] = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")).manifests;
      expect(root.annotations).toEqual({
        d: "e",
        "io.containerd.image.name": "docker.io/some/app:1",
        "org.opencontainers.image.ref.name": "1",
      });
      const manifest = JSON.parse(inLayout(layout, root.digest).toString());
      expect(manifest.annotations).toEqual({ a: "b" });
      const types = manifest.layers.map(({ mediaType }: { mediaType: string }) => mediaType);
      expect(types).toEqual(Array(3).fill("application/vnd.oci.image.layer.v1.tar+zstd"));
      const zstd = Bun.zstdDecompressSync(inLayout(layout, manifest.layers[2].digest));
      expect(zstd.toString("latin1")).toContain("of the context");
      const archive = join(engine.folder, "docker.tar");
      await build(
        "-o",
        `type=docker,dest=${archive},oci-mediatypes=false`,
        "-t",
        "a/b:2",
        context("zstd"),
      );
      expect(await engine.ok(["load", "-i", archive])).toBe("Loaded image: a/b:2");
    });

    test("are pushed: plain, packed otherwise, by digest", async () => {
      const name = `127.0.0.1:${port}/team/app`;
      await build("--push", "-t", `${name}:plain`, context("push"));
      await build("-o", `type=registry,name=${name}:zstd,compression=zstd`, context("push"));
      const byDigest = `type=image,name=${name},push-by-digest=true,annotation.k=v`;
      const file = join(engine.folder, "pushed");
      await build("-o", byDigest, "--metadata-file", file, context("push"));
      const digest = JSON.parse(readFileSync(file, "utf8"))["containerimage.digest"];
      const fetched = async (reference: string) =>
        (await (
          await fetch(`http://127.0.0.1:${port}/v2/team/app/manifests/${reference}`)
        ).json()) as {
          annotations: unknown;
          layers: { mediaType: string }[];
        };
      expect((await fetched(digest)).annotations).toEqual({ k: "v" });
      // The image is in the store already, without annotations.
      await build("--annotation", "k=w", "-t", `${name}:told`, context("push"));
      await engine.ok(["push", "-q", `${name}:told`]);
      expect((await fetched("told")).annotations).toEqual({ k: "w" });
      const types = (await fetched("zstd")).layers.map(({ mediaType }) => mediaType.slice(-4));
      expect(types).toEqual(["zstd", "zstd", "zstd"]);
      await engine.ok(["rmi", "-f", `${name}:plain`, `${name}:zstd`]);
      expect(await engine.ok(["run", "--rm", `${name}:zstd`, "cat", "/out/f"])).toBe("made");
    });

    test("are for curl too: outputs= of POST /build, and GET /build/results", async () => {
      const tar = await command(["tar", "c", "-C", context("curl"), "."]).then(() =>
        Bun.spawnSync(["tar", "c", "-C", context("curl"), "."]),
      );
      const unix = engine.host.slice("unix://".length);
      const outputs = encodeURIComponent('[{"Type":"tar","Attrs":{}}]');
      const url = `http://engine/build?outputs=${outputs}`;
      const answer = await fetch(url, { unix, method: "POST", body: tar.stdout });
      const lines = (await answer.text())
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      const [{ Handle }] = lines.findLast(({ aux }) => aux?.Results)!.aux.Results;
      const get = () => fetch(`http://engine/build/results/${Handle}`, { unix });
      const fetched = await get();
      expect(fetched.headers.get("content-type")).toBe("application/x-tar");
      expect(Buffer.from(await fetched.arrayBuffer()).toString("latin1")).toContain(
        "of the context",
      );
      expect((await get()).status).toBe(404);
      const work = join(engine.dataRoot, "build/work");
      expect(existsSync(work) ? readdirSync(work) : []).toEqual([]);
    });

    const cross = `FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETARCH
RUN echo "for $TARGETARCH" > /app
FROM scratch
COPY --from=build /app /app`;

    test("are an index for several platforms, a folder for each, or a clear refusal", async () => {
      const both = ["--platform", "linux/amd64,linux/arm64"];
      const folder = join(engine.folder, "cross");
      await build(...both, "-o", folder, context("cross-context", cross));
      for (const name of ["amd64", "arm64"]) {
        expect(readFileSync(join(folder, `linux_${name}/app`), "utf8")).toBe(`for ${name}\n`);
      }
      const name = `127.0.0.1:${port}/team/cross:1`;
      await build(...both, "--push", "-t", name, context("cross-context", cross));
      const answer = await fetch(`http://127.0.0.1:${port}/v2/team/cross/manifests/1`, {
        headers: { accept: "application/vnd.oci.image.index.v1+json" },
      });
      const { manifests } = (await answer.json()) as { manifests: { platform: object }[] };
      expect(manifests.map(({ platform }) => platform)).toEqual([
        { architecture: "amd64", os: "linux" },
        { architecture: "arm64", os: "linux" },
      ]);
      const stored = `127.0.0.1:${port}/team/stored:1`;
      await build(...both, "-t", stored, "--provenance=true", context("cross-context", cross));
      expect(await engine.ok(["push", stored])).not.toContain("is not here");
      const whole = await fetch(`http://127.0.0.1:${port}/v2/team/stored/manifests/1`, {
        headers: { accept: "application/vnd.oci.image.index.v1+json" },
      });
      expect(((await whole.json()) as { manifests: object[] }).manifests).toHaveLength(4);
      const foreign = "FROM scratch\nCOPY --chmod=755 program /bin/sh\nRUN true";
      const place = context("foreign", foreign);
      const elf = Buffer.alloc(64);
      elf.write("\x7fELF\x02\x01\x01", "latin1");
      elf.writeUInt16LE(2, 16);
      elf.writeUInt16LE(22, 18); // s390x
      writeFileSync(join(place, "program"), elf);
      const refused = await engine.lading(["build", "--platform", "linux/s390x", place]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain("Cannot run a command of linux/s390x on linux/");
      expect(refused.stderr).toContain("qemu-s390x");
    });

    test("carry provenance and a list of software, the same each time", async () => {
      const layout = join(engine.folder, "attested");
      const text = "FROM busybox\nARG v\nCOPY package.json /node_modules/x/package.json\nRUN true";
      const place = context("attest", text);
      writeFileSync(join(place, "package.json"), '{"name":"x","version":"1.2.3"}');
      const flags = ["--provenance=mode=max", "--sbom=true", "--build-arg", "v=1", "-t", "a:1"];
      await build(...flags, "-o", `type=oci,tar=false,dest=${layout}`, place);
      const [root] = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")).manifests;
      const [image, attached] = JSON.parse(inLayout(layout, root.digest).toString()).manifests;
      expect(attached.annotations).toEqual({
        "vnd.docker.reference.digest": image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
      });
      expect(attached.platform).toEqual({ architecture: "unknown", os: "unknown" });
      const { layers } = JSON.parse(inLayout(layout, attached.digest).toString());
      const kinds = layers.map((layer: { annotations: Record<string, string> }) => {
        return layer.annotations["in-toto.io/predicate-type"];
      });
      expect(kinds).toEqual(["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"]);
      const [sbom, made] = layers.map(({ digest }: { digest: string }) =>
        JSON.parse(inLayout(layout, digest).toString()),
      );
      expect(sbom.subject).toEqual([
        {
          name: "pkg:docker/a@1?platform=linux%2Famd64",
          digest: { sha256: image.digest.slice(7) },
        },
      ]);
      const names = sbom.predicate.packages.map(({ name }: { name: string }) => name);
      expect(names).toEqual(["image", "x"]);
      const { buildDefinition } = made.predicate;
      expect(buildDefinition.externalParameters.request.args).toEqual({ "build-arg:v": "1" });
      expect(buildDefinition.resolvedDependencies[0].uri).toStartWith("pkg:docker/busybox@latest");
      const again = join(engine.folder, "attested-again");
      await build(...flags, "-o", `type=oci,tar=false,dest=${again}`, context("attest", text));
      const index = (folder: string) => readFileSync(join(folder, "index.json"), "utf8");
      expect(index(again)).toBe(index(layout));
      await build(...flags, place);
      expect(await engine.ok(["images", "-q", "a:1"])).not.toBe("");
    });

    test("heed the arguments that are the builder's own: inline cache, index, scans of stages", async () => {
      const text = `ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
FROM busybox AS tools
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY one.json /node_modules/one/package.json
FROM busybox
COPY --from=tools /etc/passwd /p`;
      const place = context("own-arguments", text);
      writeFileSync(join(place, "one.json"), '{"name":"one","version":"1.0.0"}');
      mkdirSync(join(place, "node_modules/two"), { recursive: true });
      writeFileSync(
        join(place, "node_modules/two/package.json"),
        '{"name":"two","version":"2.0.0"}',
      );
      const made = async (...flags: string[]) => {
        const layout = join(engine.folder, `own-${Math.random()}`);
        await build(...flags, "-o", `type=oci,tar=false,dest=${layout}`, place);
        const [root] = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")).manifests;
        const read = (digest: string) => JSON.parse(inLayout(layout, digest).toString());
        return { read, root: read(root.digest) };
      };
      const inline = await made("--build-arg", "BUILDKIT_INLINE_CACHE=1");
      expect(inline.read(inline.root.config.digest)["lading.buildcache.v1"]).toContain("steps");
      const index = await made("--build-arg", "BUILDKIT_MULTI_PLATFORM=true");
      expect(index.root.manifests).toHaveLength(1);
      const { root, read } = await made("--sbom=true");
      const { layers } = read(root.manifests[1].digest);
      const lists = layers.map(({ digest }: { digest: string }) => {
        const { name, packages } = read(digest).predicate;
        return [name, packages.slice(1).map((each: { name: string }) => each.name)];
      });
      expect(lists).toEqual([
        ["sbom", []],
        ["sbom-tools", ["one"]],
        ["sbom-context", ["two"]],
      ]);
    });

    test("of all targets of a bake file come in one go, and shared steps are done once", async () => {
      const folder = join(engine.folder, "bake");
      mkdirSync(folder);
      const file = `variable "N" { default = 1 }
group "default" { targets = ["app", "many"] }
target "base" { dockerfile-inline = "FROM busybox\\nRUN echo base > /base" }
target "app" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nARG V\\nRUN echo v$V >> /base"
  args = { V = N + 1 }
  tags = ["baked:app"]
  output = ["type=docker", { type = "local", dest = "out" }]
}
target "many" {
  name = "many-\${n}"
  matrix = { n = ["a", "b", "c"] }
  dockerfile-inline = "FROM busybox\\nRUN sleep 0.3; cat /proc/sys/kernel/random/uuid > /id"
  tags = ["baked:\${n}"]
}`;
      writeFileSync(join(folder, "docker-bake.hcl"), file);
      const options = { cwd: folder, env: { N: "4" } };
      const shown = await engine.lading(["bake", "--print", "app"], options);
      expect(JSON.parse(shown.stdout).target.app.args).toEqual({ V: "5" });
      const ran = await engine.lading(["bake", "--metadata-file", "made.json"], options);
      expect(ran.stderr).toBe("");
      expect(ran.code).toBe(0);
      expect(readFileSync(join(folder, "out/base"), "utf8")).toBe("base\nv5\n");
      const made = JSON.parse(readFileSync(join(folder, "made.json"), "utf8"));
      const ids = ["a", "b", "c"].map((n) => made[`many-${n}`]["containerimage.config.digest"]);
      expect(new Set(ids).size).toBe(1);
      expect(await engine.ok(["inspect", "-f", "{{.Id}}", "baked:b"])).toBe(ids[0]);
      const wrong = await engine.lading(["bake", "ap"], options);
      expect(wrong.stderr).toContain("failed to find target ap\nDid you mean app?");
    });
  },
);
