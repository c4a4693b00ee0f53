/** Contexts and `ssh://`: what Lading's client writes Docker's reads, and the other way round. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, dockerPath, lading, root, TestEngine, whyNot } from "./engine.ts";

describe.skipIf(whyNot !== undefined)(`contexts${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let env: Record<string, string>;
  const run = (client: string, ...argv: string[]) => command([client, ...argv], { env });
  const out = async (client: string, ...argv: string[]) => {
    const ran = await run(client, ...argv);
    if (ran.code !== 0) throw new Error(`${argv.join(" ")}: exit ${ran.code}: ${ran.stderr}`);
    return ran.stdout.trim();
  };
  const docker = dockerPath ?? "docker";

  beforeAll(async () => {
    engine = await TestEngine.open("contexts");
    await engine.importBusybox();
    const bin = join(engine.folder, "bin");
    mkdirSync(bin);
    // Stands for ssh(1): "the other host" is this one. What ssh's flags do, ssh tests.
    const script = `#!/bin/sh
echo "$@" >> ${engine.folder}/ssh-calls
while [ "$1" != -- ]; do shift; done; shift 2
exec env DOCKER_HOST=${engine.host} PATH=${join(root, "bin")}:$PATH sh -c "$*"
`;
    writeFileSync(join(bin, "ssh"), script);
    chmodSync(join(bin, "ssh"), 0o755);
    env = {
      DOCKER_CONFIG: join(engine.folder, "docker"),
      DOCKER_HOST: "",
      DOCKER_CONTEXT: "",
      PATH: `${bin}:${process.env["PATH"]}`,
    };
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("a context made by either client serves both; use, show, ls, update, rm", async () => {
    for (const [maker, other] of [
      [lading, docker],
      [docker, lading],
    ] as const) {
      await out(
        maker,
        "context",
        "create",
        "here",
        "--description",
        "a place",
        "--docker",
        `host=${engine.host}`,
      );
      await out(other, "context", "use", "here");
      expect(await out(maker, "context", "show")).toBe("here");
      for (const client of [maker, other]) {
        expect(await out(client, "run", "--rm", "busybox", "echo", "hello")).toBe("hello");
        expect(
          await out(client, "context", "ls", "--format", "{{.Name}} {{.Description}} {{.Current}}"),
        ).toContain("here a place true");
      }
      expect(await out(lading, "context", "inspect")).toBe(await out(docker, "context", "inspect"));
      await out(maker, "context", "update", "here", "--description", "another");
      expect(await out(other, "context", "inspect", "here")).toContain('"another"');
      expect((await run(maker, "context", "rm", "here")).code).toBe(1);
      await out(maker, "context", "rm", "-f", "here");
      expect(await out(other, "context", "ls", "-q")).toBe("default");
    }
  });

  test("export and import carry the keys, which nobody else may read", async () => {
    const [cert, key] = [join(engine.folder, "cert.pem"), join(engine.folder, "key.pem")];
    const kind = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=a -days 2".split(
      " ",
    );
    await command(["openssl", "req", "-x509", ...kind, "-keyout", key, "-out", cert]);
    const files = `host=tcp://127.0.0.1:2,ca=${cert},cert=${cert},key=${key}`;
    for (const [from, to] of [
      [lading, docker],
      [docker, lading],
    ] as const) {
      const file = join(engine.folder, "exported");
      await out(from, "context", "create", "far", "--docker", files);
      await out(from, "context", "export", "far", file);
      expect(statSync(file).mode & 0o077).toBe(0);
      await out(to, "context", "import", "copy", file);
      expect(await out(to, "context", "inspect", "-f", "{{.TLSMaterial}}", "copy")).toBe(
        "map[docker:[ca.pem cert.pem key.pem]]",
      );
      await out(from, "context", "rm", "far", "copy");
      await command(["rm", file]);
    }
  });

  test("ssh://: both clients come in, streams go both ways, exit codes come back", async () => {
    const input = Buffer.alloc(2_000_000);
    for (const client of [docker, lading]) {
      const argv = [client, "-H", "ssh://me@far.example:2222", "run", "-i", "--rm", "busybox"];
      const ran = await command([...argv, "sh", "-c", "wc -c; exit 7"], { env, input });
      expect([ran.code, ran.stdout.trim()]).toEqual([7, "2000000"]);
    }
    const calls = await Bun.file(join(engine.folder, "ssh-calls")).text();
    expect(calls).toContain("-l me -p 2222 -o ConnectTimeout=30 -T -- far.example");
    const sly = await run(lading, "-H", "ssh://-oProxyCommand=true", "ps");
    expect([sly.code, sly.stderr]).toEqual([1, expect.stringContaining("no address of an engine")]);
  });

  test("what is wrong with a context is said", async () => {
    const wrong = async (...argv: string[]) => (await run(lading, ...argv)).stderr;
    expect(await wrong("--context", "nope", "ps")).toContain('context "nope": context not found');
    expect(await wrong("context", "create", "a/b")).toContain("is invalid");
    expect(await wrong("context", "create", "default")).toContain("reserved");
    expect(await wrong("context", "create", "x", "--docker", "hots=1")).toContain(
      "unrecognized config key",
    );
    expect(await wrong("context", "create", "x", "--docker", "host=nowhere")).toContain(
      "no address",
    );
    expect(await wrong("-H", engine.host, "--context", "x", "ps")).toContain("conflicting options");
    const strange = join(engine.folder, "strange.tar");
    await command(["tar", "-cPf", strange, "/etc/hostname"]);
    expect(await wrong("context", "import", "x", strange)).toContain("does not belong in it");
    expect(await out(lading, "context", "ls", "-q")).toBe("default");
  });
});
