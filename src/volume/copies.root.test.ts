import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { openPlugins } from "../plugin/mod.ts";
import { openVolumeStore } from "./mod.ts";

const root = mkdtempSync("/tmp/lading-volume-copies-");
afterAll(() => rmSync(root, { recursive: true, force: true }));

let count = 0;
async function open(directory = `${root}/${count++}`, database = new Database(":memory:")) {
  const plugins = openPlugins({ sockets: `${root}/none`, specs: [] });
  const volumes = await openVolumeStore({ database, directory, plugins });
  return { volumes, database, directory };
}

async function withFile(text = "1") {
  const opened = await open();
  const { mountpoint } = await opened.volumes.create({ name: "db" });
  writeFileSync(`${mountpoint}/file`, text);
  return { ...opened, mountpoint, file: () => readFileSync(`${mountpoint}/file`, "utf8") };
}

test("createFilled() leaves nothing when its filling fails, and refuses a name that is taken", async () => {
  const { volumes, directory } = await withFile();
  const filling = volumes.createFilled({ name: "half" }, async (path) => {
    writeFileSync(`${path}/file`, "");
    throw new Error("no more");
  });
  await expect(filling).rejects.toThrow("no more");
  expect(volumes.list().map(({ name }) => name)).toEqual(["db"]);
  await expect(volumes.createFilled({ name: "db" }, async () => {})).rejects.toMatchObject({
    code: "conflict",
  });
  await expect(volumes.createFilled({ name: "../x" }, async () => {})).rejects.toMatchObject({
    code: "invalid",
  });
  expect(readdirSync(directory).sort()).toEqual([".trash", "db"]);
});

test("createFilled() that two want with one name has one winner", async () => {
  const { volumes } = await withFile();
  const copies = [1, 2, 3].map(() =>
    volumes.withFiles("db", (from) => volumes.createFilled({ name: "to" }, volumes.copyOf(from))),
  );
  const ends = await Promise.allSettled(copies);
  expect(ends.filter(({ status }) => status === "fulfilled").length).toBe(1);
  expect(readFileSync(`${volumes.get("to").mountpoint}/file`, "utf8")).toBe("1");
});

test("a volume that a crash left half made is swept at the next start", async () => {
  const { volumes, database, directory } = await withFile();
  await volumes.createFilled({ name: "half" }, async () => {});
  database.run("UPDATE volume_volumes SET going = 1 WHERE name = 'half'");
  mkdirSync(`${directory}/.trash/staged/_data`, { recursive: true });
  const next = await open(directory, database);
  expect(next.volumes.list().map(({ name }) => name)).toEqual(["db"]);
  expect(existsSync(`${directory}/half`)).toBe(false);
});

test("rename() that a crash cut short is ended at the next start", async () => {
  const { database, directory } = await withFile();
  database.run("INSERT INTO volume_renames VALUES ('db', 'new')");
  database.run("UPDATE volume_volumes SET name = 'new' WHERE name = 'db'");
  const { volumes } = await open(directory, database);
  expect(readFileSync(`${volumes.get("new").mountpoint}/file`, "utf8")).toBe("1");
  // A later volume of the old name has nothing to do with it.
  const { mountpoint } = await volumes.create({ name: "db" });
  expect(readdirSync(mountpoint)).toEqual([]);
  const again = await open(directory, database);
  expect(again.volumes.list().map(({ name }) => name)).toEqual(["db", "new"]);
});

test("rename() refuses a volume that a container has, and one that is not there", async () => {
  const { volumes } = await withFile();
  await volumes.acquire("db", "c1");
  await expect(volumes.rename("db", "new")).rejects.toThrow("rename db: volume is in use - [c1]");
  await volumes.release("db", "c1");
  await expect(volumes.rename("no", "new")).rejects.toMatchObject({ code: "not_found" });
  await volumes.rename("db", "new");
  await volumes.rename("new", "db");
  expect(volumes.get("db").name).toBe("db");
});

test("a snapshot is restored in one step, again and again", async () => {
  const { volumes, mountpoint, file } = await withFile();
  await volumes.takeSnapshot("db", "one");
  await expect(volumes.takeSnapshot("db", "one")).rejects.toMatchObject({ code: "conflict" });
  for (const name of ["../x", "", "a/b", ".", "a\0"]) {
    await expect(volumes.takeSnapshot("db", name)).rejects.toMatchObject({ code: "invalid" });
    await expect(volumes.restoreSnapshot("db", name)).rejects.toMatchObject({ code: "invalid" });
  }
  for (const text of ["2", "3"]) {
    writeFileSync(`${mountpoint}/file`, text);
    writeFileSync(`${mountpoint}/other`, "");
    await volumes.restoreSnapshot("db", "one");
    expect([file(), readdirSync(mountpoint)]).toEqual(["1", ["file"]]);
  }
  expect(volumes.snapshots("db").map(({ name }) => name)).toEqual(["one"]);
  await volumes.mount("db", "c1");
  await expect(volumes.restoreSnapshot("db", "one")).rejects.toThrow("volume is in use");
  await volumes.unmount("db", "c1");
  await volumes.removeSnapshot("db", "one");
  expect(volumes.snapshots("db")).toEqual([]);
  await expect(volumes.restoreSnapshot("db", "one")).rejects.toMatchObject({ code: "not_found" });
});

test("a volume that is copied cannot be removed, nor one be snapshot that is a mount", async () => {
  const { volumes } = await withFile();
  await volumes.withFiles("db", async () => {
    const removal = volumes.remove("db", { force: true });
    await expect(removal).rejects.toThrow("remove db: volume is being copied");
  });
  await volumes.create({ name: "mem", options: { type: "tmpfs", device: "tmpfs" } });
  await expect(volumes.takeSnapshot("mem", "one")).rejects.toMatchObject({ code: "unsupported" });
  await volumes.remove("db", { force: false });
});
