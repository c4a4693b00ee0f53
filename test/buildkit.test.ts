/** BuildKit's protocol: by a client of our own everywhere, and by buildx and Compose where they are installed. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Files, Laboratory } from "../src/buildkit/laboratory.ts";
import { command, dockerPath, TestEngine, whyNot, whyNotBuildx } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(`BuildKit${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  const socketPath = () => engine.host.slice("unix://".length);
  const client = (files: Record<string, string>, more: { secrets?: Files; named?: Files } = {}) => {
    const all = new Map(Object.entries(files));
    const folders = new Map([
      ["context", all],
      ["dockerfile", all],
      ...(more.named ? [["named", more.named] as const] : []),
    ]);
    return Laboratory.open(socketPath(), {
      folders,
      ...(more.secrets ? { secrets: more.secrets } : {}),
    });
  };

  beforeAll(async () => {
    engine = await TestEngine.open("bkit");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("builds from the client's folder, with arguments, labels and a target", async () => {
    using laboratory = await client({
      Dockerfile:
        "FROM busybox AS one\nARG WHO\nCOPY . /in\nRUN echo hello $WHO && ls /in/deep\nFROM scratch\nRUN no\n",
      "deep/": "",
      "deep/file": "x".repeat(300_000),
      empty: "",
    });
    const options = new Map([
      ["target", "one"],
      ["build-arg:WHO", "you"],
      ["label:a", "b"],
    ]);
    const { id, log } = await laboratory.build(options, "built:1");
    expect(log).toContain("hello you\nfile\n");
    expect(log).toContain("RUN echo hello $WHO");
    expect(await engine.ok(["inspect", "-f", "{{.Id}} {{.Config.Labels.a}}", "built:1"])).toContain(
      `${id} b`,
    );
    expect(await engine.ok(["run", "--rm", "built:1", "wc", "-c", "/in/deep/file"])).toContain(
      "300000",
    );
    const again = await laboratory.build(options, "built:2");
    expect([again.id, again.log.includes("COPY . /in CACHED")]).toEqual([id, true]);
  });

  test("asks for a thousand files, more than are on their way at once", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 1000 }, (_, at) => [`f${String(at).padStart(4, "0")}`, `${at}\n`]),
    );
    using laboratory = await client({
      Dockerfile: "FROM busybox\nCOPY f* /f/\nRUN cat /f/* | md5sum\n",
      ...files,
    });
    const { log } = await laboratory.build(new Map(), "many");
    const all = Array.from({ length: 1000 }, (_, at) => `${at}\n`).join("");
    expect(log).toContain(new Bun.CryptoHasher("md5").update(all).digest("hex"));
  });

  test("what a client sent before is not asked for again until a step needs it", async () => {
    const text = "FROM busybox\nCOPY one /one\nCOPY two /two\nRUN cat /one/a /two/b\n";
    const build = async (files: Record<string, string>, name: string) => {
      const all = { Dockerfile: text, "one/": "", "one/a": "a\n", "two/": "", ...files };
      const asked: string[] = [];
      const folder = new Map(Object.entries(all));
      const folders = new Map([
        ["context", folder],
        ["dockerfile", folder],
      ]);
      const offer = { folders, asked, sharedKey: "a folder" };
      using laboratory = await Laboratory.open(socketPath(), offer);
      const { id, log } = await laboratory.build(new Map(), name);
      return { id, log, asked: asked.filter((path) => path !== "Dockerfile") };
    };
    const first = await build({ "two/b": "first\n" }, "sent:1");
    expect([first.asked, first.log.includes("a\nfirst\n")]).toEqual([["one/a", "two/b"], true]);
    const unchanged = await build({ "two/b": "first\n" }, "sent:2");
    expect([unchanged.asked, unchanged.id]).toEqual([[], first.id]);
    // For its digest, and for the step; nothing of the other step's.
    const second = await build({ "two/b": "another\n" }, "sent:3");
    expect([second.asked, second.log.includes("a\nanother\n")]).toEqual([["two/b", "two/b"], true]);
    // Other ignore rules of the same folder are another list, and take nothing away from this one.
    const lone = { "two/b": "another\n", ".dockerignore": "one/a\n" };
    const refused = await build(lone, "sent:lone").catch((error: Error) => error.message);
    expect(refused).toContain("cat /one/a /two/b' returned a non-zero code: 1");
    expect((await build({ "two/b": "another\n" }, "sent:3")).asked).toEqual([]);
    // What is new to the steps is known of the files.
    await engine.ok(["rmi", "-f", "sent:1", "sent:2", "sent:3"]);
    await engine.ok(["builder", "prune", "-af"]);
    const pruned = await build({ "two/b": "another\n" }, "sent:4");
    expect([pruned.asked, pruned.id]).toEqual([["one/a", "two/b"], second.id]);
    await engine.crash();
    expect((await build({ "two/b": "another\n" }, "sent:5")).asked).toEqual([]);
  });

  test("asks for secrets by name and keeps none; a named context is a folder of the client's", async () => {
    const secrets = new Map([["token", "s3cr3t-of-the-client"]]);
    const dockerfile =
      "FROM busybox\nRUN --mount=type=secret,id=token wc -c < /run/secrets/token\nCOPY --from=shared /note /note\n";
    using laboratory = await client(
      { Dockerfile: dockerfile },
      { secrets, named: new Map([["note", "from there"]]) },
    );
    const { log } = await laboratory.build(new Map([["context:shared", "local:named"]]), "parts");
    expect(log).toContain("20\n");
    expect(await engine.ok(["run", "--rm", "parts", "cat", "/note"])).toContain("from there");
    const found = await command([
      "grep",
      "-rlaF",
      "-D",
      "skip",
      "s3cr3t-of-the-client",
      `${engine.folder}/data`,
    ]);
    expect(found.stdout).toBe("");
  });

  test("sends files to the client, and answers questions about a Dockerfile", async () => {
    using laboratory = await client({
      Dockerfile: "FROM scratch AS last\nARG WHO=me\nCOPY a /in/\nMAINTAINER me\n",
      a: "of the context",
    });
    await laboratory.build(new Map(), "", "tar");
    const tar = await command(["tar", "-xO", "in/a"], {
      input: laboratory.received(),
    });
    expect(tar.stdout).toBe("of the context");
    const ask = async (what: string) =>
      JSON.parse((await laboratory.build(new Map([["requestid", `frontend.${what}`]]), "")).answer);
    expect(await ask("lint")).toMatchObject({ warnings: [{ ruleName: "MaintainerDeprecated" }] });
    expect(await ask("outline")).toMatchObject({
      name: "last",
      args: [{ name: "WHO", value: "me" }],
    });
    expect(await ask("targets")).toMatchObject({ targets: [{ name: "last" }] });
    expect(await engine.ok(["ps", "-aq"])).toBe("");
  });

  test("tells why a build failed, and goes on for the next", async () => {
    using laboratory = await client({ Dockerfile: "FROM busybox\nRUN echo before; exit 7\n" });
    await expect(laboratory.build(new Map(), "no")).rejects.toThrow(
      /returned a non-zero code: 7[\s\S]*Dockerfile:2/,
    );
    await expect(laboratory.build(new Map([["filename", "Other"]]), "no")).rejects.toThrow(
      /failed to read dockerfile: open Other: no such file/,
    );
    await expect(laboratory.build(new Map([["requestid", "x"]]), "no")).rejects.toThrow(
      /unsupported request x/,
    );
    expect(await engine.ok(["images", "-q", "no"])).toBe("");
  });

  test("builds by POST /build?version=2, as clients without buildx ask for it", async () => {
    const dockerfile = "FROM busybox\nARG A\nCOPY f /f\nRUN cat /f; echo and $A\n";
    using laboratory = await client({ Dockerfile: dockerfile, f: "from the session" });
    const post = async (query: Record<string, string>, body?: Uint8Array, signal?: AbortSignal) => {
      const all = new URLSearchParams({ version: "2", session: laboratory.session, ...query });
      const init = { method: "POST", unix: socketPath(), body, signal: signal ?? null };
      const answer = await fetch(`http://api/v1.41/build?${all}`, init as RequestInit);
      return (await answer.text()).trim().split("\n").filter(Boolean);
    };
    const last = (lines: string[]) => JSON.parse(lines.at(-1) ?? "null");
    const sent = await post({ remote: "client-session", t: "two:1", buildargs: '{"A":"one"}' });
    expect(last(sent)).toMatchObject({ id: "moby.image.id" });
    const { id, aux } = JSON.parse(sent[0] ?? "");
    expect([id, Buffer.from(aux, "base64").toString()]).toEqual([
      "moby.buildkit.trace",
      expect.stringContaining("load build definition from Dockerfile"),
    ]);
    const image = ["inspect", "-f", "{{.Id}}", "two:1"];
    expect(`${await engine.ok(image)}`.trim()).toBe(last(sent).aux.ID);
    expect(last(await post({ remote: "client-session", q: "1" })).stream).toMatch(/^sha256:/);
    // A context on stdin is a request of its own.
    const folder = join(engine.folder, "two");
    mkdirSync(folder);
    writeFileSync(join(folder, "Dockerfile"), dockerfile);
    writeFileSync(join(folder, "f"), "from stdin");
    const tar = Bun.spawnSync(["tar", "-C", folder, "-c", "."]).stdout;
    // Builds whose context never comes take no place from others, once they are given up.
    const alone = Array.from({ length: 70 }, async (_, at) => {
      await Bun.sleep(at * 5);
      await post(
        { buildid: `a${at}`, remote: "upload-request" },
        undefined,
        AbortSignal.timeout(50),
      );
    });
    await Promise.allSettled(alone);
    const [, both] = await Promise.all([
      post({ buildid: "upload-request:b1" }, tar),
      post({ buildid: "b1", remote: "upload-request", t: "two:2" }),
    ]);
    expect(last(both)).toMatchObject({ id: "moby.image.id" });
    expect(await engine.ok(["run", "--rm", "two:2", "cat", "/f"])).toContain("from stdin");
    const failed = await post({ remote: "client-session", target: "none" });
    expect(last(failed).error).toContain('target stage "none" could not be found');
  });

  test("cancels a build by its name", async () => {
    using laboratory = await client({ Dockerfile: "FROM busybox\nRUN echo begun; sleep 1000\n" });
    const api = (path: string) =>
      fetch(`http://api${path}`, { method: "POST", unix: socketPath() } as RequestInit);
    const { session } = laboratory;
    const answer = await api(
      `/build?version=2&session=${session}&remote=client-session&buildid=c1&nocache=1`,
    );
    let text = "";
    let isCancelled = false;
    for await (const bytes of answer.body!) {
      text += Buffer.from(bytes).toString();
      const traces = [...text.matchAll(/"aux":"([^"]+)"/g)].map(([, aux = ""]) => atob(aux));
      if (isCancelled || !traces.some((trace) => trace.includes("begun\n"))) continue;
      isCancelled = true;
      await api("/build/cancel?id=c1");
    }
    expect(text).toContain('"error":"context canceled"');
    expect((await api("/build/cancel?id=c1")).status).toBe(200);
  });

  test("ends what a client began that was killed", async () => {
    const seconds = String(100_000 + process.pid);
    const script = `import { Laboratory } from "${join(import.meta.dir, "../src/buildkit/laboratory.ts")}";
const files = new Map([["Dockerfile", "FROM busybox\\nRUN sleep ${seconds}\\n"]]);
const folders = new Map([["context", files], ["dockerfile", files]]);
const laboratory = await Laboratory.open("${socketPath()}", { folders });
await laboratory.build(new Map(), "no");`;
    const child = Bun.spawn([process.execPath, "-e", script], { stderr: "ignore" });
    const isRunning = async () => (await command(["pgrep", "-f", `^sleep ${seconds}`])).code === 0;
    while (!(await isRunning())) {
      expect(child.exitCode).toBeNull();
      await Bun.sleep(20);
    }
    child.kill("SIGKILL");
    await child.exited;
    for (let tries = 0; tries < 500 && (await isRunning()); tries++) await Bun.sleep(20);
    expect(await isRunning()).toBe(false);
  });

  test("refuses what is no gRPC, and sessions of one name", async () => {
    const ask = (path: string, ...more: string[]) =>
      command([
        "curl",
        "-s",
        "-X",
        "POST",
        "--unix-socket",
        socketPath(),
        ...more,
        `http://d${path}`,
      ]);
    expect((await ask("/grpc")).stdout).toContain("no Upgrade: h2c");
    const upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: h2c"];
    expect((await ask("/session", ...upgrade)).stdout).toContain("Session-Uuid is no name");
    using laboratory = await client({ Dockerfile: "FROM scratch\n" });
    const same = await ask(
      "/session",
      ...upgrade,
      "-H",
      `X-Docker-Expose-Session-Uuid: ${laboratory.session}`,
    );
    expect(same.stdout).toContain("is open already");
  });

  test.skipIf(whyNotBuildx !== undefined)(
    `docker build builds by buildx${whyNotBuildx ? ` (skipped: ${whyNotBuildx})` : ""}`,
    async () => {
      const folder = join(engine.folder, "buildx");
      mkdirSync(folder);
      writeFileSync(
        join(folder, "Dockerfile"),
        "FROM busybox\nCOPY . /in\nRUN --mount=type=secret,id=t cat /in/a /run/secrets/t\n",
      );
      writeFileSync(join(folder, "a"), "of the context\n");
      writeFileSync(join(folder, "secret"), "a secret\n");
      const line = [
        "build",
        "--progress=plain",
        "--secret",
        `id=t,src=${folder}/secret`,
        "-t",
        "by-buildx",
        folder,
      ];
      const ran = await command([dockerPath!, ...line], {
        env: { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: "1" },
      });
      expect(ran.stderr).toContain("of the context");
      expect(ran.code).toBe(0);
      expect(await engine.ok(["images", "-q", "by-buildx"])).not.toBe("");
      const out = join(engine.folder, "buildx-out");
      const local = [
        "build",
        "--secret",
        `id=t,src=${folder}/secret`,
        "-o",
        `type=local,dest=${out}`,
        folder,
      ];
      const sent = await command([dockerPath!, ...local], {
        env: { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: "1" },
      });
      expect([sent.code, await Bun.file(join(out, "in/a")).text()]).toEqual([
        0,
        "of the context\n",
      ]);
    },
  );

  test.skipIf(whyNotBuildx !== undefined)(
    `buildx makes several platforms, archives, statements and caches, and bakes${whyNotBuildx ? ` (skipped: ${whyNotBuildx})` : ""}`,
    async () => {
      const folder = join(engine.folder, "buildx-more");
      mkdirSync(folder);
      const cross = "FROM --platform=$BUILDPLATFORM busybox AS b\nARG TARGETARCH\nRUN uname > /u\n";
      writeFileSync(join(folder, "Dockerfile"), `${cross}FROM scratch\nCOPY --from=b /u /u\n`);
      const bake = `group "default" { targets = ["app"] }
target "base" { dockerfile-inline = "FROM busybox\\nRUN echo base > /base" }
target "app" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nRUN cat /base"
  tags = ["baked:app"]
}`;
      writeFileSync(join(folder, "docker-bake.hcl"), bake);
      const run = async (...args: readonly string[]) => {
        const ran = await engine.buildx(args, { cwd: folder });
        if (ran.code !== 0) throw new Error(`${args.join(" ")}\n${ran.stdout}${ran.stderr}`);
        return ran.stdout + ran.stderr;
      };
      await run("build", "--platform=linux/amd64,linux/arm64", "--iidfile=iid", "-t", "x:1", ".");
      const iid = await Bun.file(join(folder, "iid")).text();
      expect(await engine.ok(["image", "inspect", "-f", "{{.Id}}", "x:1"])).toBe(iid);
      await run("build", "-o", "type=oci,dest=oci.tar", "-o", "type=tar,dest=t.tar", ".");
      expect((await command(["tar", "-tf", "oci.tar"], { cwd: folder })).stdout).toContain(
        "index.json",
      );
      await run("build", "--provenance=mode=max", "--sbom=true", "-t", "x:2", ".");
      await run("build", "--cache-to=type=local,dest=cache,mode=max", ".");
      await engine.ok(["rmi", "x:1", "x:2"]);
      await run("prune", "-af");
      const cached = await run(
        "build",
        "--progress=plain",
        "--cache-from=type=local,src=cache",
        ".",
      );
      expect(cached).toMatch(/RUN uname > \/u\n#\d+ CACHED/);
      await run("bake");
      expect(await engine.ok(["run", "--rm", "baked:app", "cat", "/base"])).toBe("base");
      const tar = Bun.spawnSync(["tar", "-c", "-C", folder, "Dockerfile"]).stdout;
      const piped = await engine.buildx(["build", "-"], { input: tar });
      expect([piped.code, piped.code === 0 ? "" : piped.stderr]).toEqual([0, ""]);
    },
  );
});
