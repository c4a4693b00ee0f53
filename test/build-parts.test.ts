/** Secrets, SSH agents and what reaches the host, through our own client. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, TestEngine, whyNot } from "./engine.ts";

/** Files on the disk below a folder that hold one of the words; what is mounted there is not looked at. */
async function holders(folder: string, words: readonly string[]): Promise<string[]> {
  const named = words.flatMap((word) => ["-e", word]);
  const find = ["find", folder, "-xdev", "-type", "f", "-exec", "grep", "-lF", ...named, "--"];
  return (await command([...find, "{}", "+"])).stdout.split("\n").filter(Boolean);
}

function commandLines(): string {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const lines = pids.map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8");
    } catch {
      return ""; // it ended while we looked
    }
  });
  return lines.join("\n");
}

describe.skipIf(whyNot !== undefined)(`parts${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let folder = "";
  const build = (dockerfile: string, flags: readonly string[] = [], env = {}) => {
    const options = { input: dockerfile, env, cwd: folder };
    return engine.lading(["build", "-t", "made", ...flags, "-"], options);
  };

  beforeAll(async () => {
    engine = await TestEngine.open("parts");
    folder = join(engine.folder, "client");
    mkdirSync(folder);
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("a secret is read by its RUN, and found nowhere while it runs nor after", async () => {
    // Put together here, so that no file of this test holds them.
    const [inFile, inVariable] = ["file", "variable"].map((word) => `S3cr-${word}-${Date.now()}`);
    writeFileSync(join(folder, "token"), inFile!);
    const running = build(
      `FROM busybox
RUN --mount=type=secret,id=one --mount=type=secret,id=two,required=true \\
  sha256sum /run/secrets/one /run/secrets/two && touch /made && sleep 1.5`,
      ["--secret", "id=one,src=token", "--secret", "id=two,env=TOKEN"],
      { TOKEN: inVariable! },
    );
    let hasEnded = false;
    running.finally(() => {
      hasEnded = true;
    });
    while (!hasEnded && !/sleep 1\.5/.test(commandLines())) await Bun.sleep(20);
    expect(commandLines()).not.toMatch(/S3cr-(file|variable)-\d/);
    const words = [inFile!, inVariable!];
    expect(await holders(engine.dataRoot, words)).toEqual([]);
    expect(await holders(join(engine.folder, "run"), words)).toEqual([]);
    const { code, stdout, stderr } = await running;
    expect([code, stderr]).toEqual([0, ""]);
    for (const word of words) {
      expect(stdout).toContain(new Bun.CryptoHasher("sha256").update(word).digest("hex"));
    }
    rmSync(join(folder, "token"));
    await engine.ok(["save", "-o", join(engine.folder, "made.tar"), "made"]);
    expect(await holders(engine.folder, words)).toEqual([]);
    expect((await engine.docker(["history", "--no-trunc", "made"])).stdout).not.toContain("S3cr-");
    expect(engine.log).not.toContain("S3cr-");
    await engine.end(); // what was only in memory is written now
    expect(await holders(engine.folder, words)).toEqual([]);
    await engine.start();
  });

  test("a secret that is required or absent is told", async () => {
    const text = "FROM busybox\nRUN --mount=type=secret,id=none,required=true true";
    const absent = await build(text);
    expect(absent.code).toBe(1);
    expect(absent.stderr).toContain("secret none: not found");
    const unread = await build(text, ["--secret", "id=none,src=nowhere"]);
    expect(unread.stderr).toContain("cannot read nowhere");
    const unset = await build(text, ["--secret", "id=none,env=NO_SUCH_VARIABLE"]);
    expect(unset.stderr).toContain("the environment has no NO_SUCH_VARIABLE");
    const stale = await engine.docker(["version"]); // the engine is well
    expect(stale.code).toBe(0);
  });

  test("curl hands a secret over, for one build", async () => {
    const socket = engine.host.slice("unix://".length);
    const curl = (path: string, ...rest: string[]) =>
      command(["curl", "-s", "--unix-socket", socket, ...rest, `http://engine${path}`]);
    const kept = await curl("/build/secrets", "--data-binary", "hello");
    const { Id } = JSON.parse(kept.stdout) as { Id: string };
    writeFileSync(
      join(folder, "Dockerfile"),
      "FROM busybox\nRUN --mount=type=secret,id=a wc -c /run/secrets/a",
    );
    const tar = join(engine.folder, "context.tar");
    await command(["tar", "-C", folder, "-cf", tar, "Dockerfile"]);
    const path = `/build?secrets=${encodeURIComponent(JSON.stringify({ a: Id }))}`;
    const built = await curl(
      path,
      "--data-binary",
      `@${tar}`,
      "-H",
      "Content-Type: application/x-tar",
    );
    expect(built.stdout).toContain("5 /run/secrets/a");
    const again = await curl(
      path,
      "--data-binary",
      `@${tar}`,
      "-H",
      "Content-Type: application/x-tar",
    );
    expect(again.stdout).toContain("No such secret for a build");
  });

  test.skipIf(!Bun.which("ssh-add") || !Bun.which("ssh-keygen"))(
    "an agent with a key signs for a RUN, takes no key from it, and ends with the build",
    async () => {
      await command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", join(folder, "key")]);
      const print = await command(["ssh-keygen", "-lf", join(folder, "key")]);
      await importWithSsh(engine);
      const text = `FROM with-ssh
RUN --mount=type=ssh,required=true ssh-add -l && ssh-add -D 2>&1 | head -1; ssh-add -l; echo $SSH_AUTH_SOCK`;
      const { code, stdout } = await build(text, ["--ssh", "default=key"]);
      expect(code).toBe(0);
      expect(stdout.split(print.stdout.split(" ")[1]!)).toHaveLength(3); // listed before and after -D
      expect(stdout).toContain("/run/buildkit/ssh_agent.0");
      expect((await command(["pgrep", "-f", "ssh-agent -D -a .*lading-ssh"])).stdout).toBe("");
      const without = await build(`${text} # again`);
      expect(without.stderr).toContain("ssh agent default: not found");
      const none = await build(text, ["--ssh", "default"], { SSH_AUTH_SOCK: "" });
      expect(none.stderr).toContain("SSH_AUTH_SOCK is not set");
    },
  );

  test("what reaches the host is refused until it is allowed", async () => {
    const cases = [
      ["network.host", "RUN --network=host cat /proc/net/dev", engine.bridge],
      ["security.insecure", "RUN --security=insecure grep CapEff /proc/self/status", "CapEff"],
      ["device", "RUN --device=/dev/fuse,required ls -l /dev/fuse", "10, 229"],
    ] as const;
    for (const [name, line, shown] of cases) {
      const refused = await build(`FROM busybox\n${line}`);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(`${name} is not allowed`);
      expect(refused.stderr).toContain(`--allow ${name}`);
      const allowed = await build(`FROM busybox\n${line}`, ["--allow", name]);
      expect([name, allowed.code, allowed.stderr]).toEqual([name, 0, ""]);
      expect(allowed.stdout).toContain(shown);
    }
    const unknown = await build("FROM busybox", ["--allow", "everything"]);
    expect(unknown.stderr).toContain("Known are network.host, security.insecure, device");
  });
});

/** An image with busybox, and ssh-add with the libraries that it needs. */
async function importWithSsh(engine: TestEngine): Promise<void> {
  const context = join(engine.folder, "ssh");
  mkdirSync(context);
  const script = `for f in $(which ssh-add) $(ldd $(which ssh-add) | grep -o '/[^ ]*'); do
    mkdir -p ${context}/root/$(dirname $f); cp -L $f ${context}/root/$f; done`;
  await command(["sh", "-c", script]);
  writeFileSync(join(context, "Dockerfile"), "FROM busybox\nCOPY root /");
  await engine.ok(["build", "-t", "with-ssh", context]);
}
