/** Work with registries from the command line: credentials, manifests, copies. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { busyboxTar, command, lading, TestEngine, whyNot } from "./engine.ts";
import { OwnRegistry, PeerRegistry, whyNoPeer } from "./registry-peer.ts";

const why = whyNot ?? whyNoPeer;
const timeoutMs = 60_000;

interface Platformed {
  readonly platform?: object;
  readonly artifactType?: string;
}

const tar = why ? new Uint8Array() : busyboxTar();

/** A layout of one artifact, as `oras attach` makes it, that refers to `subject`. */
function writeLayout(folder: string, subject: object): void {
  mkdirSync(join(folder, "blobs/sha256"), { recursive: true });
  const put = (text: string, mediaType: string) => {
    const hex = createHash("sha256").update(text).digest("hex");
    writeFileSync(join(folder, "blobs/sha256", hex), text);
    return { mediaType, digest: `sha256:${hex}`, size: Buffer.byteLength(text) };
  };
  const type = "application/vnd.oci.image.manifest.v1+json";
  const manifest = {
    schemaVersion: 2,
    mediaType: type,
    artifactType: "application/vnd.example.sbom",
    config: put("{}", "application/vnd.oci.empty.v1+json"),
    layers: [put('{"packages":[]}', "application/spdx+json")],
    subject,
  };
  const annotations = { "org.opencontainers.image.ref.name": "sbom" };
  const descriptor = { ...put(JSON.stringify(manifest), type), annotations };
  const index = { schemaVersion: 2, manifests: [descriptor] };
  writeFileSync(join(folder, "index.json"), JSON.stringify(index));
  writeFileSync(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
}

describe.skipIf(why !== undefined)(
  `registries from the command line${why ? `: ${why}` : ""}`,
  () => {
    let engine: TestEngine;
    let peer: PeerRegistry;
    let ours: OwnRegistry;

    beforeAll(async () => {
      [engine, peer, ours] = await Promise.all([
        TestEngine.open("regcli"),
        PeerRegistry.open(),
        OwnRegistry.open(),
      ]);
      await engine.importBusybox();
    }, timeoutMs);

    afterAll(async () => {
      await peer?.close();
      await ours?.close();
      expect(await engine?.close()).toEqual([]);
    }, timeoutMs);

    test(
      "lading login keeps the password encrypted, and the docker client reads it",
      async () => {
        const guarded = await PeerRegistry.open({ alice: "secret word" });
        try {
          const config = join(engine.folder, "vault");
          const env = {
            DOCKER_CONFIG: config,
            LADING_CREDENTIALS_KEY: join(engine.folder, "key"),
            PATH: `${dirname(lading)}:${process.env["PATH"]}`,
          };
          const name = `${guarded.address}/app:1`;
          await engine.ok(["tag", "busybox", name]);
          const login = (input: string, ...flags: string[]) =>
            engine.lading(["login", ...flags, "-u", "alice", "--password-stdin", guarded.address], {
              input,
              env,
            });
          expect((await login("wrong")).stderr).toContain("unauthorized");
          expect(existsSync(join(config, "config.json"))).toBe(false);
          const { stdout, stderr } = await login("secret word");
          expect(stdout).toContain("Login Succeeded");
          expect(stderr).toContain("stored encrypted");
          expect(readFileSync(join(config, "config.json"), "utf8")).not.toContain('auth":');
          for (const client of ["docker", "lading"] as const) {
            const { code } = await engine[client](["push", name], { env });
            expect(code).toBe(0);
          }
          const logout = await engine.docker(["logout", guarded.address], { env });
          expect(logout.stdout).toContain("Removing login credentials");
          expect((await engine.lading(["push", name], { env })).stderr).toContain("unauthorized");
          expect((await login("secret word", "--plain-text")).stderr).toContain("unencrypted");
          expect((await engine.docker(["push", name], { env })).code).toBe(0);
        } finally {
          await guarded.close();
        }
      },
      timeoutMs,
    );

    const raw = async (name: string) => {
      const { stdout } = await engine.lading(["registry", "inspect", name]);
      return JSON.parse(stdout) as { mediaType: string; manifests: Platformed[] };
    };

    test.each(["docker", "lading"] as const)(
      "%s manifest joins two platforms under one name, at either registry",
      async (client) => {
        for (const at of [peer.address, ours.address]) {
          const [list, one, two] = [`${at}/${client}/app:all`, `${at}/a/x:1`, `${at}/b/y:1`];
          await engine.ok(["tag", "busybox", one]);
          await engine.ok(["import", "--platform", "linux/arm64", "-", two], {
            input: tar,
          });
          for (const name of [one, two]) await engine.ok(["push", name]);
          const manifest = async (...words: string[]) => {
            const reaching = ["create", "inspect", "push"].includes(words[0]!)
              ? ["--insecure"]
              : [];
            const ran = await engine[client]([
              "manifest",
              words[0]!,
              ...reaching,
              ...words.slice(1),
            ]);
            if (ran.code !== 0) throw new Error(`manifest ${words.join(" ")}: ${ran.stderr}`);
            return ran.stdout;
          };
          expect(await manifest("create", list, one)).toContain("Created manifest list");
          await expect(manifest("create", list, two)).rejects.toThrow("refusing to amend");
          await manifest("create", "--amend", list, two);
          await manifest("annotate", "--variant", "v8", "--os-features", "sse4", list, two);
          await expect(manifest("annotate", "--arch", "arm", list, `${at}/a/x:3`)).rejects.toThrow(
            "does not exist",
          );
          const kept = JSON.parse(await manifest("inspect", list)) as { manifests: Platformed[] };
          expect(kept.manifests[1]?.platform).toEqual({
            ...{ architecture: "arm64", os: "linux", variant: "v8" },
            "os.features": ["sse4"],
          });
          const digest = (await manifest("push", "--purge", list)).trim().split("\n").at(-1)!;
          expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
          await expect(manifest("rm", list)).rejects.toThrow("No such manifest");
          expect(await raw(`${at}/${client}/app@${digest}`)).toEqual(await raw(list));
          const verbose = JSON.parse(await manifest("inspect", "-v", list)) as object[];
          expect(verbose.length).toBe(2);
          await expect(manifest("inspect", `${at}/a/x:none`)).rejects.toThrow("no such manifest");
          await expect(manifest("create", `${at}/a/z:1`, list)).rejects.toThrow(
            "is a manifest list",
          );
          await engine.ok(["pull", "-q", "--platform", "linux/arm64", list]);
          const about = await engine.ok(["inspect", "-f", "{{.Architecture}}", list]);
          expect(about).toBe("arm64");
          const alone = `${at}/${client}/alone:1`;
          await engine.ok(["tag", list, alone]);
          const push = (platform: string) =>
            engine[client](["push", "-q", "--platform", platform, alone]);
          expect((await push("linux/s390x")).stderr).toContain("linux/s390x");
          await expect(raw(alone)).rejects.toThrow();
          expect((await push("linux/arm64")).code).toBe(0);
          expect((await raw(alone)).manifests).toBeUndefined(); // one platform's manifest, no index
          await engine.ok(["rmi", "-f", list, one, two, alone]);
        }
      },
      timeoutMs,
    );

    test(
      "registry copy carries an index and what refers to it everywhere, by digest",
      async () => {
        const [a, b] = [`${peer.address}/from/app`, `${ours.address}/to/app`];
        const index = await seed(a);
        const copy = async (...words: string[]) => {
          const ran = await engine.lading(["registry", "copy", ...words]);
          if (ran.code !== 0) throw new Error(`registry copy ${words.join(" ")}: ${ran.stderr}`);
          return ran.stdout.trim();
        };
        const layout = join(engine.folder, "oci");
        const [first, second] = [join(engine.folder, "oci.tar"), join(engine.folder, "docker.tar")];
        expect(await copy(`${a}:1`, `oci:${layout}:one`)).toBe(`${layout}@${index}`);
        await copy(`oci:${layout}:one`, `oci-archive:${first}`);
        await copy(`oci-archive:${first}`, `docker-archive:${second}:team/app:1`);
        await expect(copy(`docker-archive:${second}:team/app:2`, `${b}:2`)).rejects.toThrow(
          "There are docker.io/team/app:1",
        );
        expect(await copy(`docker-archive:${second}:team/app:1`, `${b}:2`)).toBe(`${b}@${index}`);
        expect(await copy(`${b}:2`, `${peer.address}/back/app:3`)).toEndWith(index);
        expect(await raw(`${peer.address}/back/app:3`)).toEqual(await raw(`${a}:1`));
        const tag = index.replace(":", "-");
        for (const name of [`${peer.address}/back/app:${tag}`, `${peer.address}/from/app:${tag}`]) {
          expect((await raw(name)).manifests.map(({ artifactType }) => artifactType)).toEqual([
            "application/vnd.example.sbom",
          ]);
        }
        const answer = await fetch(`http://${ours.address}/v2/to/app/referrers/${index}`);
        expect(((await answer.json()) as { manifests: object[] }).manifests.length).toBe(1);
        // Every reader of such an archive takes it.
        await engine.ok(["load", "-i", second]);
        expect(await engine.ok(["run", "--rm", "team/app:1", "echo", "ran"])).toBe("ran");
        await engine.ok(["rmi", "-f", "team/app:1"]);
        const skopeo = await command(["skopeo", "inspect", "--raw", `oci:${layout}:one`]);
        expect(JSON.parse(skopeo.stdout)).toEqual(await raw(`${a}:1`));
      },
      timeoutMs,
    );

    test.each(["docker", "lading"] as const)(
      "%s pushes and pulls all tags of a repository, and searches a registry for it",
      async (client) => {
        const name = `${ours.address}/many/${client}`;
        const run = async (...words: string[]) => (await engine[client](words)).stdout.trim();
        for (const tag of ["1", "2"]) await engine.ok(["tag", "busybox", `${name}:${tag}`]);
        expect(await run("push", "-aq", name)).toBe(name);
        await engine.ok(["rmi", `${name}:1`, `${name}:2`]);
        expect(await run("pull", "-aq", name)).toBe(name);
        expect((await engine.ok(["images", "-q", name])).split("\n").length).toBe(2);
        expect(await run("search", "--format", "{{.Name}}", name)).toBe(name);
        const starred = ["--filter", "stars=1", name];
        expect(await run("search", "--format", "{{.Name}}", ...starred)).toBe("");
        const wrong = await engine[client](["search", "--filter", "foo=1", name]);
        expect(wrong.stderr).toContain("invalid filter 'foo'");
        await engine.ok(["rmi", `${name}:1`, `${name}:2`]);
      },
      timeoutMs,
    );

    test(
      "registry copy goes into the store and out of it",
      async () => {
        const name = `${peer.address}/from/store:1`;
        const digest = await seed(name.slice(0, -2));
        const copy = async (...words: string[]) =>
          (await engine.lading(["registry", "copy", ...words])).code;
        expect(await copy(name, "store:mine:1")).toBe(0);
        expect(await engine.ok(["run", "--rm", "mine:1", "echo", "ran"])).toBe("ran");
        expect(await engine.ok(["images", "-q", name])).toBe("");
        const other = `${ours.address}/out/store:2`;
        expect(await copy("store:mine:1", other)).toBe(0);
        expect((await raw(other)).mediaType).toContain("manifest");
        const old = join(engine.folder, "old.tar");
        expect(await copy("store:mine:1", `docker-archive:${old}:mine:2`)).toBe(0);
        expect(await copy(`docker-archive:${old}:mine:2`, "store:mine:3")).toBe(0);
        const ids = await engine.ok(["inspect", "-f", "{{.Id}}", "mine:1", "mine:3"]);
        expect(new Set(ids.split("\n")).size).toBe(1);
        expect(await copy("store:none:1", other)).toBe(1);
        expect(digest).toStartWith("sha256:");
        await engine.ok(["rmi", "-f", "mine:1", "mine:3"]);
      },
      timeoutMs,
    );

    /** An index of two platforms with an SBOM that refers to it, tagged 1; its digest. */
    async function seed(repository: string): Promise<string> {
      const list = `${repository}:1`;
      for (const arch of ["amd64", "arm64"]) {
        const name = `${repository}:${arch}`;
        const words = ["import", "--platform", `linux/${arch}`, "-c", 'CMD ["sh"]', "-", name];
        await engine.ok(words, { input: tar });
        await engine.ok(["push", name]);
        await engine.ok(["rmi", name]);
      }
      const both = [`${repository}:amd64`, `${repository}:arm64`];
      await engine.lading(["manifest", "create", list, ...both]);
      const pushed = await engine.lading(["manifest", "push", "-p", list]);
      const digest = pushed.stdout.trim().split("\n").at(-1)!;
      const { mediaType } = await raw(list);
      const size = JSON.stringify(await raw(list)).length;
      const layout = join(engine.folder, `sbom-${crypto.randomUUID()}`);
      writeLayout(layout, { mediaType, digest, size });
      const target = `${repository}:sbom`;
      const ran = await engine.lading(["registry", "copy", `oci:${layout}`, target]);
      expect(ran.stderr + ran.stdout).toContain("manifest");
      return digest;
    }
  },
);
