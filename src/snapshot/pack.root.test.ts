import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { type TarInput, writeTar } from "../archive/mod.ts";
import { entry, Fixture, file, folder } from "./fixture.ts";
import { packTar, unpackTar } from "./tar.ts";

const { base } = new Fixture();
let count = 0;
/** A fresh root, beside a file that no path may lead to. */
function freshRoot(): { root: string } {
  const root = `${base}/${count++}/root`;
  mkdirSync(root, { recursive: true });
  writeFileSync(`${root}/../secret`, "secret");
  return { root };
}
const link = (path: string, linkPath: string): TarInput => entry({ path, type: "link", linkPath });
const symlink = (path: string, linkPath: string): TarInput =>
  entry({ path, type: "symlink", linkPath });

describe("packTar()", () => {
  const tree = async () => {
    const { root } = freshRoot();
    await unpackTar(
      writeTar([
        folder("d"),
        file("d/b"),
        file("d/a"),
        link("d/c", "d/a"),
        symlink("up", "../.."),
        file("z"),
      ]),
      root,
    );
    return root;
  };
  const names = async (root: string, rules = {}) => {
    const path = `${base}/packed.tar`;
    writeFileSync(path, Buffer.concat(await Array.fromAsync(packTar(root, rules))));
    return Bun.spawnSync(["tar", "tf", path]).stdout.toString().trim().split("\n");
  };

  test("gives a tree in canonical order, whole or in part, under another name", async () => {
    const root = await tree();
    expect(await names(root)).toEqual(["d/", "d/a", "d/b", "d/c", "up", "z"]);
    expect(await names(root, { path: "d", as: "x/y" })).toEqual([
      "x/y/",
      "x/y/a",
      "x/y/b",
      "x/y/c",
    ]);
    expect(await names(root, { path: "d/a", as: "only" })).toEqual(["only"]);
    expect(await names(root, { exclude: ["d"] })).toEqual(["up", "z"]);
    expect(await names(root, { path: "up", as: "up" })).toEqual(["up"]);
  });

  test("never leaves the root, whatever links are in the path", async () => {
    const root = await tree();
    const inside = await names(root, { path: "up/d", as: "d" });
    expect(inside).toEqual(["d/", "d/a", "d/b", "d/c"]);
    await expect(names(root, { path: "up/secret", as: "s" })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  test("gives the same bytes after unpacking", async () => {
    const root = await tree();
    const one = Buffer.concat(await Array.fromAsync(packTar(root)));
    const { root: other } = freshRoot();
    await unpackTar(packTar(root), other);
    expect(Buffer.concat(await Array.fromAsync(packTar(other))).equals(one)).toBe(true);
  });

  test('of an absent path is "not_found"', async () => {
    await expect(names(await tree(), { path: "absent" })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  test("stops its work when nobody reads on", async () => {
    const { root } = freshRoot();
    writeFileSync(`${root}/big`, Buffer.alloc(32 << 20));
    for (let round = 0; round < 12; round++) {
      for await (const part of packTar(root)) if (part.length > 0) break;
    }
    expect((await names(root)).length).toBe(1); // twelve that hang would have used up the workers
  });
});
