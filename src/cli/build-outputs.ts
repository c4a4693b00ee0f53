/** `-o`, `--push`, `--load`: what `build` asks for, and what it does with the results. */
import type { Bytes } from "../api/client.ts";
import type { BuildOutput, ProgressMessage } from "../api/schema.ts";
import { readTar } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import { writeArchive } from "./archive-output.ts";
import { kindOf } from "./cp-from.ts";
import type { Client } from "./engine.ts";
import { csvFields } from "./mount-flags.ts";
import { folderOf, resolve } from "./paths.ts";
import { Unpacker } from "./unpack.ts";

/** An output with the place on this machine that its result goes to; "-" is stdout. */
export interface PlacedOutput extends BuildOutput {
  readonly dest: string | undefined;
  /** The result is unpacked into the folder `dest`. */
  readonly isFolder: boolean;
}

interface OutputFlags {
  readonly output: readonly string[];
  readonly push: boolean;
  readonly load: boolean;
  readonly annotation: readonly string[];
}

/** The outputs that the flags name; none: the engine's store. @throws Failure "invalid" */
export function buildOutputs(flags: OutputFlags): PlacedOutput[] {
  let outputs = flags.output.map(parseOutputFlag);
  if (flags.load && flags.push) {
    throw new Failure("invalid", "push and load may not be set together");
  }
  const isImage = ({ Type }: PlacedOutput) => Type === "image" || Type === "registry";
  if (flags.push && !outputs.some(isImage)) outputs.push(place("registry", {}));
  else if (flags.push) {
    outputs = outputs.map((each) =>
      isImage(each) ? { ...each, Attrs: { ...each.Attrs, push: "true" } } : each,
    );
  }
  if (flags.load && !outputs.some(({ Type, dest }) => Type === "docker" && !dest)) {
    outputs.push(place("docker", {}));
  }
  const annotations = Object.fromEntries(flags.annotation.flatMap(annotationKeys));
  if (flags.annotation.length > 0) {
    if (outputs.length === 0) outputs = [place("image", {})];
    outputs = outputs.map((each) =>
      each.Type === "local" || each.Type === "tar" || each.Type === "cacheonly"
        ? each
        : { ...each, Attrs: { ...each.Attrs, ...annotations } },
    );
  }
  if (outputs.filter(({ dest }) => dest === "-").length > 1) {
    throw new Failure("invalid", "Cannot write several outputs to stdout");
  }
  return outputs;
}

/** `DIR`, `-`, or `type=…,key=value`, fields quoted as in CSV. */
export function parseOutputFlag(text: string): PlacedOutput {
  if (text === "-") return place("tar", { dest: "-" });
  const fields = csvFields(text.trim());
  if (fields.length === 1 && !/^type=/.test(fields[0]!)) return place("local", { dest: text });
  const pairs = fields.map((field) => {
    const at = field.indexOf("=");
    if (at > 0) return [field.slice(0, at).trim(), field.slice(at + 1)] as const;
    throw new Failure("invalid", `invalid value ${field}: expected key=value`);
  });
  const { type, ...attributes } = Object.fromEntries(pairs);
  if (!type) {
    throw new Failure("invalid", "type is required for output", {
      hint: "As -o type=local,dest=DIR; types are image, registry, docker, oci, local, tar",
    });
  }
  return place(type, attributes);
}

function place(type: string, attributes: Readonly<Record<string, string>>): PlacedOutput {
  const { dest: written, tar, ...rest } = attributes;
  const isFolder = type === "local" || (type === "oci" && ["false", "0"].includes(tar ?? ""));
  const isFile = (type === "tar" || type === "oci") && !isFolder;
  const dest = written || (isFile ? "-" : undefined);
  if (isFolder && (!dest || dest === "-")) {
    throw new Failure("invalid", `dest is required for ${type} output`, {
      hint: `As -o type=${type},dest=DIR`,
    });
  }
  checkPlace(dest, isFolder);
  const Attrs = dest === undefined ? rest : { ...rest, dest: "-" };
  return { Type: type, Attrs, dest, isFolder };
}

/** Not after an hour of building. */
function checkPlace(dest: string | undefined, isFolder: boolean): void {
  if (dest === undefined || dest === "-") return;
  const path = resolve(dest);
  const there = kindOf(path);
  if (isFolder && there === "file") {
    throw new Failure("invalid", `Cannot write the output: ${dest} is a file, not a folder`);
  }
  if (!isFolder && there === "folder") {
    throw new Failure("invalid", `destination file ${dest} is a directory`);
  }
  if (!isFolder && kindOf(folderOf(path)) !== "folder") {
    const text = `invalid output path: directory "${folderOf(path)}" does not exist`;
    throw new Failure("not_found", text);
  }
}

/** `k=v`, `index:k=v`, `manifest[linux/amd64],index-descriptor:k=v` as keys of an output. */
function annotationKeys(text: string): [string, string][] {
  const [, levels = "manifest", key, value] = /^(?:([^=:]+):)?([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) {
    throw new Failure("invalid", `invalid annotation ${JSON.stringify(text)}: expected key=value`);
  }
  return levels.split(",").map((level) => {
    const [, type, platform = ""] = /^([a-z-]+)(\[[^\]]+\])?$/.exec(level) ?? [];
    const known = ["manifest", "index", "manifest-descriptor", "index-descriptor"];
    if (type && known.includes(type)) return [`annotation-${type}${platform}.${key}`, value];
    throw new Failure("invalid", `unknown annotation type ${JSON.stringify(level)}`, {
      hint: `Types are ${known.join(", ")}`,
    });
  });
}

type Results = NonNullable<NonNullable<ProgressMessage["aux"]>["Results"]>;

/** Fetches the results that wait for us, and puts each where it belongs. */
export async function receive(
  engine: Client,
  outputs: readonly PlacedOutput[],
  results: Results,
): Promise<void> {
  for (const { Output: at, Handle: handle } of results) {
    const output = outputs[at];
    if (!output?.dest) continue;
    const open = () => engine.images.buildResult(handle);
    if (output.isFolder) await unpackInto(output.dest, await open());
    else await writeArchive(output.dest === "-" ? "" : output.dest, open);
  }
}

/** What came is not trusted: nothing is written outside the folder, nor through a link in it. */
export async function unpackInto(dest: string, tar: Bytes): Promise<void> {
  const folder = resolve(dest);
  const { mkdir } = require("node:fs/promises") as typeof import("node:fs/promises");
  await mkdir(folder, { recursive: true });
  const unpacker = new Unpacker(folder, { keepsOwners: false });
  for await (const { header, body } of readTar(tar)) {
    await unpacker.add(header, body, (link) => link);
  }
  unpacker.finish();
}
