import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { buildIn, type Command, openWorld } from "./fakes.ts";
import { worthOf } from "./prune.ts";

/** A command that writes a file of its own name. */
const writesItsName: Command = ({ root, spec }) => {
  writeFileSync(`${root}/${spec.process.args.at(-1)}`, "");
  return 0;
};

describe("the build cache", () => {
  test("makes the same image again and runs nothing", async () => {
    await using at = await openWorld();
    const text = "FROM base\nENV a=1\nCOPY f /f\nRUN one\nLABEL x=y";
    const files = { f: "F" };
    const first = await buildIn(at, text, { files });
    await Bun.sleep(2); // a time stamp of now would differ
    const kept = await buildIn(at, text, { files, keepTimes: true });
    expect(kept.image.id).not.toBe(first.image.id);
    expect((await buildIn(at, text, { files, keepTimes: true })).image.id).toBe(kept.image.id);
    at.ran.length = 1;
    const second = await buildIn(at, text, { files });
    expect(second.image.id).toBe(first.image.id);
    expect(at.ran).toEqual(["one"]);
    expect(second.events.filter(({ kind }) => kind === "cached")).toHaveLength(4);
    expect(first.events.filter(({ kind }) => kind === "cached")).toHaveLength(0);
    const fresh = await buildIn(at, text, { files, noCache: true });
    expect(fresh.image.id).toBe(first.image.id);
    expect(at.ran).toEqual(["one", "one"]);
  });

  test("rebuilds a changed step and those after it, and only those", async () => {
    await using at = await openWorld();
    at.command = writesItsName;
    const text = (middle: string) => `FROM base\nRUN a\n${middle}\nRUN c\nCOPY f /\nRUN d`;
    const ranFor = async (dockerfile: string, f: string) => {
      await buildIn(at, dockerfile, { files: { f } });
      return at.ran.splice(0);
    };
    expect(await ranFor(text("RUN b"), "1")).toEqual(["a", "b", "c", "d"]);
    expect(await ranFor(text("RUN B"), "1")).toEqual(["B", "c", "d"]);
    expect(await ranFor(text("RUN B"), "2")).toEqual(["d"]);
    expect(await ranFor(text("RUN B").replace("RUN a", "RUN A"), "2")).toEqual([
      "A",
      "B",
      "c",
      "d",
    ]);
    expect(await ranFor(text("LABEL x=y"), "2")).toEqual(["c", "d"]);
    expect(await ranFor(text("LABEL x=z"), "2")).toEqual([]);
    expect(await ranFor(text("ENV x=z"), "2")).toEqual(["c", "d"]);
  });

  test("runs what follows a step that ran again to the same result", async () => {
    await using at = await openWorld();
    await buildIn(at, "FROM base\nRUN echo 1\nRUN after");
    await buildIn(at, "FROM base\nRUN echo 2\nRUN after");
    expect(at.ran).toEqual(["echo 1", "after", "echo 2", "after"]);
  });

  test("keeps what copies from a stage that was rebuilt to the same files", async () => {
    await using at = await openWorld();
    at.command = ({ root }) => {
      writeFileSync(`${root}/same`, "same");
      return 0;
    };
    const text = (run: string) =>
      `FROM base AS b\nRUN ${run}\nFROM base\nCOPY --from=b /same /\nRUN after`;
    const first = await buildIn(at, text("one"));
    const second = await buildIn(at, text("two"));
    expect(at.ran).toEqual(["one", "after", "two"]);
    expect(second.image.id).toBe(first.image.id);
  });

  test("outlives a restart, but not the layers that it names", async () => {
    await using at = await openWorld();
    at.command = writesItsName;
    const { image } = await buildIn(at, "FROM base\nRUN a\nRUN b");
    const [, , last] = image.config.rootfs.diff_ids;
    at.layers.delete(last!);
    await at.restart();
    await buildIn(at, "FROM base\nRUN a\nRUN b");
    expect(at.ran).toEqual(["a", "b", "b"]);
  });

  test("is listed and pruned, but for what images and bounds keep", async () => {
    await using at = await openWorld();
    at.command = writesItsName;
    await buildIn(at, "FROM base\nRUN a\nRUN b", { tags: ["kept"] });
    const { image } = await buildIn(at, "FROM base\nRUN c");
    at.images.delete(image.id);
    const listed = at.builder.cache().map(({ description, inUse }) => [description, inUse]);
    expect(listed.toSorted()).toEqual([
      ["RUN /bin/sh -c a # buildkit", true],
      ["RUN /bin/sh -c b # buildkit", true],
      ["RUN /bin/sh -c c # buildkit", false],
    ]);
    const none = await at.builder.prune({ all: false, keepBytes: 1000 });
    expect(none).toMatchObject({ ids: [], reclaimedBytes: 0 });
    const other = { all: true, keepBytes: 0, isAsked: () => false };
    expect(await at.builder.prune(other)).toMatchObject({ ids: [], reclaimedBytes: 0 });
    const freed = await at.builder.prune({ all: false, keepBytes: 0 });
    expect(freed).toMatchObject({
      ids: [image.config.rootfs.diff_ids.at(-1)!],
      reclaimedBytes: 100,
    });
    await buildIn(at, "FROM base\nRUN a\nRUN b");
    expect(at.ran.splice(0)).toEqual(["a", "b", "c"]);
    await at.builder.prune({ all: true, keepBytes: 0 });
    expect(at.builder.cache()).toEqual([]);
    await buildIn(at, "FROM base\nRUN a\nRUN b");
    expect(at.ran).toEqual(["a", "b"]);
  });

  test("loses what is worth least: cheap, large, long unused", () => {
    const nowMs = 1e12;
    const row = { id: "", type: "regular", description: "", createdMs: 0, inUse: false } as const;
    const day = 24 * 60 * 60_000;
    const worth = (costMs: number, sizeBytes: number, days: number) =>
      worthOf({ ...row, costMs, sizeBytes, lastUsedMs: nowMs - days * day }, nowMs);
    expect(worth(60_000, 1e6, 0)).toBeGreaterThan(worth(100, 1e6, 0));
    expect(worth(1000, 1e6, 0)).toBeGreaterThan(worth(1000, 1e9, 0));
    expect(worth(1000, 1e6, 0)).toBeGreaterThan(worth(1000, 1e6, 3));
    expect(worth(60_000, 1e6, 3)).toBeGreaterThan(worth(1000, 1e6, 0));
  });

  test("is told before it is pruned, and stays", async () => {
    await using at = await openWorld();
    at.command = writesItsName;
    const { image } = await buildIn(at, "FROM base\nRUN a");
    at.images.delete(image.id);
    const dry = await at.builder.prune({ all: true, keepBytes: 0, isDry: true });
    expect(dry).toMatchObject({ reclaimedBytes: 100, rows: [{ type: "regular" }] });
    await buildIn(at, "FROM base\nRUN a");
    expect(at.ran).toEqual(["a"]);
  });

  test("is cut to its bound after each build", async () => {
    await using at = await openWorld({ cacheBytesMax: 250 });
    at.command = writesItsName;
    for (const name of ["a", "b", "c", "d", "e"]) {
      const { image } = await buildIn(at, `FROM base\nRUN ${name}`);
      at.images.delete(image.id);
    }
    await buildIn(at, "FROM base"); // the last one's layer is free now
    for (let wait = 0; wait < 100 && at.builder.cache().length > 2; wait++) await Bun.sleep(10);
    expect(at.builder.cache().length).toBeLessThanOrEqual(2);
  });

  test("is not pruned under a running build", async () => {
    await using at = await openWorld();
    const layers = () => [...at.layers.keys()];
    let before: unknown[] = [];
    at.command = async (run) => {
      if (run.spec.process.args.at(-1) === "prune") {
        before = layers();
        await at.builder.prune({ all: true, keepBytes: 0 });
        expect(layers()).toEqual(before as never[]);
      }
      return await writesItsName(run);
    };
    await buildIn(at, "FROM base\nRUN a\nRUN prune");
    expect(before).toHaveLength(2);
  });
});
