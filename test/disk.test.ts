/** The disk: what `df` says is what `du` says, every byte has an owner, and orphans are found. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, TestEngine, whyNot } from "./engine.ts";

interface Unit {
  readonly Bytes: string;
  readonly Owner: string;
  readonly Path: string;
  readonly Kind: string;
}

describe.skipIf(whyNot !== undefined)(`disk${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  const lading = async (...argv: string[]) => {
    const ran = await engine.lading(argv);
    return { code: ran.code, text: ran.stdout + ran.stderr };
  };
  const audit = async (): Promise<Unit[]> => {
    const { text } = await lading("system", "df", "--audit", "--format", "json");
    return text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Unit);
  };

  beforeAll(async () => {
    engine = await TestEngine.open("disk");
    await engine.importBusybox();
    const context = join(engine.folder, "context");
    mkdirSync(context);
    const lines = [
      "FROM busybox",
      "RUN --mount=type=cache,target=/c head -c 3000000 /dev/urandom > /c/x",
      "RUN head -c 3000000 /dev/urandom > /f; ln /f /g",
    ];
    writeFileSync(join(context, "Dockerfile"), lines.join("\n"));
    await engine.lading(["build", "-t", "made", context]);
    const script =
      "head -c 4000000 /dev/urandom > /v/x; head -c 2000000 /dev/zero > /w; seq 50000; sleep 1000";
    await engine.ok(["run", "-d", "--name", "user", "-v", "kept:/v", "made", "sh", "-c", script]);
    await engine.ok(["save", "-o", join(engine.folder, "made.tar"), "made"]);
    while (!(await engine.ok(["logs", "--tail", "1", "user"])).includes("50000"))
      await Bun.sleep(20);
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("the sum of df and of its audit is that of du, and every byte has an owner", async () => {
    const units = await audit();
    expect(units.filter(({ Owner }) => Owner === "NOBODY")).toEqual([]);
    const du = Number((await command(["du", "-sxB1", engine.dataRoot])).stdout.split("\t")[0]);
    const sum = units.reduce((all, { Bytes }) => all + Number(Bytes), 0);
    expect(Math.abs(sum - du) / du).toBeLessThan(0.01);
    const df = await lading("system", "df", "--format", "{{.Type}}={{.Size}}");
    const scale = { B: 1, kB: 1e3, MB: 1e6 } as const;
    const shown = [...df.text.matchAll(/=([\d.]+)(B|kB|MB)$/gm)].map(
      ([, number, unit]) => Number(number) * scale[unit as keyof typeof scale],
    );
    expect(shown.length).toBe(5);
    const total = shown.reduce((all, bytes) => all + bytes, 0);
    expect(Math.abs(total - du) / du).toBeLessThan(0.01);
    const owners = units.map(({ Owner }) => Owner);
    for (const one of [
      "volume kept",
      "container user",
      "image made:latest",
      "RUN --mount=type=cache",
    ]) {
      expect(owners).toContain(one);
    }
  });

  test("fsck finds what was planted, repairs it while containers run, and takes nothing else", async () => {
    const old = new Date(Date.now() - 3 * 24 * 3_600_000);
    const at = (path: string) => join(engine.dataRoot, path);
    const bytes = Buffer.alloc(5_000, 7);
    const digest = createHash("sha256").update(bytes).digest("hex");
    const blob = `content/blobs/sha256/${digest}`;
    writeFileSync(at(blob), bytes);
    utimesSync(at(blob), old, old);
    const folders = [
      "snapshot/layers/zzz",
      "snapshot/snapshots/yyy",
      "volume/ghost",
      `engine/logs/${"0".repeat(64)}`,
      "build/folders/lost",
    ];
    for (const folder of folders) {
      mkdirSync(join(at(folder), "a/b"), { recursive: true });
      writeFileSync(join(at(folder), "a/b/file"), bytes);
    }
    const planted = [blob, ...folders];
    const looked = await lading("system", "fsck", "--format", "{{.Path}}");
    expect([looked.code, looked.text.trimEnd().split("\n").sort()]).toEqual([
      1,
      planted.toSorted(),
    ]);
    expect(planted.every((path) => existsSync(at(path)))).toBe(true);
    const before = (await audit())
      .filter(({ Owner }) => Owner !== "NOBODY")
      .map(({ Path }) => Path);
    const running = engine.ok(["run", "--rm", "made", "sleep", "1"]);
    const repaired = await lading("system", "fsck", "--repair");
    expect([repaired.code, repaired.text]).toEqual([0, expect.stringContaining("reclaimed")]);
    await running;
    expect(planted.filter((path) => existsSync(at(path)))).toEqual([]);
    expect((await lading("system", "fsck")).text).toContain("Everything on the disk has an owner");
    const after = new Set((await audit()).map(({ Path }) => Path));
    expect(before.filter((path) => !after.has(path))).toEqual([]);
    expect(await engine.ok(["exec", "user", "wc", "-c", "/v/x", "/w"])).toContain("4000000 /v/x");
    expect(await engine.ok(["run", "--rm", "made", "wc", "-c", "/f"])).toBe("3000000 /f");
  });

  test("a data root that was copied elsewhere has all: logs, files, volumes, images", async () => {
    const at = (format: string) => engine.ok(["inspect", "-f", format, "user"]);
    await engine.ok(["exec", "user", "sh", "-c", "echo changed > /changed"]);
    await engine.ok(["stop", "-t", "0", "user"]);
    await engine.end();
    const old = `${engine.dataRoot}.old`;
    await command(["cp", "-a", engine.dataRoot, `${engine.dataRoot}.new`]);
    await command(["mv", engine.dataRoot, old]);
    engine.dataRoot = `${engine.dataRoot}.new`;
    await engine.start();
    expect(await engine.ok(["logs", "--tail", "1", "user"])).toBe("50000");
    await engine.ok(["start", "user"]);
    expect(await engine.ok(["exec", "user", "cat", "/changed"])).toBe("changed");
    expect(await engine.ok(["exec", "user", "wc", "-c", "/v/x"])).toBe("4000000 /v/x");
    expect(await at("{{.LogPath}}")).toStartWith(`${engine.dataRoot}/`);
    expect(await at("{{(index .Mounts 0).Source}}")).toBe(`${engine.dataRoot}/volume/kept/_data`);
    expect(existsSync(old.replace(".old", ""))).toBe(false);
    expect((await lading("system", "fsck")).text).toContain("Everything on the disk has an owner");
  });
});
