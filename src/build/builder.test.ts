import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { buildIn, expectClean, openWorld } from "./fakes.ts";

describe("build()", () => {
  test("tells what the build checks find once, after the steps, and still makes the image", async () => {
    await using at = await openWorld();
    const text = "FROM base\nRUN x\n\nCMD echo hi\nMAINTAINER me";
    const { lines } = await buildIn(at, text);
    const told = lines.filter((line) => line.startsWith("warning "));
    expect(told).toEqual([
      "warning JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 4)",
      "warning MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 5)",
    ]);
    const lastStep = lines.findLastIndex((line) => /^\d/.test(line));
    expect(lines.indexOf(told[0]!)).toBeGreaterThan(lastStep);
    expect(lines.at(-1)).toBe("image");
    const skipping = await buildIn(at, `# check=skip=all\n${text}`);
    expect(skipping.lines.filter((line) => line.startsWith("warning "))).toEqual([]);
  });

  test("tells each step, and makes config and history", async () => {
    await using at = await openWorld();
    const text = `FROM base
ENV A=1 B="$A x"
ENV A=2 B="$A x"
LABEL l=$X
WORKDIR /w
WORKDIR sub
RUN make
COPY f .
USER me
EXPOSE 80 90-91/udp
VOLUME ["/v"]
STOPSIGNAL SIGINT
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=5s CMD true
ONBUILD RUN child
CMD echo hi
MAINTAINER me`;
    const files = { f: "F" };
    const { config, image, lines } = await buildIn(at, text, { files, labels: { x: "y" } });
    expect(lines.filter((line) => /^\d/.test(line))).toEqual(
      text.split("\n").map((line, index) => `${index + 1}/17 ${line}`),
    );
    expect(lines.slice(-2)).toEqual(["done", "image"]);
    expect(config).toEqual({
      Env: ["PATH=/bin", "X=1", "A=2", "B=1 x"],
      Cmd: ["/bin/bash", "-c", "echo hi"],
      Labels: { l: "1", x: "y" },
      WorkingDir: "/w/sub",
      User: "me",
      ExposedPorts: { "80/tcp": {}, "90/udp": {}, "91/udp": {} },
      Volumes: { "/v": {} },
      StopSignal: "SIGINT",
      Shell: ["/bin/bash", "-c"],
      Healthcheck: { Test: ["CMD-SHELL", "true"], Interval: 5e9 },
      OnBuild: ["RUN child"],
    });
    expect(image.config.author).toBe("me");
    const history = image.config.history!;
    expect(history.map((entry) => [entry.created_by!, entry.empty_layer ?? false])).toEqual([
      ["base base", false],
      ["ENV A=1 B= x", true],
      ["ENV A=2 B=1 x", true],
      ["LABEL l=1", true],
      ["WORKDIR /w", false],
      ["WORKDIR /w/sub", false],
      ["RUN /bin/sh -c make # buildkit", false],
      ["COPY f . # buildkit", false],
      ["USER me", true],
      ["EXPOSE [80/tcp 90/udp 91/udp]", true],
      ["VOLUME [/v]", true],
      ["STOPSIGNAL SIGINT", true],
      ["SHELL [/bin/bash -c]", true],
      ['HEALTHCHECK &{["CMD-SHELL" "true"] "5s" "0s" "0s" "0s" \'\\x00\'}', true],
      ["ONBUILD RUN child", true],
      ['CMD ["/bin/bash" "-c" "echo hi"]', true],
      ["MAINTAINER me", true],
    ]);
    expect(readFileSync(`${at.filesOf(image)}/w/sub/f`, "utf8")).toBe("F");
    expectClean(at);
  });

  test("runs ONBUILD triggers in children, and not in their children", async () => {
    await using at = await openWorld();
    const parent = "FROM base\nONBUILD ENV got=it\nONBUILD RUN trigger";
    await buildIn(at, parent, { tags: ["parent"] });
    const child = await buildIn(at, "FROM parent\nRUN own", { tags: ["child"] });
    expect(at.ran).toEqual(["trigger", "own"]);
    expect(child.lines).toContain("out # Executing 2 build triggers\n");
    expect(child.config.OnBuild).toBeUndefined();
    await buildIn(at, "FROM child\nRUN grandchild");
    expect(at.ran).toEqual(["trigger", "own", "grandchild"]);
  });

  test("gives arguments their scopes", async () => {
    await using at = await openWorld();
    const seen: string[][] = [];
    at.command = ({ spec }) => {
      const isOurs = (entry: string) => /^(G|S|D|N|X|TARGETARCH|HTTP_PROXY)=/.test(entry);
      seen.push(spec.process.env.filter(isOurs).toSorted());
      return 0;
    };
    const text = `ARG G=global
FROM base AS one
ARG S=\${G:-none}
ARG D=default
ARG X=lost
RUN first
ARG G
ARG N
ARG TARGETARCH
RUN second
FROM one
RUN third`;
    const buildArgs = { D: "given", HTTP_PROXY: "p", unused: "u", N: null };
    const { lines, image } = await buildIn(at, text, { buildArgs });
    const arch = image.config.architecture;
    expect(seen).toEqual([
      ["D=given", "HTTP_PROXY=p", "S=none", "X=1"],
      ["D=given", "G=global", "HTTP_PROXY=p", "S=none", `TARGETARCH=${arch}`, "X=1"],
      ["HTTP_PROXY=p", "X=1"],
    ]);
    expect(lines).toContain("warning One or more build-args [unused] were not consumed");
    const history = image.config.history!.map(({ created_by }) => created_by);
    expect(history).toContain("RUN |3 S=none D=given X=lost /bin/sh -c first # buildkit");
    await buildIn(at, text, { buildArgs: { ...buildArgs, HTTP_PROXY: "other" } });
    expect(seen).toHaveLength(3); // a proxy is no part of the key
  });

  test("passes heredocs to the shell, or runs them by their #!", async () => {
    await using at = await openWorld();
    let script = "";
    at.command = ({ spec }) => {
      const mount = spec.mounts.find(({ target }) => target === "/dev/pipes/PY");
      if (mount) script = readFileSync(mount.source, "utf8");
      return 0;
    };
    const text = `FROM base
RUN <<EOF
a
b
EOF
RUN cat <<-A <<'B' > /x
\t1
A
2
B
RUN <<-PY
\t#!/usr/bin/python
\tprint()
PY`;
    await buildIn(at, text);
    const whole = "cat <<-A <<'B' > /x\n\t1\nA\n2\nB";
    expect(at.ran).toEqual(["a\nb\n", whole, "/dev/pipes/PY"]);
    expect(script).toBe("#!/usr/bin/python\nprint()\n");
  });

  test("clears an inherited CMD with ENTRYPOINT, but not one of its own", async () => {
    await using at = await openWorld();
    const one = await buildIn(at, 'FROM base\nENTRYPOINT ["e"]');
    expect([one.config.Entrypoint, one.config.Cmd]).toEqual([["e"], undefined]);
    const two = await buildIn(at, 'FROM base\nCMD ["c"]\nENTRYPOINT ["e"]');
    expect([two.config.Entrypoint, two.config.Cmd]).toEqual([["e"], ["c"]]);
  });

  test("takes an unchanged image as it is", async () => {
    await using at = await openWorld();
    const { image } = await buildIn(at, "FROM base", { tags: ["again"] });
    expect(image.id).toBe(at.names.get("base")!);
    expect(at.names.get("again")).toBe(image.id);
  });

  test("reads a Dockerfile given as text, and one that .dockerignore leaves out", async () => {
    await using at = await openWorld();
    const dockerfile = { text: "FROM base\nCOPY . /c/" };
    const files = { ".dockerignore": "*\n!keep", keep: "", drop: "" };
    const first = await buildIn(at, "", { files, dockerfile });
    expect(readdirSync(`${at.filesOf(first.image)}/c`)).toEqual(["keep"]);
    const own = {
      "api.df": dockerfile.text,
      "api.df.dockerignore": "keep\nDockerfile\n*.df*",
      keep: "",
      drop: "",
    };
    const second = await buildIn(at, "", { files: own, dockerfile: { path: "api.df" } });
    expect(readdirSync(`${at.filesOf(second.image)}/c`)).toEqual(["drop"]);
  });

  test("runs independent stages at once and unused ones not at all", async () => {
    await using at = await openWorld();
    const both = Promise.withResolvers<void>();
    at.command = async ({ root, spec }) => {
      const name = spec.process.args.at(-1)!;
      if (at.widest === 2) both.resolve();
      if (name !== "last") await both.promise;
      writeFileSync(`${root}/${name}`, name);
      return 0;
    };
    const text = `FROM base AS one
RUN x1
FROM base AS two
RUN x2
FROM base AS unused
RUN never
FROM base
COPY --from=one /x1 /
COPY --from=1 /x2 /
RUN last`;
    const { image, lines } = await buildIn(at, text);
    expect(at.widest).toBe(2);
    expect(at.ran.toSorted()).toEqual(["last", "x1", "x2"]);
    const files = at.filesOf(image);
    expect([existsSync(`${files}/x1`), existsSync(`${files}/x2`)]).toEqual([true, true]);
    const steps = lines.filter((line) => /^\d/.test(line));
    expect(steps.map((line) => Number.parseInt(line, 10))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("builds the same step of two builds once", async () => {
    await using at = await openWorld();
    const gate = Promise.withResolvers<void>();
    at.command = async ({ print }) => {
      await gate.promise;
      print("once\n");
      return 0;
    };
    const both = [buildIn(at, "FROM base\nRUN slow"), buildIn(at, "FROM base\nRUN slow")];
    await Bun.sleep(300);
    gate.resolve();
    const [one, two] = await Promise.all(both);
    expect(at.ran).toEqual(["slow"]);
    expect([one!.lines, two!.lines].every((lines) => lines.includes("out once\n"))).toBe(true);
    expect(two!.image.id).toBe(one!.image.id);
  });
});
