/** A build's cache as it goes to a folder or a registry and helps another engine; and its prune. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestEngine, whyNot } from "./engine.ts";
import { PeerRegistry, whyNoPeer } from "./registry-peer.ts";

const dockerfile = `FROM busybox AS tools
RUN echo a tool > /tool; echo > /other
FROM busybox
WORKDIR /work
COPY src /src
RUN --mount=type=cache,target=/kept,id=test-kept echo kept > /kept/file; rm /bin/nc; date > made; rm -r /var; mkdir /var; touch "/var/ new"
RUN --mount=type=cache,target=/kept,id=test-kept cat /kept/file > /from-cache
COPY --from=tools /tool /tool`;

describe.skipIf(whyNot !== undefined)(`cache${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let context = "";
  const build = async (...flags: string[]) => {
    const ran = await engine.lading(["build", "-t", "app", "--explain=json", ...flags, context]);
    expect([ran.code, ran.stderr]).toEqual([0, ""]);
    const { image, steps } = JSON.parse(ran.stdout) as {
      image: string;
      steps: { outcome: string }[];
    };
    return { image, outcomes: steps.map(({ outcome }) => outcome) };
  };
  const forget = async () => {
    await engine.ok(["rmi", "app"]);
    await engine.lading(["builder", "prune", "-af"]);
    const left = await engine.lading(["builder", "prune", "-af", "--dry-run", "--explain"]);
    expect(left.stdout).toContain("Total reclaimable space: 0B");
  };

  beforeAll(async () => {
    engine = await TestEngine.open("cache");
    context = join(engine.folder, "context");
    mkdirSync(join(context, "src"), { recursive: true });
    writeFileSync(join(context, "src/file"), "content");
    writeFileSync(join(context, "Dockerfile"), dockerfile);
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("mode=max in a folder: nothing is made again, cache mounts come along", async () => {
    const folder = join(engine.folder, "folder");
    const first = await build(`--cache-to=type=local,dest=${folder},mode=max,mounts=true`);
    expect(existsSync(join(folder, "oci-layout"))).toBe(true);
    await forget();
    const second = await build(`--cache-from=type=local,src=${folder}`);
    expect(second.outcomes).toEqual(Array(8).fill("cached"));
    expect(second.image).toBe(first.image);
    const run = ["run", "--rm", "app"];
    expect(await engine.ok([...run, "cat", "/src/file", "/from-cache", "/tool"])).toBe(
      "contentkept\na tool",
    );
    expect((await engine.docker([...run, "ls", "/bin/nc"])).code).not.toBe(0);
    // The base has more in the folder that was replaced.
    expect(await engine.ok([...run, "ls", "-A", "/var"])).toBe("new");
  });

  test("mode=min has the layers of the result alone", async () => {
    await forget();
    const folder = join(engine.folder, "small");
    await build(`--cache-to=type=local,dest=${folder}`);
    await forget();
    const { outcomes } = await build(`--cache-from=type=local,src=${folder}`);
    expect(outcomes.filter((outcome) => outcome === "made")).toHaveLength(1); // in stage tools
  });

  test.skipIf(whyNoPeer !== undefined)("in a registry, also of another vendor", async () => {
    const registry = await PeerRegistry.open();
    await using _ = { [Symbol.asyncDispose]: () => registry.close() };
    await forget();
    const ref = `${registry.address}/team/cache:main`;
    const first = await build(`--cache-to=type=registry,ref=${ref},mode=max,compression=zstd`);
    await forget();
    const second = await build("--cache-from", ref);
    expect(second.outcomes).toEqual(Array(8).fill("cached"));
    expect(second.image).toBe(first.image);
  });

  test.skipIf(whyNoPeer !== undefined)(
    "inline: the image that was pushed is the cache",
    async () => {
      const registry = await PeerRegistry.open();
      await using _ = { [Symbol.asyncDispose]: () => registry.close() };
      await forget();
      const ref = `${registry.address}/team/app:1`;
      const first = await build("--cache-to=type=inline");
      await engine.ok(["tag", "app", ref]);
      await engine.ok(["push", ref]);
      await engine.ok(["rmi", ref]);
      await forget();
      await engine.ok(["pull", ref]);
      const theirs = await engine.ok(["build", "--cache-from", ref, context]); // Docker's meaning
      expect(theirs.split("Using cache").length).toBeGreaterThan(4);
      await engine.ok(["rmi", ref]);
      await engine.lading(["builder", "prune", "-af"]);
      const second = await build("--cache-to=type=inline", "--cache-from", ref);
      expect(second.outcomes.filter((outcome) => outcome === "made")).toHaveLength(1); // in stage tools
      expect(second.image).toBe(first.image);
    },
  );

  test("a cache that is absent, broken or hostile costs a warning, and no build", async () => {
    await forget();
    const none = await engine.lading(
      ["build", "--cache-from=type=local,src=nowhere", "-t", "app", context],
      { cwd: engine.folder },
    );
    expect([none.code, none.stderr]).toEqual([
      0,
      "There is no cache in nowhere: building without it\n",
    ]);
    const bad = join(engine.folder, "bad");
    mkdirSync(bad);
    writeFileSync(join(bad, "index.json"), "{}");
    const broken = await engine.lading(["build", `--cache-from=type=local,src=${bad}`, context]);
    expect(broken.code).toBe(0);
    expect(broken.stdout).toContain("Cannot use the cache");
    const unknown = await engine.lading(["build", "--cache-to=type=gha", context]);
    expect(unknown.stderr).toContain('Cannot use a cache of type "gha"');
    for (const flag of [
      "--cache-to=type=local,tag=a,dest=",
      "--cache-from=type=local,tag=a,src=",
    ]) {
      const tagged = await engine.lading(["build", `${flag}${bad}`, context]);
      expect([tagged.code, tagged.stderr]).toEqual([1, expect.stringContaining("with tag=")]);
    }
  });

  test("builder prune says what would go, and takes filters", async () => {
    const dry = await engine.lading(["builder", "prune", "-a", "--dry-run", "--explain"]);
    expect(dry.stdout).toMatch(/ID +TYPE +SIZE +COST +LAST USED +DESCRIPTION/);
    expect(dry.stdout).toMatch(/exec\.cachemount .* cached mount test-kept/);
    const only = ["builder", "prune", "-af", "--filter", "type=exec.cachemount"];
    const pruned = await engine.lading(only);
    expect(pruned.stdout.split("\n").filter((line) => /^[0-9a-f:]{32,}$/.test(line))).toHaveLength(
      1,
    );
    const kept = await engine.lading(["builder", "prune", "-af", "--max-used-space", "1g"]);
    expect(kept.stdout).toContain("Total reclaimed space: 0B");
  });
});
