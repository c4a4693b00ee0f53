/** What the tests of the Dockerfile language share: rows, and how a row is built and checked. */
import { afterAll, beforeAll, expect } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { RunConfig } from "../oci/mod.ts";
import { run } from "../sys/mod.ts";
import { requestOf } from "./fakes.ts";
import { importBusybox, openStores, type Stores } from "./real-stores.ts";
import type { BuildEvent, BuildRequest } from "./types.ts";

export interface Row extends Partial<BuildRequest> {
  readonly text: string;
  /** Content by path; `->x` is a link, a name that ends with "/" a folder. */
  readonly files?: Readonly<Record<string, string>>;
  /** The lines that all RUNs print together. */
  readonly prints?: string;
  readonly config?: RunConfig;
  readonly fails?: string;
  readonly warns?: string;
}

export let directory = "";
export let stores: Stores;
export let server: ReturnType<typeof Bun.serve>;
let count = 0;

/** Opens the stores and a server of files before the tests of the file that calls it, and closes them after. */
export function useLanguage(): void {
  beforeAll(open, 60_000);
  afterAll(close);
}

async function open(): Promise<void> {
  directory = mkdtempSync("/var/tmp/lading-language-");
  stores = await openStores(directory, "ladlang0");
  await importBusybox(stores);
  const packed = `${directory}/packed`;
  mkdirSync(`${packed}/in`, { recursive: true });
  writeFileSync(`${packed}/in/f`, "unpacked\n");
  const archives: Record<string, ArrayBuffer> = {};
  for (const [name, flag] of Object.entries({ tar: "", gz: "z", bz2: "j", xz: "J" })) {
    const path = `${directory}/a.${name}`;
    await run(["tar", `c${flag}f`, path, "-C", packed, "in"], { timeoutMs: 5_000 });
    archives[name] = await Bun.file(path).arrayBuffer();
  }
  archives["zst"] = (await Bun.zstdCompress(archives["tar"]!)).buffer as ArrayBuffer;
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => {
      const name = new URL(request.url).pathname.slice(1);
      const headers = { "last-modified": "Sat, 03 Feb 2001 04:05:06 GMT" };
      if (name === "file") return new Response("fetched\n", { headers });
      const archive = archives[name.slice(2)];
      return archive ? new Response(archive) : new Response("", { status: 404 });
    },
  });
}

async function close(): Promise<void> {
  await server.stop(true);
  await stores.close();
  rmSync(directory, { recursive: true, force: true });
}

function write(root: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(root, { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    const full = `${root}/${path}`;
    mkdirSync(dirname(full), { recursive: true });
    if (path.endsWith("/")) mkdirSync(full, { recursive: true });
    else if (content.startsWith("->")) symlinkSync(content.slice(2), full);
    else writeFileSync(full, content);
  }
}

/** Builds a row's Dockerfile; SERVER in it is where `file` and archives are. */
export async function build({
  text,
  files = {},
  prints: _,
  config: __,
  fails: ___,
  ...given
}: Row) {
  const contextPath = `${directory}/context-${count++}`;
  write(contextPath, {
    ...files,
    Dockerfile: text.replaceAll("SERVER", `127.0.0.1:${server.port}`),
  });
  for (const path of Object.keys(files).filter((name) => name.endsWith(".sh"))) {
    chmodSync(`${contextPath}/${path}`, 0o755);
  }
  const events: BuildEvent[] = [];
  const image = await stores.builder.build(
    requestOf({ contextPath, noCache: true, ...given }),
    (event) => {
      events.push(event);
    },
  );
  const output = events.map((event) => (event.kind === "output" ? Buffer.from(event.bytes) : ""));
  const warnings = events.flatMap((event) => (event.kind === "warning" ? event.text : []));
  return { image, output: output.join(""), warnings };
}

export async function check(row: Row): Promise<void> {
  if (row.fails !== undefined) {
    await expect(build(row)).rejects.toThrow(row.fails);
    return;
  }
  const { image, output, warnings } = await build(row);
  if (row.prints !== undefined) expect(output.trim()).toBe(row.prints);
  if (row.config) expect(image.config.config).toMatchObject(row.config);
  if (row.warns === "") expect(warnings).toEqual([]);
  else if (row.warns !== undefined) expect(warnings.join("\n")).toContain(row.warns);
}

export const rows = (all: Readonly<Record<string, Row>>) => Object.entries(all);
export const modes = (paths: string) => `RUN stat -c '%a %u:%g %n' ${paths}`;
/** Of the server's `file`. */
export const sha256 = new Bun.CryptoHasher("sha256").update("fetched\n").digest("hex");
