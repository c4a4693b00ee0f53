/** A data root without room: containers are told, nothing of the engine's state is lost, room makes it well. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, TestEngine, whyNot } from "./engine.ts";

const image = "busybox:latest";

describe.skipIf(whyNot !== undefined)(`full disk${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let folder: string;
  const mounted = () => join(folder, "disk");

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lading-full-disk-"));
    // Without blocks for root alone: not even the engine finds room.
    const script = `truncate -s 128M $1.img && mkfs.ext4 -m 0 -q $1.img && mkdir $1 && mount -o loop $1.img $1`;
    const made = await command(["sh", "-c", script, "sh", mounted()]);
    expect(made.stderr).toBe("");
    engine = await TestEngine.open("fulldisk", [`--data-root=${mounted()}/data`]);
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
    await command(["umount", mounted()]);
    rmSync(folder, { recursive: true });
  });

  const state = (name: string) =>
    engine.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]);
  const lastLine = async (name: string) =>
    Number((await engine.ok(["logs", "--tail", "1", name])).split(" ")[1]);
  const until = async (isSo: () => boolean | Promise<boolean>) => {
    for (let tries = 0; tries < 500 && !(await isSo()); tries++) await Bun.sleep(20);
    expect(await isSo()).toBe(true);
  };

  test("a full disk takes nothing from the engine, and it goes on when there is room", async () => {
    const count =
      "i=0; while :; do i=$((i+1)); echo line $i $(head -c 2000 /dev/zero | tr '\\0' x)";
    const chatty = [
      "run",
      "-d",
      "--name",
      "chatty",
      image,
      "sh",
      "-c",
      `${count}; sleep 0.02; done`,
    ];
    await engine.ok(chatty);
    const trap = "trap 'exit 7' TERM; while :; do sleep 0.05; done";
    await engine.ok(["run", "-d", "--name", "held", image, "sh", "-c", trap]);
    await engine.ok(["create", "--name", "late", image, "sh", "-c", `${count}; sleep 0.02; done`]);
    const write = "dd if=/dev/zero of=/big bs=64k count=4000; cat /dev/zero > /rest; exit 3";
    // Without a log, which would be full, too.
    const fill = ["run", "--name", "filler", "--log-driver", "none", image, "sh", "-c", write];
    const filler = await engine.docker(fill);
    expect(filler.stderr).toContain("No space left on device");
    expect(filler.code).toBe(3);
    await until(() => engine.log.includes("Cannot write a container's log: output is lost"));

    // What needs room is refused in words; what needs none is done.
    for (const args of [
      ["create", image, "true"],
      ["volume", "create", "none"],
    ]) {
      const refused = await engine.docker(args);
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringContaining("no space left on device"),
      ]);
    }
    expect(await state("chatty")).toBe("running 0");
    expect(await engine.ok(["exec", "chatty", "echo", "exec"])).toBe("exec");
    await engine.ok(["stop", "held"]);
    const late = await engine.docker(["start", "late"]);
    expect(late.stderr).toContain("no space left on device");
    await engine.crash();
    await engine.ok(["restart", "-t", "0", "chatty"]);
    expect(await state("held")).toBe("exited 7");
    expect(await state("filler")).toBe("exited 3");
    expect(await state("chatty")).toBe("running 0");
    expect(await state("late")).toStartWith("created");

    await engine.ok(["rm", "filler"]);
    // The files go in the background, and their blocks with the next commit of the file system.
    await until(async () => (await engine.docker(["start", "late"])).code === 0);
    for (const name of ["chatty", "late"]) {
      const before = (await lastLine(name)) || 0;
      await until(async () => ((await lastLine(name)) || 0) > before);
    }
    expect(await engine.ok(["run", "--rm", image, "echo", "room"])).toBe("room");
    expect(await engine.ok(["ps", "-a", "--format", "{{.Names}}"])).toBe("late\nheld\nchatty");
    expect(await engine.ok(["volume", "ls", "-q"])).toBe("");
  }, 120_000);
});
