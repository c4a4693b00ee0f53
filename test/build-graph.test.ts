/** What a build tells of its steps: explanations, progress, past builds; through our own client. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, lading, TestEngine, whyNot } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(`graph${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let context = "";
  const build = (...flags: string[]) => engine.lading(["build", "-t", "app", ...flags, context]);

  beforeAll(async () => {
    engine = await TestEngine.open("graph");
    context = join(engine.folder, "context");
    mkdirSync(join(context, "src"), { recursive: true });
    for (const name of ["a", "b"]) writeFileSync(join(context, "src", name), name);
    const text = `FROM busybox AS tools
RUN echo a tool > /tool
FROM busybox AS unused
RUN false
FROM busybox
COPY src /src
RUN echo working; cat /src/a
COPY --from=tools /tool /tool`;
    writeFileSync(join(context, "Dockerfile"), text);
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("--explain=json says of each step why", async () => {
    expect((await build()).code).toBe(0);
    writeFileSync(join(context, "src/a"), "changed");
    const { code, stdout } = await build("--explain=json", "--no-cache-filter", "tools");
    expect(code).toBe(0);
    const told = JSON.parse(stdout) as {
      image: string;
      steps: { outcome: string; reason: string }[];
    };
    expect(told.image).toMatch(/^sha256:/);
    expect(told.steps.map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ["cached", ""],
      ["made", "forced by --no-cache-filter"],
      ["cached", ""],
      ["made", "src/a has other content"],
      ["made", "step 4 before it was made anew"],
      ["made", "step 5 before it was made anew"],
    ]);
  });

  test("the official client's build is explained in the history, with its log", async () => {
    writeFileSync(join(context, "src/b"), "other");
    await engine.ok(["build", "-t", "app", context]);
    const listed = JSON.parse((await engine.lading(["builder", "history", "ls", "--json"])).stdout);
    const [newest] = listed as { id: string; status: string; image: string; tags: string[] }[];
    expect(newest).toMatchObject({ status: "succeeded", tags: ["app"] });
    const shown = await engine.lading(["build", "history", "inspect", newest!.id.slice(0, 8)]);
    expect(shown.stdout).toContain("because src/b has other content");
    const logs = await engine.lading(["builder", "history", "logs"]);
    expect(logs.stdout).toContain(": RUN echo working; cat /src/a\nworking\n");
    expect((await engine.lading(["builder", "history", "rm", newest!.id])).stdout.trim()).toBe(
      newest!.id,
    );
    const gone = await engine.lading(["builder", "history", "inspect", newest!.id]);
    expect(gone.stderr).toContain(`No such build: ${newest!.id}`);
  });

  test("a failed build, and one that kill -9 of the engine cut off, are in the history", async () => {
    const bad = { input: "FROM busybox\nRUN echo said; exit 3" };
    expect((await engine.lading(["build", "-"], bad)).code).not.toBe(0);
    const [failed] = await builds();
    expect(failed).toMatchObject({ status: "failed" });
    expect(failed!.error).toContain("non-zero code: 3");
    const cut = engine.lading(["build", "-"], { input: "FROM busybox\nRUN sleep 987" });
    while ((await builds())[0]?.status !== "running") await Bun.sleep(20);
    await engine.crash();
    await cut;
    expect((await builds())[0]).toMatchObject({ status: "interrupted" });
  });

  test("our client lists a context, and sends what a step needs; the official one shares its cache", async () => {
    const folder = join(engine.folder, "listed");
    mkdirSync(join(folder, "many"), { recursive: true });
    for (let n = 0; n < 300; n++) {
      writeFileSync(join(folder, "many", `${n}`), String(n).repeat(5000).slice(0, 5000));
    }
    writeFileSync(join(folder, "left-out"), "x");
    writeFileSync(join(folder, ".dockerignore"), "left-out\n");
    writeFileSync(join(folder, "some.txt"), "some");
    await command(["tar", "-C", folder, "-czf", join(folder, "packed.tgz"), "some.txt"]);
    const text = `FROM busybox
COPY some.txt /first
COPY many /many
ADD packed.tgz /unpacked
RUN --mount=target=/context ls -A /context > /names; cat /first /unpacked/some.txt
COPY . /all`;
    writeFileSync(join(folder, "Dockerfile"), text);
    const ours = (...flags: string[]) => engine.lading(["build", "-t", "listed", ...flags, folder]);
    const first = await ours();
    expect([first.code, first.stderr]).toEqual([0, ""]);
    expect(first.stdout).toContain("somesome");
    const names = (await engine.docker(["run", "--rm", "listed", "cat", "/names"])).stdout;
    expect(names.trim().split("\n")).toEqual([
      ".dockerignore",
      "Dockerfile",
      "many",
      "packed.tgz",
      "some.txt",
    ]);
    const theirs = await engine.ok(["build", "-t", "listed", folder]);
    expect(theirs.split("Using cache")).toHaveLength(6);
    expect((await ours("-q")).stdout.trim()).toMatch(/^sha256:/);
    writeFileSync(join(folder, "many/7"), "seven");
    const third = JSON.parse((await ours("--explain=json")).stdout) as {
      steps: { reason: string }[];
    };
    expect(third.steps[2]!.reason).toBe("many/7 has other content");
  });

  test("a large file that two stages copy, once and twice, is whole in each", async () => {
    const folder = join(engine.folder, "large");
    mkdirSync(join(folder, "sub"), { recursive: true });
    writeFileSync(join(folder, "sub/big"), "beginning");
    truncateSync(join(folder, "sub/big"), 257 << 20); // more than is unpacked in memory
    writeFileSync(join(folder, "sub/small"), "small");
    const look = 'RUN stat -c "%s %h %u %a %Y" /a/big; head -c 9 /a/big; ls -A / /a';
    const text = `FROM busybox AS one
COPY --chmod=640 sub /a/
${look}
FROM one
COPY sub /a/
COPY sub/big sub/b* /c/
${look}; cmp /a/big /c/big`;
    writeFileSync(join(folder, "Dockerfile"), text);
    const ours = await engine.lading(["build", "-t", "large", folder]);
    expect([ours.code, ours.stderr]).toEqual([0, ""]);
    expect(ours.stdout).toMatch(/^269484032 1 0 640 \d+\nbeginning/m);
    expect(ours.stdout).toMatch(/^269484032 1 0 644 \d+\nbeginning/m);
    expect(ours.stdout).not.toMatch(/^\.[0-9a-f]{64}$/m);
  }, 60_000);

  test("a client that sends other files than it listed fails its build, and the cache learns nothing", async () => {
    const folder = join(engine.folder, "lies");
    mkdirSync(folder);
    const digest = new Bun.CryptoHasher("sha256").update("truth").digest("hex");
    writeFileSync(join(folder, "Dockerfile"), "FROM busybox\nCOPY file /\n");
    const listing = `["file","file",420,5,"${digest}"]\n`;
    const named = new Bun.CryptoHasher("sha256").update(listing).digest("hex");
    const unix = engine.host.slice("unix://".length);
    const send = (path: string, body: string | Uint8Array<ArrayBuffer>) =>
      fetch(`http://engine${path}`, { method: "POST", body, unix });
    const post = (path: string, name: string) =>
      send(path, new Uint8Array(Bun.spawnSync(["tar", "-C", folder, "-cf", "-", name]).stdout));
    const build = async (content: string, listed = listing) => {
      writeFileSync(join(folder, "file"), content);
      const answer = await post(`/build?listed=${named}&t=lies`, "Dockerfile");
      let said = "";
      for await (const bytes of answer.body!) {
        said += Buffer.from(bytes).toString();
        const [, wanted] = /"kind":"need_listing","id":"(\w+)"/.exec(said) ?? [];
        if (wanted && !said.includes("told once")) {
          said += "told once";
          expect((await send(`/build/contexts?for=${wanted}`, listed)).status).toBe(204);
        }
        const [, id] = /"kind":"need","id":"(\w+)"/.exec(said) ?? [];
        if (id && !said.includes("asked once")) {
          said += "asked once";
          expect((await post(`/build/contexts?for=${id}`, "file")).status).toBe(204);
        }
      }
      return said;
    };
    expect(await build("truth", `${listing}\n`)).toContain(
      "The context changed while it was built",
    );
    expect(await build("a lie")).toContain("The context changed while it was built");
    const honest = await build("truth");
    expect(honest).toContain("Successfully tagged lies:latest");
    expect(honest).not.toContain("Using cache");
    const known = await build("truth");
    expect([known.includes("Using cache"), known.includes("told once")]).toEqual([true, false]);
    expect((await post("/build/contexts?for=nobody", "file")).status).toBe(404);
    expect((await post("/build?listed=1", "Dockerfile")).status).toBe(400);
  });

  async function builds() {
    const { stdout } = await engine.lading(["builder", "history", "ls", "--json"]);
    return JSON.parse(stdout) as { status: string; error: string }[];
  }

  test.skipIf(!Bun.which("tmux"))("a terminal shows what runs, and what came of it", async () => {
    const tmux = (...words: string[]) => command(["tmux", "-L", engine.bridge, ...words]);
    const line = `DOCKER_HOST=${engine.host} ${lading} build --no-cache ${context}; sleep 60`;
    await tmux("new-session", "-d", "-x", "100", "-y", "30", line);
    try {
      let screen = "";
      for (let wait = 0; wait < 200 && !screen.includes("Image sha256:"); wait++) {
        await Bun.sleep(50);
        screen = (await tmux("capture-pane", "-p")).stdout;
      }
      expect(screen).toMatch(/✔ \[tools\] 1\/6 FROM busybox AS tools CACHED/);
      expect(screen).toMatch(/✔ \[2\] 5\/6 RUN echo working; cat \/src\/a \d\.\ds/);
      expect(screen).toContain("- stage unused is not needed");
      expect(screen).toMatch(/\[\+\] \d+\.\ds: 4 made, 2 cached, 1 stage skipped/);
      expect(screen).not.toContain("Building"); // what was live is gone
    } finally {
      await tmux("kill-server");
    }
  });
});
