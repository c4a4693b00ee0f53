/** `kill -9` of the engine as each kind of step begins: nothing is left, and the next build goes on. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, dockerPath, lading, TestEngine, whyNot } from "./engine.ts";

const why = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;

describe.skipIf(whyNot !== undefined)(`builds that are cut off${why}`, () => {
  let engine: TestEngine;
  let context = "";
  const steps = [
    "FROM busybox",
    "ARG who",
    "RUN mkdir /way && echo $who > /way/file",
    "COPY many /many",
    "COPY --chmod=700 many /again",
    "ADD packed.tar /unpacked",
    "COPY --from=busybox /bin /from",
    "WORKDIR /made",
    "RUN --mount=type=cache,target=/kept echo x >> /kept/x; ls / > /list",
  ];
  beforeAll(async () => {
    engine = await TestEngine.open("bkill");
    await engine.importBusybox();
    context = join(engine.folder, "context");
    for (let at = 0; at < 600; at++) {
      const folder = join(context, "many", `${at % 40}`);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `${at}`), `${at} `.repeat(200));
    }
    await command(["tar", "-C", context, "-cf", join(context, "packed.tar"), "many"]);
    writeFileSync(join(context, "Dockerfile"), steps.join("\n"));
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  /** Builds, and kills the engine as soon as the step is told. */
  async function cutAt(step: number, client: string, args: readonly string[]): Promise<void> {
    const child = Bun.spawn([client, ...args, context], {
      stdout: "pipe",
      stderr: "ignore",
      env: { ...process.env, ...engine.env, DOCKER_BUILDKIT: "0" },
    });
    let told = "";
    for await (const bytes of child.stdout) {
      told += Buffer.from(bytes).toString();
      if (told.includes(`Step ${step}/`)) break;
    }
    expect(told).toContain(`Step ${step}/`);
    await engine.crash();
    expect(await child.exited).not.toBe(0);
  }

  const clients = [
    ["ours", lading],
    ["the official one", dockerPath ?? ""],
  ] as const;
  for (const [name, client] of clients) {
    test(`whoever asked for it: ${name}`, async () => {
      // What one build finished is in the cache of the next: each begins its step anew.
      const args = ["build", `--build-arg=who=${name}`];
      for (let step = 3; step <= steps.length; step++) {
        await cutAt(step, client, args);
        const mounts = readFileSync("/proc/1/mountinfo", "utf8").split("\n");
        expect(mounts.filter((line) => line.includes(`${engine.dataRoot}/`))).toEqual([]);
        expect(readdirSync(join(engine.dataRoot, "build/work"))).toEqual([]);
        expect(readdirSync(join(engine.dataRoot, "snapshot/snapshots"))).toEqual([]);
      }
      const last = await engine.lading([...args, "-q", context]);
      const fresh = await engine.lading([...args, "-q", "--no-cache", context]);
      expect([last.code, fresh.code]).toEqual([0, 0]);
      expect(last.stdout).toBe(fresh.stdout);
    });
  }
});
