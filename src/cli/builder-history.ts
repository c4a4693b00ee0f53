import type { PastBuildAnswer } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { alignColumns } from "./columns.ts";
import { defineCommand } from "./command.ts";
import { type Client, engineOf } from "./engine.ts";
import { flushOutput, print, write } from "./output.ts";

const verbs = ["ls", "inspect", "logs", "rm"] as const;

export const command = defineCommand({
  usage: "ls | inspect [BUILD] | logs [BUILD] | rm BUILD [BUILD...]",
  flags: {
    json: { kind: "bool", about: "Print JSON" },
    all: { kind: "bool", short: "a", about: "rm: remove all of them" },
  },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const [verb = "", ...ids] = args;
    const engine = engineOf(globals);
    if (verb === "ls") await list(engine, flags.json);
    else if (verb === "inspect") await inspect(engine, ids[0] ?? "", flags.json);
    else if (verb === "logs") await logs(engine, ids[0] ?? "");
    else if (verb === "rm") await remove(engine, ids, flags.all);
    else {
      const hint = `It is ${verbs.join(", ")}`;
      throw new Failure("invalid", `unknown command "${verb}" for builder history`, { hint });
    }
    return 0;
  },
});

const shortDigits = 12;

function timeOf({ started, ended }: PastBuildAnswer): string {
  if (ended === null) return "";
  return `${((Date.parse(ended) - Date.parse(started)) / 1000).toFixed(1)}s`;
}

async function list(engine: Client, isJson: boolean): Promise<void> {
  const builds = await engine.images.builds();
  if (isJson) {
    print(JSON.stringify(builds, null, 2));
    return;
  }
  const rows = builds.map((build) => [
    build.id,
    build.tags.join(",") || build.image.replace("sha256:", "").slice(0, shortDigits) || "-",
    build.status,
    build.started.replace("T", " ").slice(0, 19),
    timeOf(build),
    `${build.cached}/${build.total}`,
  ]);
  const head = ["BUILD ID", "IMAGE", "STATUS", "STARTED", "TIME", "CACHED"];
  print(alignColumns([head, ...rows].map((cells) => cells.join("\t")).join("\n")));
}

/** The newest build when none is named. */
async function idOf(engine: Client, id: string): Promise<string> {
  if (id !== "") return id;
  const [newest] = await engine.images.builds();
  if (newest) return newest.id;
  throw new Failure("not_found", "No such build: there was none yet");
}

async function inspect(engine: Client, id: string, isJson: boolean): Promise<void> {
  const build = await engine.images.inspectBuild(await idOf(engine, id));
  if (isJson) {
    print(JSON.stringify(build, null, 2));
    return;
  }
  const about: [string, string][] = [
    ["Build", build.id],
    ["Status", build.status],
    ["Started", build.started],
    ["Time", timeOf(build)],
    ["Dockerfile", build.dockerfile],
    ["Target", build.target],
    ["Tags", build.tags.join(", ")],
    ["Image", build.image],
  ];
  for (const [name, value] of about) if (value !== "") print(`${`${name}:`.padEnd(12)}${value}`);
  if (build.error !== "") print(`Error:\n${build.error.replace(/^/gm, "  ")}`);
  print("");
  for (const step of build.steps) {
    const outcome = step.outcome ?? "running";
    const time = `${(step.ms / 1000).toFixed(2)}s`.padStart(9);
    print(`${String(step.number).padStart(4)} ${outcome.padEnd(9)}${time}  ${step.text}`);
    if (step.why !== "") print(`${" ".repeat(25)}because ${step.why}`);
  }
}

async function logs(engine: Client, id: string): Promise<void> {
  for await (const bytes of await engine.images.buildLog(await idOf(engine, id))) {
    await write(bytes);
  }
  await flushOutput();
}

async function remove(engine: Client, ids: readonly string[], all: boolean): Promise<void> {
  const named = all ? (await engine.images.builds()).map(({ id }) => id) : ids;
  if (named.length === 0 && !all) throw new Failure("invalid", "builder history rm needs a build");
  for (const id of named) {
    await engine.images.removeBuild(id);
    print(id);
  }
}
