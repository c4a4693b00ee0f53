/** Our registry with TLS, users and rules, as other people's clients see it: docker, skopeo, curl. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openS3Laboratory } from "../src/content/s3-laboratory.ts";
import { command, TestEngine, whyNot as whyNoEngine } from "./engine.ts";
import { OwnRegistry, PeerRegistry, whyNoPeer } from "./registry-peer.ts";

const whyNot = whyNoEngine ?? whyNoPeer;
const sha256 = (text: string | Uint8Array) =>
  `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** An OCI layout with one image for two platforms. */
function writeLayout(folder: string): string {
  mkdirSync(join(folder, "blobs/sha256"), { recursive: true });
  const blob = (mediaType: string, value: object | string) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const digest = sha256(text);
    writeFileSync(join(folder, "blobs/sha256", digest.slice(7)), text);
    return { mediaType, digest, size: Buffer.byteLength(text) };
  };
  const type = (what: string) => `application/vnd.oci.image.${what}.v1+json`;
  const manifests = ["amd64", "arm64"].map((architecture) => {
    const layer = blob(
      "application/vnd.oci.image.layer.v1.tar",
      `${architecture}\0`.padEnd(10_240, "\0"),
    );
    const rootfs = { type: "layers", diff_ids: [layer.digest] };
    const config = blob(type("config"), { architecture, os: "linux", config: {}, rootfs });
    const manifest = { schemaVersion: 2, mediaType: type("manifest"), config, layers: [layer] };
    return { ...blob(type("manifest"), manifest), platform: { architecture, os: "linux" } };
  });
  const index = blob(type("index"), { schemaVersion: 2, mediaType: type("index"), manifests });
  const named = { ...index, annotations: { "org.opencontainers.image.ref.name": "v1" } };
  writeFileSync(
    join(folder, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [named] }),
  );
  writeFileSync(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  return index.digest;
}

describe.skipIf(whyNot !== undefined)(
  `our registry with TLS and rules${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let ours: OwnRegistry;
    let peer: PeerRegistry;
    let engine: TestEngine;

    beforeAll(async () => {
      const hash = async (name: string) =>
        (await command(["htpasswd", "-Bbn", "-C", "4", name, name])).stdout
          .trim()
          .slice(name.length + 1);
      const [anna, robot] = await Promise.all([hash("anna"), hash("ci")]);
      const config = {
        tls: { cert: "server.crt", key: "server.key" },
        htpasswd: "users",
        users: { anna },
        robots: {
          ci: { password: robot, rules: [{ repositories: ["build/*"], actions: ["push"] }] },
        },
        rules: [
          { repositories: ["public/**"], who: ["anonymous"], actions: ["pull"] },
          { repositories: ["team/**", "public/**"], who: ["anna"], actions: ["push", "delete"] },
          { repositories: ["team/**"], who: ["users"], actions: ["pull"] },
        ],
      };
      ours = await OwnRegistry.open(config, async (folder) => {
        const names = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"];
        const files = ["-keyout", join(folder, "server.key"), "-out", join(folder, "server.crt")];
        const ran = await command([
          "openssl",
          "req",
          "-x509",
          "-newkey",
          "rsa:2048",
          "-nodes",
          ...names,
          ...files,
        ]);
        expect(ran.code).toBe(0);
        mkdirSync(join(folder, "certs"));
        writeFileSync(join(folder, "certs/ca.crt"), readFileSync(join(folder, "server.crt")));
        writeFileSync(join(folder, "users"), `ben:${await hash("ben")}\n`);
      });
      [peer, engine] = await Promise.all([PeerRegistry.open(), TestEngine.open("serve")]);
      await engine.importBusybox();
    });
    afterAll(async () => {
      await Promise.all([ours.close(), peer.close()]);
      expect(await engine.close()).toEqual([]);
    });

    const skopeo = (...words: string[]) => command(["skopeo", ...words]);
    const trusting = (side: string) => [`--${side}cert-dir`, join(ours.folder, "certs")];
    const as = (user: string) => ["--creds", `${user}:${user}`];

    test("skopeo copies two platforms in and out, and to Debian's registry and back, digest for digest", async () => {
      const digest = writeLayout(join(ours.folder, "layout"));
      const layout = `oci:${join(ours.folder, "layout")}:v1`;
      const [name, theirs] = [
        `docker://${ours.address}/team/app:v1`,
        `docker://${peer.address}/app:v1`,
      ];
      const creds = (side: string) => [`--${side}-creds`, "anna:anna"];
      const copy = async (...words: string[]) => {
        const ran = await skopeo("copy", "--all", "--quiet", "--preserve-digests", ...words);
        expect([ran.code, ran.stderr]).toEqual([0, ""]);
      };
      await copy(...trusting("dest-"), ...creds("dest"), layout, name);
      await copy(...trusting("src-"), ...creds("src"), "--dest-tls-verify=false", name, theirs);
      const back = `docker://${ours.address}/team/back:v1`;
      await copy(...trusting("dest-"), ...creds("dest"), "--src-tls-verify=false", theirs, back);
      for (const [at, ...how] of [
        [name, ...trusting(""), ...as("anna")],
        [back, ...trusting(""), ...as("ben")],
        [theirs, "--tls-verify=false"],
      ] as const) {
        const raw = await skopeo("inspect", "--raw", ...how, at);
        expect(sha256(raw.stdout.trimEnd())).toBe(digest); // skopeo ends it with a new line
        expect(JSON.parse(raw.stdout).manifests.length).toBe(2);
      }
      const image = await skopeo(
        "inspect",
        "--override-arch",
        "arm64",
        ...trusting(""),
        ...as("ben"),
        name,
      );
      expect(JSON.parse(image.stdout)).toMatchObject({ Architecture: "arm64" });
    });

    test("each user gets what the rules say, over TLS alone", async () => {
      const name = (path: string) => `docker://${ours.address}/${path}`;
      const layout = `oci:${join(ours.folder, "layout")}:v1`;
      const push = async (user: string, path: string) =>
        (
          await skopeo(
            "copy",
            "--quiet",
            ...trusting("dest-"),
            "--dest-creds",
            `${user}:${user}`,
            layout,
            name(path),
          )
        ).code;
      const look = async (path: string, ...how: string[]) =>
        (await skopeo("inspect", "--raw", ...trusting(""), ...how, name(path))).code;
      expect(await push("anna", "public/tool:v1")).toBe(0);
      expect(await push("ci", "build/app:v1")).toBe(0);
      expect(await push("ci", "team/app:v2")).not.toBe(0);
      expect(await push("ben", "team/app:v2")).not.toBe(0);
      expect(await look("public/tool:v1")).toBe(0);
      expect(await look("team/app:v1")).not.toBe(0);
      expect(await look("team/app:v1", ...as("ben"))).toBe(0);
      expect(await look("build/app:v1", ...as("ben"))).not.toBe(0);
      expect(
        (await skopeo("inspect", "--raw", ...as("ben"), name("team/app:v1"))).stderr,
      ).toContain("certificate");
      const catalog = await command([
        "curl",
        "-s",
        "--cacert",
        join(ours.folder, "server.crt"),
        "-u",
        "ben:ben",
        `https://${ours.address}/v2/_catalog`,
      ]);
      expect(JSON.parse(catalog.stdout)).toEqual({
        repositories: ["public/tool", "team/app", "team/back"],
      });
      const plain = await command([
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        `http://${ours.address}/v2/`,
      ]);
      expect(plain.stdout).toBe("000");
    });

    test("docker logs in, pushes and pulls; without a login it is told no", async () => {
      const name = `${ours.address}/team/busybox:1`;
      await engine.ok(["tag", "busybox", name]);
      const denied = await engine.docker(["push", name]);
      expect([denied.code, denied.stderr]).toEqual([
        1,
        expect.stringMatching(/denied|authentication required|unauthorized/),
      ]);
      const wrong = await engine.docker(["login", "-u", "anna", "--password-stdin", ours.address], {
        input: "guess",
      });
      expect(wrong.code).toBe(1);
      await engine.ok(["login", "-u", "anna", "--password-stdin", ours.address], { input: "anna" });
      const pushed = await engine.ok(["push", name]);
      await engine.ok(["rmi", name]);
      await engine.ok(["pull", "-q", name]);
      const digest = (await engine.ok(["inspect", "-f", "{{index .RepoDigests 0}}", name])).split(
        "@",
      )[1]!;
      expect(pushed).toContain(digest);
      await engine.ok(["logout", ours.address]);
      const out = await engine.docker(["pull", name]);
      expect([out.code, out.stderr]).toEqual([1, expect.stringContaining("denied")]);
    });

    for (const redirect of ["", "&redirect=1"]) {
      test(`docker and skopeo push and pull with the blobs in a bucket${redirect}`, async () => {
        await using s3 = openS3Laboratory();
        const { accessKeyId, secretAccessKey } = s3.keys;
        const { bucket, endpoint } = s3.storage;
        const storage = `s3://${bucket}/r?endpoint=${endpoint}&credentials=${engine.folder}/keys${redirect}`;
        const keys = `aws_access_key_id=${accessKeyId}\naws_secret_access_key=${secretAccessKey}\n`;
        writeFileSync(join(engine.folder, "keys"), keys);
        const registry = await OwnRegistry.open({ storage });
        try {
          const name = `${registry.address}/app:v1`;
          await engine.ok(["tag", "busybox", name]);
          const pushed = await engine.ok(["push", name]);
          await engine.ok(["rmi", name, "busybox"]);
          expect(await engine.ok(["run", "--rm", name, "echo", "here"])).toBe("here");
          const image = await engine.ok(["inspect", "-f", "{{index .RepoDigests 0}}", name]);
          expect(pushed).toContain(image.split("@")[1]!);
          await engine.ok(["tag", name, "busybox"]);
          const plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
          const other = `docker://${registry.address}/again:v1`;
          const copied = await skopeo("copy", "-q", ...plain, `docker://${name}`, other);
          expect([copied.code, copied.stderr]).toEqual([0, ""]);
          const isLinked = s3.told.some((line) => line.includes("X-Amz-Signature"));
          expect(isLinked).toBe(redirect !== "");
        } finally {
          await registry.close();
        }
      });
    }
  },
);
