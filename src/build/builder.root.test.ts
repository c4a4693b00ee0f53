import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import type { Image } from "../image/mod.ts";
import { digestOf } from "../oci/mod.ts";
import { run } from "../sys/mod.ts";
import { linesOf, requestOf } from "./fakes.ts";
import { Intake } from "./intake.ts";
import { importBusybox, openStores, type Stores } from "./real-stores.ts";
import type { BuildEvent, BuildRequest } from "./types.ts";

let directory = "";
let stores: Stores;
let count = 0;

beforeAll(async () => {
  directory = mkdtempSync("/var/tmp/lading-build-");
  stores = await openStores(directory, "ladE0");
  await importBusybox(stores);
}, 60_000);

afterAll(async () => {
  await stores.close();
  rmSync(directory, { recursive: true, force: true });
});

async function build(
  dockerfile: string,
  { files = {}, ...given }: Partial<BuildRequest> & { files?: Record<string, string> } = {},
): Promise<{ image: Image; lines: string[]; output: string }> {
  const contextPath = `${directory}/context-${count++}`;
  for (const [path, content] of Object.entries({ ...files, Dockerfile: dockerfile })) {
    mkdirSync(dirname(`${contextPath}/${path}`), { recursive: true });
    writeFileSync(`${contextPath}/${path}`, content);
  }
  const events: BuildEvent[] = [];
  const image = await stores.builder.build(requestOf({ contextPath, ...given }), (event) => {
    events.push(event);
  });
  const output = events.map((event) => (event.kind === "output" ? Buffer.from(event.bytes) : ""));
  return { image, lines: linesOf(events), output: output.join("") };
}

/** The paths that the last layer of an image holds. */
async function lastLayer(image: Image): Promise<string[]> {
  const tar = `${directory}/layer-${count++}.tar`;
  const writer = Bun.file(tar).writer();
  for await (const chunk of stores.snapshots.layerTar(image.config.rootfs.diff_ids.at(-1)!)) {
    await writer.write(chunk);
  }
  await writer.end();
  const listed = await run(["tar", "tf", tar], { timeoutMs: 5_000 });
  return listed.split("\n").filter((line) => line !== "" && line !== "./");
}

describe("building on real stores", () => {
  test("runs commands as the image says, and keeps only what they wrote", async () => {
    const text = `FROM busybox
ARG who=world
ENV greeting=hello
WORKDIR /work
RUN echo "$greeting $who from $(pwd) as $(id -u) home $HOME" && echo err >&2 && echo x > file
USER app
RUN id -un; id -un > /tmp/me`;
    const { image, output } = await build(text);
    expect(output).toContain("hello world from /work as 0 home /root\n");
    expect(output).toContain("err\n");
    expect(output).toContain("app\n");
    expect(await lastLayer(image)).toEqual(["tmp/", "tmp/me"]);
    expect(image.config.rootfs.diff_ids).toHaveLength(4);
  });

  test("leaves no trace of what the runtime mounts", async () => {
    const { image } = await build(
      "FROM busybox\nRUN cat /etc/hosts /etc/resolv.conf && mkdir /made",
    );
    const paths = await lastLayer(image);
    expect(paths.filter((path) => !["etc/", "made/"].includes(path))).toEqual([]);
  });

  test("isolates a command: capabilities, seccomp, network, read-only paths", async () => {
    const { output } = await build(`FROM busybox
RUN grep -E 'CapEff|Seccomp:' /proc/self/status; hostname; echo x > /proc/sys/kernel/hostname || echo ro
RUN --network=none ls /sys/class/net`);
    expect(output).toContain("CapEff:\t00000000a80425fb");
    expect(output).toContain("Seccomp:\t2");
    expect(output).toContain("ro\n");
    expect(output).toEndWith("lo\n");
  });

  test("tells a failing command's output, code and line", async () => {
    const failed = build("FROM busybox\nRUN echo before; exit 42");
    await expect(failed).rejects.toThrow(
      "The command '/bin/sh -c echo before; exit 42' returned a non-zero code: 42\n --> Dockerfile:2:1",
    );
    await expect(build('FROM busybox\nRUN ["/nope"]')).rejects.toThrow("non-zero code: 127");
    expect(stores.snapshots.keys()).toEqual([]);
  });

  test("copies between stages, unpacks archives, changes owners", async () => {
    const folder = `${directory}/packed`;
    mkdirSync(`${folder}/in`, { recursive: true });
    writeFileSync(`${folder}/in/f`, "unpacked");
    const files: Record<string, string> = { plain: "text" };
    const contextPath = `${directory}/archives`;
    mkdirSync(contextPath);
    for (const [name, flag] of Object.entries({ gz: "z", bz2: "j", xz: "J", tar: "" })) {
      await run(["tar", `c${flag}f`, `${contextPath}/a.${name}`, "-C", folder, "in"], {
        timeoutMs: 5_000,
      });
      files[`a.${name}`] = "";
    }
    await Bun.write(`${contextPath}/only.gz`, Bun.gzipSync(Buffer.from("no archive")));
    const text = `FROM busybox AS made
RUN mkdir -p /out/sub && echo made > /out/sub/f && chown 5:6 /out/sub/f && ln /out/sub/f /out/g
FROM busybox
ADD a.gz /gz/
ADD --chown=app a.bz2 /bz2/
ADD a.xz /xz
ADD a.tar only.gz /tar/
COPY --from=made /out /out
RUN cat /gz/in/f /bz2/in/f /xz/in/f /tar/in/f; ls -ln /bz2/in/f /out/g /tar/only.gz | awk '{print $2, $3, $4, $9}'`;
    writeFileSync(`${contextPath}/Dockerfile`, text);
    const { output } = await build("", { contextPath });
    expect(output).toBe(
      `${"unpacked".repeat(4)}1 1000 1000 /bz2/in/f\n2 5 6 /out/g\n1 0 0 /tar/only.gz\n`,
    );
  });

  test("mounts binds, caches, tmpfs and secrets, and keeps none of them", async () => {
    const text = (nonce: string) => `FROM busybox AS tool
RUN echo tool > /tool
FROM busybox
RUN --mount=type=bind,target=/src,rw --mount=type=bind,from=tool,source=/tool,target=/t \\
    --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch,size=1m \\
    --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN \\
    echo ${nonce}; cat /src/f /t /run/secrets/token; echo $TOKEN; ls -A /src; \\
    echo w > /src/written; cat /cache/count 2>/dev/null; echo again > /cache/count; df /scratch | tail -1; touch /kept`;
    const files = { f: "F\n", hidden: "", ".dockerignore": "hidden\nDockerfile\n.dockerignore" };
    const secrets = new Map([["token", Buffer.from("s3cret\n")]]);
    const first = await build(text("one"), { files, secrets });
    expect(first.output).toStartWith("one\nF\ntool\ns3cret\ns3cret\nf\n");
    expect(first.output).not.toContain("again");
    expect(first.output).toContain("/scratch");
    expect(await lastLayer(first.image)).toEqual(["kept"]);
    const second = await build(text("two"), { files, secrets });
    expect(second.output).toContain("again\n");
    const third = await build(text("two"), { files });
    expect(third.output).toBe("");
    expect(third.image.id).toBe(second.image.id);
    expect(
      stores.builder.cache().some(({ description }) => description === "cached mount /cache"),
    ).toBe(true);
  });

  test("fetches with ADD, checks, and keeps the time", async () => {
    const body = "downloaded";
    let requests = 0;
    using server = Bun.serve({
      port: 0,
      fetch: (request) => {
        requests++;
        if (!request.url.endsWith("/f.txt")) return new Response("", { status: 404 });
        const headers = { "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT" };
        return new Response(body, { headers });
      },
    });
    const url = `http://127.0.0.1:${server.port}`;
    const sum = new Bun.CryptoHasher("sha256").update(body).digest("hex");
    const text = `FROM busybox
ADD ${url}/f.txt /d/
ADD --checksum=sha256:${sum} ${url}/f.txt /e
RUN cat /d/f.txt /e; stat -c '%a %Y' /d/f.txt`;
    const { output, image } = await build(text);
    expect(output).toBe("downloadeddownloaded600 1000000000\n");
    expect(requests).toBe(2);
    expect((await build(text)).image.id).toBe(image.id);
    expect(requests).toBe(3); // with a checksum, the cache needs no request
    await expect(build(`FROM busybox\nADD ${url}/none /`)).rejects.toThrow("status 404");
    const wrong = `FROM busybox\nADD --checksum=sha256:${"0".repeat(64)} ${url}/f.txt /`;
    await expect(build(wrong)).rejects.toThrow("digest mismatch");
  });

  test("kills a cancelled build's command and cleans up", async () => {
    const abort = new AbortController();
    const contextPath = `${directory}/cancelled`;
    mkdirSync(contextPath);
    writeFileSync(`${contextPath}/Dockerfile`, "FROM busybox\nRUN echo started; sleep 1000");
    const building = stores.builder.build(
      requestOf({ contextPath, signal: abort.signal }),
      (event) => {
        if (event.kind === "output") abort.abort();
      },
    );
    await expect(building).rejects.toThrow("Build cancelled");
    expect(stores.snapshots.keys()).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(
      `${directory}/snapshot/snapshots`,
    );
  });

  test("takes uploaded contexts: small in memory, others on the disk, none for ever", async () => {
    const { signal } = new AbortController();
    const folder = `${directory}/upload`;
    mkdirSync(folder);
    writeFileSync(`${folder}/small`, "small");
    const tarOf = (name: string) => {
      const packed = `${directory}/${name}.tgz`;
      Bun.spawnSync(["tar", "czf", packed, "-C", folder, "."]);
      return Bun.file(packed).stream();
    };
    const noise = Buffer.alloc(12 << 20); // does not pack: known as large while it comes
    for (let at = 0; at < noise.length; at += 65_536)
      crypto.getRandomValues(noise.subarray(at, at + 65_536));
    const isInMemory = (path: string) =>
      readFileSync("/proc/self/mountinfo", "utf8").includes(` ${path} `);
    const seen: [string, boolean][] = [];
    const paths: string[] = [];
    const bounds = { uploadBytesMax: 10 << 20, tmpfsBytesMax: 64 << 20 };
    const intake = new Intake(`${directory}/build`, bounds);
    const take = async (body: AsyncIterable<Uint8Array>) => {
      await using taken = await intake.take(body, signal);
      paths.push(taken.path);
      const text = Bun.file(`${taken.path}/small`);
      const large = Bun.file(`${taken.path}/noise`);
      if (await large.exists()) expect(digestOf(await large.bytes())).toBe(digestOf(noise));
      seen.push([(await text.exists()) ? await text.text() : "none", isInMemory(taken.path)]);
    };
    await take(tarOf("small"));
    writeFileSync(`${folder}/ones`, Buffer.alloc(80 << 20, 1)); // packs well, and grows over the bound
    await take(tarOf("grows"));
    rmSync(`${folder}/ones`);
    writeFileSync(`${folder}/noise`, noise);
    await take(tarOf("large"));
    await take(new Blob([]).stream());
    expect(seen).toEqual([
      ["small", true],
      ["small", false],
      ["small", false],
      ["none", false],
    ]);
    expect(paths.filter((path) => existsSync(path) || isInMemory(path))).toEqual([]);
    const broken = take(new Blob(["no tar at all".repeat(100)]).stream());
    await expect(broken).rejects.toMatchObject({ code: "corrupt" });
    expect(readdirSync(`${directory}/build/work`)).toEqual([]);
  });

  test("builds images with the same layer twice", async () => {
    const { image, output } = await build("FROM busybox\nRUN true\nRUN :\nRUN echo on top");
    const [, one, two] = image.config.rootfs.diff_ids;
    expect(one).toBe(two!);
    expect(output).toBe("on top\n");
  });
});
