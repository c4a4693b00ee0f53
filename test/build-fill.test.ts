/** What our client sends is written where it stays: the image must be the one that a copy makes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { command, TestEngine, whyNot } from "./engine.ts";

const why = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;

describe.skipIf(whyNot !== undefined)(`files that are written where they stay${why}`, () => {
  let engine: TestEngine;
  let folder = "";
  beforeAll(async () => {
    engine = await TestEngine.open("fill");
    await engine.importBusybox();
    folder = join(engine.folder, "context");
    const files: Record<string, string> = {
      "src/a": "a",
      "src/deep/er/b": "b",
      "src/deep-er": "sorted otherwise than its path",
      [`src/${"long".repeat(40)}/${"name".repeat(20)}`]: "long",
      "src/größe\n": "odd",
      "src/empty": "",
      "src/zeros": "\0".repeat(200_000),
      "src/Dockerfile": "left out",
      "src/logs/keep": "kept by an exception",
      "src/logs/drop": "left out",
      large: "0123456789".repeat(150_000),
      "twice/one": "two names",
    };
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    chmodSync(join(folder, "src/a"), 0o4751);
    chmodSync(join(folder, "src/deep"), 0o2700);
    symlinkSync("../a", join(folder, "src/deep/link"));
    symlinkSync("/etc/größe", join(folder, "src/odd-link"));
    mkdirSync(join(folder, "src/hollow"));
    mkdirSync(join(folder, "hollow"));
    linkSync(join(folder, "twice/one"), join(folder, "twice/two"));
    expect((await command(["mkfifo", join(folder, "src/pipe")])).code).toBe(0);
    writeFileSync(join(folder, ".dockerignore"), "src/Dockerfile\nsrc/logs\n!src/logs/keep\n");
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  /** The image's ID; fails unless each of its layers' tars hashes to what the config says. */
  const built = async (lines: string, ...flags: string[]) => {
    writeFileSync(join(folder, "Dockerfile"), `FROM busybox\n${lines}\n`);
    const args = ["build", "-q", "--no-cache", "-t", "filled", folder];
    const ours = await engine.lading([...args, ...flags]);
    expect([ours.code, ours.stderr]).toEqual([0, ""]);
    const out = join(engine.folder, "saved");
    await command(["rm", "-rf", out]);
    mkdirSync(out);
    await engine.ok(["save", "-o", `${out}.tar`, "filled"]);
    expect((await command(["tar", "-C", out, "-xf", `${out}.tar`])).code).toBe(0);
    const [manifest] = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
    const config = JSON.parse(readFileSync(join(out, manifest.Config), "utf8"));
    const hashes = manifest.Layers.map((path: string) => {
      const bytes = readFileSync(join(out, path));
      return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
    });
    expect(hashes).toEqual(config.rootfs.diff_ids);
    return [ours.stdout.trim(), (await engine.ok(args)).trim()];
  };

  const cases = {
    "a folder that is new": "COPY src /app",
    "a folder that is new, and those above": "COPY src /opt/my/app/",
    "a folder that is there and empty": "WORKDIR /app\nCOPY src .",
    "a folder that is there and not empty": "COPY src/deep /app\nCOPY src /app",
    "a folder of another mode and owner":
      "RUN mkdir -m 2711 /app && chown 5:6 /app\nCOPY --chown=7:8 src /app",
    "the whole context": "COPY . /all",
    "the root of the file system": "COPY src /",
    "an empty folder": "COPY hollow /app",
    "a folder behind a link": "RUN mkdir -p /real && ln -s /real /way\nCOPY src /way/to/it",
    "files with two names": "COPY twice /app",
    "an owner by name": "RUN echo app:x:41:42::/:/bin/sh > /etc/passwd\nCOPY --chown=app src /app",
    "another mode": "COPY --chmod=700 src /app",
    "what --exclude names": "COPY --exclude=deep --exclude=z* src /app",
    "a file": "COPY large /large",
    "a file under another name": "COPY large /new/folder/name",
    "a file into a folder": "COPY large /etc/",
    "a file over another": "RUN mkdir /x && echo old > /x/large\nCOPY large /x",
    "a file through a link": "RUN ln -s /else /large\nCOPY large /large",
    "a layer of its own": "COPY --link --chown=3 src /app/",
    "two stages at once": "COPY src /app\nFROM busybox\nCOPY src /app\nCOPY --from=0 /app /other",
    "nothing below": "RUN true\nFROM scratch\nCOPY src /",
  };
  for (const [name, lines] of Object.entries(cases)) {
    test(name, async () => {
      const [ours, theirs] = await built(lines);
      expect(ours).toMatch(/^sha256:/);
      expect(ours).toBe(theirs!);
    });
  }

  test("a time to come is no reason for another image", async () => {
    const [ours] = await built("COPY src /app", "--build-arg=SOURCE_DATE_EPOCH=1700000000");
    const [again] = await built("COPY src /app", "--build-arg=SOURCE_DATE_EPOCH=1700000000");
    expect(ours).toBe(again!);
    expect((await built("COPY src /app", "--build-arg=SOURCE_DATE_EPOCH=4000000000"))[0]).toMatch(
      /^sha256:/,
    );
  });

  test("an engine that is killed while files come has nothing of them, and builds anew", async () => {
    const digest = new Bun.CryptoHasher("sha256").update("x").digest("hex");
    const sent = join(engine.folder, "sent");
    mkdirSync(join(sent, "d"), { recursive: true });
    writeFileSync(join(sent, "Dockerfile"), "FROM busybox\nCOPY d /d\n");
    const listing = `["folder","d",493]\n["file","d/f",420,1,"${digest}"]\n`;
    const named = new Bun.CryptoHasher("sha256").update(listing).digest("hex");
    writeFileSync(join(sent, "d/f"), "x");
    const unix = engine.host.slice("unix://".length);
    const tar = (...names: string[]) =>
      new Uint8Array(Bun.spawnSync(["tar", "-C", sent, "-cf", "-", ...names]).stdout);
    const post = (path: string, body: Uint8Array<ArrayBuffer> | string) =>
      fetch(`http://engine${path}`, { method: "POST", body, unix });
    const layers = () => readdirSync(join(engine.dataRoot, "snapshot/layers")).sort();
    const before = layers();

    const answer = await post(`/build?listed=${named}`, tar("Dockerfile"));
    const reader = answer.body!.getReader();
    let said = "";
    const asked = async (kind: string) => {
      for (;;) {
        const [, id] = new RegExp(`"kind":"${kind}","id":"(\\w+)"`).exec(said) ?? [];
        if (id) return id;
        said += Buffer.from((await reader.read()).value!).toString();
      }
    };
    await post(`/build/contexts?for=${await asked("need_listing")}`, listing);
    const id = await asked("need");
    const stays = Promise.withResolvers<void>();
    async function* half() {
      yield tar("d").subarray(0, 1024); // the folder, and the head of a file
      await stays.promise;
    }
    const sending = post(`/build/contexts?for=${id}`, half() as never).catch(() => undefined);
    const places = () => {
      const all = join(engine.dataRoot, "snapshot/snapshots");
      return readdirSync(all).filter((name) => existsSync(join(all, name, "files/d")));
    };
    while (places().length === 0) await Bun.sleep(10);
    await engine.crash();
    stays.resolve();
    await sending;
    await reader.read().catch(() => undefined);
    while (places().length > 0) await Bun.sleep(10); // what is removed at the start is removed beside it
    expect(layers()).toEqual(before);
    const again = await engine.lading(["build", "-q", sent]);
    expect([again.code, again.stderr]).toEqual([0, ""]);
  });
});
