/**
 * The Dockerfile language on real stores: a row for each instruction, flag and form. What a row prints
 * in its RUNs, what its image's config has, or how it fails, is what counts.
 * Reference: https://docs.docker.com/reference/dockerfile/
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { hostPlatform, type RunConfig } from "../oci/mod.ts";
import { run } from "../sys/mod.ts";
import { requestOf } from "./fakes.ts";
import { importBusybox, openStores, type Stores } from "./real-stores.ts";
import type { BuildEvent, BuildRequest } from "./types.ts";

interface Row extends Partial<BuildRequest> {
  readonly text: string;
  /** Content by path; `->x` is a link, a name that ends with "/" a folder. */
  readonly files?: Readonly<Record<string, string>>;
  /** The lines that all RUNs print together. */
  readonly prints?: string;
  readonly config?: RunConfig;
  readonly fails?: string;
  readonly warns?: string;
}

let directory = "";
let stores: Stores;
let server: ReturnType<typeof Bun.serve>;
let count = 0;
const { architecture } = hostPlatform();

beforeAll(async () => {
  directory = mkdtempSync("/var/tmp/lading-language-");
  stores = await openStores(directory, "ladlang0");
  await importBusybox(stores);
  const packed = `${directory}/packed`;
  mkdirSync(`${packed}/in`, { recursive: true });
  writeFileSync(`${packed}/in/f`, "unpacked\n");
  const archives: Record<string, ArrayBuffer> = {};
  for (const [name, flag] of Object.entries({ tar: "", gz: "z", bz2: "j", xz: "J" })) {
    const path = `${directory}/a.${name}`;
    await run(["tar", `c${flag}f`, path, "-C", packed, "in"], { timeoutMs: 5_000 });
    archives[name] = await Bun.file(path).arrayBuffer();
  }
  archives["zst"] = (await Bun.zstdCompress(archives["tar"]!)).buffer as ArrayBuffer;
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => {
      const name = new URL(request.url).pathname.slice(1);
      const headers = { "last-modified": "Sat, 03 Feb 2001 04:05:06 GMT" };
      if (name === "file") return new Response("fetched\n", { headers });
      const archive = archives[name.slice(2)];
      return archive ? new Response(archive) : new Response("", { status: 404 });
    },
  });
}, 60_000);

afterAll(async () => {
  await server.stop(true);
  await stores.close();
  rmSync(directory, { recursive: true, force: true });
});

function write(root: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(root, { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    const full = `${root}/${path}`;
    mkdirSync(dirname(full), { recursive: true });
    if (path.endsWith("/")) mkdirSync(full, { recursive: true });
    else if (content.startsWith("->")) symlinkSync(content.slice(2), full);
    else writeFileSync(full, content);
  }
}

async function build({ text, files = {}, prints: _, config: __, fails: ___, ...given }: Row) {
  const contextPath = `${directory}/context-${count++}`;
  write(contextPath, {
    ...files,
    Dockerfile: text.replaceAll("SERVER", `127.0.0.1:${server.port}`),
  });
  for (const path of Object.keys(files).filter((name) => name.endsWith(".sh"))) {
    chmodSync(`${contextPath}/${path}`, 0o755);
  }
  const events: BuildEvent[] = [];
  const image = await stores.builder.build(
    requestOf({ contextPath, noCache: true, ...given }),
    (event) => {
      events.push(event);
    },
  );
  const output = events.map((event) => (event.kind === "output" ? Buffer.from(event.bytes) : ""));
  const warnings = events.flatMap((event) => (event.kind === "warning" ? event.text : []));
  return { image, output: output.join(""), warnings };
}

async function check(row: Row): Promise<void> {
  if (row.fails !== undefined) {
    await expect(build(row)).rejects.toThrow(row.fails);
    return;
  }
  const { image, output, warnings } = await build(row);
  if (row.prints !== undefined) expect(output.trim()).toBe(row.prints);
  if (row.config) expect(image.config.config).toMatchObject(row.config);
  if (row.warns === "") expect(warnings).toEqual([]);
  else if (row.warns !== undefined) expect(warnings.join("\n")).toContain(row.warns);
}

const rows = (all: Readonly<Record<string, Row>>) => Object.entries(all);
const modes = (paths: string) => `RUN stat -c '%a %u:%g %n' ${paths}`;

describe("FROM", () => {
  test.each(
    rows({
      "takes an image by tag, and as a stage": {
        text: "FROM busybox:latest AS one\nRUN echo 1 > /f\nFROM one AS two\nRUN cat /f",
        prints: "1",
      },
      "takes a stage in any case, and by number": {
        text: "FROM busybox AS One\nRUN echo 1 > /f\nFROM busybox\nCOPY --from=ONE /f /a\nCOPY --from=0 /f /b\nRUN cat /a /b",
        prints: "1\n1",
      },
      "clears the state, and keeps no argument of the stage before": {
        text: "FROM busybox AS one\nENV a=1\nARG b=2\nFROM one\nRUN echo $a-$b",
        prints: "1-",
      },
      "begins with nothing from scratch": {
        text: "FROM scratch\nCOPY --from=busybox /bin /bin\nRUN ls /",
        prints: "bin\ndev\netc\nproc\nsys",
      },
      "expands the arguments before it": {
        text: "ARG tag=none\nARG base=busybox:$tag\nFROM ${base}\nARG tag\nRUN echo $tag",
        buildArgs: { tag: "latest" },
        prints: "latest",
      },
      "takes a platform": {
        text: "FROM --platform=$BUILDPLATFORM busybox\nARG BUILDARCH\nRUN echo $BUILDARCH",
        prints: architecture,
      },
      "refuses an image of another platform": {
        text: "FROM --platform=linux/s390x busybox",
        fails: "does not match the specified platform",
      },
      "takes an image when there is no such stage": {
        text: "FROM stage",
        fails: "No such image: stage",
      },
      "finds circles": {
        text: "FROM busybox AS a\nCOPY --from=b /x /\nFROM busybox AS b\nCOPY --from=a /x /",
        fails: "circular dependency detected on stage: b",
      },
      "lets --from name a later stage": {
        text: "FROM busybox AS a\nCOPY --from=b /f /\nRUN cat /f\nFROM busybox AS b\nRUN echo late > /f",
        target: "a",
        prints: "late",
      },
    }),
  )("%s", async (_, row) => await check(row));
});

describe("RUN", () => {
  test.each(
    rows({
      "runs a shell": { text: "FROM busybox\nRUN echo $((1 + 1)) | cat", prints: "2" },
      "runs a list without a shell": {
        text: 'FROM busybox\nRUN ["echo", "$HOME"]',
        prints: "$HOME",
      },
      "goes on over lines and comments": {
        text: "FROM busybox\nRUN echo a \\\n# comment\n  b \\\n\n  c",
        prints: "a b c",
        warns: "NoEmptyContinuation",
      },
      "tells the exit code": { text: "FROM busybox\nRUN exit 3", fails: "non-zero code: 3" },
      "uses SHELL, more than once": {
        text: 'FROM busybox\nSHELL ["/bin/echo", "one"]\nRUN a\nSHELL ["/bin/sh", "-ec"]\nRUN echo two',
        prints: "one a\ntwo",
        config: { Shell: ["/bin/sh", "-ec"] },
      },
      "has no network with none": {
        text: "FROM busybox\nRUN --network=none ls /sys/class/net",
        prints: "lo",
      },
      "has the host's network when that is allowed": {
        text: "FROM busybox\nRUN --network=host ls /sys/class/net | grep -c ladlang0",
        allow: ["network.host"],
        prints: "1",
      },
      "refuses the host's network else": {
        text: "FROM busybox\nRUN --network=host true",
        fails: "network.host is not allowed",
      },
      "has all capabilities with --security=insecure when that is allowed": {
        text: "FROM busybox\nRUN --security=insecure mkdir /mnt && mount -t tmpfs x /mnt && echo mounted",
        allow: ["security.insecure"],
        prints: "mounted",
      },
      "is sandboxed else": {
        text: "FROM busybox\nRUN --security=sandbox mount -t tmpfs x /tmp 2>/dev/null || echo refused",
        prints: "refused",
      },
      "gets a device when that is allowed": {
        text: "FROM busybox\nRUN --device=/dev/zero,required ls /dev | grep -c zero",
        allow: ["device"],
        prints: "1",
      },
      "goes without a device that is not required": {
        text: "FROM busybox\nRUN --device=example.org/none=x echo without",
        allow: ["device"],
        prints: "without",
      },
      "fails without one that is": {
        text: "FROM busybox\nRUN --device=example.org/none=x,required true",
        allow: ["device"],
        fails: "device example.org/none=x is requested by the build but not available",
      },
      "has the host name that is asked for": {
        text: "FROM busybox\nRUN hostname",
        buildArgs: { BUILDKIT_SANDBOX_HOSTNAME: "here" },
        prints: "here",
        warns: "",
      },
    }),
  )("%s", async (_, row) => await check(row));
});

describe("RUN --mount", () => {
  test.each(
    rows({
      "binds the context, read-only": {
        text: "FROM busybox\nRUN --mount=target=/m { cat /m/f; echo x > /m/f || echo ro; ls /m; } 2>&1",
        files: { f: "file\n", ".dockerignore": "Dockerfile" },
        prints: "file\n/bin/sh: can't create /m/f: Read-only file system\nro\nf",
      },
      "binds a part of a stage, and throws away what is written": {
        text: "FROM busybox AS s\nRUN mkdir /d; echo s > /d/f\nFROM busybox\nRUN --mount=type=bind,from=s,source=d,dst=/m,rw echo new > /m/f; cat /m/f\nRUN --mount=from=s,src=/d,target=/m cat /m/f",
        prints: "new\ns",
      },
      "binds an image": {
        text: "FROM scratch\nCOPY --from=busybox /bin /bin\nRUN --mount=from=busybox,target=/m ls /m/etc/passwd",
        prints: "/m/etc/passwd",
      },
      "keeps a cache from step to step": {
        text: "FROM busybox\nRUN --mount=type=cache,target=/c,id=kept echo kept > /c/f\nRUN --mount=type=cache,target=/d,id=kept,readonly { cat /d/f; echo x > /d/f || true; } 2>&1",
        prints: "kept\n/bin/sh: can't create /d/f: Read-only file system",
      },
      "makes a cache with owner and mode, from a stage, locked": {
        text: "FROM busybox AS s\nRUN mkdir /d; echo s > /d/f\nFROM busybox\nRUN --mount=type=cache,target=/c,id=made,mode=0700,uid=7,gid=8,sharing=locked stat -c '%a %u:%g' /c\nRUN --mount=type=cache,target=/c,id=filled,from=s,source=/d,sharing=private cat /c/f",
        prints: "700 7:8\ns",
      },
      "keeps caches of other name spaces apart": {
        text: "FROM busybox\nRUN --mount=type=cache,target=/c,id=kept ls /c",
        buildArgs: { BUILDKIT_CACHE_MOUNT_NS: "other" },
        prints: "",
      },
      "mounts a tmpfs of a size": {
        text: "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=4m df -m /t | tail -1 | awk '{print $2}'; touch /t/x\nRUN ls / | grep -cx t || true",
        prints: "4\n0",
      },
      "shows a secret as a file, with owner and mode": {
        text: "FROM busybox\nRUN --mount=type=secret,id=s cat /run/secrets/s; stat -c '%a %u' /run/secrets/s\nRUN --mount=type=secret,id=s,target=/x,mode=0444,uid=9,gid=9 cat /x; stat -c '%a %u:%g' /x",
        secrets: new Map([["s", Buffer.from("hidden\n")]]),
        prints: "hidden\n400 0\nhidden\n444 9:9",
      },
      "shows a secret as a variable, alone or beside the file": {
        text: "FROM busybox\nRUN --mount=type=secret,id=s,env=V echo $V; ls /run/secrets 2>/dev/null || true\nRUN --mount=type=secret,id=s,env=V,target=/x echo $V $(cat /x)",
        secrets: new Map([["s", Buffer.from("v")]]),
        prints: "v\nv v",
      },
      "goes without a secret, unless it is required": {
        text: "FROM busybox\nRUN --mount=type=secret,id=s echo without\nRUN --mount=type=secret,id=s,required=true true",
        fails: "secret s: not found",
      },
      "gives an SSH agent's socket, with owner and mode": {
        text: "FROM busybox\nRUN --mount=type=ssh stat -c '%F %a' $SSH_AUTH_SOCK; echo $SSH_AUTH_SOCK\nRUN --mount=type=ssh,id=default,target=/s,mode=0666,uid=5,gid=6 stat -c '%a %u:%g' /s",
        agents: new Map([["default", { ask: async () => new Uint8Array([5]) }]]),
        prints: "socket 600\n/run/buildkit/ssh_agent.0\n666 5:6",
      },
      "goes without an agent, unless it is required": {
        text: "FROM busybox\nRUN --mount=type=ssh echo without $SSH_AUTH_SOCK\nRUN --mount=type=ssh,required true",
        fails: "ssh agent default: not found",
      },
      "leaves nothing of mounts in the image": {
        text: "FROM busybox\nRUN --mount=type=cache,target=/a/b --mount=type=tmpfs,target=/c --mount=target=/d true\nRUN ls -d /a /c /d 2>&1 | wc -l",
        prints: "3",
      },
      "tells of types that are none": {
        text: "FROM busybox\nRUN --mount=type=cach,target=/x true",
        fails: 'unsupported mount type "cach"\n --> Dockerfile:2:18',
      },
    }),
  )("%s", async (_, row) => await check(row));
});

const sources = {
  "a/x.txt": "x\n",
  "a/y.md": "y\n",
  "a/b/z.txt": "z\n",
  "run.sh": "#!/bin/sh\n",
  link: "->a/x.txt",
};

describe("COPY", () => {
  test.each(
    rows({
      "copies files, folders' content and wildcards": {
        text: "FROM busybox\nCOPY a /d/\nCOPY a/*.txt run.s? /w/\nCOPY a/x.txt /n\nRUN ls /d /w /n",
        files: sources,
        prints: "/n\n\n/d:\nb\nx.txt\ny.md\n\n/w:\nrun.sh\nx.txt",
      },
      "takes the list form for names with spaces": {
        text: 'FROM busybox\nCOPY ["a b", "/c d/"]\nRUN cat "/c d/a b"',
        files: { "a b": "spaced\n" },
        prints: "spaced",
      },
      "wants a folder for several": {
        text: "FROM busybox\nCOPY a run.sh /n",
        files: sources,
        fails: "the destination must be a directory and end with a /",
      },
      "follows a link that it is given, and keeps those inside": {
        text: "FROM busybox\nCOPY link /l\nCOPY . /all\nRUN stat -c %F /l /all/link",
        files: sources,
        prints: "regular file\nsymbolic link",
      },
      "gives an owner by number and by name": {
        text: `FROM busybox\nCOPY --chown=7 run.sh /1\nCOPY --chown=7:8 run.sh /2\nCOPY --chown=app:root run.sh /3\n${modes("/1 /2 /3")}`,
        files: sources,
        prints: "755 7:7 /1\n755 7:8 /2\n755 1000:0 /3",
      },
      "gives a mode in octal": {
        text: `FROM busybox\nCOPY --chmod=0640 a /d\n${modes("/d/x.txt /d/b")}`,
        files: sources,
        prints: "640 0:0 /d/x.txt\n640 0:0 /d/b",
      },
      "gives a mode in letters": {
        text: `FROM busybox\nARG m=u=rwX,go=\nCOPY --chmod=$m a /d\nCOPY --chmod=a-x,g+ws run.sh /\n${modes("/d/x.txt /d/b /run.sh")}`,
        files: sources,
        prints: "600 0:0 /d/x.txt\n700 0:0 /d/b\n2664 0:0 /run.sh",
      },
      "refuses modes that are none": {
        text: "FROM busybox\nCOPY --chmod=u=z a /",
        files: sources,
        fails: "invalid chmod parameter: 'u=z'",
      },
      "keeps parents": {
        text: "FROM busybox\nCOPY --parents a/b/z.txt a/x.txt /p/\nRUN cd /p; find . -type f | sort",
        files: sources,
        prints: "./a/b/z.txt\n./a/x.txt",
      },
      "keeps parents below the pivot": {
        text: "FROM busybox\nCOPY --parents ./a/./b/z.txt /p/\nRUN cd /p; find . -type f",
        files: sources,
        prints: "./b/z.txt",
      },
      "finds at any depth with --parents": {
        text: "FROM busybox\nCOPY --parents **/*.txt /p/\nCOPY --parents ./a/./**/*.txt /q/\nRUN cd /p; find . -type f | sort; cd /q; find . -type f | sort",
        files: sources,
        prints: "./a/b/z.txt\n./a/x.txt\n./b/z.txt\n./x.txt",
      },
      "leaves out what --exclude names": {
        text: "FROM busybox\nCOPY --exclude=*.md --exclude=b a /d\nRUN cd /d; find . | sort",
        files: sources,
        prints: ".\n./x.txt",
      },
      "makes a linked layer that hides no link of the base": {
        text: `FROM busybox\nRUN mkdir /real; ln -s real /alias\nCOPY --link --chown=app a/x.txt /deep/er/\nCOPY --link a/x.txt /alias2/\n${modes("/deep/er/x.txt")}\nRUN cat /alias2/x.txt`,
        files: sources,
        prints: "644 1000:1000 /deep/er/x.txt\nx",
      },
      "takes files of an image": {
        text: "FROM scratch\nCOPY --from=busybox:latest /bin /bin\nRUN echo ok",
        prints: "ok",
      },
      "takes no address": {
        text: "FROM busybox\nCOPY http://SERVER/file /",
        fails: "source can't be a URL",
      },
      "writes documents, expanded and not, without tabs, several": {
        text: "FROM busybox\nENV v=val\nCOPY <<A <<'B' <<-C /d/\n$v\nA\n$v\nB\n\t\ttab\nC\nCOPY --chmod=700 <<X /x\nx\nX\nRUN cat /d/A /d/B /d/C; stat -c %a /x",
        prints: "val\n$v\ntab\n700",
      },
      "respects the ignore file, its exceptions and the Dockerfile's own": {
        text: "FROM busybox\nCOPY . /d\nRUN cd /d; find . -type f | sort",
        files: {
          ...sources,
          ".dockerignore": "# comment\n**/*.txt\n!a/b/*.txt\nlink\nDockerfile\n.dockerignore",
        },
        prints: "./a/b/z.txt\n./a/y.md\n./run.sh",
      },
      "tells what is not there": {
        text: "FROM busybox\nCOPY nothing /",
        fails: "file not found in build context or excluded by .dockerignore: stat nothing",
      },
    }),
  )("%s", async (_, row) => await check(row));
});

/** Every subset of the flags. */
function subsets(flags: readonly string[]): string[][] {
  return flags.reduce<string[][]>(
    (all, flag) => all.flatMap((some) => [some, [...some, flag]]),
    [[]],
  );
}

describe("COPY and ADD", () => {
  const mark = (file: string, { of = "644", by = "0:0" }) => `${of} ${by} ${file}`;
  const listed = (count: number) =>
    `RUN for i in $(seq 0 ${count - 1}); do cd /t$i; echo $i; find . -type f | sort | xargs stat -c '%a %u:%g %n'; done`;

  test("COPY takes its flags together, each of them, from the context and from a stage", async () => {
    const flags = ["--chown=7:8", "--chmod=u=rw,go=", "--link", "--parents", "--exclude=*.md"];
    const steps = ["", "--from=made"].flatMap((from) =>
      subsets(flags).map((some) => ({ from, some })),
    );
    const expected = steps.map(({ from, some }, at) => {
      const has = (flag: string) => some.some((each) => each.startsWith(flag));
      const file = {
        of: has("--chmod") ? "600" : from ? "604" : "644",
        by: has("--chown") ? "7:8" : from ? "3:4" : "0:0",
      };
      const names = ["b/z.txt", "x.txt", ...(has("--exclude") ? [] : ["y.md"])];
      const above = has("--parents") ? "./a/" : "./";
      return [String(at), ...names.map((name) => mark(`${above}${name}`, file))].join("\n");
    });
    const text = [
      "FROM busybox AS made",
      "RUN mkdir -p /a/b; touch /a/x.txt /a/y.md /a/b/z.txt; find /a -type f | xargs chmod 604; chown -R 3:4 /a",
      "FROM busybox",
      ...steps.map(({ from, some }, at) => `COPY ${from} ${some.join(" ")} a /t${at}/`),
      listed(steps.length),
    ].join("\n");
    const { output } = await build({ text, files: sources });
    expect(output.trim()).toBe(expected.join("\n"));
  }, 60_000);

  test("ADD takes its flags together, for files, archives and addresses", async () => {
    const own = ["--chown=7:8", "--chmod=0640", "--link"];
    const kinds = [
      { flags: [...own, "--exclude=*.md"], source: "a", kind: "files" },
      { flags: [...own, "--unpack"], source: "http://SERVER/a.gz", kind: "download" },
      {
        flags: [...own, `--checksum=sha256:${sha256}`],
        source: "http://SERVER/file",
        kind: "file",
      },
    ];
    const steps = kinds.flatMap(({ flags, ...each }) =>
      subsets(flags).map((some) => ({ ...each, some })),
    );
    const expected = steps.map(({ kind, some }, at) => {
      const has = (flag: string) => some.some((each) => each.startsWith(flag));
      const of = (mode: string) => ({
        of: has("--chmod") ? "640" : mode,
        by: has("--chown") ? "7:8" : "0:0",
      });
      const files = {
        files: ["b/z.txt", "x.txt", ...(has("--exclude") ? [] : ["y.md"])].map((name) =>
          mark(`./${name}`, of("644")),
        ),
        file: [mark("./file", of("600"))],
        download: has("--unpack")
          ? [mark("./in/f", has("--chown") ? { of: "644", by: "7:8" } : {})]
          : [mark("./a.gz", of("600"))],
      }[kind]!;
      return [String(at), ...files].join("\n");
    });
    const lines = steps.map(({ source, some }, at) => `ADD ${some.join(" ")} ${source} /t${at}/`);
    const text = ["FROM busybox", ...lines, listed(steps.length)].join("\n");
    const { output } = await build({ text, files: sources });
    expect(output.trim()).toBe(expected.join("\n"));
  }, 60_000);
});

const sha256 = new Bun.CryptoHasher("sha256").update("fetched\n").digest("hex");

describe("ADD", () => {
  test.each(
    rows({
      "fetches with mode 600 and the time of the server": {
        text: "FROM busybox\nADD http://SERVER/file /f\nADD --chmod=644 --chown=3:4 http://SERVER/file /d/\nRUN stat -c '%a %u:%g %Y' /f; stat -c '%a %u:%g' /d/file; cat /f",
        prints: "600 0:0 981173106\n644 3:4\nfetched",
      },
      "checks what it fetches": {
        text: `FROM busybox\nADD --checksum=sha256:${sha256} http://SERVER/file /f\nRUN cat /f`,
        prints: "fetched",
      },
      "refuses what is not as it should be": {
        text: `FROM busybox\nADD --checksum=sha256:${"0".repeat(64)} http://SERVER/file /f`,
        fails: "digest mismatch",
      },
      "tells what is not there": {
        text: "FROM busybox\nADD http://SERVER/gone /f",
        fails: "status 404",
      },
      "unpacks downloads on demand": {
        text: "FROM busybox\nADD --unpack http://SERVER/a.gz /u/\nADD http://SERVER/a.gz /p/\nADD --unpack=true --chown=5 http://SERVER/a.zst /z/\nRUN cat /u/in/f; ls /p; stat -c %u /z/in/f",
        prints: "unpacked\na.gz\n5",
      },
      "copies files too, with all flags of COPY": {
        text: "FROM busybox\nADD --chmod=600 --exclude=*.md --link a /d/\nRUN ls /d; stat -c %a /d/x.txt",
        files: sources,
        prints: "b\nx.txt\n600",
      },
      "wants no checksum for files": {
        text: `FROM busybox\nADD --checksum=sha256:${sha256} run.sh /`,
        files: sources,
        fails: "checksum can't be specified for this source",
      },
      "writes documents": { text: "FROM busybox\nADD <<F /\ndoc\nF\nRUN cat /F", prints: "doc" },
    }),
  )("%s", async (_, row) => await check(row));

  test("is not led from the open to a local address", async () => {
    // An address that documentation may use stands for one in the open, on this host for the moment.
    const open = ["203.0.113.77/32", "dev", "lo"];
    await run(["ip", "address", "add", ...open], { timeoutMs: 2_000 });
    const away = Bun.serve({
      port: 0,
      hostname: "203.0.113.77",
      fetch: ({ url }) =>
        Response.redirect(`http://127.0.0.1:${server.port}${new URL(url).pathname}`),
    });
    try {
      const text = (file: string) => `FROM busybox\nADD http://203.0.113.77:${away.port}/${file} /`;
      const fails = `it redirects to the local address 127.0.0.1:${server.port}`;
      await check({ text: text("file"), fails });
      await check({ text: text("r.git"), fails });
    } finally {
      await away.stop(true);
      await run(["ip", "address", "delete", ...open], { timeoutMs: 2_000 });
    }
  });

  test("unpacks archives of the context unless it is told not to", async () => {
    const contextPath = `${directory}/archives`;
    mkdirSync(contextPath);
    const names = ["tar", "gz", "bz2", "xz"];
    for (const name of names)
      await run(["cp", `${directory}/a.${name}`, contextPath], { timeoutMs: 1_000 });
    const text = [
      "FROM busybox",
      ...names.map((name) => `ADD a.${name} /${name}/`),
      "ADD --unpack=false a.gz /packed/",
      "RUN cat /tar/in/f /gz/in/f /bz2/in/f /xz/in/f; ls /packed",
    ].join("\n");
    writeFileSync(`${contextPath}/Dockerfile`, text);
    const lines: string[] = [];
    await stores.builder.build(requestOf({ contextPath, noCache: true }), (event) => {
      if (event.kind === "output") lines.push(Buffer.from(event.bytes).toString());
    });
    expect(lines.join("")).toBe(`${"unpacked\n".repeat(4)}a.gz\n`);
  });
});

describe("here-documents of RUN", () => {
  test.each(
    rows({
      "are a script for the shell": {
        text: "FROM busybox\nRUN <<EOF\na=1\necho $a\nEOF",
        prints: "1",
      },
      "go to a program": {
        text: "FROM busybox\nRUN <<EOF cat\ntext $HOME\nEOF",
        prints: "text /root",
      },
      "are quoted": { text: "FROM busybox\nRUN cat <<'EOF'\n$HOME\nEOF", prints: "$HOME" },
      "lose their tabs": { text: "FROM busybox\nRUN <<-EOF\n\techo a\n\tEOF", prints: "a" },
      "run by their first line": {
        text: "FROM busybox\nRUN <<EOF\n#!/bin/cat\nself\nEOF",
        prints: "#!/bin/cat\nself",
      },
      "may be several": {
        text: "FROM busybox\nRUN cat <<A && cat <<B\na\nA\nb\nB",
        prints: "a\nb",
      },
      "need an end": { text: "FROM busybox\nRUN <<EOF\necho", fails: "unterminated heredoc" },
    }),
  )("%s", async (_, row) => await check(row));
});

describe("the image's config", () => {
  test.each(
    rows({
      "CMD: the last one counts, in both forms": {
        text: 'FROM busybox\nCMD a\nCMD ["b", "c"]',
        config: { Cmd: ["b", "c"] },
      },
      "CMD: the shell form goes to the shell": {
        text: "FROM busybox\nCMD a b",
        config: { Cmd: ["/bin/sh", "-c", "a b"] },
      },
      "ENTRYPOINT: clears the base's CMD": {
        text: 'FROM busybox\nENTRYPOINT ["e"]',
        config: { Entrypoint: ["e"] },
      },
      "LABEL: several, quoted, over lines, and --label wins": {
        text: 'FROM busybox\nLABEL a=1 b="two words" \\\n c=\'$x\'\nLABEL "d e"=f a=2',
        labels: { a: "3" },
        config: { Labels: { a: "3", b: "two words", c: "$x", "d e": "f" } },
      },
      "EXPOSE: ports, ranges, protocols": {
        text: "FROM busybox\nENV p=90\nEXPOSE 80 81/udp 82-83/sctp $p",
        config: {
          ExposedPorts: { "80/tcp": {}, "81/udp": {}, "82/sctp": {}, "83/sctp": {}, "90/tcp": {} },
        },
      },
      "ENV: both forms, from each other, before arguments": {
        text: "FROM busybox\nENV a=1 b=two\\ words\nENV c the rest of it\nENV a=2 d=$a\nARG a=arg\nRUN echo $a,$b,$c,$d",
        buildArgs: { a: "given" },
        prints: "2,two words,the rest of it,1",
      },
      "VOLUME: both forms": {
        text: 'FROM busybox\nVOLUME /a /b\nVOLUME ["/c"]',
        config: { Volumes: { "/a": {}, "/b": {}, "/c": {} } },
      },
      "USER: for RUN and the image": {
        text: "FROM busybox\nUSER app\nRUN id -u; id -g\nUSER 7:8\nRUN id -u; id -g",
        config: { User: "7:8" },
        prints: "1000\n1000\n7\n8",
      },
      "WORKDIR: relative ones chain, variables, made when absent": {
        text: "FROM busybox\nENV d=b\nWORKDIR /a\nWORKDIR $d/c\nWORKDIR ..\nRUN pwd",
        config: { WorkingDir: "/a/b" },
        prints: "/a/b",
      },
      "STOPSIGNAL: a name or a number": {
        text: "FROM busybox\nSTOPSIGNAL SIGTERM\nSTOPSIGNAL 9",
        config: { StopSignal: "9" },
      },
      "HEALTHCHECK: every flag": {
        text: 'FROM busybox\nHEALTHCHECK --interval=5s --timeout=2s --start-period=1m --start-interval=1s --retries=4 CMD ["ok"]',
        config: {
          Healthcheck: {
            Test: ["CMD", "ok"],
            Interval: 5e9,
            Timeout: 2e9,
            StartPeriod: 60e9,
            StartInterval: 1e9,
            Retries: 4,
          },
        },
      },
      "HEALTHCHECK: none": {
        text: "FROM busybox\nHEALTHCHECK NONE",
        config: { Healthcheck: { Test: ["NONE"] } },
      },
    }),
  )("%s", async (_, row) => await check(row));

  test("MAINTAINER: sets the author", async () => {
    const { image, warnings } = await build({ text: "FROM busybox\nMAINTAINER me" });
    expect(image.config.author).toBe("me");
    expect(warnings.join()).toContain("MaintainerDeprecated");
  });

  test("ONBUILD: runs in the child, with all of it, and not in the grandchild", async () => {
    const parent = {
      text: "FROM busybox\nONBUILD COPY --from=busybox --chown=7 /etc/passwd /p\nONBUILD RUN --mount=from=busybox,target=/m <<EOF\nls /m/etc/group; stat -c %u /p\nEOF\nONBUILD COPY f /f",
      tags: ["parent:1"],
    };
    await build(parent);
    const files = { f: "child" };
    const child = await build({ text: "FROM parent:1\nRUN cat /f", files, tags: ["child:1"] });
    expect(child.output).toBe("# Executing 3 build triggers\n/m/etc/group\n7\nchild");
    expect(child.image.config.config?.OnBuild ?? []).toEqual([]);
    expect((await build({ text: "FROM child:1\nRUN echo grand" })).output).toBe("grand\n");
  });
});

describe("ARG", () => {
  test.each(
    rows({
      "several in a line, with and without values": {
        text: "FROM busybox\nARG a=1 b c=$a\nRUN echo $a-$b-$c",
        buildArgs: { b: "2" },
        prints: "1-2-1",
      },
      "begins where it stands": {
        text: "FROM busybox\nRUN echo before-$a\nARG a\nRUN echo after-$a",
        buildArgs: { a: "1" },
        prints: "before-\nafter-1",
      },
      "has the platforms": {
        text: "FROM busybox\nARG TARGETPLATFORM TARGETOS TARGETARCH BUILDPLATFORM BUILDOS BUILDARCH TARGETVARIANT BUILDVARIANT\nRUN echo $TARGETPLATFORM $TARGETOS $TARGETARCH $BUILDPLATFORM $BUILDOS $BUILDARCH$TARGETVARIANT$BUILDVARIANT",
        prints: `linux/${architecture} linux ${architecture} linux/${architecture} linux ${architecture}`,
      },
      "tells what nobody declared": {
        text: "FROM busybox",
        buildArgs: { unused: "1", BUILDKIT_SYNTAX: "docker/dockerfile:1", SOURCE_DATE_EPOCH: "1" },
        warns: "One or more build-args [unused] were not consumed",
      },
      "is there in SOURCE_DATE_EPOCH": {
        text: "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH; touch /f\nRUN stat -c %Y /f",
        buildArgs: { SOURCE_DATE_EPOCH: "1000000000" },
        prints: "1000000000\n1000000000",
      },
    }),
  )("%s", async (_, row) => await check(row));

  test("keeps proxies out of the history and of the cache's keys", async () => {
    const names = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"].flatMap(
      (name) => [name, name.toLowerCase()],
    );
    const line = names.map((name) => `$${name}`).join(" ");
    const text = `FROM busybox\nRUN echo ${line}; date +%N > /n`;
    const values = (word: string) => names.map((name) => `${word}-${name}`);
    const proxied = (word: string) => {
      const buildArgs = Object.fromEntries(names.map((name, at) => [name, values(word)[at]!]));
      return build({ text, noCache: false, buildArgs });
    };
    const first = await proxied("one");
    expect(first.output).toBe(`${values("one").join(" ")}\n`);
    expect(first.warnings).toEqual([]);
    const second = await proxied("two");
    expect(second.output).toBe("");
    expect(second.image.id).toBe(first.image.id);
    expect(JSON.stringify(first.image.config)).not.toContain("one-");
  });

  test("puts a proxy that is declared into history and keys", async () => {
    const text = "FROM busybox\nARG HTTP_PROXY\nRUN echo $HTTP_PROXY";
    const proxied = (value: string) =>
      build({ text, noCache: false, buildArgs: { HTTP_PROXY: value } });
    const first = await proxied("http://declared");
    expect(JSON.stringify(first.image.config.history)).toContain("HTTP_PROXY=http://declared");
    expect((await proxied("http://other")).output).toBe("http://other\n");
  });

  test("is part of the cache's keys where it is used", async () => {
    const text = "FROM busybox\nARG a\nRUN echo $a";
    const given = (a: string) => build({ text, noCache: false, buildArgs: { a } });
    expect((await given("1")).output).toBe("1\n");
    expect((await given("2")).output).toBe("2\n");
    expect((await given("1")).output).toBe("");
  });
});

describe("variables", () => {
  test.each(
    rows({
      "in every form": {
        text: `FROM busybox
ENV f=one.two.three e=""
ENV a=$f b=\${f} c=\${n:-word} d=\${e-word} g=\${f:+set} h=\${n+set} i=\${f:?no} j=\${e?no}
ENV k=\${f#*.} l=\${f##*.} m=\${f%.*} o=\${f%%.*} p=\${f/o/0} q=\${f//o/0} r=\\$f s='$f' t=\${n:-\${f#*.}}
RUN echo "$a $b $c [$d] $g [$h] $i [$j] $k $l $m $o $p $q $r $s $t"`,
        prints:
          "one.two.three one.two.three word [] set [] one.two.three [] two.three three one.two one 0ne.two.three 0ne.tw0.three $f $f two.three",
      },
      "in all instructions that expand": {
        text: "FROM busybox\nARG s=f d=/dest u=app p=81 sig=USR1 v=/vol\nCOPY --chown=$u $s ${d}/\nADD $s ${d}2/\nLABEL l=$s\nEXPOSE $p\nSTOPSIGNAL SIG$sig\nVOLUME $v\nWORKDIR ${d}\nUSER $u\nRUN stat -c %U f; cat f; pwd",
        files: { f: "file\n" },
        config: {
          Labels: { l: "f" },
          ExposedPorts: { "81/tcp": {} },
          StopSignal: "SIGUSR1",
          Volumes: { "/vol": {} },
          User: "app",
          WorkingDir: "/dest",
        },
        prints: "app\nfile\n/dest",
      },
      "stop a build when they are needed": {
        text: 'FROM busybox\nENV a="${needed:?is needed}"',
        fails: "needed: is needed",
      },
    }),
  )("%s", async (_, row) => await check(row));
});

describe("directives", () => {
  test.each(
    rows({
      "escape, in any case, before everything": {
        text: "# ESCAPE = `\n# syntax=docker/dockerfile:1\nFROM busybox\nRUN echo a `\n  b\\c",
        prints: "a bc",
      },
      "once each": {
        text: "# escape=`\n# escape=`\nFROM busybox",
        fails: "only one escape parser directive",
      },
      "only at the top": { text: "FROM busybox\n# escape=`\nRUN echo a \\\n  b", prints: "a b" },
      "an escape that is none": {
        text: "# escape=x\nFROM busybox",
        fails: "invalid escape token 'x'",
      },
      "a foreign syntax is reported, not obeyed": {
        text: "# syntax=example.org/other\nFROM busybox\nRUN echo own",
        prints: "own",
        warns: "The syntax image example.org/other is not run",
      },
      "syntax and check once each": {
        text: "# syntax=docker/dockerfile:1\n# syntax=docker/dockerfile:1\nFROM busybox",
        fails: "only one syntax parser directive",
      },
      "check twice is refused too": {
        text: "# check=skip=all\n# check=error=true\nFROM busybox",
        fails: "only one check parser directive",
      },
      "no longer after a comment, an empty line or an instruction": {
        text: "# a comment\n# check=error=true\n# escape=`\nFROM busybox\nMAINTAINER me\nRUN echo a \\\n  b",
        prints: "a b",
        warns: "MaintainerDeprecated",
      },
      "syntax names versions and channels of Docker's, with a digest too": {
        text: `# syntax = docker.io/docker/dockerfile:1.7-labs@sha256:${"0".repeat(64)}\nFROM busybox\nRUN echo own`,
        prints: "own",
        warns: "",
      },
      "check leaves out all": {
        text: "# check=skip=all\nFROM busybox\nMAINTAINER me\nRUN echo quiet",
        prints: "quiet",
        warns: "",
      },
      "check leaves out, or makes errors": {
        text: "# check=error=true;skip=JSONArgsRecommended\nFROM busybox\nCMD a\nMAINTAINER me",
        fails: "lint violation found for rules: MaintainerDeprecated",
      },
    }),
  )("%s", async (_, row) => await check(row));
});

describe("contexts", () => {
  test("the Dockerfile's own ignore file goes before the other", async () => {
    const files = {
      "api.Dockerfile": "FROM busybox\nCOPY . /d\nRUN ls /d",
      "api.Dockerfile.dockerignore": "b\n*Dockerfile*\n.dockerignore",
      ".dockerignore": "a",
      a: "",
      b: "",
    };
    const dockerfile = { path: "api.Dockerfile" };
    expect((await build({ text: "", files, dockerfile })).output).toBe("a\n");
  });

  test("a Dockerfile may come as text", async () => {
    const dockerfile = { text: "FROM busybox\nCOPY f /\nRUN cat /f" };
    expect((await build({ text: "", files: { f: "file" }, dockerfile })).output).toBe("file");
  });
});
