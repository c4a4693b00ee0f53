import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
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
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { getXattr, setXattr } from "../sys/mod.ts";
import { type CopyRequest, copy } from "./copy.ts";
import { parseIgnore } from "./ignore.ts";
import { type ScanRequest, scan } from "./scan.ts";

let base = "";
let count = 0;
beforeAll(() => {
  base = mkdtempSync("/tmp/lading-build-");
});
afterAll(() => rmSync(base, { recursive: true }));

/** A folder with these files: content, or `->target` for a symlink, `/` for a folder. */
function folder(files: Record<string, string>): string {
  const root = `${base}/${count++}`;
  mkdirSync(root);
  for (const [path, content] of Object.entries(files)) {
    const full = `${root}/${path}`;
    mkdirSync(dirname(full), { recursive: true });
    if (content === "/") mkdirSync(full, { recursive: true });
    else if (content.startsWith("->")) symlinkSync(content.slice(2), full);
    else writeFileSync(full, content);
  }
  return root;
}

/** All below a folder: path → content, `->target` or `/`. */
function listing(root: string, below = ""): Record<string, string> {
  const out: Record<string, string> = {};
  for (const name of readdirSync(`${root}/${below}`).sort()) {
    const path = below === "" ? name : `${below}/${name}`;
    const stat = lstatSync(`${root}/${path}`);
    if (stat.isSymbolicLink()) out[path] = `->${readlinkSync(`${root}/${path}`)}`;
    else if (stat.isDirectory()) Object.assign(out, { [path]: "/" }, listing(root, path));
    else out[path] = readFileSync(`${root}/${path}`, "utf8");
  }
  return out;
}

type How = Partial<CopyRequest & ScanRequest>;

function request(root: string, words: readonly string[], how: How = {}): ScanRequest {
  const { ignore = [], exclude = [], parents = false, owners = false } = how;
  return { root, words, ignore, exclude, parents, owners, archives: false };
}

function copyInto(
  target: string,
  source: { root: string; words: readonly string[] },
  how: How & { into?: string } = {},
): Record<string, string> {
  const targetRoot = how.into ?? folder({});
  const asked = request(source.root, source.words, how);
  const found = scan(asked).found.flatMap((list) => list ?? []);
  const { documents = [], owner, chmod = "", moves = false } = how;
  copy({
    ...asked,
    found,
    documents,
    downloads: [],
    targetRoot,
    target,
    owner,
    chmod,
    moves,
  });
  return listing(targetRoot);
}

const context = {
  "a.txt": "A",
  "b.txt": "B",
  "sub/c.txt": "C",
  "sub/deep/d.md": "D",
  link: "->sub/c.txt",
  "sub/up": "->../a.txt",
  out: "->/etc/hostname",
  empty: "/",
};

const cases: [
  words: string[],
  target: string,
  before: Record<string, string>,
  expected: Record<string, string>,
][] = [
  [["a.txt"], "/x", {}, { x: "A" }],
  [["a.txt"], "/x/", {}, { x: "/", "x/a.txt": "A" }],
  [["a.txt"], "/x", { x: "/" }, { x: "/", "x/a.txt": "A" }],
  [["a.txt"], "/x", { x: "old" }, { x: "A" }],
  [["a.txt"], "/p/q/x", {}, { p: "/", "p/q": "/", "p/q/x": "A" }],
  [["*.txt"], "/t/", {}, { t: "/", "t/a.txt": "A", "t/b.txt": "B" }],
  [
    ["sub"],
    "/s",
    {},
    { s: "/", "s/c.txt": "C", "s/deep": "/", "s/deep/d.md": "D", "s/up": "->../a.txt" },
  ],
  [["sub/deep/", "a.txt"], "/s/", {}, { s: "/", "s/a.txt": "A", "s/d.md": "D" }],
  [
    ["s*"],
    "/s/",
    {},
    { s: "/", "s/c.txt": "C", "s/deep": "/", "s/deep/d.md": "D", "s/up": "->../a.txt" },
  ],
  [["link"], "/l", {}, { l: "C" }],
  [["none*"], "/n/", {}, {}],
  [["empty"], "/e", {}, { e: "/" }],
  [["a.txt"], "/run/x", { run: "->r", r: "/" }, { r: "/", "r/x": "A", run: "->r" }],
  [
    ["a.txt"],
    "/run/x",
    { run: "->/var/r" },
    { run: "->/var/r", var: "/", "var/r": "/", "var/r/x": "A" },
  ],
  [
    ["a.txt"],
    "/esc/x",
    { esc: "->../../../../tmp" },
    { esc: "->../../../../tmp", tmp: "/", "tmp/x": "A" },
  ],
  [
    ["sub"],
    "/",
    { deep: "->real", real: "/" },
    { "c.txt": "C", deep: "->real", real: "/", "real/d.md": "D", up: "->../a.txt" },
  ],
  [["a.txt"], "/l/f", { "l/f": "->../g", g: "old" }, { g: "A", l: "/", "l/f": "->../g" }],
];

describe("copy()", () => {
  test.each(cases)("puts %j to %s over %j", (words, target, before, expected) => {
    const into = folder(before);
    expect(copyInto(target, { root: folder(context), words }, { into })).toEqual(expected);
  });

  test("never follows a link out of the context", () => {
    const root = folder({ out: "->/etc/hostname", up: "->../../../../../etc/hostname" });
    expect(scan(request(root, ["out", "up"])).found).toEqual([undefined, undefined]);
    expect(copyInto("/all/", { root, words: ["."] })).toEqual({
      all: "/",
      "all/out": "->/etc/hostname",
      "all/up": "->../../../../../etc/hostname",
    });
  });

  test.each(["../x", "a/../../x", "/../x"])("refuses the source %s", (word) => {
    expect(() => scan(request(folder({}), [word]))).toThrow(
      "forbidden path outside the build context",
    );
  });

  test("leaves out what .dockerignore and --exclude name", () => {
    const root = folder(context);
    const { rules: ignore } = parseIgnore("*.txt\n!a.txt\nsub/*\n!sub/deep");
    expect(
      copyInto("/", { root, words: ["."] }, { ignore, exclude: ["empty", "l*", "out"] }),
    ).toEqual({
      "a.txt": "A",
      sub: "/",
      "sub/deep": "/",
      "sub/deep/d.md": "D",
    });
    expect(scan(request(root, ["b.txt"], { ignore })).found).toEqual([undefined]);
  });

  test("keeps the folders above with --parents, below its pivot", () => {
    const root = folder(context);
    const words = ["./sub/deep/d.md", "sub/./deep", "**/c.txt"];
    expect(copyInto("/p/", { root, words }, { parents: true })).toEqual({
      p: "/",
      "p/deep": "/",
      "p/deep/d.md": "D",
      "p/sub": "/",
      "p/sub/c.txt": "C",
      "p/sub/deep": "/",
      "p/sub/deep/d.md": "D",
    });
  });

  test("refuses a file over a folder and a folder over a file", () => {
    const root = folder({ "s/f": "x", "t/f/g": "y" });
    const into = folder({ "d/f/": "/", "e/f": "file" });
    expect(() => copyInto("/d/", { root, words: ["s"] }, { into })).toThrow(
      "cannot replace to directory /d/f with file",
    );
    expect(() => copyInto("/e/", { root, words: ["t"] }, { into })).toThrow(
      "cannot copy to non-directory: /e/f",
    );
  });

  test("keeps modes and times, and gives the context's files to root", () => {
    const root = folder({ "s/f": "x", "s/d/g": "y" });
    chmodSync(`${root}/s/f`, 0o6751);
    chownSync(`${root}/s/f`, 7, 8);
    chmodSync(`${root}/s/f`, 0o6751);
    chmodSync(`${root}/s/d`, 0o1700);
    utimesSync(`${root}/s/f`, 1, 1_000_000_000.5);
    utimesSync(`${root}/s/d`, 1, 1_000_000_001);
    const into = folder({});
    copyInto("/t/", { root, words: ["s"] }, { into });
    const [file, inner] = [lstatSync(`${into}/t/f`), lstatSync(`${into}/t/d`)];
    expect([file.mode & 0o7777, file.uid, file.gid, file.mtimeMs]).toEqual([
      0o6751, 0, 0, 1_000_000_000_500,
    ]);
    expect([inner.mode & 0o7777, inner.mtimeMs]).toEqual([0o1700, 1_000_000_001_000]);
  });

  test("keeps owners, hard links and attributes of a stage's files", () => {
    const root = folder({ "s/f": "x", "s/l": "->f" });
    linkSync(`${root}/s/f`, `${root}/s/g`);
    chownSync(`${root}/s/f`, 7, 8);
    setXattr(`${root}/s/f`, "user.kind", Buffer.from("test"));
    mkdirSync(`${root}/s/z`);
    setXattr(`${root}/s/z`, "user.kind", Buffer.from("folder"));
    const into = folder({});
    copyInto("/t/", { root, words: ["s"] }, { into, owners: true });
    const [file, link] = [lstatSync(`${into}/t/f`), lstatSync(`${into}/t/g`)];
    expect([file.uid, file.gid, file.ino]).toEqual([7, 8, link.ino]);
    expect(getXattr(`${into}/t/f`, "user.kind")?.toString()).toBe("test");
    expect(getXattr(`${into}/t/z`, "user.kind")?.toString()).toBe("folder");
  });

  test("gives an owner and a mode to all that it makes", () => {
    const into = folder({});
    const root = folder({ "s/f": "x" });
    const owner = { uid: 1000, gid: 50 };
    copyInto("/new/t/", { root, words: ["s"] }, { into, owner, chmod: "u=rwX,go=rX" });
    const [file, parent] = [lstatSync(`${into}/new/t/f`), lstatSync(`${into}/new`)];
    expect([file.uid, file.gid, file.mode & 0o7777]).toEqual([1000, 50, 0o644]);
    expect([parent.uid, parent.gid, parent.mode & 0o7777]).toEqual([1000, 50, 0o755]);
  });

  test("moves large files of a folder that is its own, and the folder is gone", () => {
    const large = "x".repeat(300 << 10);
    const root = folder({ "s/small": "s", "s/large": large, "s/marked": large, "s/one": large });
    linkSync(`${root}/s/one`, `${root}/s/two`);
    setXattr(`${root}/s/marked`, "user.mark", Buffer.from("m"));
    chownSync(`${root}/s/large`, 5, 6);
    chmodSync(`${root}/s/large`, 0o4751);
    const inode = (path: string) => lstatSync(path).ino;
    const before = ["large", "marked", "one"].map((name) => inode(`${root}/s/${name}`));
    const into = folder({ "t/large": "old" });
    const made = copyInto("/t", { root, words: ["s"] }, { into, moves: true });
    expect(Object.keys(made)).toEqual(["t", "t/large", "t/marked", "t/one", "t/small", "t/two"]);
    const after = ["large", "marked", "one"].map((name) => inode(`${into}/t/${name}`));
    expect(after.map((each, at) => each === before[at])).toEqual([true, false, false]);
    const { uid, gid, mode } = lstatSync(`${into}/t/large`);
    expect([uid, gid, mode & 0o7777]).toEqual([0, 0, 0o4751]);
    expect(getXattr(`${into}/t/marked`, "user.mark")).toBeUndefined();
    expect(inode(`${into}/t/one`)).toBe(inode(`${into}/t/two`));
    expect(existsSync(root)).toBe(false);
  });

  test("writes documents", () => {
    const documents = [{ name: "a", content: "text\n" }];
    expect(copyInto("/d/", { root: folder({}), words: [] }, { documents })).toEqual({
      d: "/",
      "d/a": "text\n",
    });
    expect(copyInto("/d", { root: folder({}), words: [] }, { documents })).toEqual({ d: "text\n" });
  });

  test("carries names that are not UTF-8", () => {
    const root = folder({ s: "/" });
    const name = Buffer.concat([Buffer.from(`${root}/s/`), Buffer.from([0x66, 0xff])]);
    writeFileSync(name, "x");
    const into = folder({});
    const asked = request(root, ["s"]);
    const found = scan(asked).found.flatMap((list) => list ?? []);
    const plain = { documents: [], downloads: [], owner: undefined, chmod: "" };
    copy({ ...asked, ...plain, found, targetRoot: into, target: "/t/" });
    const names = readdirSync(Buffer.from(`${into}/t`), { encoding: "buffer" });
    expect(names.map((each) => [...each])).toEqual([[0x66, 0xff]]);
  });
});

describe("scan()", () => {
  const digest = (root: string, how: How = {}) => scan(request(root, ["."], how)).digest;

  test("gives equal digests for equal trees, whatever their times", () => {
    const [one, two] = [folder(context), folder(context)];
    utimesSync(`${one}/a.txt`, 1, 1);
    expect(digest(one)).toBe(digest(two));
  });

  test("sees content, names, modes, link targets; not owners of a context", () => {
    const digests = new Set([digest(folder(context))]);
    const changed = (change: (root: string) => void, how: How = {}) => {
      const root = folder(context);
      change(root);
      return digest(root, how);
    };
    digests.add(changed((root) => writeFileSync(`${root}/a.txt`, "a")));
    digests.add(changed((root) => writeFileSync(`${root}/new`, "")));
    digests.add(changed((root) => chmodSync(`${root}/a.txt`, 0o600)));
    digests.add(changed((root) => chmodSync(`${root}/sub`, 0o700)));
    digests.add(changed((root) => symlinkSync("x", `${root}/y`)));
    expect(digests.size).toBe(6);
    expect(changed((root) => chownSync(`${root}/a.txt`, 5, 5))).toBe(digest(folder(context)));
    const owned = changed((root) => chownSync(`${root}/a.txt`, 5, 5), { owners: true });
    expect(owned).not.toBe(digest(folder(context), { owners: true }));
  });

  test("remembers digests of files that did not change, and sees those that did", async () => {
    const root = folder({ f: "one", g: "two" });
    const memo = { database: `${base}/memo.sqlite`, context: root };
    const first = scan({ ...request(root, ["."]), memo }).digest;
    await Bun.sleep(60); // only files that rest are remembered
    expect(scan({ ...request(root, ["."]), memo }).digest).toBe(first);
    using database = new Database(memo.database, { readonly: true });
    expect(database.query("SELECT count(*) AS files FROM build_file").get()).toEqual({ files: 2 });
    writeFileSync(`${root}/f`, "eno");
    expect(scan({ ...request(root, ["."]), memo }).digest).not.toBe(first);
    expect(scan({ ...request(root, ["."]), memo }).digest).toBe(digest(root));
  });
});
