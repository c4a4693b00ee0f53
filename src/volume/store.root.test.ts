import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { getXattr, listMounts, setXattr, unmountNow } from "../sys/mod.ts";
import { openVolumeStore } from "./mod.ts";

const root = mkdtempSync("/tmp/lading-volume-");
afterAll(() => {
  for (const { target } of listMounts().reverse()) {
    if (target.startsWith(`${root}/`)) unmountNow(target, { detach: true });
  }
  rmSync(root, { recursive: true });
});

let count = 0;
const containerId = "c1";
async function open(directory = `${root}/${count++}`, database = new Database(":memory:")) {
  const volumes = await openVolumeStore({ database, directory });
  return { volumes, database, directory };
}

/** A folder that stands for a container's root filesystem. */
function makeRootfs(): string {
  const path = mkdtempSync(`${root}/rootfs-`);
  mkdirSync(`${path}/data/sub`, { recursive: true });
  return path;
}

describe("create()", () => {
  test("makes a named volume, and the same again is success", async () => {
    const { volumes, directory } = await open();
    const made = await volumes.create({ name: "db", labels: { a: "1" } });
    expect(made).toMatchObject({
      name: "db",
      driver: "local",
      anonymous: false,
      labels: { a: "1" },
    });
    expect(made.mountpoint).toBe(`${directory}/db/_data`);
    expect(made.createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(lstatSync(made.mountpoint).mode & 0o7777).toBe(0o755);
    expect(await volumes.create({ name: "db" })).toEqual(made);
    expect(volumes.list()).toEqual([made]);
    const other = { type: "tmpfs", device: "tmpfs" };
    expect(await volumes.create({ name: "db", options: other })).toEqual(made);
    await expect(volumes.create({ name: "db", driver: "other" })).rejects.toThrow(
      "create db: driver 'local' already has volume 'db': volume name must be unique",
    );
  });
  test("makes up a name for an anonymous one, or takes the caller's", async () => {
    const { volumes } = await open();
    const made = await volumes.create({});
    expect(made.name).toMatch(/^[0-9a-f]{64}$/);
    expect(made.anonymous).toBe(true);
    expect((await volumes.create({ name: "given", anonymous: true })).anonymous).toBe(true);
  });
  test.each([
    ["x", "volume name is too short, names should be at least two alphanumeric characters"],
    ["../up", "includes invalid characters for a local volume name"],
    ["a/b", "If you intended to pass a host directory, use absolute path"],
    [".trash", "includes invalid characters"],
    ["", "includes invalid characters"],
    ["a\0b", "includes invalid characters"],
    ["a".repeat(300), "includes invalid characters"],
  ])("refuses the name %p", async (name, message) => {
    const { volumes, directory } = await open();
    await expect(volumes.create({ name })).rejects.toThrow(message);
    expect(readdirSync(directory)).toEqual([".trash"]);
  });
  test("refuses a driver that is not there", async () => {
    const { volumes } = await open();
    await expect(volumes.create({ name: "vv", driver: "foo" })).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining('plugin "foo" not found'),
    });
  });
});

describe("remove()", () => {
  test("takes the files away, and says so when there is none", async () => {
    const { volumes, directory } = await open();
    const { mountpoint } = await volumes.create({ name: "db" });
    writeFileSync(`${mountpoint}/file`, "x");
    await volumes.remove("db", { force: false });
    expect(existsSync(`${directory}/db`)).toBe(false);
    await expect(volumes.remove("db", { force: false })).rejects.toMatchObject({
      code: "not_found",
      message: "get db: no such volume",
    });
  });
  test("refuses while a container uses it, also after a restart", async () => {
    const { volumes, database, directory } = await open();
    await volumes.create({ name: "db" });
    await volumes.acquire("db", "c2");
    await volumes.acquire("db", "c1");
    const next = await openVolumeStore({ database, directory });
    const refused = next.remove("db", { force: true });
    await expect(refused).rejects.toThrow("remove db: volume is in use - [c1, c2]");
    await next.release("db", "c1");
    expect(await next.reconcile(new Set(), new Set())).toEqual([
      "released volume db from container c2, which is gone",
    ]);
    await next.remove("db", { force: false });
    expect(next.list()).toEqual([]);
  });
  test("is ended at the next start when a crash cut it short", async () => {
    const { volumes, database, directory } = await open();
    await volumes.create({ name: "db" });
    database.run("UPDATE volume_volumes SET going = 1");
    const next = await openVolumeStore({ database, directory });
    expect(next.list()).toEqual([]);
    expect(existsSync(`${directory}/db`)).toBe(false);
    expect((await next.create({ name: "db" })).name).toBe("db");
  });
});

describe("mount()", () => {
  test("mounts what the options say until the last run is over", async () => {
    const { volumes, database, directory } = await open();
    const options = { type: "tmpfs", device: "tmpfs", o: "size=1m,mode=0700,nosuid" };
    const { mountpoint } = await volumes.create({ name: "mem", options });
    const mounted = () => listMounts().filter(({ target }) => target === mountpoint);
    expect(mounted()).toEqual([]);
    expect(await volumes.mount("mem", "c1")).toBe(mountpoint);
    await volumes.mount("mem", "c1");
    const next = await openVolumeStore({ database, directory });
    await next.mount("mem", "c2");
    expect(mounted().map(({ type }) => type)).toEqual(["tmpfs"]);
    expect(mounted()[0]!.options).toContain("size=1024k");
    await next.unmount("mem", "c1");
    expect(mounted().length).toBe(1);
    await next.unmount("mem", "c2");
    expect(mounted()).toEqual([]);
  });
  test("binds a folder, read-only when asked for, and leaves its files when it is removed", async () => {
    const { volumes } = await open();
    const device = mkdtempSync(`${root}/bound-`);
    writeFileSync(`${device}/file`, "mine");
    await volumes.create({ name: "bound", options: { type: "none", o: "bind,ro", device } });
    const path = await volumes.mount("bound", "c1");
    expect(readFileSync(`${path}/file`, "utf8")).toBe("mine");
    expect(() => writeFileSync(`${path}/new`, "")).toThrow("EROFS");
    await volumes.unmount("bound", "c1");
    await volumes.remove("bound", { force: false });
    expect(readFileSync(`${device}/file`, "utf8")).toBe("mine");
  });
  test("mounts other file systems with mount(8)", async () => {
    const { volumes } = await open();
    const options = { type: "ramfs", device: "--bind", o: "noexec" };
    const { mountpoint } = await volumes.create({ name: "ram", options });
    await volumes.mount("ram", "c1");
    const found = listMounts().find(({ target }) => target === mountpoint);
    expect([found?.type, found?.source]).toEqual(["ramfs", "--bind"]);
    await volumes.unmount("ram", "c1");
    await volumes.remove("ram", { force: false });
  });
  test("tells why it cannot mount, and the volume is not in use then", async () => {
    const { volumes } = await open();
    const options = { type: "none", o: "bind", device: "/no/such/folder" };
    await volumes.create({ name: "lost", options });
    await expect(volumes.mount("lost", "c1")).rejects.toThrow("failed to mount local volume");
    expect(listMounts().some(({ target }) => target.includes("lost"))).toBe(false);
    await volumes.remove("lost", { force: false });
  });
});

describe("populate()", () => {
  test("copies owners, modes, times, attributes, links, devices and holes", async () => {
    const { volumes } = await open();
    const rootfs = makeRootfs();
    const from = `${rootfs}/data`;
    writeFileSync(`${from}/file`, "hello");
    chownSync(`${from}/file`, 12, 34);
    chmodSync(`${from}/file`, 0o4750);
    setXattr(`${from}/file`, "user.note", Buffer.from("n"));
    utimesSync(`${from}/file`, 1, 1_000_000_000.5);
    linkSync(`${from}/file`, `${from}/sub/second`);
    symlinkSync("../../etc/passwd", `${from}/link`);
    writeFileSync(`${from}/sparse`, "x");
    truncateSync(`${from}/sparse`, 64 << 20);
    Bun.spawnSync(["mknod", `${from}/null`, "c", "1", "3"]);
    Bun.spawnSync(["mkfifo", `${from}/fifo`]);
    chownSync(from, 55, 66);
    chmodSync(from, 0o1777);
    utimesSync(`${from}/sub`, 1, 1_000_000_000);
    const { mountpoint: to } = await volumes.create({ name: "vol" });
    await volumes.populate("vol", { rootfs, path: "/data", containerId });
    const at = (name: string) => lstatSync(`${to}/${name}`);
    expect(readdirSync(to).sort()).toEqual(["fifo", "file", "link", "null", "sparse", "sub"]);
    expect(readFileSync(`${to}/file`, "utf8")).toBe("hello");
    expect([at("file").uid, at("file").gid, at("file").mode & 0o7777]).toEqual([12, 34, 0o4750]);
    expect(at("file").mtimeMs).toBe(1_000_000_000_500);
    expect(at("sub").mtimeMs).toBe(1_000_000_000_000);
    expect(getXattr(`${to}/file`, "user.note")?.toString()).toBe("n");
    expect(at("sub/second").ino).toBe(at("file").ino);
    expect(readlinkSync(`${to}/link`)).toBe("../../etc/passwd");
    expect([at("sparse").size, at("sparse").blocks < 100]).toEqual([64 << 20, true]);
    expect([at("null").isCharacterDevice(), at("null").rdev]).toEqual([true, 0x103]);
    expect(at("fifo").isFIFO()).toBe(true);
    expect([at("").uid, at("").gid, at("").mode & 0o7777]).toEqual([55, 66, 0o1777]);
    expect(await volumes.usage("vol")).toBe(5 + (64 << 20));
  });
  test("leaves a volume alone that has something in it", async () => {
    const { volumes } = await open();
    const rootfs = makeRootfs();
    writeFileSync(`${rootfs}/data/file`, "image");
    const { mountpoint } = await volumes.create({ name: "vol" });
    writeFileSync(`${mountpoint}/mine`, "");
    await volumes.populate("vol", { rootfs, path: "/data", containerId });
    expect(readdirSync(mountpoint)).toEqual(["mine"]);
  });
  test("gives an empty folder's owner and mode", async () => {
    const { volumes } = await open();
    const rootfs = makeRootfs();
    chownSync(`${rootfs}/data/sub`, 999, 998);
    chmodSync(`${rootfs}/data/sub`, 0o700);
    const { mountpoint } = await volumes.create({ name: "vol" });
    await volumes.populate("vol", { rootfs, path: "/data/sub", containerId });
    const { uid, gid, mode } = lstatSync(mountpoint);
    expect([uid, gid, mode & 0o7777]).toEqual([999, 998, 0o700]);
  });
  test("finds nothing behind links that lead out, and follows those inside", async () => {
    const { volumes } = await open();
    const rootfs = makeRootfs();
    const outside = mkdtempSync(`${root}/outside-`);
    writeFileSync(`${outside}/secret`, "host");
    symlinkSync(outside, `${rootfs}/escape`);
    symlinkSync("/data", `${rootfs}/inside`);
    writeFileSync(`${rootfs}/data/file`, "");
    const { mountpoint } = await volumes.create({ name: "vol" });
    for (const path of [
      "/escape",
      "/../../../../../etc",
      "/missing",
      "/data/file",
      "/data/file/x",
    ]) {
      await volumes.populate("vol", { rootfs, path, containerId });
      expect(readdirSync(mountpoint)).toEqual([]);
    }
    await volumes.populate("vol", { rootfs, path: "/inside", containerId });
    expect(readdirSync(mountpoint).sort()).toEqual(["file", "sub"]);
  });
  test("is done again when a crash cut it short", async () => {
    const { volumes, database, directory } = await open();
    const rootfs = makeRootfs();
    writeFileSync(`${rootfs}/data/one`, "1");
    const { mountpoint } = await volumes.create({ name: "vol" });
    writeFileSync(`${mountpoint}/half`, "");
    database.run("UPDATE volume_volumes SET filling = 1");
    const next = await openVolumeStore({ database, directory });
    await next.mount("vol", "c1");
    await next.populate("vol", { rootfs, path: "/data", containerId });
    expect(readdirSync(mountpoint).sort()).toEqual(["one", "sub"]);
    await next.mount("vol", "c2");
    expect(readdirSync(mountpoint).sort()).toEqual(["one", "sub"]);
  });
  test("by two containers at once copies once", async () => {
    const { volumes } = await open();
    const rootfs = makeRootfs();
    for (let at = 0; at < 200; at++) writeFileSync(`${rootfs}/data/${at}`, String(at));
    const { mountpoint } = await volumes.create({ name: "vol" });
    await Promise.all(
      [1, 2, 3].map(() => volumes.populate("vol", { rootfs, path: "/data", containerId })),
    );
    expect(readdirSync(mountpoint).length).toBe(201);
  });
});
