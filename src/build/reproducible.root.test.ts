import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { readTar } from "../archive/mod.ts";
import type { Image } from "../image/mod.ts";
import { requestOf } from "./fakes.ts";
import { importBusybox, openStores, type Stores } from "./real-stores.ts";
import type { BuildRequest } from "./types.ts";

let directory = "";
let here: Stores;
let there: Stores;

/** Two machines with the same base image. */
beforeAll(async () => {
  directory = mkdtempSync("/var/tmp/lading-same-");
  for (const name of ["a", "b"]) mkdirSync(`${directory}/${name}`);
  here = await openStores(`${directory}/a`, "ladS0");
  await importBusybox(here);
  const umask = process.umask(0o077);
  there = await openStores(`${directory}/b`, "ladS1");
  process.umask(umask);
  const base = `${directory}/base.tar`;
  await Bun.write(base, "");
  const writer = Bun.file(base).writer();
  for await (const chunk of here.images.save(["busybox:latest"])) await writer.write(chunk);
  await writer.end();
  await there.images.load(base, { report: () => undefined });
}, 60_000);

afterAll(async () => {
  for (const stores of [here, there]) await stores.close();
  rmSync(directory, { recursive: true, force: true });
});

const dockerfile = `FROM busybox AS made
RUN mkdir -p /out/sub; echo x > /out/sub/f; ln -s f /out/sub/l; touch -d @1000 /out/old
FROM busybox
WORKDIR /app
COPY . .
COPY <<EOF text
of a document
EOF
COPY --from=made /out /out
RUN env | sort > env; hostname > host; echo y >> f; rm /out/old; chmod 700 /bin`;

/** A checkout: its files have the time of now, or what is given. */
function checkout(path: string, seconds?: number): string {
  const umask = process.umask(0o022);
  mkdirSync(`${path}/z`, { recursive: true });
  for (const name of seconds ? ["z/b", "a", "f"] : ["f", "a", "z/b"]) {
    writeFileSync(`${path}/${name}`, name);
    if (seconds) utimesSync(`${path}/${name}`, seconds, seconds);
  }
  writeFileSync(`${path}/Dockerfile`, dockerfile);
  process.umask(umask);
  return path;
}

async function build(stores: Stores, contextPath: string, given: Partial<BuildRequest> = {}) {
  return await stores.builder.build(requestOf({ contextPath, ...given }), () => undefined);
}

/** The times of all entries of the layers that the build made. */
async function timesIn({ snapshots }: Stores, image: Image): Promise<Record<string, number>> {
  const times: Record<string, number> = {};
  for (const layer of image.config.rootfs.diff_ids.slice(1)) {
    for await (const { header } of readTar(snapshots.layerTar(layer))) {
      if (!header.path.includes(".wh.")) times[header.path] = header.mtimeSeconds;
    }
  }
  return times;
}

describe("two machines", () => {
  test("build the same image in other folders, at other times, with another umask", async () => {
    const one = await build(here, checkout(`${directory}/one`), { noCache: true });
    await Bun.sleep(1100);
    const umask = process.umask(0o077);
    const path = checkout(`${directory}/elsewhere/two`, 1_234_567_890);
    const other = await build(there, path, { noCache: true });
    process.umask(umask);
    expect(other.config).toEqual(one.config);
    expect(other.id).toBe(one.id);
    const cached = await build(there, checkout(`${directory}/three`, 1_300_000_000));
    expect(cached.id).toBe(one.id);
    const base = here.images.resolve("busybox").config.created!;
    expect(one.config.created).toBe(base);
  });

  test("let files be no later than SOURCE_DATE_EPOCH, on the disk as in the archive", async () => {
    const buildArgs = { SOURCE_DATE_EPOCH: "1600000000" };
    const image = await build(here, checkout(`${directory}/four`), { buildArgs });
    expect(image.config.created).toBe("2020-09-13T12:26:40.000Z");
    const made = image.config.history!.slice(1);
    expect(new Set(made.map(({ created }) => created))).toEqual(
      new Set(["2020-09-13T12:26:40.000Z"]),
    );
    const times = await timesIn(here, image);
    const { "out/old": _old, ...written } = times;
    expect(new Set(Object.values(written))).toEqual(new Set([1_600_000_000]));
    const text = "FROM made\nRUN stat -c %Y /app/f /app/env /out/sub/f > /times; cat /times";
    here.images.tag(image.id, "made");
    let output = "";
    const contextPath = `${directory}/five`;
    mkdirSync(contextPath);
    writeFileSync(`${contextPath}/Dockerfile`, text);
    await here.builder.build(requestOf({ contextPath }), (event) => {
      if (event.kind === "output") output += Buffer.from(event.bytes);
    });
    expect(output).toBe("1600000000\n".repeat(3));
    const wrong = build(here, contextPath, { buildArgs: { SOURCE_DATE_EPOCH: "soon" } });
    await expect(wrong).rejects.toThrow("invalid SOURCE_DATE_EPOCH: soon");
  });

  test("keep times that were asked to be kept, and the modes that files have", async () => {
    const path = checkout(`${directory}/six`, 1_234_567_890);
    chmodSync(`${path}/a`, 0o640);
    const image = await build(here, path, { keepTimes: true, commitSeconds: 1_400_000_000 });
    const times = await timesIn(here, image);
    expect(times["app/a"]).toBe(1_234_567_890);
    expect(times["app/env"]).toBeGreaterThan(1_700_000_000);
    const commit = await build(here, path, { commitSeconds: 1_400_000_000 });
    expect((await timesIn(here, commit))["app/a"]).toBe(1_400_000_000);
  });

  test("squash to one layer above the base, without what was deleted, each time the same", async () => {
    const contextPath = `${directory}/squash`;
    mkdirSync(contextPath);
    const text = `FROM busybox
RUN mkdir -p /d/e && echo secret > /d/secret && echo 1 > /d/e/f && ln /d/e/f /d/g
RUN rm -r /d/secret /d/e && mkdir /d/e && echo 2 > /d/e/new && rm /bin/ls && echo over > /etc/group
ENV A=b`;
    writeFileSync(`${contextPath}/Dockerfile`, text);
    const plain = await build(here, contextPath);
    const made = [];
    for (const stores of [here, there])
      made.push(await build(stores, contextPath, { squash: true }));
    const [one, other] = made;
    expect(other!.id).toBe(one!.id);
    const { diff_ids: layers } = one!.config.rootfs;
    expect(layers).toHaveLength(2);
    expect(layers[0]).toBe(plain.config.rootfs.diff_ids[0]!);
    expect(one!.config.history!.filter((entry) => !entry.empty_layer)).toHaveLength(2);
    expect(one!.config.config).toEqual(plain.config.config!);
    const paths: string[] = [];
    for await (const { header } of readTar(here.snapshots.layerTar(layers[1]!)))
      paths.push(header.path);
    expect(paths).toEqual(["bin", "bin/.wh.ls", "d", "d/e", "d/e/new", "d/g", "etc", "etc/group"]);
  });
});
