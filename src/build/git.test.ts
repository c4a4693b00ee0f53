import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { run, runAny } from "../sys/mod.ts";
import { buildIn, expectClean, openWorld, type World } from "./fakes.ts";

let world: World;
let server: ReturnType<typeof Bun.serve>;
let repository = "";
let url = "";
const commits: Record<string, string> = {};
let asked: string[] = [];

const git = (...args: string[]) =>
  run(["git", "-C", repository, "-c", "user.name=t", "-c", "user.email=t@t", ...args], {
    timeoutMs: 10_000,
    env: {
      PATH: process.env["PATH"]!,
      GIT_AUTHOR_DATE: "2001-02-03T04:05:06Z",
      GIT_COMMITTER_DATE: "2001-02-03T04:05:06Z",
    },
  });

async function commit(name: string, files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(`${repository}/${path}`), { recursive: true });
    writeFileSync(`${repository}/${path}`, content);
  }
  await git("add", ".");
  await git("commit", "-qm", name);
  commits[name] = (await git("rev-parse", "HEAD")).trim();
}

beforeAll(async () => {
  world = await openWorld();
  repository = `${world.directory}/made`;
  mkdirSync(repository);
  await git("init", "-q", "-b", "main");
  await commit("one", { file: "one", "sub/deep": "deep one" });
  await git("tag", "v1");
  await commit("two", { file: "two" });
  await git("tag", "-a", "-m", "two", "v2");
  await git("branch", "other", "v1");
  await git("update-server-info");
  // A server of plain files: it can give no single commit.
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => {
      const { pathname, search } = new URL(request.url);
      asked.push(pathname);
      if (pathname.startsWith("/moved.git/")) {
        return Response.redirect(`/r.git/${pathname.slice(11)}${search}`, 301);
      }
      const path = `${repository}/.git/${pathname.replace("/r.git/", "")}`;
      if (!pathname.startsWith("/r.git/") || !existsSync(path)) {
        return new Response("absent", { status: 404 });
      }
      return new Response(Bun.file(path));
    },
  });
  url = `http://127.0.0.1:${server.port}/r.git`;
});
afterAll(async () => {
  await server.stop(true);
  expectClean(world);
  await world[Symbol.asyncDispose]();
});

const add = async (text: string, given: Parameters<typeof buildIn>[2] = {}) => {
  const { image } = await buildIn(world, `FROM scratch\nADD ${text}`, given);
  const root = world.filesOf(image);
  return { root, read: (path: string) => readFileSync(`${root}/${path}`, "utf8") };
};

describe("ADD of a repository", () => {
  const found: [name: string, address: () => string, content: string][] = [
    ["HEAD", () => url, "two"],
    ["a tag", () => `${url}#v1`, "one"],
    ["an annotated tag", () => `${url}#v2`, "two"],
    ["a branch", () => `${url}#other`, "one"],
    ["a branch in the query", () => `${url}?branch=other`, "one"],
    ["a tag in the query", () => `${url}?tag=v1`, "one"],
    ["a commit", () => `${url}#${commits["one"]}`, "one"],
    [
      "the beginning of a commit, as a checksum",
      () => `${url}?commit=${commits["one"]!.slice(0, 9)}`,
      "one",
    ],
    [
      "a tag that is the commit it should be",
      () => `${url}?tag=v1&checksum=${commits["one"]}`,
      "one",
    ],
    ["a repository that has moved", () => url.replace("/r.git", "/moved.git"), "two"],
  ];
  test.each(found)("takes %s", async (_, address, content) => {
    const { read, root } = await add(`${address()} /x`);
    expect(read("x/file")).toBe(content);
    expect(existsSync(`${root}/x/.git`)).toBe(false);
  });

  test("takes a folder of it, with an owner's mode and the commit's time", async () => {
    const { read, root } = await add(`--chmod=640 ${url}#v1:sub /x`);
    expect(read("x/deep")).toBe("deep one");
    const stat = statSync(`${root}/x/deep`);
    expect(stat.mode & 0o777).toBe(0o640);
    expect(existsSync(`${root}/x/file`)).toBe(false);
  });

  test("leaves out what --exclude names", async () => {
    const { root } = await add(`--exclude=sub ${url} /x`);
    expect(existsSync(`${root}/x/sub`)).toBe(false);
    expect(existsSync(`${root}/x/file`)).toBe(true);
  });

  test("keeps .git on demand: whole, quiet and without a trace of the fetch", async () => {
    const { root } = await add(`--keep-git-dir ${url}#v1 /x`);
    const status = await run(["git", "-C", `${root}/x`, "status", "--short"], { timeoutMs: 5_000 });
    expect(status).toBe("");
    const log = await run(["git", "-C", `${root}/x`, "log", "--format=%H"], { timeoutMs: 5_000 });
    expect(log.trim()).toBe(commits["one"]!);
    expect(existsSync(`${root}/x/.git/hooks`)).toBe(false);
    expect(existsSync(`${root}/x/.git/FETCH_HEAD`)).toBe(false);
    const asks = await add(`${url}?keep-git-dir=true#v1 /y`);
    expect(existsSync(`${asks.root}/y/.git`)).toBe(true);
  });

  test("asks nobody when the cache has a commit that is named in full", async () => {
    const text = `FROM scratch\nADD --checksum=${commits["two"]} ${url} /cached`;
    await buildIn(world, text);
    asked = [];
    const { lines } = await buildIn(world, text);
    expect(lines).toContain("cached");
    expect(asked).toEqual([]);
  });

  const refused: [text: () => string, problem: string][] = [
    [() => `${url}#gone /`, "does not contain ref gone"],
    [() => `${url}?branch=v1 /`, "does not contain ref refs/heads/v1"],
    [() => `${url}#v1:none /`, "none"],
    [() => `--checksum=${commits["two"]} ${url}#v1 /a`, "expected checksum to match"],
    [() => `--checksum=foobar ${url} /`, "invalid checksum"],
    [() => `--checksum=${"0".repeat(40)} ${url} /`, `does not contain ref ${"0".repeat(40)}`],
    [() => `${url.replace("r.git", "gone.git")} /`, "Cannot fetch http://127.0.0.1"],
    [() => `file://${repository}/.git /`, "reading files of the engine's host is not allowed"],
  ];
  test.each(refused)("refuses %s with %s", async (text, problem) => {
    await expect(add(text())).rejects.toThrow(problem);
  });

  test("reads a repository of this host when that is allowed", async () => {
    const { read } = await add(`file://${repository}/.git#v1 /x`, { allow: ["fs.read"] });
    expect(read("x/file")).toBe("one");
  });

  test("fetches submodules, but none of this host's files", async () => {
    await git("checkout", "-q", "-b", "modules", "v1");
    const modules = (address: string) => `[submodule "m"]\n\tpath = m\n\turl = ${address}\n`;
    writeFileSync(`${repository}/.gitmodules`, modules(url));
    await git("update-index", "--add", "--cacheinfo", `160000,${commits["two"]},m`);
    await git("add", ".gitmodules");
    await git("commit", "-qm", "three");
    commits["three"] = (await git("rev-parse", "HEAD")).trim();
    writeFileSync(`${repository}/.gitmodules`, modules(`file://${repository}/.git`));
    await git("add", ".gitmodules");
    await git("commit", "-qm", "four");
    await git("tag", "evil");
    await git("tag", "good", commits["three"]!);
    await git("update-server-info");
    const { read, root } = await add(`${url}#good /x`);
    expect(read("x/m/file")).toBe("two");
    expect(existsSync(`${root}/x/m/.git`)).toBe(false);
    const without = await add(`${url}?submodules=false#evil /x`);
    expect(existsSync(`${without.root}/x/m/file`)).toBe(false);
    await expect(add(`${url}#evil /x`)).rejects.toThrow("transport 'file' not allowed");
  });

  test("runs no hook and no filter of the repository, and follows no link out", async () => {
    await git("checkout", "-q", "-b", "hostile", "v1");
    await run(["ln", "-s", "/etc/passwd", `${repository}/link`], { timeoutMs: 1_000 });
    await commit("hostile", {
      ".gitattributes": "* filter=x\n",
      "hooks/post-checkout": "#!/bin/sh\n",
    });
    await git("update-server-info");
    const { root } = await add(`${url}#hostile /x`);
    expect(readFileSync(`${root}/x/file`, "utf8")).toBe("one");
    expect(statSync(`${root}/x`).isDirectory()).toBe(true);
    await expect(add(`${url}#hostile:link /x`)).rejects.toThrow();
  });
});

test("a token goes to the repository's own host, and into no message", async () => {
  const headers: (string | null)[] = [];
  const guarded = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => {
      headers.push(request.headers.get("authorization"));
      return new Response("no", { status: 401, headers: { "www-authenticate": "Basic" } });
    },
  });
  try {
    const secrets = new Map([["GIT_AUTH_TOKEN", Buffer.from("s3cret\n")]]);
    const address = `http://127.0.0.1:${guarded.port}/r.git`;
    const failed = add(`${address} /`, { secrets });
    await expect(failed).rejects.toMatchObject({ code: "denied" });
    const message = await failed.catch((error: Error) => error.message);
    expect(message).not.toContain("s3cret");
    const expected = `basic ${Buffer.from("x-access-token:s3cret").toString("base64")}`;
    expect(headers).toContain(expected);
  } finally {
    await guarded.stop(true);
  }
});

describe("ADD of a file", () => {
  test("follows redirects, but not from the open to this host", async () => {
    const here = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/away") return Response.redirect("/file", 302);
        if (pathname === "/loop") return Response.redirect("/loop", 302);
        if (pathname === "/local") return Response.redirect("file:///etc/passwd", 302);
        return new Response("content");
      },
    });
    try {
      const base = `http://127.0.0.1:${here.port}`;
      expect((await add(`${base}/away /f`)).read("f")).toBe("content");
      await expect(add(`${base}/loop /f`)).rejects.toThrow("over 10 redirects");
      await expect(add(`${base}/local /f`)).rejects.toThrow("redirects to file:");
    } finally {
      await here.stop(true);
    }
  });
});

test("SOURCE_DATE_EPOCH=context is the time of the context's commit", async () => {
  const text = "FROM base\nARG SOURCE_DATE_EPOCH\nLABEL at=$SOURCE_DATE_EPOCH";
  const buildArgs = { SOURCE_DATE_EPOCH: "context" };
  const labelOf = async (given: { commitSeconds?: number }) => {
    const { config } = await buildIn(world, text, { buildArgs, ...given });
    return config.Labels?.["at"];
  };
  expect(await labelOf({ commitSeconds: 1_234_567_890 })).toBe("1234567890");
  expect(await labelOf({})).toBe("");
});

test("git ends with the process that runs it, transports and all", async () => {
  const silent = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => new Promise<Response>(() => {}),
  });
  const remote = `http://127.0.0.1:${silent.port}/never.git`;
  const others = async () => {
    const { stdout } = await runAny(["pgrep", "-f", `remote-http ${remote}`], { timeoutMs: 5_000 });
    return stdout.length > 0;
  };
  try {
    const folder = `${world.directory}/killed`;
    mkdirSync(folder);
    const code = `
      import { runGit } from ${JSON.stringify(`${import.meta.dir}/git-run.ts`)};
      const address = { remote: ${JSON.stringify(remote)}, protocol: "http" };
      const signal = new AbortController().signal;
      const git = { folder: ${JSON.stringify(folder)}, address, knownHostsPath: "/dev/null", signal };
      await runGit(git, ["ls-remote", address.remote]);`;
    const victim = Bun.spawn([process.execPath, "-e", code]);
    while (!(await others())) await Bun.sleep(20);
    victim.kill("SIGKILL");
    await victim.exited;
    while (await others()) await Bun.sleep(20);
  } finally {
    await silent.stop(true);
  }
});
