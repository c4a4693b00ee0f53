import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { ProgressMessage } from "../api/schema.ts";
import {
  type Bake,
  chooseTargets,
  defaultFiles,
  type Model,
  neededBy,
  parseEnvironment,
  printed,
  readModel,
  type SourceFile,
  type Target,
} from "../bake/mod.ts";
import { Failure } from "../base/mod.ts";
import { targetFlags } from "./bake-flags.ts";
import { buildFlags } from "./build-flags.ts";
import { receive } from "./build-outputs.ts";
import { prepareBuild } from "./build-query.ts";
import { defineCommand } from "./command.ts";
import { configured } from "./configured.ts";
import { allAuths } from "./credentials.ts";
import { type Client, configFolder, endpointOf, engineOf } from "./engine.ts";
import { type FlagValues, parseFlags } from "./flags.ts";
import { print, write } from "./output.ts";
import { showProgress } from "./progress.ts";

export const command = defineCommand({
  usage: "[OPTIONS] [TARGET...]",
  flags: {
    allow: { kind: "list", about: "What the targets may ask for beyond a sandbox" },
    file: { kind: "list", short: "f", about: "Bake or Compose file; - is STDIN" },
    list: { kind: "string", about: "List targets or variables", bare: "targets" },
    load: { kind: "bool", about: "Put the images into the store" },
    "metadata-file": { kind: "string", about: "Write what the targets came to, as JSON" },
    "no-cache": { kind: "bool", about: "Do not use the cache" },
    print: { kind: "bool", about: "Show the targets as JSON, and build nothing" },
    provenance: { kind: "string", about: "Tell how the images were made" },
    pull: { kind: "bool", about: "Look for newer base images first" },
    push: { kind: "bool", about: "Push the images" },
    sbom: { kind: "string", about: "Tell what software is in the images" },
    set: { kind: "list", about: "Change targets: PATTERN.ATTRIBUTE=VALUE" },
    var: { kind: "list", about: "Set a variable: NAME=VALUE" },
  },
  arguments: { min: 0 },
  async run({ flags, args, globals }) {
    const files = await readFiles(flags.file);
    const given = flags.var.map((text) => {
      const at = text.indexOf("=");
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)] as const;
      throw new Failure("invalid", `invalid variable ${text}, expected NAME=VALUE`);
    });
    const { hostPlatform, formatPlatform } =
      require("../oci/mod.ts") as typeof import("../oci/mod.ts");
    const model = readModel(files, {
      environment: { ...dotEnvironment(), ...environment(), ...Object.fromEntries(given) },
      builtIns: {
        BAKE_CMD_CONTEXT: "cwd://",
        BAKE_LOCAL_PLATFORM: formatPlatform(hostPlatform()),
      },
    });
    if (flags.list) return list(model, flags.list);
    const bake = chooseTargets(model, args, flags.set);
    if (flags.print) {
      print(JSON.stringify(printed(bake), null, 2));
      return 0;
    }
    const extra = targetFlags.forAll(flags);
    const auths = await allAuths(configFolder(globals));
    const complete = (asked: BuildFlags) =>
      configured("build", asked, { globals, host: () => endpointOf(globals).host });
    const metadata = await buildAll(engineOf(globals), bake, { extra, auths, complete });
    if (flags["metadata-file"]) {
      await Bun.write(flags["metadata-file"], `${JSON.stringify(metadata, null, 2)}\n`);
    }
    return 0;
  },
});

async function readFiles(names: readonly string[]): Promise<SourceFile[]> {
  const found = names.length > 0 ? names : defaultFiles.filter((name) => existsSync(name));
  if (found.length === 0) {
    throw new Failure("not_found", "couldn't find a bake definition", {
      hint: `Files are ${defaultFiles.join(", ")}; -f names another`,
    });
  }
  return Promise.all(
    found.map(async (name) => {
      if (name === "-") return { name, text: await Bun.stdin.text() };
      try {
        return { name, text: readFileSync(name, "utf8") };
      } catch (cause) {
        throw new Failure("not_found", `Cannot read "${name}"`, { cause });
      }
    }),
  );
}

const environment = () =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    ),
  );

const dotEnvironment = () =>
  existsSync(".env") ? parseEnvironment(readFileSync(".env", "utf8")) : {};

function list(model: Model, what: string): number {
  const fields = new Map(what.split(",").map((field) => field.split("=", 2) as [string, string]));
  const type = fields.get("type") ?? what;
  const isJson = fields.get("format") === "json";
  if (type !== "targets" && type !== "variables") {
    throw new Failure("invalid", `invalid list type ${type}: it is targets or variables`);
  }
  const rows =
    type === "targets"
      ? [
          ...[...model.groups].map(([name, members]) => ({
            name,
            group: true,
            description: members.join(", "),
          })),
          ...[...model.targets].map(([name, { description = "" }]) => ({ name, description })),
        ]
      : model.variables.map(({ name, value, description }) => ({ name, value, description }));
  if (isJson) print(JSON.stringify(rows, null, 2));
  else {
    print(type === "targets" ? "TARGET\tDESCRIPTION" : "VARIABLE\tVALUE\tDESCRIPTION");
    for (const { name, description, ...rest } of rows) {
      const value =
        "value" in rest
          ? [typeof rest.value === "string" ? rest.value : JSON.stringify(rest.value)]
          : [];
      print([name, ...value, description].join("\t"));
    }
  }
  return 0;
}

interface BuildOptions {
  readonly extra: readonly string[];
  readonly auths: Awaited<ReturnType<typeof allAuths>>;
  /** With what the client's configuration adds to every build. */
  readonly complete: (flags: BuildFlags) => BuildFlags;
}

type BuildFlags = FlagValues<typeof buildFlags>;

/** All targets at once; one that uses another's result waits for it. The first failure is told. */
async function buildAll(
  engine: Client,
  { targets }: Bake,
  options: BuildOptions,
): Promise<Record<string, unknown>> {
  const scratch = mkdtempSync(`${tmpdir()}/lading-bake-`);
  const running = new Map<string, Promise<Result>>();
  const start = (name: string): Promise<Result> => {
    const known = running.get(name);
    if (known) return known;
    const target = targets.get(name)!;
    const task = (async () => {
      const needed = await Promise.all(
        neededBy(target).map(async (each) => [each, await start(each)] as const),
      );
      const results = new Map(needed.map(([each, { id }]) => [each, id]));
      return await buildTarget(engine, { name, target, results, scratch }, options);
    })();
    running.set(name, task);
    return task;
  };
  try {
    const names = [...targets.keys()];
    const done = await Promise.allSettled(names.map(start));
    const broken = done.find((each) => each.status === "rejected");
    if (broken) throw broken.reason;
    const all = done.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    return Object.fromEntries(names.map((name, at) => [name, all[at]!.metadata]));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

interface Result {
  readonly id: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

interface Work {
  readonly name: string;
  readonly target: Target;
  /** IDs of the images that other targets made. */
  readonly results: ReadonlyMap<string, string>;
  readonly scratch: string;
}

async function buildTarget(
  engine: Client,
  { name, target, results, scratch }: Work,
  { extra, auths, complete }: BuildOptions,
): Promise<Result> {
  const inline = target["dockerfile-inline"];
  const file = inline === undefined ? undefined : `${scratch}/${name}.Dockerfile`;
  if (file && inline !== undefined) writeFileSync(file, inline);
  const argv = [...targetFlags.of(target, { file, results }), ...extra];
  const flags = complete(parseFlags(argv, buildFlags).flags);
  await using prepared = await prepareBuild(engine, flags, { place: target.context ?? "." });
  const messages = await engine.images.build(prepared.query, prepared.context, {
    registries: auths,
  });
  let last: NonNullable<ProgressMessage["aux"]> = {};
  const watched = labelled(messages, name, (aux) => {
    last = aux.ID ? aux : last;
  });
  try {
    await showProgress(watched, { isTerminal: false });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(error.code, `target ${name}: ${error.message}`, { cause: error });
  }
  await receive(engine, prepared.outputs, last.Results ?? []);
  await prepared.receiveCaches(last.Caches ?? []);
  return { id: last.ID ?? "", metadata: last.Metadata ?? {} };
}

/** Whole lines, each with the target's name before it: several write at once. */
async function* labelled(
  messages: AsyncIterable<ProgressMessage>,
  name: string,
  onAux: (aux: NonNullable<ProgressMessage["aux"]>) => void,
): AsyncGenerator<ProgressMessage> {
  let rest = "";
  for await (const message of messages) {
    if (message.aux) onAux(message.aux);
    if (message.stream === undefined) {
      yield message.status === undefined
        ? message
        : { ...message, status: `[${name}] ${message.status}` };
      continue;
    }
    const lines = (rest + message.stream).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield { stream: `[${name}] ${line}\n` };
  }
  if (rest !== "") await write(`[${name}] ${rest}\n`);
}
