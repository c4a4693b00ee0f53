import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
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
} from "../bake/mod.ts";
import { closest, Failure } from "../base/mod.ts";
import { targetFlags } from "./bake-flags.ts";
import { type Elsewhere, isElsewhere, readElsewhere, readLocal } from "./bake-remote.ts";
import { type Job, type JobResult, runJobs } from "./bake-run.ts";
import { type Call, parseCall, showAnswer } from "./build-call.ts";
import { buildFlags } from "./build-flags.ts";
import { showOf } from "./build-progress.ts";
import { type BuildFlags, prepareBuild } from "./build-query.ts";
import { defineCommand } from "./command.ts";
import { configured } from "./configured.ts";
import { allAuths } from "./credentials.ts";
import { type Client, configFolder, endpointOf, engineOf } from "./engine.ts";
import { parseFlags } from "./flags.ts";
import { complain, print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] [URL] [TARGET...]",
  flags: {
    allow: { kind: "list", about: "What the targets may ask for beyond a sandbox" },
    call: { kind: "string", about: "Ask instead of building: check, outline or targets" },
    check: { kind: "bool", about: "Shorthand for --call=check" },
    file: { kind: "list", short: "f", about: "Bake or Compose file; - is STDIN" },
    list: { kind: "string", about: "List targets or variables", bare: "targets" },
    load: { kind: "bool", about: "Put the images into the store" },
    "metadata-file": { kind: "string", about: "Write what the targets came to, as JSON" },
    "no-cache": { kind: "bool", about: "Do not use the cache" },
    print: { kind: "bool", about: "Show the targets as JSON, and build nothing" },
    progress: buildFlags.progress,
    provenance: { kind: "string", about: "Tell how the images were made" },
    pull: { kind: "bool", about: "Look for newer base images first" },
    push: { kind: "bool", about: "Push the images" },
    sbom: { kind: "string", about: "Tell what software is in the images" },
    set: { kind: "list", about: "Change targets: PATTERN.ATTRIBUTE=VALUE" },
    var: { kind: "list", about: "Set a variable: NAME=VALUE" },
  },
  arguments: { min: 0 },
  async run({ flags, args, globals }) {
    const isRemote = isElsewhere(args[0]);
    const remote = isRemote ? await readElsewhere(args[0]!, flags.file) : undefined;
    const local = isRemote ? flags.file.filter((name) => name.startsWith("cwd://")) : flags.file;
    const files = remote ? [...remote.files, ...local.map(readLocal)] : await readFiles(local);
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
    warnOfUnknown(given, model, files);
    if (flags.list) return list(model, flags.list);
    const chosen = chooseTargets(model, isRemote ? args.slice(1) : args, flags.set);
    const bake = remote ? moved(chosen, remote.rebase) : chosen;
    if (flags.print) {
      print(JSON.stringify(printed(bake), null, 2));
      return 0;
    }
    const engine = engineOf(globals);
    const scratch = mkdtempSync(`${tmpdir()}/lading-bake-`);
    // A reader that goes away ends the command without the `finally`.
    const clear = () => rmSync(scratch, { recursive: true, force: true });
    process.on("exit", clear);
    try {
      const complete = (asked: BuildFlags) =>
        configured("build", asked, { globals, host: () => endpointOf(globals).host });
      const jobs = jobsOf(bake, { all: flags, complete, scratch });
      const asked = flags.check ? "check" : flags.call;
      const callOf = (name: string) => parseCall(asked || (bake.targets.get(name)?.call ?? ""));
      if ([...jobs.keys()].some((name) => callOf(name).method !== "build")) {
        return await callAll(engine, jobs, callOf);
      }
      const { isatty } = require("node:tty") as typeof import("node:tty");
      const show = showOf({ progress: flags.progress, quiet: false, explain: "" }, isatty(1));
      const auths = await allAuths(configFolder(globals));
      const made = await runJobs(engine, jobs, { show, auths });
      if (flags["metadata-file"]) await writeMetadata(flags["metadata-file"], made);
      return 0;
    } finally {
      clear();
      process.off("exit", clear);
    }
  },
});

/** One that no file declares is taken, but it may be misspelt. Compose files use any without a declaration. */
function warnOfUnknown(
  given: readonly (readonly [string, string])[],
  { variables }: Model,
  files: readonly SourceFile[],
): void {
  if (!files.every(({ name }) => /\.(hcl|json)$/.test(name))) return;
  const known = variables.map(({ name }) => name);
  for (const [name] of given.filter(([each]) => !known.includes(each))) {
    const near = closest(name, known);
    const hint = near ? `: did you mean ${near}?` : "";
    complain(`WARNING: no bake file declares the variable "${name}"${hint}`);
  }
}

function moved(bake: Bake, rebase: Elsewhere["rebase"]): Bake {
  const targets = new Map([...bake.targets].map(([name, each]) => [name, rebase(each)]));
  return { ...bake, targets };
}

/** By target: what `--metadata-file` holds of several builds. */
export async function writeMetadata(
  path: string,
  made: ReadonlyMap<string, JobResult>,
): Promise<void> {
  const all = Object.fromEntries([...made].map(([name, { metadata }]) => [name, metadata]));
  await Bun.write(path, `${JSON.stringify(all, null, 2)}\n`);
}

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
        const why = existsSync(name) ? "it is no readable file" : "there is no such file";
        throw new Failure("not_found", `Cannot read "${name}": ${why}`, { cause });
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

/** Asks about the Dockerfile of each target, one after the other. Gives the exit code. */
async function callAll(
  engine: Client,
  jobs: ReadonlyMap<string, Job>,
  callOf: (name: string) => Call,
): Promise<number> {
  let code = 0;
  for (const [name, job] of jobs) {
    const call = callOf(name);
    if (call.method === "build") continue;
    const asked = { place: job.place, needs: "lone" } as const;
    // What other targets would make is not there: names of images that are nowhere stand for it.
    const results = new Map(job.needs.map((each) => [each, `target.invalid/${each}`]));
    await using prepared = await prepareBuild(engine, job.flags(results), asked);
    const query = { ...prepared.query, call: call.method, events: false };
    if (call.format === "text") print(`[${name}]`);
    code = Math.max(code, showAnswer(call, await engine.images.call(query, prepared.context)));
  }
  return code;
}

interface JobOptions {
  readonly all: Parameters<typeof targetFlags.forAll>[0];
  /** With what the client's configuration adds to every build. */
  readonly complete: (flags: BuildFlags) => BuildFlags;
  /** A folder for Dockerfiles that targets bring. */
  readonly scratch: string;
}

function jobsOf(
  { targets, asked }: Bake,
  { all, complete, scratch }: JobOptions,
): Map<string, Job> {
  return new Map(
    [...targets].map(([name, target]): [string, Job] => {
      const inline = target["dockerfile-inline"];
      const file = inline === undefined ? undefined : `${scratch}/${name}.Dockerfile`;
      const flags: Job["flags"] = (results) => {
        if (file && inline !== undefined) writeFileSync(file, inline);
        const extra = targetFlags.forAll(all, { target, isAsked: asked.includes(name) });
        const argv = [...targetFlags.of(target, { file, results }), ...extra];
        return complete(parseFlags(argv, buildFlags).flags);
      };
      return [name, { needs: neededBy(target), place: target.context ?? ".", flags }];
    }),
  );
}
