/** Several builds in one go: targets of bake files, here and elsewhere, and several `--target`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { command, lading, TestEngine, whyNot } from "./engine.ts";

const bakeFile = `group "default" { targets = ["app", "other", "third"] }
target "base" { dockerfile-inline = "FROM busybox\\nRUN echo base > /base" }
target "app" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nRUN cat /base"
  tags = ["baked:app"]
}
target "other" {
  dockerfile-inline = "FROM busybox\\nCOPY large /large\\nMAINTAINER me"
  tags = ["baked:other"]
}
target "third" { dockerfile-inline = "FROM busybox\\nCOPY large /large\\nCMD true" }
`;

describe.skipIf(whyNot !== undefined)(`bake${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let folder = "";
  const run = (...args: string[]) => engine.lading(args, { cwd: folder });
  const ok = async (...args: string[]) => {
    const ran = await run(...args);
    if (ran.code !== 0) throw new Error(`${args.join(" ")}\n${ran.stdout}${ran.stderr}`);
    return ran.stdout;
  };

  beforeAll(async () => {
    engine = await TestEngine.open("bake");
    folder = join(engine.folder, "project");
    mkdirSync(folder);
    writeFileSync(join(folder, "docker-bake.hcl"), bakeFile);
    // A context of more than a megabyte is listed, and its files are asked for.
    writeFileSync(join(folder, "large"), Buffer.alloc(2 << 20, "x"));
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("--var warns of a name that no file declares, and goes on", async () => {
    writeFileSync(
      join(folder, "vars.hcl"),
      'variable "TAG" {}\ntarget "default" { tags = [TAG] }\n',
    );
    const bake = async (...words: string[]) =>
      (await run("bake", "-f", "vars.hcl", "--print", ...words.map((word) => `--var=${word}`)))
        .stderr;
    expect(await bake("TGA=a", "TAG=b", "NOSUCH=c")).toBe(
      'WARNING: no bake file declares the variable "TGA": did you mean TAG?\n' +
        'WARNING: no bake file declares the variable "NOSUCH"\n',
    );
    expect(await bake("TAG=b")).toBe("");
  });

  test("a reader that goes away early leaves no folder behind", async () => {
    const temporary = join(engine.folder, "tmp");
    mkdirSync(temporary);
    const script = `"$0" bake --no-cache --progress=plain 2>&1 | head -1`;
    const env = { TMPDIR: temporary, DOCKER_HOST: engine.host };
    expect((await command(["bash", "-c", script, lading], { cwd: folder, env })).code).toBe(0);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test("targets send what their steps need, and what they share once", async () => {
    let sentBytes = 0;
    const path = join(engine.folder, "counted.sock");
    const server = createServer((client) => {
      client.on("data", ({ length }) => {
        sentBytes += length;
      });
      const api = connect(engine.host.slice("unix://".length));
      client.pipe(api).pipe(client);
      for (const socket of [client, api]) socket.on("error", () => socket.destroy());
    }).listen(path);
    try {
      const env = { DOCKER_HOST: `unix://${path}` };
      const ran = await engine.lading(["bake"], { cwd: folder, env });
      expect([ran.code, ran.stdout]).toEqual([0, expect.stringMatching(/\[app\] base\n/)]);
    } finally {
      server.close();
    }
    expect(sentBytes).toBeGreaterThan(2 << 20);
    expect(sentBytes).toBeLessThan(3 << 20);
    expect(await engine.ok(["run", "--rm", "baked:app", "cat", "/base"])).toBe("base");
  });

  test("--push is for images that were asked for: not for what they need, nor for files", async () => {
    const set = [
      "--set",
      "app.tags=127.0.0.1:1/app",
      "--set",
      "other.output=type=local,dest=files",
    ];
    const ran = await run("bake", ...set, "--push", "app", "other");
    expect([ran.code, ran.stdout + ran.stderr]).toEqual([
      1,
      expect.stringContaining("127.0.0.1:1/v2/"),
    ]);
    expect(ran.stdout + ran.stderr).not.toContain("it has no name");
    expect(existsSync(join(folder, "files/large"))).toBe(true);
    const unnamed = await run("bake", "--push", "third");
    expect(unnamed.stderr).toContain("target third: ");
    expect(unnamed.stderr).toContain("Give it one with --tag");
    const files = ["--set", "other.tags=127.0.0.1:1/other", "--push", "other"];
    await ok("bake", "--set", "other.output=type=local,dest=files", ...files);
  });

  test("--check and --call ask about each target, and build nothing", async () => {
    await engine.ok(["rmi", "baked:app", "baked:other"]);
    const checked = await run("bake", "--check");
    expect(checked.code).toBe(1);
    expect(checked.stdout).toMatch(/\[app\]\nCheck complete, no warnings found\.\n\[other\]\n/);
    expect(checked.stdout).toContain("WARNING: MaintainerDeprecated");
    expect(await ok("bake", "--call=outline", "app")).toContain("[app]\nTARGET:");
    expect((await run("bake", "--call=nothing")).stderr).toContain("unsupported call: nothing");
    expect(await engine.ok(["images", "-q", "baked"])).toBe("");
  });

  test("a terminal shows all builds at once, a program gets their events", async () => {
    const line = `stty cols 100 rows 30; ${lading} bake --set '*.no-cache=true'`;
    const shown = await command(["script", "-qec", line, "/dev/null"], {
      cwd: folder,
      env: engine.env,
    });
    expect(shown.stdout).toMatch(/\[app 0\] \d+\/\d+ RUN cat \/base/);
    expect(shown.stdout).toMatch(/\[other 0\] \d+\/\d+ COPY large \/large/);
    expect(shown.stdout).toMatch(/\[\+\] \d+\.\ds: .*made/);
    const told = (await ok("bake", "--progress=json", "app")).trim().split("\n");
    const targets = new Set(told.map((each) => JSON.parse(each).target));
    expect([...targets].sort()).toEqual(["app", "base"]);
  });

  test("bake files come from an address or a repository, whose folders are the contexts", async () => {
    const inside = `group "default" { targets = ["one", "two"] }
target "one" { tags = ["elsewhere:one"] }
target "two" {
  context = "sub"
  dockerfile-inline = "FROM busybox\\nCOPY said /said"
  tags = ["elsewhere:two"]
}`;
    const script = `mkdir -p made/sub; cd made; git init -q -b main
printf '%s' "$BAKE" > docker-bake.hcl; echo deep > sub/said; printf 'FROM busybox\\nCOPY sub /sub\\n' > Dockerfile
git add .; git -c user.name=t -c user.email=t@t commit -qm one
cd ..; git clone -q --bare made made.git; git -C made.git update-server-info`;
    const ran = await command(["sh", "-euc", script], {
      cwd: engine.folder,
      env: { BAKE: inside },
    });
    expect(ran.stderr).toBe("");
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: ({ url }) => {
        const path = join(engine.folder, new URL(url).pathname);
        return existsSync(path) ? new Response(Bun.file(path)) : new Response("", { status: 404 });
      },
    });
    try {
      const at = `http://127.0.0.1:${server.port}`;
      await ok("bake", `${at}/made.git#main`);
      expect(await engine.ok(["run", "--rm", "elsewhere:one", "cat", "/sub/said"])).toBe("deep");
      expect(await engine.ok(["run", "--rm", "elsewhere:two", "cat", "/said"])).toBe("deep");
      const shown = JSON.parse(await ok("bake", "--print", `${at}/made.git#main`, "two"));
      expect(shown.target.two.context).toBe(`${at}/made.git#main:sub`);
      // A file alone speaks of folders that are here.
      await ok("bake", `${at}/project/docker-bake.hcl`, "other");
      const none = await run("bake", `${at}/none.hcl`);
      expect([none.code, none.stderr]).toEqual([1, expect.stringContaining("status 404")]);
      const lost = await run("bake", `${at}/none.git`);
      expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining("not found")]);
    } finally {
      await server.stop(true);
    }
  });

  test("build makes several targets at once, each with its name and its folder", async () => {
    const text = "FROM busybox AS a\nRUN echo a > /said\nFROM busybox AS b\nRUN echo b > /said\n";
    writeFileSync(join(folder, "Two"), text);
    const two = ["build", "-f", "Two", "--target", "a", "--target", "b"];
    await ok(...two, "-t", "two:a", "-t", "two:b", "--metadata-file", "made.json", ".");
    expect(await engine.ok(["run", "--rm", "two:b", "cat", "/said"])).toBe("b");
    const made = JSON.parse(readFileSync(join(folder, "made.json"), "utf8"));
    const ids = ["a", "b"].map((name) => made[name]["containerimage.config.digest"]);
    expect(await ok(...two, "-q", ".")).toBe(`${ids.join("\n")}\n`);
    await ok(...two, "-o", "out", ".");
    expect(readFileSync(join(folder, "out/a/said"), "utf8")).toBe("a\n");
    for (const [more, why] of [
      [["-t", "one", "."], "2 targets have 1 names"],
      [["-o", "type=oci,dest=one.tar", "."], "they would share one.tar"],
      [["--iidfile", "iid", "."], "--iidfile holds one ID"],
      [["-"], "STDIN can be read once"],
    ] as const) {
      const refused = await run(...two, ...more);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(why)]);
    }
    expect(existsSync(join(folder, "one.tar"))).toBe(false);
  });
});
