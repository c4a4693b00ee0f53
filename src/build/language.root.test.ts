/**
 * The Dockerfile language on real stores: a row for each instruction, flag and form. What a row prints
 * in its RUNs, what its image's config has, or how it fails, is what counts.
 * Reference: https://docs.docker.com/reference/dockerfile/
 */
import { describe, expect, test } from "bun:test";
import { hostPlatform } from "../oci/mod.ts";
import { build, check, rows, useLanguage } from "./language-laboratory.ts";

useLanguage();
const { architecture } = hostPlatform();

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
