import { beforeAll, expect, test } from "bun:test";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { bundleAll, quickWords } from "./bundle.ts";

const root = new URL("..", import.meta.url).pathname;

beforeAll(bundleAll);

/** What `bin/lading` of the checkout at `from` prints. */
async function lading(argv: readonly string[], { from = root, cwd = root, env = {} } = {}) {
  const child = Bun.spawn([`${from}/bin/lading`, ...argv], {
    cwd,
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { out, errors, code: await child.exited };
}

async function inFolder(files: Record<string, string>, work: (folder: string) => Promise<void>) {
  const folder = mkdtempSync(`${tmpdir()}/lading-bundle-`);
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(`${folder}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      writeFileSync(`${folder}/${name}`, text);
    }
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("each quick command is in the quick bundle", async () => {
  for (const word of quickWords) {
    const { out, errors } = await lading([...word.split(" "), "--help"]);
    expect({ word, out, errors }).toEqual({
      word,
      out: expect.stringMatching(/^(Usage|Lading)/),
      errors: "",
    });
  }
});

test("what is not quick is in the whole bundle, also behind global flags", async () => {
  const host = "unix:///no/such/socket";
  for (const argv of [
    ["info"],
    ["volume", "ls"],
    ["-H", host, "pull", "x"],
    ["-c", "x", "rmi", "x"],
  ]) {
    const { errors } = await lading(argv, { env: { DOCKER_HOST: "" } });
    expect(errors).not.toContain("Cannot find module");
  }
});

test("the daemon's bundle has a file for each thread that it starts", async () => {
  const { out } = await lading(["help", "daemon"]);
  expect(out).toStartWith("Usage:  lading daemon");
  const folder = `${root}/.cache/daemon`;
  const [newest] = readdirSync(folder).sort().slice(-1);
  const names = readdirSync(`${folder}/${newest}`);
  const texts = names.filter((name) => name.endsWith(".js"));
  const started = texts.flatMap((name) => {
    const text = readFileSync(`${folder}/${newest}/${name}`, "utf8");
    expect(text).not.toMatch(/new Worker\(new URL\("[^"]*\.ts"/);
    return [...text.matchAll(/new Worker\(new URL\("\.\/([^"]*)"/g)].map(([, file]) => file!);
  });
  expect(started.length).toBeGreaterThan(5);
  for (const file of started) expect(names).toContain(file);
});

test("files of the folder that a command is called in have no say", async () => {
  const evil = {
    "bunfig.toml": `preload = ["./evil.ts"]\n`,
    "evil.ts": `console.log("evil"); process.exit(66);\n`,
    "tsconfig.json": `{"compilerOptions":{"paths":{"*":["./evil.ts"]}}}\n`,
    "package.json": `{"scripts":{"ps":"echo evil"},"imports":{"#x":"./evil.ts"}}\n`,
    ".env": "DOCKER_HOST=unix:///evil\nLADING_TEST=evil\n",
  };
  await inFolder(evil, async (cwd) => {
    const { DOCKER_HOST: _unused, ...env } = process.env;
    for (const argv of [["--version"], ["doctor", "--help"], ["info", "--help"]]) {
      const { out, code } = await lading(argv, { cwd, env });
      expect({ code, out }).toEqual({ code: 0, out: expect.stringMatching(/^(Lading|Usage)/) });
    }
    const { errors } = await lading(["ps"], {
      cwd,
      env: { ...env, DOCKER_HOST: undefined as never },
    });
    expect(errors).not.toContain("evil");
  });
});

test("a bundle serves until one of its sources is newer", async () => {
  const files = {
    ".cache/cli/choose": `case $word in "ps") file=.cache/cli/a.mjs sources="src/x.ts src/y.ts";; gone) file=gone.js sources=src/x.ts;; *) file=.cache/cli/b.mjs sources="src/x.ts"; esac\n`,
    ".cache/cli/a.mjs": `console.log("a")\n`,
    ".cache/cli/b.mjs": `console.log("b")\n`,
    "src/main.ts": `console.log("sources")\n`,
    "src/x.ts": "",
    "src/y.ts": "",
    "bin/none": "",
  };
  await inFolder(files, async (from) => {
    symlinkSync(`${root}/node_modules`, `${from}/node_modules`);
    copyFileSync(`${root}/bin/lading`, `${from}/bin/lading`);
    const ran = async (...argv: string[]) => (await lading(argv, { from })).out.trim();
    const at = (name: string, second: number) => utimesSync(`${from}/${name}`, second, second);
    for (const name of [".cache/cli/a.mjs", ".cache/cli/b.mjs", "src/x.ts", "src/y.ts"])
      at(name, 1000);
    expect(await ran("ps")).toBe("a");
    expect(await ran("-H", "unix:///x", "ps", "-q")).toBe("a");
    expect(await ran("--host=unix:///x", "ps")).toBe("a");
    expect(await ran("info")).toBe("b");
    expect(await ran()).toBe("b");
    at("src/y.ts", 1001);
    expect(await ran("ps")).toBe("sources");
    expect(await ran("info")).toBe("b");
    expect(await ran("gone")).toBe("sources");
  });
});
