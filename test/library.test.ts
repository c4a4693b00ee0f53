/** The builder as a library: no daemon runs. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BuildEvent, type Lading, openLading } from "../src/library.ts";
import { busyboxTar, command, isRoot, root } from "./engine.ts";

describe.skipIf(!isRoot)(`the library${isRoot ? "" : " (skipped: needs root)"}`, () => {
  let folder: string;
  let lading: Lading;
  const at = (name: string) => join(folder, name);
  const options = () => ({ dataRoot: at("data"), execRoot: at("run"), bridge: "ldt-library" });
  const dockerfile = { text: "FROM busybox\nARG V\nRUN echo said $V; echo $V > /v\n" };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lading-library-"));
    mkdirSync(at("context"));
    writeFileSync(at("busybox.tar"), busyboxTar());
    lading = await openLading(options());
    await lading.images.import(at("busybox.tar"), {
      reference: "busybox",
      changes: { Cmd: ["sh"] },
      message: "",
      platform: { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch },
    });
  });
  afterAll(async () => {
    await lading[Symbol.asyncDispose]();
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(folder);
    rmSync(folder, { recursive: true, force: true });
  });

  test("builds in this process, tells what happens, and puts results where they belong", async () => {
    const running = lading.build({
      context: at("context"),
      dockerfile,
      args: { V: "1" },
      tags: ["made"],
      outputs: [
        { type: "image" },
        { type: "local", dest: at("out") },
        { type: "oci", dest: at("a.tar") },
      ],
    });
    const events: BuildEvent[] = [];
    for await (const event of running) events.push(event);
    const { id, image } = await running;
    const output = events.map((event) =>
      event.kind === "output" ? `${Buffer.from(event.bytes)}` : "",
    );
    expect(output.join("")).toBe("said 1\n");
    expect(image?.tags).toEqual(["made:latest"]);
    expect(lading.images.resolve("made").id).toBe(id);
    expect(readFileSync(at("out/v"), "utf8")).toBe("1\n");
    expect(existsSync(at("a.tar"))).toBe(true);
  });

  test("stops by its signal, and says what is wrong as a Failure", async () => {
    const stop = new AbortController();
    const text = "FROM busybox\nRUN echo begun; sleep 1000\n";
    const hung = lading.build({
      context: at("context"),
      dockerfile: { text },
      signal: stop.signal,
    });
    const events = (async () => {
      for await (const event of hung) if (event.kind === "output") stop.abort();
    })();
    await expect(events).rejects.toMatchObject({ code: "unavailable", message: "Build cancelled" });
    const wrong = lading.build({ context: at("context"), dockerfile: { text: "FRM x" } });
    await expect(wrong).rejects.toMatchObject({ code: "invalid" });
    await expect(openLading(options())).rejects.toMatchObject({ code: "conflict" });
  });

  test("runs commands by the OCI runtime that it is given, by its path", async () => {
    await lading[Symbol.asyncDispose]();
    writeFileSync(at("own"), `#!/bin/sh\necho used > ${at("used")}\nexec crun "$@"\n`, {
      mode: 0o755,
    });
    lading = await openLading({ ...options(), runtime: at("own") });
    const text = "FROM busybox\nRUN echo by the own one\n";
    await lading.build({ context: at("context"), dockerfile: { text }, noCache: true });
    expect(existsSync(at("used"))).toBe(true);
  });

  test.skipIf(!Bun.which("node"))("builds from Node, in a process of its own", async () => {
    await lading[Symbol.asyncDispose]();
    mkdirSync(at("app/node_modules"), { recursive: true });
    symlinkSync(root, at("app/node_modules/lading"));
    const script = `import { build } from "lading";
const options = JSON.parse(process.argv[1]);
const running = build(options);
for await (const event of running) if (event.kind === "output") process.stdout.write(event.bytes);
console.log((await running).id);
await build({ ...options, dockerfile: { text: "RUN" } }).catch(({ name, code }) => console.log(name, code));`;
    const given = { context: at("context"), dockerfile, args: { V: "node" }, lading: options() };
    const argv = ["node", "--input-type=module", "-e", script, JSON.stringify(given)];
    const ran = await command(argv, { cwd: at("app") });
    expect(ran.stderr).toBe("");
    expect(ran.stdout).toMatch(/^said node\nsha256:[0-9a-f]{64}\nFailure invalid\n$/);
    const several = `import { openLading } from "lading";
const { lading: options, ...given } = JSON.parse(process.argv[1]);
const lading = await openLading(options);
await openLading(options).catch(({ code }) => console.log("second", code));
const tags = ["x:1", "x:2"];
const text = "FROM busybox\\nRUN --mount=type=secret,id=s wc -c < /run/secrets/s > /n\\n";
const secrets = { s: new Uint8Array([0, 255, 1]) };
const all = tags.map((tag) => lading.build({ ...given, tags: [tag], secrets, dockerfile: { text } }));
const [one, two] = await Promise.all(all);
console.log(one.id === two.id, (await lading.images.resolve("x:2")).tags.join());
const stop = new AbortController();
const hung = lading.build({ ...given, dockerfile: { text: "FROM busybox\\nRUN echo on; sleep 1000" }, signal: stop.signal });
const seen = (async () => { for await (const { kind } of hung) if (kind === "output") stop.abort(); })();
await seen.catch(({ code, message }) => console.log(code, message));
await lading.images.resolve("none").catch(({ code }) => console.log(code));
await lading.images.remove("x:1");
console.log((await lading.images.list()).flatMap(({ tags }) => tags).join());
await lading.close();
await lading.images.list().catch(({ code }) => console.log("closed", code));`;
    argv[3] = several;
    const opened = await command(argv, { cwd: at("app") });
    expect(opened.stderr).toBe("");
    expect(opened.stdout.split("\n")).toEqual([
      "second conflict",
      "true x:1,x:2",
      "unavailable Build cancelled",
      "not_found",
      expect.stringMatching(/busybox:latest.*x:2/),
      "closed unavailable",
      "",
    ]);
    lading = await openLading(options());
  });
});
