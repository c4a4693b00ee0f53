import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { readTar, type TarHeader } from "../archive/mod.ts";
import { packContext, packPath } from "./build-context.ts";
import { openContext } from "./build-source.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/lading-context-`);
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Packed {
  readonly header: TarHeader;
  readonly text: string;
}

async function unpack(tar: AsyncIterable<Uint8Array>): Promise<Packed[]> {
  const entries: Packed[] = [];
  for await (const { header, body } of readTar(tar)) {
    entries.push({ header, text: await new Response(body as never).text() });
  }
  return entries;
}

const pathsOf = (entries: Packed[]) => entries.map(({ header }) => header.path);

describe("packContext()", () => {
  test("sends a sorted tree of root's, with modes, times and links", async () => {
    mkdirSync(`${folder}/b`);
    writeFileSync(`${folder}/b/x`, "hello");
    chmodSync(`${folder}/b/x`, 0o750);
    utimesSync(`${folder}/b/x`, 1000, 1234.5);
    symlinkSync("../nowhere", `${folder}/a`);
    linkSync(`${folder}/b/x`, `${folder}/c`);
    writeFileSync(`${folder}/Dockerfile`, "FROM scratch");
    const entries = await unpack(packContext(folder, { dockerfile: "Dockerfile" }));
    expect(pathsOf(entries)).toEqual(["Dockerfile", "a", "b", "b/x", "c"]);
    const [, link, , file, second] = entries as [Packed, Packed, Packed, Packed, Packed];
    expect(link.header).toMatchObject({ type: "symlink", linkPath: "../nowhere" });
    expect(file.header).toMatchObject({ mode: 0o750, uid: 0, gid: 0, mtimeSeconds: 1234 });
    expect(file.header.mtimeNanoseconds).toBe(0);
    expect(file.text).toBe("hello");
    expect(second.header).toMatchObject({ type: "link", linkPath: "b/x" });
  });

  test("leaves out what .dockerignore names, but not itself or the Dockerfile", async () => {
    for (const path of ["skip", "skip/deep", "keep"]) mkdirSync(`${folder}/${path}`);
    for (const path of ["skip/a", "skip/deep/b", "keep/c", "d.log", "Dockerfile"]) {
      writeFileSync(`${folder}/${path}`, path);
    }
    writeFileSync(
      `${folder}/.dockerignore`,
      "skip\n*.log\nDockerfile\n.dockerignore\n!skip/deep/b\n",
    );
    const entries = await unpack(packContext(folder, { dockerfile: "Dockerfile" }));
    expect(pathsOf(entries)).toEqual([
      ".dockerignore",
      "Dockerfile",
      "keep",
      "keep/c",
      "skip/deep/b",
    ]);
  });

  test("prefers the ignore file that is named after the Dockerfile", async () => {
    writeFileSync(`${folder}/a.Dockerfile`, "");
    writeFileSync(`${folder}/a.Dockerfile.dockerignore`, "x");
    writeFileSync(`${folder}/.dockerignore`, "y");
    for (const name of ["x", "y"]) writeFileSync(`${folder}/${name}`, name);
    const entries = await unpack(packContext(folder, { dockerfile: "a.Dockerfile" }));
    expect(pathsOf(entries)).toContain("y");
    expect(pathsOf(entries)).not.toContain("x");
  });

  test("sends a file larger than one piece whole", async () => {
    const large = Buffer.alloc(3 << 20, "0123456789abcdef");
    writeFileSync(`${folder}/large`, large);
    const [entry] = await unpack(packContext(folder, { dockerfile: "" }));
    expect(entry?.header.sizeBytes).toBe(large.length);
    expect(Bun.hash(entry!.text)).toBe(Bun.hash(large));
  });
});

describe("openContext()", () => {
  test("sends a Dockerfile from elsewhere ahead, with its ignore file", async () => {
    const other = mkdtempSync(`${tmpdir()}/lading-context-`);
    try {
      writeFileSync(`${other}/Dockerfile`, "FROM other");
      writeFileSync(`${other}/Dockerfile.dockerignore`, "out");
      writeFileSync(`${folder}/.dockerignore`, "in");
      for (const name of ["Dockerfile", "in", "out"]) writeFileSync(`${folder}/${name}`, name);
      const { context, query, ahead } = await openContext(folder, `${other}/Dockerfile`);
      expect(query.dockerfile).toBeUndefined();
      const sent = await unpack(ahead!);
      expect(sent.map(({ text }) => text)).toEqual(["FROM other", "out"]);
      expect(pathsOf(await unpack(context!))).toEqual([".dockerignore", "Dockerfile", "in"]);
    } finally {
      rmSync(other, { recursive: true });
    }
  });

  test("names the Dockerfile relative to the folder", async () => {
    mkdirSync(`${folder}/sub`);
    writeFileSync(`${folder}/sub/D`, "FROM scratch");
    const { query } = await openContext(folder, `${folder}/sub/D`);
    expect(query.dockerfile).toBe("sub/D");
  });

  test("hands addresses to the engine", async () => {
    const { context, query } = await openContext("https://example.com/x.git#main", "");
    expect(context).toBeUndefined();
    expect(query).toEqual({ remote: "https://example.com/x.git#main" });
  });

  test("names a folder or Dockerfile that is absent", async () => {
    await expect(openContext(`${folder}/no`, "")).rejects.toThrow(`path "${folder}/no" not found`);
    await expect(openContext(folder, "")).rejects.toThrow("Dockerfile: no such file or directory");
  });
});

describe("packPath()", () => {
  test("renames the root of a folder, and of the links inside", async () => {
    mkdirSync(`${folder}/d`);
    writeFileSync(`${folder}/d/x`, "x");
    linkSync(`${folder}/d/x`, `${folder}/d/y`);
    const entries = await unpack(packPath(`${folder}/d`, { name: "new", keepsOwners: false }));
    expect(pathsOf(entries)).toEqual(["new", "new/x", "new/y"]);
    expect(entries[2]!.header.linkPath).toBe("new/x");
    const content = await unpack(packPath(`${folder}/d`, { name: "", keepsOwners: true }));
    expect(pathsOf(content)).toEqual(["x", "y"]);
    expect(content[0]!.header.uid).toBe(process.getuid!());
  });

  test("sends one file under its new name", async () => {
    writeFileSync(`${folder}/x`, "x");
    const entries = await unpack(packPath(`${folder}/x`, { name: "z", keepsOwners: false }));
    expect(pathsOf(entries)).toEqual(["z"]);
  });
});
