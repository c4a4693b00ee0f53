/** The build checks that follow variables: what is used before anything gave it a value. */
import { parseReference } from "../oci/mod.ts";
import type { Finding } from "./checks.ts";
import { type ExpandOptions, expand } from "./expand.ts";
import type { Action, Instruction } from "./instruction.ts";
import type { Dockerfile } from "./parse.ts";
import type { Plan, Stage } from "./stages.ts";

/** The names of a stage's base image's variables; undefined: the image is not known. */
export type EnvironmentOf = (stage: Stage) => readonly string[] | undefined;

/** UndefinedVar, in the stages that are built. What cannot be known is not told. */
export function* variableChecks(
  plan: Plan,
  environmentOf: EnvironmentOf,
): Generator<readonly Finding[]> {
  const escaper = plan.dockerfile.directives.escape;
  const environments = new Map<number, Set<string>>();
  for (const stage of plan.stages) {
    if (!plan.used.has(stage.index)) continue;
    const given = stage.base === undefined ? environmentOf(stage) : environments.get(stage.base);
    if (!given) continue;
    const environment = new Set(given);
    environments.set(stage.index, environment);
    yield* ofStage(stage, { environment, escaper });
  }
}

interface Known {
  readonly environment: Set<string>;
  readonly escaper: string;
}

function* ofStage(stage: Stage, { environment, escaper }: Known): Generator<readonly Finding[]> {
  const args = new Set<string>();
  for (const instruction of stage.instructions) {
    const unset = new Set<string>();
    const lookup = (name: string) => (environment.has(name) || args.has(name) ? "" : undefined);
    for (const text of expandedTexts(instruction)) {
      for (const name of unsetIn(text, { escape: escaper, lookup })) unset.add(name);
    }
    if (instruction.kind === "env") for (const { name } of instruction.pairs) environment.add(name);
    if (instruction.kind === "arg") for (const { name } of instruction.args) args.add(name);
    yield [...unset].map((name) => ({
      check: "UndefinedVar",
      message: `Usage of undefined variable '$${name.slice(0, 200)}'`,
      range: instruction.range,
      near: { word: name, known: [environment, args], mark: "$" },
    }));
  }
}

function unsetIn(text: string, options: ExpandOptions): ReadonlySet<string> {
  if (!text.includes("$")) return new Set();
  try {
    return expand(text, options).unset;
  } catch {
    return new Set(); // the build tells what is wrong with it
  }
}

/** What of an instruction has its variables expanded; a RUN's command is the shell's. */
function expandedTexts(action: Action): readonly string[] {
  switch (action.kind) {
    case "copy":
      return [
        ...action.sources,
        ...action.excludes,
        ...[action.target, action.chown, action.chmod, action.checksum],
      ];
    case "env":
    case "label":
      return action.pairs.flatMap(({ name, value }) => [name, value]);
    case "arg":
      return action.args.flatMap(({ value }) => value ?? []);
    case "expose":
    case "volume":
      return action.words;
    case "workdir":
      return [action.path];
    case "user":
    case "stopsignal":
      return [action.word];
    case "run":
      return action.mounts.flatMap(({ options }) => Object.values(options));
    default:
      return [];
  }
}

/** InvalidDefaultArgInFrom: the Dockerfile alone, without `--build-arg`, names no image. */
export function* defaultChecks({
  instructions,
  directives,
}: Dockerfile): Generator<readonly Finding[]> {
  const defaults = new Map<string, string>();
  const declared = new Set<string>();
  const options = { escape: directives.escape, lookup: (name: string) => defaults.get(name) };
  let isGlobal = true;
  for (const instruction of instructions) {
    if (instruction.kind === "from") isGlobal = false;
    if (instruction.kind === "arg" && isGlobal) {
      for (const { name, value } of instruction.args) {
        declared.add(name);
        if (value !== undefined) defaults.set(name, textOf(value, options) ?? "");
      }
    }
    yield [];
    if (instruction.kind !== "from" || !instruction.image.includes("$")) continue;
    const { image, range } = instruction;
    // What is not declared at all is UndefinedArgInFrom's.
    if ([...unsetIn(image, options)].some((name) => !declared.has(name))) continue;
    if (isImage(textOf(image, options) ?? "")) continue;
    const message = `Default value for ARG ${image.slice(0, 200)} results in empty or invalid base image name`;
    yield [{ check: "InvalidDefaultArgInFrom", message, range }];
  }
}

function textOf(text: string, options: ExpandOptions): string | undefined {
  try {
    return expand(text, options).text;
  } catch {
    return undefined;
  }
}

function isImage(name: string): boolean {
  try {
    parseReference(name);
    return true;
  } catch {
    return false;
  }
}

/** InvalidDefinitionDescription: a comment right above a stage or an ARG that is not about it. */
export function* descriptionChecks(
  instructions: readonly Instruction[],
): Generator<readonly Finding[]> {
  for (const instruction of instructions) {
    yield [];
    const names =
      instruction.kind === "from"
        ? [instruction.name]
        : instruction.kind === "arg"
          ? instruction.args.map(({ name }) => name)
          : [];
    const { comments, range } = instruction;
    if (comments.length === 0 || names.join("") === "") continue;
    if (names.some((name) => descriptionOf(comments, name) !== "")) continue;
    const message =
      "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.";
    yield [{ check: "InvalidDefinitionDescription", message, range }];
  }
}

/** What the comment above an instruction says of a name: `# name what it is`. */
export function descriptionOf(comments: readonly string[], name: string): string {
  const line = comments.find((comment) =>
    comment.toLowerCase().startsWith(`${name.toLowerCase()} `),
  );
  return line === undefined ? "" : line.slice(name.length + 1).trim();
}
