/** COPY and ADD on real stores, a row for each flag and form, as in language.root.test.ts. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { run } from "../sys/mod.ts";
import { requestOf } from "./fakes.ts";
import {
  build,
  check,
  directory,
  modes,
  rows,
  server,
  sha256,
  stores,
  useLanguage,
} from "./language-laboratory.ts";

useLanguage();

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
