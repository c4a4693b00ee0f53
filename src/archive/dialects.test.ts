/** What we write, read by others; what others write, read by us: GNU tar, Python's tarfile, bsdtar. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { readTar } from "./read.ts";
import { type TarInput, writeTar } from "./write.ts";

const root = mkdtempSync("/tmp/lading-dialects-");
afterAll(() => rmSync(root, { recursive: true }));

function shell(argv: string[], cwd = root): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv, {
    cwd,
    env: { ...process.env, LC_ALL: "C.UTF-8" },
  });
  if (exitCode !== 0) throw new Error(`${argv[0]}: ${stderr}`);
  return stdout.toString();
}

async function listing(path: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { header, body } of readTar(Bun.file(path).stream())) {
    const hasher = new Bun.CryptoHasher("md5");
    for await (const part of body) hasher.update(part);
    const sum = header.type === "file" ? hasher.digest("hex") : header.linkPath;
    found.push(
      `${header.type} ${header.path} ${header.sizeBytes} ${header.mode.toString(8)} ${sum}`,
    );
  }
  return found.sort();
}

const deep = `${"deep/".repeat(30)}leaf`;
const deeper = `${"d".repeat(120)}/${"e".repeat(140)}`;
const sparseBytes = 5 << 20;

function makeTree(): void {
  for (const folder of [deep.slice(0, -5), deeper.slice(0, 120), "grüße"]) {
    mkdirSync(`${root}/tree/${folder}`, { recursive: true });
  }
  writeFileSync(`${root}/tree/plain`, "hello");
  writeFileSync(`${root}/tree/empty`, "");
  writeFileSync(`${root}/tree/${deep}`, "deep");
  writeFileSync(`${root}/tree/${deeper}`, "deeper");
  writeFileSync(`${root}/tree/grüße/☃`, "snow");
  symlinkSync(`${"x/".repeat(80)}y`, `${root}/tree/soft`);
  shell(["ln", "tree/plain", "tree/hard"]);
  shell(["mkfifo", "tree/pipe"]);
  writeFileSync(`${root}/tree/sparse`, "head");
  truncateSync(`${root}/tree/sparse`, sparseBytes);
  shell(["sh", "-c", "printf tail >> tree/sparse && truncate -s +3M tree/sparse"]);
}
beforeAll(makeTree);

describe("readTar()", () => {
  const dialects = [
    ["--format=gnu"],
    ["--format=pax"],
    ["--format=ustar", "--exclude=sparse", "--exclude=soft", "--exclude=d*"],
    ["--format=gnu", "--sparse"],
    ["--format=pax", "--sparse", "--sparse-version=0.0"],
    ["--format=pax", "--sparse", "--sparse-version=0.1"],
    ["--format=pax", "--sparse", "--sparse-version=1.0"],
    ["--format=oldgnu"],
    ["--format=v7", "--exclude=pipe", "--exclude=sparse", "--exclude=soft", "--exclude=d*"],
  ];
  for (const options of dialects) {
    test(`reads GNU tar's ${options.filter((each) => !each.startsWith("--ex")).join(" ")}`, async () => {
      shell(["tar", "cf", "gnu.tar", ...options, "tree"]);
      const found = await listing(`${root}/gnu.tar`);
      const excludes = options.filter((each) => each.startsWith("--exclude"));
      const names = shell(["tar", "tf", "gnu.tar", "--quoting-style=literal"]).trim().split("\n");
      expect(found.length).toBe(names.length);
      expect(found).toContain(
        "file tree/plain 5 644 5d41402abc4b2a76b9719d911017c592".replace(
          "file tree/plain",
          found.some((l) => l.startsWith("link tree/plain")) ? "file tree/hard" : "file tree/plain",
        ),
      );
      if (excludes.length === 0) {
        const content = readFileSync(`${root}/tree/sparse`);
        const sum = new Bun.CryptoHasher("md5").update(content).digest("hex");
        expect(found).toContain(`file tree/sparse ${content.length} 644 ${sum}`);
        expect(found.some((line) => line.includes(deep))).toBe(true);
        expect(found.some((line) => line.includes(deeper))).toBe(true);
      }
    });
  }

  for (const format of ["USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"]) {
    test(`reads what Python's tarfile writes as ${format}`, async () => {
      const script = `
import tarfile, io
t = tarfile.open("py.tar", "w", format=tarfile.${format})
i = tarfile.TarInfo("a" * 90 + "/" + "b" * 90); i.size = 3; i.mode = 0o640; i.uid = 2**20
t.addfile(i, io.BytesIO(b"abc"))
i = tarfile.TarInfo("link"); i.type = tarfile.SYMTYPE; i.linkname = "target"; t.addfile(i)
t.close()`;
      shell(["python3", "-c", script]);
      expect(await listing(`${root}/py.tar`)).toEqual([
        `file ${"a".repeat(90)}/${"b".repeat(90)} 3 640 900150983cd24fb0d6963f7d28e17f72`,
        "symlink link 0 644 target",
      ]);
    });
  }

  test.skipIf(Bun.which("bsdtar") === null)("reads what bsdtar writes", async () => {
    shell(["bsdtar", "cf", "bsd.tar", "tree"]);
    const found = await listing(`${root}/bsd.tar`);
    expect(found.length).toBe(shell(["bsdtar", "tf", "bsd.tar"]).trim().split("\n").length);
    expect(found.some((line) => line.includes("grüße/☃"))).toBe(true);
  });
});

const inputs: TarInput[] = [
  { header: { path: "folder", type: "directory", mode: 0o1777 } },
  {
    header: { path: "plain", mode: 0o4755, uid: 1000, gid: 1000, mtimeSeconds: 1_700_000_000 },
    body: Buffer.from("hello"),
  },
  { header: { path: "hard", type: "link", linkPath: "plain" } },
  { header: { path: deep }, body: Buffer.from("deep") },
  { header: { path: deeper, mtimeNanoseconds: 5 }, body: Buffer.from("deeper") },
  { header: { path: "grüße/☃", userName: "jürgen" }, body: Buffer.from("snow") },
  { header: { path: "raw\udcff" }, body: Buffer.from("raw") },
  { header: { path: "soft", type: "symlink", linkPath: `${"x/".repeat(80)}y` } },
  {
    header: {
      path: "rich",
      uid: 3_000_000,
      xattrs: new Map([["user.note", Buffer.from("x=\n\0y")]]),
    },
  },
];

describe("writeTar()", () => {
  beforeAll(async () => {
    const parts = await Array.fromAsync(writeTar(inputs));
    writeFileSync(`${root}/ours.tar`, Buffer.concat(parts));
  });

  test("is read by GNU tar without a complaint", () => {
    const { exitCode, stderr } = Bun.spawnSync(["tar", "tvf", "ours.tar"], { cwd: root });
    const complaints = stderr
      .toString()
      .split("\n")
      .filter((line) => !/SCHILY|hdrcharset|^$/.test(line));
    expect([exitCode, complaints]).toEqual([0, []]);
    const names = shell(["tar", "tf", "ours.tar", "--quoting-style=escape"]).trim().split("\n");
    expect(names.length).toBe(inputs.length);
    expect(names).toContain("raw\\377");
    expect(shell(["tar", "xOf", "ours.tar", deeper])).toBe("deeper");
  });

  test("is read by Python's tarfile, field by field", () => {
    const script = `
import tarfile, json
out = []
for i in tarfile.open("ours.tar", encoding="utf-8", errors="surrogateescape"):
    out.append([i.name.encode("utf-8", "surrogateescape").hex(), i.type.decode(), i.mode, i.uid, i.size, i.linkname, float(i.mtime), i.uname])
print(json.dumps(out))`;
    const found = JSON.parse(shell(["python3", "-c", script])) as unknown[][];
    const hex = (text: string) => Buffer.from(text).toString("hex");
    expect(found.length).toBe(inputs.length);
    expect(found[1]).toEqual([hex("plain"), "0", 0o4755, 1000, 5, "", 1_700_000_000, ""]);
    expect(found[4]?.[0]).toBe(hex(deeper));
    expect(found[4]?.[6]).toBeCloseTo(5e-9);
    expect(found[5]?.[0]).toBe(hex("grüße/☃"));
    expect(found[5]?.[7]).toBe("jürgen");
    expect(found[6]?.[0]).toBe("726177ff");
    expect(found[7]?.[5]).toBe(`${"x/".repeat(80)}y`);
    expect(found[8]?.[3]).toBe(3_000_000);
  });

  test.skipIf(Bun.which("bsdtar") === null)("is read by bsdtar", () => {
    expect(shell(["bsdtar", "tf", "ours.tar"]).trim().split("\n").length).toBe(inputs.length);
  });

  test("gives the same bytes every time, in chunks of 64 KiB and more", async () => {
    const big = inputs.concat({ header: { path: "big" }, body: Buffer.alloc(300_000, "b") });
    const parts = await Array.fromAsync(writeTar(big));
    const again = await Array.fromAsync(writeTar(big));
    expect(Buffer.concat(parts).equals(Buffer.concat(again))).toBe(true);
    expect(parts.slice(0, -1).every((part) => part.length >= 64 << 10)).toBe(true);
  });

  for (const sizeBytes of [4, 6]) {
    test(`refuses a body of 5 bytes that was announced as ${sizeBytes}`, async () => {
      const entry = { header: { path: "f", sizeBytes }, body: Buffer.from("hello") };
      await expect(Array.fromAsync(writeTar([entry]))).rejects.toMatchObject({ code: "corrupt" });
    });
  }

  for (const [why, header] of [
    ["a negative size", { path: "f", sizeBytes: -1 }],
    ["a fractional owner", { path: "f", uid: 1.5 }],
    ["an xattr with an equals sign", { path: "f", xattrs: new Map([["a=b", Buffer.from("c")]]) }],
  ] as const) {
    test(`refuses ${why}`, async () => {
      await expect(Array.fromAsync(writeTar([{ header }]))).rejects.toMatchObject({
        code: "invalid",
      });
    });
  }
});
