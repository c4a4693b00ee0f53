import { readTar, tarEnd, tarPadding } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { ContextStore, checkContextName, parseMeta, tlsFileNames } from "./contexts.ts";
import { configFolder } from "./engine.ts";
import { complain, print } from "./output.ts";

const fileBytesMax = 10 << 20;

export const command = defineCommand({
  usage: "CONTEXT FILE|-",
  flags: {},
  arguments: { min: 2, max: 2 },
  async run({ args, globals }) {
    const [name, file] = args as [string, string];
    checkContextName(name);
    const store = new ContextStore(configFolder(globals));
    if (store.has(name)) throw new Failure("conflict", `context "${name}" already exists`);
    const files = await readFiles(file);
    const text = files.get("meta.json");
    if (text === undefined) {
      throw new Failure("invalid", `Cannot import ${file}: there is no meta.json in it`);
    }
    const tls = tlsFileNames.flatMap((each) => {
      const found = files.get(`tls/docker/${each}`);
      return found === undefined ? [] : [[each, found] as const];
    });
    store.put({ ...parseMeta(text, `meta.json in ${file}`), Name: name }, Object.fromEntries(tls));
    print(name);
    complain(`Successfully imported context "${name}"`);
    return 0;
  },
});

/** Docker's clients leave out the padding of the last file and what ends an archive. */
async function* withEnd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const part of source) {
    size += part.length;
    yield part;
  }
  yield tarPadding(size);
  yield tarEnd;
}

/** The texts of an exported context, a tar. @throws Failure "invalid" — too large, or with strange files */
async function readFiles(path: string): Promise<Map<string, string>> {
  const source = withEnd(path === "-" ? Bun.stdin.stream() : Bun.file(path).stream());
  const files = new Map<string, string>();
  let total = 0;
  for await (const { header, body } of readTar(source)) {
    if (header.type === "directory") continue;
    const isKnown = header.path === "meta.json" || /^tls\/[\w.-]+\/[\w.-]+$/.test(header.path);
    if (header.type !== "file" || !isKnown) {
      const shown = header.path.slice(0, 100);
      throw new Failure("invalid", `Cannot import ${path}: "${shown}" does not belong in it`);
    }
    const parts: Uint8Array[] = [];
    for await (const part of body) {
      total += part.length;
      if (total > fileBytesMax) {
        throw new Failure("invalid", `Cannot import ${path}: it is over 10 MiB`);
      }
      parts.push(part);
    }
    files.set(header.path, Buffer.concat(parts).toString());
  }
  return files;
}
